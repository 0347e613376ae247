//! Item: one subject in the ledger, with its state, what is still to be published, and its history.
//!
//! **Invariant:** an item is written whole, with the domain events of its change inside. There is no moment at which
//! a change is stored and its events are not.

#![expect(
    clippy::disallowed_types,
    reason = "serde's derive names the floats to flatten a struct; amounts are read in shared"
)]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
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
    /// When the last change was written, for the index: always with six digits, so that text sorts as time.
    #[serde(serialize_with = "six_digits")]
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

fn six_digits<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
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
    /// The queue's id of the message.
    pub message_id: &'a str,
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

    /// Names this run. One delivery may come in two messages, and one message is handed out again and again.
    fn writer(&self) -> String {
        format!("{}/{}/{}", self.message_id, self.receive_count, self.now)
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

#[cfg(test)]
mod tests {
    use shared::event::Event;

    use super::*;

    const START: &str = "2026-01-02T03:04:05Z";

    fn delivery(id: &str) -> Delivery {
        Delivery {
            id: id.to_owned(),
            received_at: START.parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        }
    }

    /// A message that came some seconds after the start.
    struct Message {
        body: String,
        observation: Observation,
        delivery: Delivery,
        receive_count: u32,
        now: Timestamp,
    }

    impl Message {
        fn new(delivery_id: &str, body: &str, seconds: i64) -> Self {
            let observation = Event::parse(body.as_bytes(), None).unwrap().observe();
            let start: Timestamp = START.parse().unwrap();
            let now = start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            Self { body: body.to_owned(), observation, delivery: delivery(delivery_id), receive_count: 1, now }
        }

        fn received(mut self, count: u32) -> Self {
            self.receive_count = count;
            self
        }

        fn news(&self) -> News<'_> {
            News {
                observation: &self.observation,
                delivery: &self.delivery,
                body: &self.body,
                message_id: &self.delivery.id,
                receive_count: self.receive_count,
                now: self.now,
            }
        }
    }

    fn write(known: Option<&Item>, message: &Message) -> Item {
        match Item::step(known, &message.news()) {
            Step::Write(item) => *item,
            repeat => panic!("{repeat:?}"),
        }
    }

    fn invoice(status: &str) -> String {
        format!(
            r#"{{"id":"inv-1","user_id":"acc-1","external_id":"order-1","merchant_name":"M","status":"{status}",
                "amount":1000,"paid_amount":1000,"currency":"IDR"}}"#
        )
    }

    /// A virtual account that was updated in some minute, with a body of some size.
    fn account(minute: usize, bytes: usize) -> String {
        format!(
            r#"{{"id":"va-1","is_closed":true,"account_number":"1","status":"ACTIVE","filler":"{}",
                "updated":"2026-01-02T{:02}:{:02}:00Z"}}"#,
            "x".repeat(bytes),
            minute / 60,
            minute % 60
        )
    }

    #[test]
    fn a_fresh_fact_makes_an_item_with_its_event_inside() {
        let message = Message::new("d-1", &invoice("PAID"), 0);
        let item = write(None, &message);
        assert_eq!((item.key.as_str(), item.version), ("test#acc-1#invoice#inv-1", 1));
        assert_eq!(item.reference.as_deref(), Some("order-1"));
        assert_eq!(item.publishable(&message.news()).len(), 1);
        assert!(message.news().wrote(&item));
        let [entry] = &item.history[..] else { panic!("{:?}", item.history) };
        assert_eq!((entry.stage.as_str(), entry.delivery.as_str()), ("invoice.paid", "d-1"));
    }

    #[test]
    fn a_subject_without_an_account_has_a_key_too() {
        assert_eq!(write(None, &Message::new("d-1", &account(0, 0), 0)).key, "test#-#virtual_account#va-1");
    }

    #[test]
    fn a_duplicate_and_the_past_write_nothing() {
        let known = write(None, &Message::new("d-1", &invoice("PAID"), 0));
        let step = |status| Item::step(Some(&known), &Message::new("d-2", &invoice(status), 1).news());
        assert_eq!(step("PAID"), Step::Duplicate);
        assert_eq!(step("EXPIRED"), Step::Stale);
    }

    #[test]
    fn a_change_counts_the_version_up_and_keeps_what_still_has_to_be_published() {
        let known = write(None, &Message::new("d-1", &invoice("PENDING"), 0));
        let next = write(Some(&known), &Message::new("d-2", &invoice("PAID"), 1));
        assert_eq!(next.version, 2);
        let mut types: Vec<_> = next.outbox.values().map(|waiting| waiting.event.detail_type.as_str()).collect();
        types.sort_unstable();
        assert_eq!(types, ["invoice.paid", "invoice.pending"]);
    }

    #[test]
    fn an_item_is_recognised_only_by_the_run_that_wrote_it() {
        let item = write(None, &Message::new("d-1", &invoice("PAID"), 0));
        assert!(Message::new("d-1", &invoice("PAID"), 0).news().wrote(&item));
        assert!(!Message::new("d-2", &invoice("PAID"), 0).news().wrote(&item), "another delivery");
        assert!(!Message::new("d-1", &invoice("PAID"), 0).received(2).news().wrote(&item), "another receive");
        assert!(!Message::new("d-1", &invoice("PAID"), 1).news().wrote(&item), "another moment");
    }

    #[test]
    fn what_another_run_wrote_is_left_to_it_while_it_may_be_alive() {
        let item = write(None, &Message::new("d-1", &invoice("PAID"), 0));
        let publishable = |message: &Message| item.publishable(&message.news()).len();
        for (seconds, receive_count, expected) in
            [(0, 1, 0), (29, 1, 0), (29, 3, 0), (30, 1, 1), (3600, 1, 1), (0, 4, 1), (-600, 3, 0), (-600, 4, 1)]
        {
            let message = Message::new("d-2", &invoice("PAID"), seconds).received(receive_count);
            assert_eq!(publishable(&message), expected, "after {seconds} s, at receive {receive_count}");
        }
    }

    #[test]
    fn bodies_that_wait_together_leave_room_for_the_rest_of_the_item() {
        let mut item = write(None, &Message::new("d-0", &account(0, 90_000), 0));
        for minute in 1..40 {
            item = write(Some(&item), &Message::new(&format!("d-{minute}"), &account(minute, 90_000), 0));
        }
        assert_eq!(item.outbox.len(), 40, "every event is there");
        let omitted = |waiting: &Unpublished| waiting.event.detail.contains(r#""body":null,"body_omitted":true"#);
        assert_eq!(item.outbox.values().filter(|waiting| !omitted(waiting)).count(), 3, "and three have their body");
        assert!(serde_json::to_string(&item).unwrap().len() < 400 * 1024, "an item of DynamoDB holds 400 KB");
    }

    #[test]
    fn only_the_latest_changes_are_remembered() {
        let mut item = write(None, &Message::new("d-0", &account(0, 0), 0));
        for minute in 1..=MAX_HISTORY + 5 {
            item = write(Some(&item), &Message::new(&format!("d-{minute}"), &account(minute, 0), 0));
            item.outbox.clear();
        }
        assert_eq!(item.history.len(), MAX_HISTORY);
        assert_eq!(item.history.first().unwrap().delivery, "d-6");
        assert_eq!(item.history.last().unwrap().delivery, format!("d-{}", MAX_HISTORY + 5));
    }

    #[test]
    fn an_item_survives_being_written_down() {
        let known = write(None, &Message::new("d-1", &invoice("PENDING"), 0));
        let item = write(Some(&known), &Message::new("d-2", &invoice("PAID"), 1));
        assert_eq!(serde_json::from_str::<Item>(&serde_json::to_string(&item).unwrap()).unwrap(), item);
    }
}
