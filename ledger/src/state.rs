//! State: all that has been observed about one subject, merged. The heart of "nothing twice".
//!
//! `merge` is associative, commutative and idempotent: any order of deliveries, any number of duplicates and a resend
//! after a year end in the same state, and nothing depends on a window or on a clock of ours. The parts:
//!
//! - the **fact** (stage and mark, and for kinds that go back and forth the time): the greater one wins, and brings its
//!   status, event and time along;
//! - the **amounts**: what was stated, in whatever stage. One amount is the rule; a second one is a conflict;
//! - the **captures**: a map that only grows;
//! - whether the subject was **given up**, and when first: what decides whether money came late.
//!
//! What arrived first shows in one thing only: of several references or amounts, which is the first.
//!
//! **Invariant:** a state only ever grows. Everything that is compared here comes from the body, never from the delivery.

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    lifecycle::{Order, Stage},
    money::Money,
    observation::{Mark, Observation},
};

use crate::stated::Stated;

/// What the captures of one payment may hold in all, ids and amounts: a DynamoDB item holds 400 KB.
const MAX_CAPTURE_BYTES: usize = 64 * 1024;

/// Beside its id, for the amount and for DynamoDB's own.
const BYTES_PER_CAPTURE: usize = 64;

/// All that has been observed about one subject.
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
    /// Xendit's name of the event that said so.
    pub event: String,
    /// Why it failed, in Xendit's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// What was paid, collected, refunded or sent.
    #[serde(default, skip_serializing_if = "Stated::is_empty")]
    pub paid: Stated<Money>,
    /// What was requested.
    #[serde(default, skip_serializing_if = "Stated::is_empty")]
    pub requested: Stated<Money>,
    /// What was collected by each capture of a payment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, Stated<Money>>,
    /// There were more captures than are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captures_overflow: bool,
    /// The merchant's own reference.
    #[serde(default, skip_serializing_if = "Stated::is_empty")]
    pub reference: Stated<String>,
    /// The Xendit account: the first that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The bank, wallet, outlet or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Where and when the subject was given up first, even if money came after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// A subject was given up: it failed, expired or was canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// In which of these stages.
    pub stage: Stage,
    /// When, in Xendit's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl From<&Observation> for State {
    fn from(seen: &Observation) -> Self {
        // What goes back and forth may be given another amount; what only moves forward may not.
        let as_of = match seen.kind().order() {
            Order::ByRank => None,
            Order::ByTime => seen.occurred_at,
        };
        let mut state = Self {
            stage: seen.stage,
            mark: seen.mark.clone(),
            occurred_at: seen.occurred_at,
            status: seen.status.clone(),
            event: seen.event.clone(),
            failure_code: seen.failure_code.clone(),
            paid: Stated::from(seen.paid.clone()).as_of(as_of),
            requested: Stated::from(seen.requested.clone()).as_of(as_of),
            captures: BTreeMap::new(),
            captures_overflow: false,
            reference: Stated::from(seen.reference.clone()),
            account: seen.account.clone(),
            channel: seen.channel.clone(),
            given_up: seen.stage.is_given_up().then_some(GivenUp { stage: seen.stage, at: seen.occurred_at }),
        };
        for (id, money) in &seen.captures {
            state.add_capture(id.clone(), Stated::from(money.clone()));
        }
        state
    }
}

