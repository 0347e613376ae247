//! Memory: the functions' ports in memory. Each behaves as AWS documents: conditional writes return the existing item, the
//! bus rejects single entries of a call, and the queue has visibility timeouts, receive counts and a redrive policy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    bus::{Bus, PublishError},
    item::{FORMAT, Item},
    key::Key,
    store::{Ledger, StoreError, Write},
};
use processor::{
    inbox::{NotFetched, ObjectRef},
    source::{Source, SourceError},
};
use receiver::queue::{NotStored, Queue};
use serde_json::{Value, json};
use shared::{
    domain_event::DomainEvent,
    envelope::{Envelope, MAX_QUEUED_BYTES},
};

use crate::faults::{BusMode, Clock, InboxMode, LedgerMode, Mode, Power, QueueMode, SourceMode};

/// As in the template.
const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);

/// As in the template.
const MAX_RECEIVE_COUNT: u32 = 10;

/// A queue with its dead-letter queue.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue {
    /// How it accepts new messages.
    pub mode: Mode<QueueMode>,
    clock: Clock,
    power: Power,
    messages: Arc<Mutex<Vec<Message>>>,
    dead_letters: Arc<Mutex<Vec<DeadLetter>>>,
    ids: Arc<Mutex<u32>>,
}

#[derive(Clone, Debug)]
struct Message {
    id: String,
    body: String,
    receive_count: u32,
    visible_at: Timestamp,
}

/// A message in the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's body.
    pub body: String,
    /// Why the processor parked it. `None`: SQS moved it after too many receives.
    pub reason: Option<String>,
}

/// Messages that the event source received, to invoke the processor with.
#[derive(Clone, Debug)]
pub struct ReceivedBatch {
    /// Lambda's event.
    pub event: String,
    ids: Vec<String>,
}

impl MemoryQueue {
    /// Creates an empty queue.
    pub fn new(clock: Clock, power: Power) -> Self {
        Self { clock, power, ..Self::default() }
    }

    /// Sends a message with any body, and returns its id.
    pub fn put(&self, body: &str) -> String {
        let mut ids = self.ids.lock().unwrap();
        *ids += 1;
        let id = format!("message-{ids}");
        let message = Message { id: id.clone(), body: body.to_owned(), receive_count: 0, visible_at: self.clock.now() };
        self.messages.lock().unwrap().push(message);
        id
    }

    /// Receives up to `max` visible messages. Messages that were received too often move to the dead-letter queue.
    pub fn receive(&self, max: usize) -> Option<ReceivedBatch> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap();
        let is_exhausted =
            |message: &mut Message| message.visible_at <= now && message.receive_count >= MAX_RECEIVE_COUNT;
        let exhausted = messages.extract_if(.., is_exhausted);
        let exhausted = exhausted.map(|message| DeadLetter { body: message.body, reason: None });
        self.dead_letters.lock().unwrap().extend(exhausted);
        let mut taken = Vec::new();
        for message in messages.iter_mut().filter(|message| message.visible_at <= now).take(max) {
            message.receive_count += 1;
            message.visible_at = now.checked_add(VISIBILITY_TIMEOUT).unwrap();
            taken.push(message.clone());
        }
        let ids = taken.iter().map(|message| message.id.clone()).collect();
        let records: Vec<_> = taken.iter().map(record).collect();
        (!taken.is_empty()).then(|| ReceivedBatch { event: json!({ "Records": records }).to_string(), ids })
    }

    /// Deletes the messages that a response does not name, as Lambda does. `None`: the function failed.
    pub fn apply_response(&self, batch: &ReceivedBatch, response: Option<&str>) {
        let ids: Vec<_> = batch.ids.iter().map(String::as_str).collect();
        let failed = poller::messages_to_retry(&ids, response.map(str::as_bytes));
        let done = |message: &Message| ids.contains(&&*message.id) && !failed.contains(&*message.id);
        self.messages.lock().unwrap().retain(|message| !done(message));
    }

    /// How many messages it holds, visible or not.
    pub fn depth(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// When the next message becomes visible.
    pub fn next_visible_at(&self) -> Option<Timestamp> {
        self.messages.lock().unwrap().iter().map(|message| message.visible_at).min()
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.dead_letters.lock().unwrap().clone()
    }

    /// Moves the dead letters back to the queue, as new messages.
    pub fn redrive(&self) {
        for letter in std::mem::take(&mut *self.dead_letters.lock().unwrap()) {
            self.put(&letter.body);
        }
    }
}

