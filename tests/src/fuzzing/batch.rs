//! Anything that Lambda may hand to the processor: each message is done, parked or handed back; one that is done has
//! left its mark in the ledger; one that was handed back comes to an end when it comes again; and no code panics.
//!
//! An input is an event; or else the bodies of messages, of which an event is made.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use ledger::{change::Change, update::Update};
use processor::{
    batch::Processor,
    inbox::{Inbox as _, Letter},
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

type InMemory = Processor<MemoryInbox, MemoryLedger, MemoryBus, Ends, fn() -> Timestamp>;

pub(super) fn check(bytes: &[u8]) {
    // Serde reads a list as a struct too, but Lambda hands out objects.
    let is_event = bytes.starts_with(b"{") && serde_json::from_slice::<Batch>(bytes).is_ok();
    let event = if is_event { Cow::Borrowed(bytes) } else { Cow::Owned(of_messages(bytes)) };
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(process(&event));
}

/// An event with a message for each part that is text.
fn of_messages(bytes: &[u8]) -> Vec<u8> {
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
        source: Ends::default(),
        environment: Environment::Test,
        token_accounts: BTreeMap::new(),
        clock: (|| Timestamp::UNIX_EPOCH) as fn() -> Timestamp,
    };
    let Some(again) = invoke(&processor, event).await else {
        assert!(processor.ledger.calls().is_empty(), "a batch that cannot be answered for is touched");
        return;
    };
    for record in again {
        // At the eighth time there is no more waiting for others.
        let attributes = json!({ "ApproximateReceiveCount": "8" });
        let alone = json!({ "messageId": record.id, "body": record.body, "attributes": attributes });
        let event = json!({ "Records": [alone] }).to_string();
        let again = invoke(&processor, event.as_bytes()).await;
        assert!(again.is_some_and(|again| again.is_empty()), "it goes on coming again");
    }
    assert!(processor.ledger.items().iter().all(|item| item.outbox.is_empty()), "something was never told");
}

/// Runs the processor, and looks at each message. Those that come again, or `None` if the batch does as a whole.
async fn invoke(processor: &InMemory, event: &[u8]) -> Option<Vec<Message>> {
    let batch: Batch = serde_json::from_slice(event).unwrap();
    let answer = processor.process(batch, Timestamp::MAX).await;
    let (again, parked) = processor.source.take();
    let Ok(answer) = answer else {
        assert!(again.is_empty() && parked.is_empty(), "a batch that cannot be answered for is touched");
        return None;
    };

    let records = records(event);
    let ids: Vec<_> = records.iter().map(|record| &*record.id).collect();
    let handed_back: BTreeSet<_> = again.iter().map(|record| &*record.id).collect();
    let answer = serde_json::to_vec(&answer).unwrap();
    assert_eq!(poller::come_again(&ids, Some(&answer)), handed_back, "Lambda reads something else");
    for (_, reason) in &parked {
        assert!(!reason.starts_with("a bug"), "{reason}");
    }
    for record in &records {
        let is_parked = parked.iter().any(|(parked, _)| is(parked, record));
        if !is_parked && !handed_back.contains(&*record.id) {
            assert_recorded(processor, record).await;
        }
    }
    Some(again)
}

/// The messages of an event, each of which has an id.
fn records(event: &[u8]) -> Vec<Message> {
    let event: BTreeMap<String, &RawValue> = serde_json::from_slice(event).expect("a batch is an object");
    serde_json::from_str(event["Records"].get()).expect("every message has an id")
}

fn is(one: &Message, other: &Message) -> bool {
    (&one.id, &one.body) == (&other.id, &other.body)
}

/// What a message says is in the ledger: it would be nothing new.
async fn assert_recorded(processor: &InMemory, record: &Message) {
    let sealed = match Letter::read(&record.body).unwrap() {
        Letter::Test => return,
        Letter::Envelope => record.body.clone(),
        Letter::Claim(claim) => processor.inbox.fetch(&claim).await.unwrap(),
    };
    let Envelope { delivery, body } = Envelope::open(&sealed).expect("what is no envelope is parked");
    let webhook = Webhook::parse(&body, delivery.topic.as_ref()).expect("what is not a JSON object is parked");
    let update = Update::new(webhook.observe(), delivery, webhook.text());
    let items = processor.ledger.items();
    let known = items.iter().find(|item| item.key == update.key()).expect("it is lost");
    let change = Change::of(&known.state, &update.observation);
    assert!(matches!(change, Change::Duplicate | Change::Stale), "it is lost");
}

/// The two ends that a message may come to besides being done.
#[derive(Default)]
struct Ends {
    again: Mutex<Vec<Message>>,
    parked: Mutex<Vec<(Message, String)>>,
}

impl Ends {
    fn take(&self) -> (Vec<Message>, Vec<(Message, String)>) {
        (std::mem::take(&mut self.again.lock().unwrap()), std::mem::take(&mut self.parked.lock().unwrap()))
    }
}

impl Source for Ends {
    async fn postpone(&self, record: &Message, _: Duration) -> Result<(), SourceError> {
        self.again.lock().unwrap().push(record.clone());
        Ok(())
    }

    async fn park(&self, record: &Message, reason: &str) -> Result<(), SourceError> {
        self.parked.lock().unwrap().push((record.clone(), reason.to_owned()));
        Ok(())
    }
}

/// The events in `events/`; and messages, among them a claim that can be redeemed and one that cannot.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let names = fixture::names("").into_iter().filter(|name| name.starts_with("sqs-"));
    let events = names.map(|name| fixture::event(&name));
    let claim = |key: &str| notification::notification(key).to_string();
    let redeemable = claim(&format!("webhooks/{}", envelope::of(&[]).delivery.id));
    let sealed = fixture::webhooks().into_iter().map(|(_, body)| envelope::of(body.as_bytes()).seal());
    events.chain([redeemable, claim("webhooks/d-2")]).chain(sealed).map(String::into_bytes).collect()
}
