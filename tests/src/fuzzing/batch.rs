//! Batch: any event of Lambda for the processor. Each message is done, parked or retried. A done message is in the ledger,
//! a retried one is done or parked when it is redelivered, and nothing panics.
//!
//! An input is an event, or else the bodies of messages, from which an event is built.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use ledger::{
    item::{Item, Step},
    update::Update,
};
use processor::{
    batch::Processor,
    config::TokenAccounts,
    inbox::{Inbox as _, Payload},
    message::{Batch, Message},
    source::{Source, SourceError},
};
use receiver::inbox::Inbox as _;
use serde_json::{json, value::RawValue};
use shared::{
    envelope::{Envelope, Environment},
    webhook::Webhook,
};
use tokio::runtime;

use super::{SEPARATOR, envelope, notification};
use crate::{
    fixture,
    memory::{MemoryBus, MemoryInbox, MemoryLedger, MemoryQueue},
};

type InMemory = Processor<MemoryInbox, MemoryLedger, MemoryBus, RecordingSource, fn() -> Timestamp>;

pub(super) fn check(bytes: &[u8]) {
    // Serde reads a list as a struct too, but Lambda's events are objects.
    let is_event = bytes.starts_with(b"{") && serde_json::from_slice::<Batch>(bytes).is_ok();
    let event = if is_event { Cow::Borrowed(bytes) } else { Cow::Owned(event_of(bytes)) };
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(process(&event));
}

/// An event with a message for each part of the input that is text.
fn event_of(bytes: &[u8]) -> Vec<u8> {
    let bodies = bytes.split(|byte| *byte == SEPARATOR).filter_map(|body| std::str::from_utf8(body).ok());
    let records = bodies.enumerate().map(|(index, body)| json!({ "messageId": format!("m-{index}"), "body": body }));
    json!({ "Records": records.collect::<Vec<_>>() }).to_string().into_bytes()
}

async fn process(event: &[u8]) {
    let inbox = MemoryInbox::new(MemoryQueue::default());
    inbox.keep(&envelope::of(br#"{"event":"moon.landed"}"#)).await.unwrap();
    let processor = Processor {
        inbox,
        ledger: MemoryLedger::default(),
        bus: MemoryBus::default(),
        source: RecordingSource::default(),
        environment: Environment::Test,
        token_accounts: TokenAccounts::default(),
        clock: (|| Timestamp::UNIX_EPOCH) as fn() -> Timestamp,
    };
    let Some(retried) = invoke(&processor, event).await else {
        assert!(processor.ledger.calls().is_empty(), "a batch that fails as a whole must not be processed");
        return;
    };
    for record in retried {
        // A message that still fails at its eighth receive is parked.
        let attributes = json!({ "ApproximateReceiveCount": "8" });
        let alone = json!({ "messageId": record.id, "body": record.body, "attributes": attributes });
        let event = json!({ "Records": [alone] }).to_string();
        let retried = invoke(&processor, event.as_bytes()).await;
        assert!(retried.is_some_and(|retried| retried.is_empty()), "the message is retried forever");
    }
    assert!(processor.ledger.items().iter().all(|item| item.outbox.is_empty()), "an event was never published");
}

/// Runs the processor and checks each message. Returns the retried ones, or `None` if the batch failed as a whole.
async fn invoke(processor: &InMemory, event: &[u8]) -> Option<Vec<Message>> {
    let batch: Batch = serde_json::from_slice(event).unwrap();
    let answer = processor.process(batch, Timestamp::MAX).await;
    let (retried, parked) = processor.source.take();
    let Ok(answer) = answer else {
        assert!(retried.is_empty() && parked.is_empty(), "a batch that fails as a whole must not be processed");
        return None;
    };

    let records = records(event);
    let ids: Vec<_> = records.iter().map(|record| &*record.id).collect();
    let retried_ids: BTreeSet<_> = retried.iter().map(|record| &*record.id).collect();
    let answer = serde_json::to_vec(&answer).unwrap();
    assert_eq!(poller::messages_to_retry(&ids, Some(&answer)), retried_ids, "the response does not match the retries");
    for (_, reason) in &parked {
        assert!(!reason.starts_with("a bug"), "{reason}");
    }
    for record in &records {
        let is_parked = parked.iter().any(|(parked, _)| is(parked, record));
        if !is_parked && !retried_ids.contains(&*record.id) {
            assert_recorded(processor, record).await;
        }
    }
    Some(retried)
}

/// The messages of an event, each of which has an id.
fn records(event: &[u8]) -> Vec<Message> {
    let event: BTreeMap<String, &RawValue> = serde_json::from_slice(event).expect("a batch is an object");
    serde_json::from_str(event["Records"].get()).expect("every message has an id")
}

fn is(one: &Message, other: &Message) -> bool {
    (&one.id, &one.body) == (&other.id, &other.body)
}

/// Asserts that the ledger holds a message's webhook: to apply it again changes nothing.
async fn assert_recorded(processor: &InMemory, record: &Message) {
    let sealed = match Payload::read(&record.body).unwrap() {
        Payload::Test => return,
        Payload::Envelope => record.body.clone(),
        Payload::ObjectRef(claim) => processor.inbox.fetch(&claim).await.unwrap(),
    };
    let Envelope { delivery, body } = Envelope::open(&sealed).expect("a message that is not an envelope is parked");
    let webhook = Webhook::parse(&body, delivery.topic.as_ref()).expect("a body that is not a JSON object is parked");
    let update = Update::new(&webhook, delivery);
    let items = processor.ledger.items();
    let known = items.iter().find(|item| item.key == update.key()).expect("the subject is in the ledger");
    let step = Item::step(Some(known), &update);
    assert!(matches!(step, Ok(Step::Duplicate | Step::Stale)), "the webhook was lost");
}

/// A source that records which messages were retried and parked.
#[derive(Default)]
struct RecordingSource {
    retried: Mutex<Vec<Message>>,
    parked: Mutex<Vec<(Message, String)>>,
}

impl RecordingSource {
    fn take(&self) -> (Vec<Message>, Vec<(Message, String)>) {
        (std::mem::take(&mut self.retried.lock().unwrap()), std::mem::take(&mut self.parked.lock().unwrap()))
    }
}

impl Source for RecordingSource {
    async fn postpone(&self, record: &Message, _: Duration) -> Result<(), SourceError> {
        self.retried.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn park(&self, record: &Message, reason: &str) -> Result<(), SourceError> {
        self.parked.lock().unwrap().push((record.clone(), reason.to_owned()));
        Ok(())
    }
}

/// The events in `events/`, and messages, including a claim that can be fetched and one that cannot.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let claim = |key: &str| notification::notification(key).to_string();
    let fetchable = claim(&format!("webhooks/{}", envelope::of(&[]).delivery.id));
    let sealed = fixture::webhooks().into_iter().map(|(_, body)| envelope::of(body.as_bytes()).seal());
    fixture::events_named("sqs-")
        .into_iter()
        .chain([fetchable, claim("webhooks/d-2")])
        .chain(sealed)
        .map(String::into_bytes)
        .collect()
}