/// A message as a record of Lambda's event.
fn record(message: &Message) -> Value {
    json!({
        "messageId": message.id,
        "receiptHandle": format!("{}/{}", message.id, message.receive_count),
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": message.receive_count.to_string(),
            "SentTimestamp": "1767323045000",
            "SenderId": "AROAEXAMPLE:receiver",
            "ApproximateFirstReceiveTimestamp": "1767323045001"
        },
        "messageAttributes": {},
        "md5OfBody": "00000000000000000000000000000000",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:ap-southeast-1:123456789012:xendit-hooks-webhooks",
        "awsRegion": "ap-southeast-1"
    })
}

impl Queue for MemoryQueue {
    async fn enqueue(&self, envelope: &Envelope) -> Result<(), NotStored> {
        self.power.step().await;
        let body = envelope.seal();
        match self.mode.get() {
            _ if body.len() > MAX_QUEUED_BYTES => return Err(NotStored::TooLarge { bytes: body.len() }),
            QueueMode::Refuses => return Err(NotStored::Refused("ServiceUnavailable".to_owned())),
            QueueMode::LosesReplies => {
                self.put(&body);
                return Err(NotStored::Unreachable("timeout"));
            }
            QueueMode::Working => {}
        }
        self.put(&body);
        self.power.step().await;
        Ok(())
    }
}

/// A bucket that notifies a queue of each new object.
#[derive(Clone, Debug)]
pub struct MemoryInbox {
    /// How it behaves.
    pub mode: Mode<InboxMode>,
    queue: MemoryQueue,
    objects: Arc<Mutex<BTreeMap<String, String>>>,
}

impl MemoryInbox {
    /// Creates an empty bucket that notifies a queue.
    pub fn new(queue: MemoryQueue) -> Self {
        Self { mode: Mode::default(), queue, objects: Arc::default() }
    }

    /// How many objects it holds.
    pub fn depth(&self) -> usize {
        self.objects.lock().unwrap().len()
    }

    /// Deletes all objects, as the lifecycle rule does.
    pub fn expire(&self) {
        self.objects.lock().unwrap().clear();
    }
}

impl receiver::inbox::Inbox for MemoryInbox {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        self.queue.power.step().await;
        if matches!(self.mode.get(), InboxMode::Down) {
            return Err(NotStored::Unreachable("timeout"));
        }
        let key = format!("webhooks/{}", envelope.delivery.id);
        self.objects.lock().unwrap().insert(key.clone(), envelope.seal());
        let s3 = json!({ "bucket": { "name": "inbox" }, "object": { "key": key } });
        self.queue.put(&json!({ "Records": [{ "eventSource": "aws:s3", "s3": s3 }] }).to_string());
        self.queue.power.step().await;
        match self.mode.get() {
            InboxMode::LosesReplies => Err(NotStored::Unreachable("timeout")),
            InboxMode::Working | InboxMode::Down => Ok(()),
        }
    }
}

impl processor::inbox::Inbox for MemoryInbox {
    async fn fetch(&self, claim: &ObjectRef) -> Result<String, NotFetched> {
        self.queue.power.step().await;
        if matches!(self.mode.get(), InboxMode::Down) {
            return Err(NotFetched::Passing("timeout".to_owned()));
        }
        let objects = self.objects.lock().unwrap();
        objects.get(&claim.key).cloned().ok_or(NotFetched::Permanent("the object is gone"))
    }
}

