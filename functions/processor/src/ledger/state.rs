//! State: all that has been observed of one subject, merged. The heart of "nothing twice".
//!
//! `merge` is a join: associative, commutative and idempotent. So any order of deliveries, any number of duplicates
//! and a resend after a year end in the same state, and nothing depends on a window or a clock of ours. The parts:
//!
//! - the **fact** (stage and mark, and for kinds that go back and forth the time): the greater one wins, and brings
//!   its status, event and amounts along;
//! - the **amounts** of one fact: a set. One amount is the rule; a second one is a conflict, kept beside the first;
//! - the **captures**: a grow-only map of sets;
//! - everything else: the greater value.
//!
//! **Invariant:** a state only ever grows. Whatever is compared here comes from the body, never from the delivery.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    lifecycle::{Order, Stage},
    money::Money,
    observation::{Mark, Observation},
};

/// How many differing amounts of one fact are kept. Two are a conflict already; more tell a person nothing new.
const MAX_AMOUNTS: usize = 8;

/// All that has been observed of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far the subject is.
    pub stage: Stage,
    /// What sets this apart from an earlier time in the same stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// When that happened, in Xendit's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Xendit's word for the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Xendit's name of the event that told it.
    pub event: String,
    /// Why it failed, in Xendit's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// What was paid, collected, refunded or sent: one amount, or several that contradict each other.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paid: BTreeSet<Money>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<Money>,
    /// What was collected by each capture of a payment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, BTreeSet<Money>>,
    /// The merchant's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The bank, wallet, outlet or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl From<&Observation> for State {
    fn from(seen: &Observation) -> Self {
        Self {
            stage: seen.stage,
            mark: seen.mark.clone(),
            occurred_at: seen.occurred_at,
            status: seen.status.clone(),
            event: seen.event.clone(),
            failure_code: seen.failure_code.clone(),
            paid: seen.paid.iter().cloned().collect(),
            asked: seen.asked.iter().cloned().collect(),
            captures: seen.captures.iter().map(|(id, money)| (id.clone(), BTreeSet::from([money.clone()]))).collect(),
            reference: seen.reference.clone(),
            channel: seen.channel.clone(),
        }
    }
}

impl State {
    /// The join of two states of one subject.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (mut winner, loser) = match self.compare(&other) {
            Ordering::Greater | Ordering::Equal => (self, other),
            Ordering::Less => (other, self),
        };
        if winner.compare(&loser) == Ordering::Equal {
            // The earlier of two times that are given: a repeat must not look younger than the fact.
            winner.occurred_at = match (winner.occurred_at, loser.occurred_at) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            };
            winner.status = winner.status.max(loser.status);
            winner.event = winner.event.max(loser.event);
            winner.failure_code = winner.failure_code.max(loser.failure_code);
            join(&mut winner.paid, loser.paid);
            join(&mut winner.asked, loser.asked);
        }
        for (id, amounts) in loser.captures {
            join(winner.captures.entry(id).or_default(), amounts);
        }
        winner.reference = winner.reference.max(loser.reference);
        winner.channel = winner.channel.max(loser.channel);
        winner
    }

    /// Which of two states tells the newer fact.
    pub fn compare(&self, other: &Self) -> Ordering {
        let time = match self.stage.kind().order() {
            Order::ByRank => Ordering::Equal,
            Order::ByTime => self.occurred_at.cmp(&other.occurred_at),
        };
        time.then_with(|| self.stage.cmp(&other.stage)).then_with(|| self.mark.cmp(&other.mark))
    }

    /// Whether one fact has been told with different amounts.
    pub fn is_conflicting(&self) -> bool {
        self.contradictions() > 0
    }

    /// How many amounts there are beyond one for each fact.
    pub fn contradictions(&self) -> usize {
        let beyond_one = |amounts: &BTreeSet<Money>| amounts.len().saturating_sub(1);
        beyond_one(&self.paid) + beyond_one(&self.asked) + self.captures.values().map(beyond_one).sum::<usize>()
    }

    /// What was paid in all: the sum of the captures, or else the one amount that was told.
    ///
    /// `None` when nothing was told, when amounts contradict each other, or when captures are in several currencies.
    pub fn paid_in_all(&self) -> Option<Money> {
        if self.captures.is_empty() {
            return only(&self.paid);
        }
        let mut amounts = self.captures.values().map(only);
        let first = amounts.next()??;
        amounts.try_fold(first, |sum, money| {
            let money = money.filter(|money| money.currency == sum.currency)?;
            Some(Money { amount: sum.amount.checked_add(money.amount)?, currency: sum.currency })
        })
    }

    /// What was asked for, unless amounts contradict each other.
    pub fn asked_once(&self) -> Option<Money> {
        only(&self.asked)
    }
}

/// The smallest amounts of both sets: keeping the first few of a total order is a join as well.
fn join(into: &mut BTreeSet<Money>, from: BTreeSet<Money>) {
    into.extend(from);
    while into.len() > MAX_AMOUNTS {
        into.pop_last();
    }
}

fn only(amounts: &BTreeSet<Money>) -> Option<Money> {
    match amounts.len() {
        1 => amounts.first().cloned(),
        _ => None,
    }
}

/// What merging an observation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the same fact again.
    Duplicate,
    /// Nothing: an older fact.
    Stale,
    /// Details that nobody needs to hear of, such as an earlier time for the same fact.
    Quiet(Box<State>),
    /// News.
    News(Box<Transition>),
}

/// A change of a subject's state that the merchant should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What was known before, if anything.
    pub before: Option<State>,
    /// What is known now.
    pub after: State,
    /// Whether the subject is further, has been captured once more, or an amount has become known.
    pub advanced: bool,
    /// Whether an amount contradicts one that was known.
    pub conflicting: bool,
}

impl Change {
    /// What an observation changes about what is known.
    pub fn of(known: Option<&State>, seen: &Observation) -> Self {
        let seen = State::from(seen);
        let Some(before) = known else {
            let transition = Transition { before: None, after: seen, advanced: true, conflicting: false };
            return Self::News(Box::new(transition));
        };
        let order = seen.compare(before);
        let after = before.clone().merge(seen);
        if after == *before {
            return if order == Ordering::Less { Self::Stale } else { Self::Duplicate };
        }
        let same_fact = after.stage == before.stage && after.mark == before.mark;
        let learnt = |then: &BTreeSet<Money>, now: &BTreeSet<Money>| then.is_empty() && !now.is_empty();
        let advanced = !same_fact
            || after.captures.len() > before.captures.len()
            || learnt(&before.paid, &after.paid)
            || learnt(&before.asked, &after.asked);
        // A further stage leaves the amounts of the last one behind, and with them their contradictions.
        let known_contradictions = if same_fact { before.contradictions() } else { 0 };
        let conflicting = after.contradictions() > known_contradictions;
        if advanced || conflicting {
            Self::News(Box::new(Transition { before: Some(before.clone()), after, advanced, conflicting }))
        } else {
            Self::Quiet(Box::new(after))
        }
    }
}
