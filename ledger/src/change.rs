//! Change: the effect of merging an observation into a state.

use std::cmp::Ordering;

use shared::observation::Observation;

use crate::{
    announce::{self, Announcement},
    state::State,
};

/// What an observation changes about a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the same fact again.
    Duplicate,
    /// Nothing: an older fact.
    Stale,
    /// Something: this is known now.
    Known(Box<Transition>),
}

/// A subject's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What is known now.
    pub after: State,
    /// What to publish about it. Empty if the change adds only details, such as an earlier time.
    pub announcements: Vec<Announcement>,
}

impl Transition {
    /// The first observation of a subject.
    pub fn first(seen: &Observation) -> Self {
        let after = State::from(seen);
        let announcements = announce::announce(None, &after);
        Self { after, announcements }
    }

    /// Whether it contradicts what was known.
    pub fn is_conflict(&self) -> bool {
        self.announcements.iter().any(|it| it.about == announce::About::Conflict)
    }
}

impl Change {
    /// What an observation changes about what is known.
    pub fn of(known: &State, seen: &Observation) -> Self {
        let seen = State::from(seen);
        let is_older = seen.compare(known) == Ordering::Less;
        let after = known.clone().merge(seen);
        if after != *known {
            let announcements = announce::announce(Some(known), &after);
            return Self::Known(Box::new(Transition { after, announcements }));
        }
        if is_older { Self::Stale } else { Self::Duplicate }
    }
}