impl State {
    /// What is known when another state of the same subject is known as well.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let order = self.compare(&other);
        let mut merged = self.clone();
        match order {
            Ordering::Greater => {}
            Ordering::Less => merged.take_fact(&other),
            Ordering::Equal => {
                // The earlier of two times: a repeat must not look younger than the fact.
                merged.occurred_at = earlier(self.occurred_at, other.occurred_at);
                merged.status = self.status.max(other.status);
                merged.event = self.event.max(other.event);
                merged.failure_code = self.failure_code.max(other.failure_code);
            }
        }
        merged.paid = self.paid.merge(other.paid);
        merged.requested = self.requested.merge(other.requested);
        merged.reference = self.reference.merge(other.reference);
        merged.account = self.account.or(other.account);
        merged.channel = self.channel.max(other.channel);
        merged.given_up = first_given_up(self.given_up, other.given_up);
        merged.captures_overflow |= other.captures_overflow;
        for (id, amounts) in other.captures {
            merged.add_capture(id, amounts);
        }
        merged
    }

    fn take_fact(&mut self, newer: &Self) {
        self.stage = newer.stage;
        self.mark.clone_from(&newer.mark);
        self.occurred_at = newer.occurred_at;
        self.status.clone_from(&newer.status);
        self.event.clone_from(&newer.event);
        self.failure_code.clone_from(&newer.failure_code);
    }

    fn add_capture(&mut self, id: String, amounts: Stated<Money>) {
        if let Some(known) = self.captures.get_mut(&id) {
            *known = std::mem::take(known).merge(amounts);
            return;
        }
        let bytes: usize = self.captures.keys().chain([&id]).map(|id| id.len() + BYTES_PER_CAPTURE).sum();
        if bytes > MAX_CAPTURE_BYTES {
            self.captures_overflow = true;
        } else {
            self.captures.insert(id, amounts);
        }
    }

    /// Which of two states has the newer fact.
    pub fn compare(&self, other: &Self) -> Ordering {
        let time = match self.stage.kind().order() {
            Order::ByRank => Ordering::Equal,
            Order::ByTime => self.occurred_at.cmp(&other.occurred_at),
        };
        time.then_with(|| self.stage.cmp(&other.stage)).then_with(|| self.mark.cmp(&other.mark))
    }

    /// How many of the facts contradict others: amounts and references beyond the first, and a total that is not the sum
    /// of its captures.
    pub fn contradictions(&self) -> usize {
        let of_captures: usize = self.captures.values().map(Stated::contradictions).sum();
        self.paid.contradictions()
            + self.requested.contradictions()
            + self.reference.contradictions()
            + of_captures
            + usize::from(self.captures_overflow)
            + usize::from(matches!((self.paid.only(), self.captured()), (Some(total), Some(sum)) if *total != sum))
    }

    /// What was paid in all: the amount that was stated, or else the sum of the captures.
    ///
    /// `None` when nothing was stated, and when what was stated contradicts itself.
    pub fn paid_in_all(&self) -> Option<Money> {
        if self.captures.is_empty() && !self.captures_overflow {
            return self.paid.only().cloned();
        }
        let sum = self.captured()?;
        match self.paid.first() {
            None => Some(sum),
            Some(_) => self.paid.only().filter(|total| **total == sum).cloned(),
        }
    }

    /// The sum of the captures. `None` when there are none, when one is in doubt, or when they are in several currencies.
    fn captured(&self) -> Option<Money> {
        if self.captures_overflow {
            return None;
        }
        let mut amounts = self.captures.values().map(Stated::only);
        let first = amounts.next()??.clone();
        amounts.try_fold(first, |sum, money| {
            let money = money.filter(|money| money.currency == sum.currency)?;
            Some(Money { amount: sum.amount.checked_add(money.amount)?, currency: sum.currency })
        })
    }

    /// Whether money came after the subject had been given up: by Xendit's times where it states both.
    pub fn is_paid_late(&self) -> bool {
        match (self.stage.money_stage(), self.given_up) {
            (Some(_), Some(GivenUp { at: Some(given_up), .. })) => self.occurred_at.is_none_or(|paid| paid >= given_up),
            (Some(_), Some(GivenUp { at: None, .. })) => true,
            _ => false,
        }
    }

    /// Whether money came, and is known not to be what was requested.
    pub fn is_amount_mismatch(&self) -> bool {
        let asked = self.requested.only();
        self.stage.money_stage().is_some()
            && matches!((self.paid_in_all(), asked), (Some(paid), Some(asked)) if paid != *asked)
    }
}

fn earlier(one: Option<Timestamp>, two: Option<Timestamp>) -> Option<Timestamp> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

fn first_given_up(one: Option<GivenUp>, two: Option<GivenUp>) -> Option<GivenUp> {
    let order = |it: &GivenUp| (it.at.is_none(), it.at, it.stage);
    one.into_iter().chain(two).min_by_key(order)
}

#[cfg(test)]
mod tests;
