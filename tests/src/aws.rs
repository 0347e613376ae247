//! AWS: SQS, S3 and DynamoDB as plain data, set up as in the template. They behave as AWS documents, and never fail: the
//! stories (`memory`) and the simulator (`sim`) put failures and the functions' ports on top. The time is an argument.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_sdk_sqs::types::{self, MessageSystemAttributeName};
use jiff::{SignedDuration, Timestamp};
use ledger::{item::Item, key::Key, store::Write};
use serde_json::json;

// As in the template.
const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);
const MAX_RECEIVE_COUNT: u32 = 10;
const RETENTION: SignedDuration = SignedDuration::from_hours(4 * 24);
const DEAD_LETTER_RETENTION: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The most messages in one of Lambda's events.
pub const BATCH: usize = 10;

/// The webhook queue with its dead-letter queue.
#[derive(Debug, Default)]
pub struct Sqs {
    /// The messages, visible or not.
    pub messages: Vec<Message>,
    /// The messages in the dead-letter queue.
    pub dead_letters: Vec<Message>,
    sent: u32,
}

/// A message in one of the queues.
#[derive(Clone, Debug)]
pub struct Message {
    /// SQS's id of it.
    pub id: String,
    /// The body.
    pub body: Arc<str>,
    /// The attribute `reason` of a dead letter. `None`: SQS moved it after too many receives.
    pub reason: Option<String>,
    /// How often it was received.
    pub receives: u32,
    /// When it was sent, which decides when it expires.
    pub sent_at: Timestamp,
    /// When it is visible again.
    pub visible_at: Timestamp,
}

impl Sqs {
    /// Sends a message, and returns its id.
    pub fn send(&mut self, body: Arc<str>, now: Timestamp) -> String {
        let message = self.message(body, None, now);
        let id = message.id.clone();
        self.messages.push(message);
        id
    }

    /// Sends a message to the dead-letter queue, and returns its id.
    pub fn send_to_dead_letters(&mut self, body: Arc<str>, reason: &str, now: Timestamp) -> String {
        let message = self.message(body, Some(reason.to_owned()), now);
        let id = message.id.clone();
        self.dead_letters.push(message);
        id
    }

    fn message(&mut self, body: Arc<str>, reason: Option<String>, now: Timestamp) -> Message {
        self.sent += 1;
        Message { id: format!("m-{}", self.sent), body, reason, receives: 0, sent_at: now, visible_at: now }
    }

    /// Deletes what has been in its queue for too long, and returns it.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Message> {
        let queues = [(&mut self.messages, RETENTION), (&mut self.dead_letters, DEAD_LETTER_RETENTION)];
        let expire = |(queue, retention): (&mut Vec<Message>, _)| {
            queue.extract_if(.., |message| now.duration_since(message.sent_at) > retention).collect::<Vec<_>>()
        };
        queues.into_iter().flat_map(expire).collect()
    }

    /// Moves what was received too often to the dead-letter queue, where it keeps its id and its age. Returns it.
    pub fn move_exhausted(&mut self, now: Timestamp) -> Vec<Message> {
        let is_exhausted = |message: &mut Message| message.visible_at <= now && message.receives >= MAX_RECEIVE_COUNT;
        let exhausted: Vec<_> = self.messages.extract_if(.., is_exhausted).collect();
        self.dead_letters.extend_from_slice(&exhausted);
        exhausted
    }

    /// The places of the visible messages.
    pub fn visible(&self, now: Timestamp) -> Vec<usize> {
        (0..self.messages.len()).filter(|place| self.messages[*place].visible_at <= now).collect()
    }

    /// Receives the message at a place. It is invisible from now on.
    pub fn receive(&mut self, place: usize, now: Timestamp) -> Message {
        let message = &mut self.messages[place];
        message.receives += 1;
        message.visible_at = now + VISIBILITY_TIMEOUT;
        message.clone()
    }

    /// Makes the message of a receipt handle visible after a delay. `None`: there is no such message any more.
    pub fn change_visibility(&mut self, receipt_handle: &str, delay: Duration, now: Timestamp) -> Option<&Message> {
        let (id, _) = receipt_handle.split_once('/')?;
        let message = self.messages.iter_mut().find(|message| message.id == id)?;
        message.visible_at = now + SignedDuration::try_from(delay).unwrap();
        Some(message)
    }

    /// Deletes a message, and returns it if it was still there.
    pub fn delete(&mut self, id: &str) -> Option<Message> {
        let place = self.messages.iter().position(|message| message.id == id)?;
        Some(self.messages.remove(place))
    }

    /// When the next message becomes visible.
    pub fn next_visible_at(&self) -> Option<Timestamp> {
        self.messages.iter().map(|message| message.visible_at).min()
    }
}

impl Message {
    /// Identifies one receive of the message.
    pub fn receipt_handle(&self) -> String {
        format!("{}/{}", self.id, self.receives)
    }
}

/// Lambda's event for received messages.
pub fn event(batch: &[Message]) -> String {
    let received = |message: &Message| {
        types::Message::builder()
            .message_id(&message.id)
            .receipt_handle(message.receipt_handle())
            .body(&*message.body)
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, message.receives.to_string())
            .attributes(MessageSystemAttributeName::SentTimestamp, message.sent_at.as_millisecond().to_string())
            .build()
    };
    poller::event(&batch.iter().map(received).collect::<Vec<_>>())
}

/// A bucket that notifies the queue of each new object.
#[derive(Debug, Default)]
pub struct Bucket {
    /// The objects, by key.
    pub objects: BTreeMap<String, Arc<str>>,
}

impl Bucket {
    /// Stores an object, and returns S3's notification of it.
    pub fn put(&mut self, key: &str, text: Arc<str>) -> Arc<str> {
        self.objects.insert(key.to_owned(), text);
        let s3 = json!({ "bucket": { "name": "inbox" }, "object": { "key": key } });
        json!({ "Records": [{ "eventSource": "aws:s3", "s3": s3 }] }).to_string().into()
    }
}

/// The ledger's table.
#[derive(Debug, Default)]
pub struct Table {
    /// The items, by key.
    pub items: BTreeMap<String, Item>,
}

impl Table {
    /// Stores an item on the condition that the stored one has this version. `None`: that there is none. Also returns the
    /// item that it replaced.
    pub fn put(&mut self, item: &Item, version: Option<u64>) -> (Write, Option<Item>) {
        match self.items.get(item.key.as_str()) {
            None if version.is_some() => (Write::Gone, None),
            Some(found) if version != Some(found.version) => (Write::Found(Box::new(found.clone())), None),
            _ => (Write::Stored, self.items.insert(item.key.to_string(), item.clone())),
        }
    }

    /// Removes events from an item's outbox, if there is an item, and increments its version.
    pub fn clear(&mut self, key: &Key, events: &[String]) {
        if let Some(item) = self.items.get_mut(key.as_str()) {
            item.outbox.retain(|id, _| !events.contains(id));
            item.version += 1;
        }
    }
}
