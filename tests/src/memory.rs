//! The ports in memory. Each keeps its promises as AWS documents them: conditional writes that return what is there,
//! a bus that answers 200 with failed entries, a queue with visibility, receive counts and a redrive policy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    bus::{Bus, Refusal},
    item::{FORMAT, Item},
    key::Key,
    store::{Ledger, StoreError, Write},
};
use processor::{
    inbox::{Claim, NotFetched},
    source::{Source, SourceError},
};
use receiver::queue::{NotStored, Queue};
use serde_json::{Value, json};
use shared::{
    domain_event::DomainEvent,
    envelope::{Envelope, MAX_QUEUED_BYTES},
};

use crate::trouble::{BusMood, Clock, InboxMood, LedgerMood, Mood, Power, QueueMood, SourceMood};

/// As in the template.
const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);

/// As in the template.
const MAX_RECEIVE_COUNT: u32 = 10;

/// A queue with its dead-letter queue.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue {
    /// How it takes new messages.
    pub mood: Mood<QueueMood>,
    clock: Clock,
    power: Power,
    messages: Arc<Mutex<Vec<Message>>>,
    dead: Arc<Mutex<Vec<Parked>>>,
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
pub struct Parked {
    /// Its body, as it was in the queue.
    pub body: String,
    /// Why the processor parked it; nothing when the queue moved it by itself.
    pub reason: Option<String>,
}

/// Messages as Lambda hands them out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event, as Lambda writes it.
    pub event: String,
    ids: Vec<String>,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new(clock: Clock, power: Power) -> Self {
        Self { clock, power, ..Self::default() }
    }

    /// Puts a message in, whatever it holds.
    pub fn put(&self, body: &str) -> String {
        let mut ids = self.ids.lock().unwrap();
        *ids += 1;
        let id = format!("message-{ids}");
        let message = Message { id: id.clone(), body: body.to_owned(), receive_count: 0, visible_at: self.clock.now() };
        self.messages.lock().unwrap().push(message);
        id
    }

    /// Hands out up to `max` visible messages, as the poller does. Those that came too often go to the dead letters.
    pub fn receive(&self, max: usize) -> Option<Delivery> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap();
        let (worn_out, rest) = std::mem::take(&mut *messages)
            .into_iter()
            .partition(|message| message.visible_at <= now && message.receive_count >= MAX_RECEIVE_COUNT);
        *messages = rest;
        let worn_out: Vec<Message> = worn_out;
        self.dead
            .lock()
            .unwrap()
            .extend(worn_out.into_iter().map(|message| Parked { body: message.body, reason: None }));
        let mut taken = Vec::new();
        for message in messages.iter_mut().filter(|message| message.visible_at <= now).take(max) {
            message.receive_count += 1;
            message.visible_at = now.checked_add(VISIBILITY_TIMEOUT).unwrap();
            taken.push(message.clone());
        }
        let ids = taken.iter().map(|message| message.id.clone()).collect();
        let records: Vec<_> = taken.iter().map(record).collect();
        (!taken.is_empty()).then(|| Delivery { event: json!({ "Records": records }).to_string(), ids })
    }

    /// Ends a delivery as Lambda does, by the bytes of the function's answer, or `None` where there was none.
    pub fn settle(&self, delivery: &Delivery, answer: Option<&str>) {
        let ids: Vec<_> = delivery.ids.iter().map(String::as_str).collect();
        let again = poller::come_again(&ids, answer.map(str::as_bytes));
        let done = |message: &Message| ids.contains(&&*message.id) && !again.contains(&*message.id);
        self.messages.lock().unwrap().retain(|message| !done(message));
    }

    /// How many messages there are, visible or not.
    pub fn depth(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    /// When the next message becomes visible.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.messages.lock().unwrap().iter().map(|message| message.visible_at).min()
    }

    /// The dead letters.
    pub fn dead(&self) -> Vec<Parked> {
        self.dead.lock().unwrap().clone()
    }

    /// Moves the dead letters back, as a redrive does: as new messages.
    pub fn redrive(&self) -> usize {
        let dead = std::mem::take(&mut *self.dead.lock().unwrap());
        for parked in &dead {
            self.put(&parked.body);
        }
        dead.len()
    }
}