/// The processor's port to a `MemoryQueue`.
#[derive(Clone, Debug)]
pub struct MemorySource {
    /// How it delays and parks messages.
    pub mode: Mode<SourceMode>,
    queue: MemoryQueue,
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl MemorySource {
    /// Creates the port to a queue.
    pub fn new(queue: MemoryQueue) -> Self {
        Self { mode: Mode::default(), queue, delays: Arc::default() }
    }

    /// All delays that the processor set, in order.
    pub fn delays(&self) -> Vec<Duration> {
        self.delays.lock().unwrap().clone()
    }

    fn panic_if_set(&self, message: &processor::message::Message) {
        if let SourceMode::PanicsOn(part) = self.mode.get() {
            assert!(!message.body.contains(part), "the source is set to panic");
        }
    }
}

impl Source for MemorySource {
    async fn postpone(&self, message: &processor::message::Message, delay: Duration) -> Result<(), SourceError> {
        self.queue.power.step().await;
        self.panic_if_set(message);
        if matches!(self.mode.get(), SourceMode::CannotPostpone) {
            return Err(SourceError("timeout".to_owned()));
        }
        self.delays.lock().unwrap().push(delay);
        let visible_at = self.queue.clock.now().checked_add(delay).unwrap();
        let mut messages = self.queue.messages.lock().unwrap();
        let kept = messages.iter_mut().find(|kept| kept.id == message.id).unwrap();
        assert_eq!(message.receipt_handle, format!("{}/{}", kept.id, kept.receive_count));
        kept.visible_at = visible_at;
        Ok(())
    }

