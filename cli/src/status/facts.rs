//! Facts: what is known of a stack at one moment, for people and for scripts.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    lifecycle::Stage,
    outcome::{Processed, Received},
};

use crate::logs::Outcome;

/// One part of the facts. Each is read by a call of its own, which may be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part<T> {
    Known(T),
    /// Why it could not be read.
    Unreadable(String),
    /// Why this stack does not have it.
    NotHere(&'static str),
}

impl<T> Part<T> {
    pub(super) const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unreadable(_) | Self::NotHere(_) => None,
        }
    }

    pub(super) const fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

impl<T> From<anyhow::Result<T>> for Part<T> {
    fn from(result: anyhow::Result<T>) -> Self {
        result.map_or_else(|error| Self::Unreadable(format!("{error:#}")), Self::Known)
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Facts {
    /// As it was given on the command line.
    pub(super) stack: String,
    pub(super) region: String,
    pub(super) at: Timestamp,
    pub(super) traffic: Part<Traffic>,
    pub(super) queue: Part<Queue>,
    /// How long the oldest webhook has waited in the queue, in seconds.
    pub(super) oldest_secs: Part<u64>,
    /// The messages in the dead-letter queue, visible or hidden.
    pub(super) dead_letters: Part<u64>,
    pub(super) alarms: Part<Vec<Alarm>>,
    pub(super) trigger: Part<Trigger>,
    pub(super) errors: Part<Errors>,
    pub(super) subscriptions: Part<Subscriptions>,
}

/// What the log lines of the last day say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Traffic {
    pub(super) hour: Counts,
    pub(super) day: Counts,
    /// The last webhook that was acknowledged.
    pub(super) last: Option<Last>,
    /// The labels of the tokens of acknowledged webhooks.
    pub(super) tokens: BTreeMap<String, Token>,
    /// Why requests were refused or not stored, most often first.
    pub(super) refused: Vec<Reason>,
    /// Why webhooks were stored in the inbox.
    pub(super) in_inbox: Vec<Reason>,
    /// Why webhooks were moved to the dead-letter queue.
    pub(super) parked: Vec<Reason>,
    /// Why webhooks are retried.
    pub(super) retried: Vec<Reason>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Acknowledged.
    pub(super) accepted: u64,
    /// Of these, stored in the inbox.
    pub(super) in_inbox: u64,
    /// Refused by the receiver: their token is missing or wrong.
    pub(super) refused: u64,
    /// Answered with 503.
    pub(super) not_stored: u64,
    /// They said something new.
    pub(super) applied: u64,
    /// Of these, they said that money has moved.
    pub(super) money: u64,
    /// Already known, or older news.
    pub(super) known: u64,
    /// Moved to the dead-letter queue.
    pub(super) parked: u64,
    /// Published domain events.
    pub(super) events: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Last {
    pub(super) at: Timestamp,
    /// What the last webhook said that was processed.
    pub(super) stage: Option<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Token {
    pub(crate) webhooks: u64,
    pub(crate) last: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) webhooks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Queue {
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    /// They failed, and are tried again after a while.
    pub(super) delayed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Alarm {
    pub(super) name: String,
    pub(super) state: AlarmState,
    pub(super) description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlarmState {
    Alarm,
    InsufficientData,
    Ok,
}

impl Alarm {
    /// The name of the page that says what to do: the description ends with it.
    pub(super) fn runbook(&self) -> Option<&str> {
        let (_, page) = self.description.rsplit_once("docs/runbooks/")?;
        page.split('.').next()
    }

    /// The first sentence of the description.
    pub(super) fn meaning(&self) -> &str {
        let text = self.description.split("Runbook:").next().unwrap_or_default().trim();
        text.split_inclusive(". ").next().unwrap_or_default().trim_end()
    }

    /// The name in the template, which CloudFormation has put between the stack's name and a random part.
    pub(super) fn short_name(&self, stack: &str) -> &str {
        let name = self.name.strip_prefix(stack).and_then(|rest| rest.strip_prefix('-')).unwrap_or(&self.name);
        name.split('-').next().unwrap_or(name)
    }
}

/// What hands messages to the processor: Lambda's event source mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Trigger {
    pub(super) id: String,
    pub(super) state: String,
}

impl Trigger {
    pub(super) fn is_enabled(&self) -> bool {
        matches!(self.state.as_str(), "Enabled" | "Enabling" | "Creating" | "Updating")
    }
}

/// Failed invocations in the last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Errors {
    pub(super) receiver: u64,
    pub(super) processor: u64,
}

/// Who is told about alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Subscriptions {
    pub(super) confirmed: u64,
    /// Nobody has clicked the link in AWS's e-mail.
    pub(super) pending: u64,
}

/// Log lines that say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) outcome: Outcome,
    pub(super) token: Option<String>,
    pub(super) stage: Option<Stage>,
    pub(super) reason: Option<String>,
    pub(super) lines: u64,
    pub(super) events: u64,
    pub(super) newest: Timestamp,
}

impl Counts {
    fn of(groups: &[Group]) -> Self {
        let mut counts = Self::default();
        for group in groups {
            counts.add(group);
        }
        counts
    }