/// A record as SQS hands it to Lambda.
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
        match self.mood.get() {
            _ if body.len() > MAX_QUEUED_BYTES => return Err(NotStored::TooLarge { bytes: body.len() }),
            QueueMood::Refuses => return Err(NotStored::Refused("ServiceUnavailable".to_owned())),
            QueueMood::LosesReplies => {
                self.put(&body);
                return Err(NotStored::Unreachable("timeout"));
            }
            QueueMood::Well => {}
        }
        self.put(&body);
        self.power.step().await;
        Ok(())
    }
}

/// A bucket that tells a queue of each object that is put into it.
#[derive(Clone, Debug)]
pub struct MemoryInbox {
    /// How it is doing.
    pub mood: Mood<InboxMood>,
    queue: MemoryQueue,
    objects: Arc<Mutex<BTreeMap<String, String>>>,
}

impl MemoryInbox {
    /// An empty bucket that tells a queue.
    pub fn new(queue: MemoryQueue) -> Self {
        Self { mood: Mood::default(), queue, objects: Arc::default() }
    }

    /// How many objects it holds.
    pub fn depth(&self) -> usize {
        self.objects.lock().unwrap().len()
    }

    /// Deletes everything, as the lifecycle rule does in the end.
    pub fn expire(&self) {
        self.objects.lock().unwrap().clear();
    }
}

impl receiver::inbox::Inbox for MemoryInbox {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        self.queue.power.step().await;
        if matches!(self.mood.get(), InboxMood::Down) {
            return Err(NotStored::Unreachable("timeout"));
        }
        let key = format!("webhooks/{}", envelope.delivery.id);
        self.objects.lock().unwrap().insert(key.clone(), envelope.seal());
        let s3 = json!({ "bucket": { "name": "inbox" }, "object": { "key": key } });
        self.queue.put(&json!({ "Records": [{ "eventSource": "aws:s3", "s3": s3 }] }).to_string());
        self.queue.power.step().await;
        match self.mood.get() {
            InboxMood::LosesReplies => Err(NotStored::Unreachable("timeout")),
            InboxMood::Well | InboxMood::Down => Ok(()),
        }
    }
}

impl processor::inbox::Inbox for MemoryInbox {
    async fn fetch(&self, claim: &Claim) -> Result<String, NotFetched> {
        self.queue.power.step().await;
        if matches!(self.mood.get(), InboxMood::Down) {
            return Err(NotFetched::Passing("timeout".to_owned()));
        }
        let objects = self.objects.lock().unwrap();
        objects.get(&claim.key).cloned().ok_or(NotFetched::Permanent("the object is gone"))
    }
}

/// What a processor may do with the messages of a `MemoryQueue`.
#[derive(Clone, Debug)]
pub struct MemorySource {
    /// How the queue takes messages back.
    pub mood: Mood<SourceMood>,
    queue: MemoryQueue,
    delays: Arc<Mutex<Vec<Duration>>>,
}

impl MemorySource {
    /// The messages of a queue.
    pub fn new(queue: MemoryQueue) -> Self {
        Self { mood: Mood::default(), queue, delays: Arc::default() }
    }

    /// The delays that were asked for, in order.
    pub fn delays(&self) -> Vec<Duration> {
        self.delays.lock().unwrap().clone()
    }

    fn panic_if_told(&self, message: &processor::message::Message) {
        if let SourceMood::PanicsOn(part) = self.mood.get() {
            assert!(!message.body.contains(part), "the source was told to panic");
        }
    }
}