    async fn park(&self, message: &processor::message::Message, reason: &str) -> Result<(), SourceError> {
        self.queue.power.step().await;
        self.panic_if_set(message);
        if matches!(self.mode.get(), SourceMode::CannotPark) {
            return Err(SourceError("timeout".to_owned()));
        }
        let parked = DeadLetter { body: message.body.clone(), reason: Some(reason.to_owned()) };
        self.queue.dead_letters.lock().unwrap().push(parked);
        self.queue.power.step().await;
        Ok(())
    }
}

/// A ledger. It stores items as JSON, so that whatever does not serialize is lost here as well.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    /// How it behaves.
    pub mode: Mode<LedgerMode>,
    power: Power,
    items: Arc<Mutex<BTreeMap<String, String>>>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl MemoryLedger {
    /// Creates an empty ledger.
    pub fn new(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// All items, by key.
    pub fn items(&self) -> Vec<Item> {
        self.items.lock().unwrap().values().map(|item| serde_json::from_str(item).unwrap()).collect()
    }

    /// All calls, in order. They are what a message costs.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    /// Stores an item in a format that only a newer version can read.
    pub fn write_as_newer(&self, item: &Item) {
        let mut json = serde_json::to_value(item).unwrap();
        json["format"] = (FORMAT + 1).into();
        json["state"] = "a newer format".into();
        self.items.lock().unwrap().insert(item.key.to_string(), json.to_string());
    }

    /// Stores an item without a condition.
    pub fn restore(&self, item: &Item) {
        self.items.lock().unwrap().insert(item.key.to_string(), serde_json::to_string(item).unwrap());
    }

    async fn put(&self, name: &'static str, item: &Item, version: Option<u64>) -> Result<Write, StoreError> {
        self.power.step().await;
        self.calls.lock().unwrap().push(name);
        let mode = self.mode.get();
        match mode {
            LedgerMode::Down => return Err(StoreError::Passing("timeout".to_owned())),
            LedgerMode::Refuses(part) if item.key.as_str().contains(part) => {
                return Err(StoreError::Permanent("ValidationException".to_owned()));
            }
            LedgerMode::PanicsOn(part) => assert!(!item.key.as_str().contains(part), "the ledger is set to panic"),
            _ => {}
        }
        let mut written = self.put_if(item, version)?;
        if matches!(mode, LedgerMode::LosesReplies) {
            // The SDK's retry.
            written = self.put_if(item, version)?;
        }
        self.power.step().await;
        Ok(written)
    }

    fn put_if(&self, item: &Item, version: Option<u64>) -> Result<Write, StoreError> {
        let mut items = self.items.lock().unwrap();
        let found = items.get(item.key.as_str()).map(|found| read(found)).transpose()?;
        Ok(match found {
            None if version.is_some() => Write::Gone,
            Some(found) if version != Some(found.version) => Write::Found(Box::new(found)),
            _ => {
                items.insert(item.key.to_string(), serde_json::to_string(item).unwrap());
                Write::Stored
            }
        })
    }
}

/// Reads an item as the DynamoDB adapter does.
fn read(json: &str) -> Result<Item, StoreError> {
    let value: Value = serde_json::from_str(json).unwrap();
    if value["format"].as_u64().unwrap() > u64::from(FORMAT) {
        return Err(StoreError::Newer);
    }
    Ok(serde_json::from_str(json).unwrap())
}

impl Ledger for MemoryLedger {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.power.step().await;
        self.calls.lock().unwrap().push("get");
        if matches!(self.mode.get(), LedgerMode::Down) {
            return Err(StoreError::Passing("timeout".to_owned()));
        }
        self.items.lock().unwrap().get(key.as_str()).map(|item| read(item)).transpose()
    }

    async fn insert(&self, item: &Item) -> Result<Write, StoreError> {
        self.put("insert", item, None).await
    }

    async fn replace(&self, item: &Item, version: u64) -> Result<Write, StoreError> {
        self.put("replace", item, Some(version)).await
    }

    async fn clear(&self, key: &Key, events: &[String]) -> Result<(), StoreError> {
        self.power.step().await;
        self.calls.lock().unwrap().push("clear");
        if matches!(self.mode.get(), LedgerMode::Down | LedgerMode::CannotClear) {
            return Err(StoreError::Passing("timeout".to_owned()));
        }
        {
            let mut items = self.items.lock().unwrap();
            if let Some(text) = items.get_mut(key.as_str()) {
                let mut item: Item = serde_json::from_str(text).unwrap();
                item.outbox.retain(|id, _| !events.contains(id));
                item.version += 1;
                *text = serde_json::to_string(&item).unwrap();
            }
        }
        self.power.step().await;
        Ok(())
    }
}

/// A bus. It records every publication.
#[derive(Clone, Debug, Default)]
pub struct MemoryBus {
    /// How it behaves.
    pub mode: Mode<BusMode>,
    power: Power,
    published: Arc<Mutex<Vec<DomainEvent>>>,
}

impl MemoryBus {
    /// Creates an empty bus.
    pub fn new(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// All published events, in order.
    pub fn published(&self) -> Vec<DomainEvent> {
        self.published.lock().unwrap().clone()
    }
}

impl Bus for MemoryBus {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        self.power.step().await;
        let mode = self.mode.get();
        let mut results = Vec::new();
        for event in events {
            let refusal = match mode {
                BusMode::Working => None,
                BusMode::Down => Some(PublishError::Passing("InternalFailure".to_owned())),
                BusMode::Rejects(detail_type) => {
                    (event.detail_type == detail_type).then(|| PublishError::Passing("InternalFailure".to_owned()))
                }
                BusMode::RefusesPermanently(part) => {
                    event.detail.contains(part).then(|| PublishError::Permanent("MalformedDetail".to_owned()))
                }
                BusMode::PanicsOn(part) => {
                    assert!(!event.detail.contains(part), "the bus is set to panic");
                    None
                }
            };
            results.push(refusal.map_or(Ok(()), Err));
            if results.last().unwrap().is_ok() {
                self.published.lock().unwrap().push((*event).clone());
            }
        }
        self.power.step().await;
        results
    }
}
