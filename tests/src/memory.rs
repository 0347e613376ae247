//! Memory: the functions' ports in memory, over the AWS of `aws`, for the stories. A story switches each port's mode, and cuts
//! the power.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
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
use shared::{
    domain_event::DomainEvent,
    envelope::{Envelope, MAX_QUEUED_BYTES},
};

use crate::{
    aws::{Bucket, Message, Sqs, Table},
    faults::{BusMode, Clock, InboxMode, LedgerMode, Mode, Power, QueueMode, SourceMode},
};

/// A queue with its dead-letter queue.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue {
    /// How it accepts new messages.
    pub mode: Mode<QueueMode>,
    clock: Clock,
    power: Power,
    sqs: Arc<Mutex<Sqs>>,
}

impl MemoryQueue {
    /// Creates an empty queue.
    pub fn new(clock: Clock, power: Power) -> Self {
        Self { clock, power, ..Self::default() }
    }

    /// Sends a message with any body, and returns its id.
    pub fn put(&self, body: &str) -> String {
        self.sqs.lock().unwrap().send(body.into(), self.clock.now())
    }

    /// Receives up to `max` visible messages, oldest first.
    pub fn receive(&self, max: usize) -> Option<Vec<Message>> {
        let now = self.clock.now();
        let mut sqs = self.sqs.lock().unwrap();
        sqs.expire(now);
        sqs.move_exhausted(now);
        let visible = sqs.visible(now).into_iter().take(max);
        let batch: Vec<_> = visible.map(|place| sqs.receive(place, now)).collect();
        (!batch.is_empty()).then_some(batch)
    }

    /// Deletes the messages that a response does not name, as Lambda does. `None`: the function failed.
    pub fn apply_response(&self, batch: &[Message], response: Option<&str>) {
        let ids: Vec<_> = batch.iter().map(|message| &*message.id).collect();
        let failed = poller::messages_to_retry(&ids, response.map(str::as_bytes));
        for id in ids.iter().filter(|id| !failed.contains(*id)) {
            self.sqs.lock().unwrap().delete(id);
        }
    }

    /// How many messages it holds, visible or not.
    pub fn depth(&self) -> usize {
        self.sqs.lock().unwrap().messages.len()
    }

    /// When the next message becomes visible.
    pub fn next_visible_at(&self) -> Option<Timestamp> {
        self.sqs.lock().unwrap().next_visible_at()
    }

    /// The dead letters.
    pub fn dead_letters(&self) -> Vec<Message> {
        self.sqs.lock().unwrap().dead_letters.clone()
    }

    /// Moves the dead letters back to the queue, as new messages.
    pub fn redrive(&self) {
        let letters = std::mem::take(&mut self.sqs.lock().unwrap().dead_letters);
        for letter in letters {
            self.put(&letter.body);
        }
    }
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
    bucket: Arc<Mutex<Bucket>>,
}

impl MemoryInbox {
    /// Creates an empty bucket that notifies a queue.
    pub fn new(queue: MemoryQueue) -> Self {
        Self { mode: Mode::default(), queue, bucket: Arc::default() }
    }

    /// How many objects it holds.
    pub fn depth(&self) -> usize {
        self.bucket.lock().unwrap().objects.len()
    }

    /// Deletes all objects, as the lifecycle rule does.
    pub fn expire(&self) {
        self.bucket.lock().unwrap().objects.clear();
    }
}

impl receiver::inbox::Inbox for MemoryInbox {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        self.queue.power.step().await;
        if matches!(self.mode.get(), InboxMode::Down) {
            return Err(NotStored::Unreachable("timeout"));
        }
        let key = format!("webhooks/{}", envelope.delivery.id);
        let notification = self.bucket.lock().unwrap().put(&key, envelope.seal().into());
        self.queue.put(&notification);
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
            return Err(NotFetched::Transient("timeout".to_owned()));
        }
        let bucket = self.bucket.lock().unwrap();
        bucket.objects.get(&claim.key).map(ToString::to_string).ok_or(NotFetched::Permanent("the object is gone"))
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
        let mut sqs = self.queue.sqs.lock().unwrap();
        let kept = sqs.change_visibility(&message.receipt_handle, delay, self.queue.clock.now()).unwrap();
        assert_eq!((message.receipt_handle.as_str(), &message.id), (&*kept.receipt_handle(), &kept.id));
        Ok(())
    }

    async fn park(&self, message: &processor::message::Message, reason: &str) -> Result<(), SourceError> {
        self.queue.power.step().await;
        self.panic_if_set(message);
        if matches!(self.mode.get(), SourceMode::CannotPark) {
            return Err(SourceError("timeout".to_owned()));
        }
        let body = message.body.as_str().into();
        self.queue.sqs.lock().unwrap().send_to_dead_letters(body, reason, self.queue.clock.now());
        self.queue.power.step().await;
        Ok(())
    }
}

/// A ledger.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    /// How it behaves.
    pub mode: Mode<LedgerMode>,
    power: Power,
    table: Arc<Mutex<Table>>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl MemoryLedger {
    /// Creates an empty ledger.
    pub fn new(power: Power) -> Self {
        Self { power, ..Self::default() }
    }

    /// All items, by key.
    pub fn items(&self) -> Vec<Item> {
        self.table.lock().unwrap().items.values().cloned().collect()
    }

    /// All calls, in order. They are what a message costs.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    /// Stores an item as one of a newer format, which cannot be read.
    pub fn write_as_newer(&self, item: &Item) {
        self.restore(&Item { format: FORMAT + 1, ..item.clone() });
    }

    /// Stores an item without a condition.
    pub fn restore(&self, item: &Item) {
        self.table.lock().unwrap().items.insert(item.key.to_string(), item.clone());
    }

    async fn put(&self, name: &'static str, item: &Item, version: Option<u64>) -> Result<Write, StoreError> {
        self.power.step().await;
        self.calls.lock().unwrap().push(name);
        let mode = self.mode.get();
        match mode {
            LedgerMode::Down => return Err(StoreError::Transient("timeout".to_owned())),
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
        // What does not serialise is lost here as well.
        let stored = serde_json::from_str(&serde_json::to_string(item).unwrap()).unwrap();
        Ok(match self.table.lock().unwrap().put(&stored, version).0 {
            Write::Found(found) => Write::Found(Box::new(read(*found)?)),
            write => write,
        })
    }
}

/// Refuses an item in a newer format, as the DynamoDB adapter does.
fn read(item: Item) -> Result<Item, StoreError> {
    if item.format > FORMAT { Err(StoreError::Newer) } else { Ok(item) }
}

impl Ledger for MemoryLedger {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.power.step().await;
        self.calls.lock().unwrap().push("get");
        if matches!(self.mode.get(), LedgerMode::Down) {
            return Err(StoreError::Transient("timeout".to_owned()));
        }
        self.table.lock().unwrap().items.get(key.as_str()).cloned().map(read).transpose()
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
            return Err(StoreError::Transient("timeout".to_owned()));
        }
        self.table.lock().unwrap().clear(key, events);
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
                BusMode::Down => Some(PublishError::Transient("InternalFailure".to_owned())),
                BusMode::Rejects(detail_type) => {
                    (event.detail_type == detail_type).then(|| PublishError::Transient("InternalFailure".to_owned()))
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