impl Source for MemorySource {
    async fn postpone(&self, message: &processor::message::Message, delay: Duration) -> Result<(), SourceError> {
        self.queue.power.step().await;
        self.panic_if_told(message);
        if matches!(self.mood.get(), SourceMood::CannotPostpone) {
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
        self.panic_if_told(message);
        if matches!(self.mood.get(), SourceMood::CannotPark) {
            return Err(SourceError("timeout".to_owned()));
        }
        let parked = Parked { body: message.body.clone(), reason: Some(reason.to_owned()) };
        self.queue.dead.lock().unwrap().push(parked);
        self.queue.power.step().await;
        Ok(())
    }
}

/// A ledger. Items are kept as JSON, so that what comes back is what can be written down.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    /// How it is doing.
    pub mood: Mood<LedgerMood>,
    power: Power,
    items: Arc<Mutex<BTreeMap<String, String>>>,
    writes: Arc<Mutex<Vec<&'static str>>>,
}

impl MemoryLedger {
    /// An empty ledger.
    pub fn new(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// All items, by key.
    pub fn items(&self) -> Vec<Item> {
        self.items.lock().unwrap().values().map(|item| serde_json::from_str(item).unwrap()).collect()
    }

    /// The calls that were made, in order: what a message costs.
    pub fn calls(&self) -> Vec<&'static str> {
        self.writes.lock().unwrap().clone()
    }

    /// Puts an item in as a newer deployment would write it.
    pub fn write_as_newer(&self, item: &Item) {
        let mut json = serde_json::to_value(item).unwrap();
        json["format"] = (FORMAT + 1).into();
        json["state"] = "of another form".into();
        self.items.lock().unwrap().insert(item.key.to_string(), json.to_string());
    }

    async fn put(&self, name: &'static str, item: &Item, version: Option<u64>) -> Result<Write, StoreError> {
        self.power.step().await;
        self.writes.lock().unwrap().push(name);
        let mood = self.mood.get();
        match mood {
            LedgerMood::Down => return Err(StoreError::Passing("timeout".to_owned())),
            LedgerMood::Refuses(part) if item.key.as_str().contains(part) => {
                return Err(StoreError::Permanent("ValidationException".to_owned()));
            }
            LedgerMood::PanicsOn(part) => assert!(!item.key.as_str().contains(part), "the ledger was told to panic"),
            _ => {}
        }
        let mut written = self.put_if(item, version)?;
        if matches!(mood, LedgerMood::LosesReplies) {
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

/// Reads an item as the adapter for DynamoDB does.
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
        self.writes.lock().unwrap().push("get");
        if matches!(self.mood.get(), LedgerMood::Down) {
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
        self.writes.lock().unwrap().push("clear");
        if matches!(self.mood.get(), LedgerMood::Down | LedgerMood::CannotClear) {
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

/// A bus. What is published stays in it, each time it is published.
#[derive(Clone, Debug, Default)]
pub struct MemoryBus {
    /// How it is doing.
    pub mood: Mood<BusMood>,
    power: Power,
    published: Arc<Mutex<Vec<DomainEvent>>>,
}

impl MemoryBus {
    /// A bus that nothing has been published on.
    pub fn new(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// What has been published, in order.
    pub fn published(&self) -> Vec<DomainEvent> {
        self.published.lock().unwrap().clone()
    }
}

impl Bus for MemoryBus {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), Refusal>> {
        self.power.step().await;
        let mood = self.mood.get();
        let mut results = Vec::new();
        for event in events {
            let refusal = match mood {
                BusMood::Well => None,
                BusMood::Down => Some(Refusal::Passing("InternalFailure".to_owned())),
                BusMood::Rejects(detail_type) => {
                    (event.detail_type == detail_type).then(|| Refusal::Passing("InternalFailure".to_owned()))
                }
                BusMood::RefusesForGood(part) => {
                    event.detail.contains(part).then(|| Refusal::Permanent("MalformedDetail".to_owned()))
                }
                BusMood::PanicsOn(part) => {
                    assert!(!event.detail.contains(part), "the bus was told to panic");
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
