//! Announce: which domain events to publish about a change of a subject. Pure: what was known and what is known now in,
//! announcements out.
//!
//! This is the place for a merchant's own rules. The result is stored in the same write as the change, and published after
//! it. Rules without Rust are EventBridge rules on the domain events.
//!
//! **Invariant:** a subject whose state says that money is here has had its money event published, in any order of facts;
//! `docs/order.md` lists every pair.

use shared::{domain_event, lifecycle::Stage};

use crate::state::State;

/// One domain event to publish about a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What it is about.
    pub about: About,
    /// The stage before it.
    pub previous: Option<Stage>,
    /// An event of this type was published before; this one adds to it.
    pub update: bool,
}

/// What an announcement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The subject has reached this stage, or more has become known about it: `<kind>.<phase>`, or `webhook.unknown`.
    Stage(Stage),
    /// What is known contradicts itself: `webhook.conflict`.
    Conflict,
}

impl About {
    /// The type of the domain event.
    pub const fn detail_type(self) -> &'static str {
        match self {
            Self::Stage(stage) => domain_event::type_of(stage),
            Self::Conflict => domain_event::CONFLICT,
        }
    }
}

/// The domain events to publish about a transition.
pub fn announce(before: Option<&State>, after: &State) -> Vec<Announcement> {
    if !after.stage.kind().is_published() {
        return Vec::new();
    }
    let mut announcements = match before {
        None => on_reach(None, after.stage),
        Some(before) if before.stage != after.stage || before.mark != after.mark => on_advance(before, after),
        Some(before) if is_more_known(before, after) => on_update(after.stage),
        Some(_) => Vec::new(),
    };
    if after.contradicts_more_than(before) {
        announcements.push(Announcement { about: About::Conflict, previous: None, update: false });
    }
    announcements
}

/// A stage was reached. A money event that was skipped on the way comes first: an invoice that is settled has been paid.
fn on_reach(before: Option<Stage>, stage: Stage) -> Vec<Announcement> {
    let event = |stage, previous| Announcement { about: About::Stage(stage), previous, update: false };
    match stage.money_stage().filter(|money| *money != stage && before.is_none_or(|before| before < *money)) {
        Some(money) => vec![event(money, before), event(stage, Some(money))],
        None => vec![event(stage, before)],
    }
}

/// A further stage was reached. What became known with it completes the money event of the stage before.
fn on_advance(before: &State, after: &State) -> Vec<Announcement> {
    let completed = before.stage.money_stage().filter(|money| *money != after.stage && is_more_known(before, after));
    let completed = completed.map(update);
    completed.into_iter().chain(on_reach(Some(before.stage), after.stage)).collect()
}

/// The stage stays, but more is known: updates the money event and the event of the stage.
fn on_update(stage: Stage) -> Vec<Announcement> {
    let money = stage.money_stage().filter(|money| *money != stage);
    money.into_iter().chain([stage]).map(update).collect()
}

fn update(stage: Stage) -> Announcement {
    Announcement { about: About::Stage(stage), previous: Some(stage), update: true }
}

fn is_more_known(before: &State, after: &State) -> bool {
    amount_became_known(before, after)
        || is_captured_again(before, after)
        || (before.reference.is_empty() && !after.reference.is_empty())
        || (before.has_money() && !before.differs_from_requested() && after.differs_from_requested())
        || (before.has_money() && before.is_money_late() != after.is_money_late())
}

/// Whether there is one more capture while the sum is in doubt, and no conflict to announce about it.
fn is_captured_again(before: &State, after: &State) -> bool {
    after.captures.len() > before.captures.len()
        && after.paid_in_all().is_none()
        && !after.contradicts_more_than(Some(before))
}

/// Whether the total became known, or changed.
fn amount_became_known(before: &State, after: &State) -> bool {
    after.paid_in_all().is_some_and(|paid| before.paid_in_all().as_ref() != Some(&paid))
}

#[cfg(test)]
mod tests;
