//! Item: one subject in the ledger, with its state, what is still to be published, and its history.
//!
//! **Invariant:** an item is written whole, with the domain events of its change inside. There is no moment at which
//! a change is stored and its events are not.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::{
    envelope::{Delivery, Environment},
    lifecycle::Stage,
    observation::Observation,
};

use super::state::{Change, State};
use crate::{
    business,
    domain_event::{self, DomainEvent},
};

/// How many changes are remembered. A payment has four or five; a plan that goes back and forth keeps its latest.
const MAX_HISTORY: usize = 50;

/// A DynamoDB item holds 400 KB. What is left is for state and history.
const MAX_OUTBOX_BYTES: usize = 300 * 1024;

/// As long as a function can run: until then the writer of an outbox entry may still be publishing it.
const WRITER_LIFETIME: SignedDuration = SignedDuration::from_secs(30);

/// One subject in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// `environment#account#kind#id`
    pub key: String,
    /// Counts the writes.
    pub version: u64,
    /// The merchant's reference once more, for the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When the last change was written, for the index.
    pub updated_at: Timestamp,
    /// Which run of which message wrote this version: how a run recognises its own write when the reply was lost.
    pub written_by: String,
    /// What is known.
    pub state: State,
    /// What is not known to be published yet, by event id.
    pub outbox: BTreeMap<String, Unpublished>,
    /// What changed, oldest first.
    pub history: Vec<Entry>,
}

/// A domain event that waits to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpublished {
    /// When it was written.
    pub since: Timestamp,
    /// Which run wrote it, and will publish it if it lives.
    pub by: String,
    /// The event.
    #[serde(flatten)]
    pub event: DomainEvent,
}

/// One change of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where the subject was after it.
    pub stage: Stage,
    /// Xendit's name of the event.
    pub event: String,
    /// When it happened, in Xendit's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When we had it.
    pub received_at: Timestamp,
    /// Which delivery brought it.
    pub delivery: String,
    /// Whether it contradicted what was known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
}

/// What one message brings to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct News<'a> {
    /// What it says.
    pub observation: &'a Observation,
    /// How it came.
    pub delivery: &'a Delivery,
    /// The body, as text.
    pub body: &'a str,
    /// How often the queue has handed it out.
    pub receive_count: u32,
    /// Now.
    pub now: Timestamp,
}

/// What a message changes about an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the same fact again.
    Duplicate,
    /// Nothing: an older fact.
    Stale,
    /// The item has to be written.
    Write(Box<Item>),
}

impl News<'_> {
    /// The key of the subject.
    pub fn key(&self) -> String {
        key(self.delivery.environment, self.observation)
    }

    /// Names this run. A redelivered message has another receive count, a second receiver another delivery.
    fn writer(&self) -> String {
        format!("{}/{}/{}", self.delivery.id, self.receive_count, self.now)
    }

    /// Whether this very run wrote the item.
    pub fn wrote(&self, item: &Item) -> bool {
        item.written_by == self.writer()
    }
}

/// The key of an observation's subject. Xendit's ids are unique within an account; the oldest are plain numbers.
pub fn key(environment: Environment, observation: &Observation) -> String {
    let account = observation.account.as_deref().unwrap_or("-");
    format!("{environment}#{account}#{}#{}", observation.kind(), observation.id)
}

impl Item {
    /// What a message changes about what is known.
    pub fn step(known: Option<&Self>, news: &News<'_>) -> Step {
        let change = Change::of(known.map(|item| &item.state), news.observation);
        let (state, transition) = match change {
            Change::Duplicate => return Step::Duplicate,
            Change::Stale => return Step::Stale,
            Change::Quiet(state) => (*state, None),
            Change::News(transition) => (transition.after.clone(), Some(transition)),
        };
        let mut next = Self {
            key: news.key(),
            version: known.map_or(1, |item| item.version + 1),
            reference: state.reference.clone(),
            updated_at: news.now,
            written_by: news.writer(),
            state,
            outbox: known.map(|item| item.outbox.clone()).unwrap_or_default(),
            history: known.map(|item| item.history.clone()).unwrap_or_default(),
        };
        if let Some(transition) = transition {
            for announcement in business::announce(&transition) {
                let room = MAX_OUTBOX_BYTES.saturating_sub(next.outbox_bytes());
                let event = domain_event::write(&announcement, &transition, news, next.version, room);
                next.outbox.insert(event.id.clone(), Unpublished { since: news.now, by: news.writer(), event });
            }
            next.remember(Entry {
                stage: transition.after.stage,
                event: news.observation.event.clone(),
                occurred_at: news.observation.occurred_at,
                received_at: news.delivery.received_at,
                delivery: news.delivery.id.clone(),
                conflict: transition.conflicting,
            });
        }
        Step::Write(Box::new(next))
    }

    /// What a run may publish of an item that it has just written, or met: its own events, and those whose writer can
    /// no longer be alive.
    pub fn publishable(&self, news: &News<'_>) -> Vec<&DomainEvent> {
        self.outbox
            .values()
            .filter(|waiting| waiting.by == news.writer() || !waiting.writer_may_be_alive(news))
            .map(|waiting| &waiting.event)
            .collect()
    }

    fn outbox_bytes(&self) -> usize {
        self.outbox.values().map(|waiting| waiting.event.detail.len()).sum()
    }

    fn remember(&mut self, entry: Entry) {
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..surplus);
    }
}

impl Unpublished {
    /// Two clocks may differ by minutes, so a message that keeps coming back counts as well: between its fourth
    /// receive and its first lie more than a function's lifetime by the queue's own clock.
    fn writer_may_be_alive(&self, news: &News<'_>) -> bool {
        news.receive_count < 4 && news.now.duration_since(self.since) < WRITER_LIFETIME
    }
}