    fn add(&mut self, group: &Group) {
        self.events += group.events;
        match group.outcome {
            Outcome::Received(Received::Stored) => self.accepted += group.lines,
            Outcome::Received(Received::StoredInInbox) => {
                self.accepted += group.lines;
                self.in_inbox += group.lines;
            }
            Outcome::Received(Received::NotStored) => self.not_stored += group.lines,
            Outcome::Received(Received::Refused) => self.refused += group.lines,
            Outcome::Processed(Processed::Applied | Processed::Conflict) => {
                self.applied += group.lines;
                self.money += if group.stage.is_some_and(Stage::moved_money) { group.lines } else { 0 };
            }
            Outcome::Processed(Processed::Duplicate | Processed::Stale) => self.known += group.lines,
            Outcome::Processed(Processed::Parked) => self.parked += group.lines,
            Outcome::Processed(Processed::NoWebhook | Processed::Retry | Processed::NoTime | Processed::NotParked) => {}
        }
    }
}

impl Traffic {
    /// What the lines of the last hour and the last day say.
    pub(super) fn new(hour: &[Group], day: &[Group]) -> Self {
        let accepted = || day.iter().filter(|group| group.outcome.is_accepted());
        let processed = day.iter().filter(|group| group.outcome.is_final() && group.stage.is_some());
        let stage = processed.max_by_key(|group| group.newest).and_then(|group| group.stage);
        let mut tokens = BTreeMap::<String, Token>::new();
        for group in accepted() {
            let Some(label) = &group.token else { continue };
            let token = tokens.entry(label.clone()).or_insert(Token { webhooks: 0, last: group.newest });
            token.webhooks += group.lines;
            token.last = token.last.max(group.newest);
        }
        Self {
            hour: Counts::of(hour),
            day: Counts::of(day),
            last: accepted().map(|group| group.newest).max().map(|at| Last { at, stage }),
            tokens,
            refused: reasons(day, |outcome| {
                matches!(outcome, Outcome::Received(Received::Refused | Received::NotStored))
            }),
            in_inbox: reasons(day, |outcome| outcome == Outcome::Received(Received::StoredInInbox)),
            parked: reasons(day, |outcome| outcome == Outcome::Processed(Processed::Parked)),
            retried: reasons(hour, |outcome| {
                matches!(outcome, Outcome::Processed(Processed::Retry | Processed::NotParked))
            }),
        }
    }
}

/// The reasons of some lines, most often first.
fn reasons(groups: &[Group], of: impl Fn(Outcome) -> bool) -> Vec<Reason> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for group in groups.iter().filter(|group| of(group.outcome)) {
        *counts.entry(group.reason.as_deref().unwrap_or("no reason")).or_default() += group.lines;
    }
    let reason = |(reason, webhooks): (&str, u64)| Reason { reason: reason.to_owned(), webhooks };
    let mut reasons: Vec<_> = counts.into_iter().map(reason).collect();
    reasons.sort_by_key(|reason| Reverse(reason.webhooks));
    reasons
}
