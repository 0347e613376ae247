//! State: all that has been observed about one subject, merged. This is what makes duplicates harmless.
//!
//! `merge` is associative, commutative and idempotent: any order of deliveries, any number of duplicates and a resend
//! after a year end in the same state, and nothing depends on a window or on a clock of ours. The parts:
//!
//! - the **fact** (stage and mark, and for kinds that go back and forth the time): the greater one wins, and brings its
//!   status, event and time along;
//! - the **amounts**: what was stated, in whatever stage. One amount is the rule; a second one is a conflict;
//! - the **captures**: a map that only grows;
//! - when the **money** came and when the subject was **given up**, each the first time: whether the money was late.
//!
//! The order of arrival decides only two things: which of several references, amounts or accounts is the first, and which of
//! too many answers and captures are kept.
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

/// Limit of one payment's captures, ids and amounts: a DynamoDB item holds 400 KB.
const MAX_CAPTURE_BYTES: usize = 64 * 1024;

/// The size of an amount, and DynamoDB's overhead.
const BYTES_PER_AMOUNT: usize = 64;

/// All that has been observed about one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far the subject is.
    pub stage: Stage,
    /// Distinguishes this from an earlier event in the same stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// When that happened, according to Xendit.
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
    /// What was collected by each capture of a payment. Nothing is stated for one whose amount could not be read.
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
    /// When the money came, according to Xendit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money_at: Option<Timestamp>,
    /// The subject failed, expired or was canceled, even if it was paid later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
}

/// When a subject was first given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenUp {
    /// At this time, according to Xendit.
    At(Timestamp),
    /// At a time that no webhook stated.
    Undated,
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
            money_at: seen.money_at,
            given_up: seen.stage.is_given_up().then_some(seen.changed_at.map_or(GivenUp::Undated, GivenUp::At)),
        };
        let read = seen.captures.iter().map(|(id, money)| (id, Stated::from(money.clone())));
        let unread = seen.unread_captures.iter().map(|id| (id, Stated::default()));
        for (id, amounts) in read.chain(unread) {
            state.add_capture(id.clone(), amounts);
        }
        state
    }
}

impl State {
    /// The union of what two states of one subject know.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let order = self.compare(&other);
        let mut merged = self.clone();
        match order {
            Ordering::Greater => {}
            Ordering::Less => merged.take_fact(&other),
            Ordering::Equal => {
                // The earlier time: a repeat must not look newer than the fact.
                merged.occurred_at = least(self.occurred_at, other.occurred_at);
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
        merged.money_at = least(self.money_at, other.money_at);
        merged.given_up = least(self.given_up, other.given_up);
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
        if self.captures_overflow && !self.captures.contains_key(&id) {
            return;
        }
        let amounts = self.captures.get(&id).cloned().unwrap_or_default().merge(amounts);
        let others = self.captures.iter().filter(|(other, _)| **other != id);
        let bytes: usize = others.chain([(&id, &amounts)]).map(|(id, amounts)| capture_bytes(id, amounts)).sum();
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

    /// Whether it holds a contradiction that an earlier state does not: an amount or a reference that differs from the first,
    /// captures in two currencies or too many to keep, a total that is not the sum of its captures.
    pub fn contradicts_more_than(&self, before: Option<&Self>) -> bool {
        let is_new = |has: fn(&Self) -> bool| has(self) && !before.is_some_and(has);
        let differing_before = before.map_or([0; 4], Self::differing_answers);
        self.differing_answers().iter().zip(differing_before).any(|(after, before)| *after > before)
            || is_new(|state| state.captures_overflow)
            || is_new(Self::has_captures_in_two_currencies)
            || is_new(Self::has_a_total_that_is_not_the_sum)
    }

    /// How many answers differ from the first, question by question: a later time may end the contradiction about one.
    fn differing_answers(&self) -> [usize; 4] {
        let of_captures = self.captures.values().map(Stated::contradictions).sum();
        [self.paid.contradictions(), self.requested.contradictions(), self.reference.contradictions(), of_captures]
    }

    /// Whether the captures contradict each other or the stated total, or there are too many to keep.
    pub fn has_conflicting_captures(&self) -> bool {
        self.captures_overflow
            || self.captures.values().any(|amounts| amounts.contradictions() > 0)
            || self.has_captures_in_two_currencies()
            || self.has_a_total_that_is_not_the_sum()
    }

    fn has_captures_in_two_currencies(&self) -> bool {
        let mut currencies = self.captures.values().filter_map(Stated::first).map(|money| &money.currency);
        let first = currencies.next();
        currencies.any(|currency| Some(currency) != first)
    }

    fn has_a_total_that_is_not_the_sum(&self) -> bool {
        matches!((self.paid.only(), self.captured()), (Some(total), Some(sum)) if *total != sum)
    }

    /// What was paid in all: the amount that was stated, or else the sum of the captures.
    ///
    /// `None` when neither is known, and when what was stated contradicts itself.
    pub fn paid_in_all(&self) -> Option<Money> {
        match self.paid.first() {
            _ if self.has_conflicting_captures() => None,
            None => self.captured(),
            Some(_) => self.paid.only().cloned(),
        }
    }

    /// The sum of the captures. `None` when there are none, when the amount of one is not known, or when they are in several
    /// currencies.
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

    /// Whether money is here that came after the subject had been given up.
    pub fn is_paid_late(&self) -> bool {
        self.has_money() && self.is_money_late()
    }

    /// Whether the stage says that money is here.
    pub fn has_money(&self) -> bool {
        self.stage.money_stage().is_some()
    }

    /// Whether money, if there was any, came after the subject had been given up: by Xendit's times where it states both.
    pub fn is_money_late(&self) -> bool {
        match (self.given_up, self.money_at) {
            (None, _) => false,
            (Some(GivenUp::At(given_up)), Some(paid)) => paid >= given_up,
            (Some(_), _) => true,
        }
    }

    /// Whether what was paid is known not to be what was requested.
    pub fn differs_from_requested(&self) -> bool {
        matches!((self.paid_in_all(), self.requested.only()), (Some(paid), Some(requested)) if paid != *requested)
    }
}

fn capture_bytes(id: &str, amounts: &Stated<Money>) -> usize {
    id.len() + BYTES_PER_AMOUNT * amounts.answers().count().max(1)
}

/// The lesser of two values that are known.
fn least<T: Ord>(one: Option<T>, two: Option<T>) -> Option<T> {
    one.into_iter().chain(two).min()
}

#[cfg(test)]
mod tests;
