//! Item: one subject as it is stored: its state, the events that are not known to be published, and its history.
//!
//! **Invariant:** an item is written whole, with what there is to publish about the change inside. There is no moment at
//! which a change is stored and its events are not.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};
use shared::{
    domain_event::CONFLICT,
    envelope::Delivery,
    lifecycle::{Kind, Stage},
};

use crate::{
    announce::{About, Announcement, announce},
    key::Key,
    state::State,
    update::Update,
};

/// The format of the items that are written. A greater number means a newer deployment.
///
/// Raise it with every new stage, mark or field: an older deployment cannot read them, or would drop them when it writes.
pub const FORMAT: u32 = 1;

/// How many changes are remembered. A payment has four or five; a plan that goes back and forth keeps its latest.
const MAX_HISTORY: usize = 50;

/// How many events may wait for the redelivery of their messages before the next delivery publishes them too. Messages that
/// have been deleted from the dead-letter queue are never redelivered.
const MANY_PENDING: usize = 25;

/// How long an unpublished event waits for the redelivery of its own message. A message lives for 4 days in the queue and for
/// 14 in the dead-letter queue. After that, the subject's next delivery publishes the event, even if it is a duplicate.
const MESSAGE_LIFETIME: SignedDuration = SignedDuration::from_hours(20 * 24);

/// How many may wait at most. More mean that the bus has been down for long: further deliveries wait in the queue.
const MAX_PENDING: usize = 100;

/// The most that the states beside waiting events may hold. A DynamoDB item holds 400 KB.
const MAX_PENDING_BYTES: usize = 200 * 1024;

/// One subject in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What identifies the subject.
    pub key: Key,
    /// The format of the item.
    pub format: u32,
    /// Grows with each change and each clearing of the outbox.
    pub version: u64,
    /// The first reference, for the index by reference. It never changes, so that the index is written once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The kind, for the index of open subjects. `None`: it is not open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// When its first webhook was received, for the same index.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "sortable")]
    pub since: Option<Timestamp>,
    /// What is known.
    pub state: State,
    /// Events that may not have been published, by id.
    pub outbox: BTreeMap<String, Pending>,
    /// The changes, oldest first.
    pub history: Vec<Entry>,
    /// How many older changes are not in the history any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgotten: u64,
}

/// A time with six digits after the second, always: its text sorts chronologically.
pub(crate) fn in_index(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
fn sortable<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(in_index).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An event that may not have been published. The rest of it is derived from the state and from the redelivered message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The type of the event.
    #[serde(rename = "type")]
    pub detail_type: String,
    /// The delivery that made the change, and publishes it.
    pub delivery: String,
    /// When that was received.
    pub received_at: Timestamp,
    /// The label of the token that it carried.
    pub token: String,
    /// A later delivery that publishes it instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over_by: Option<String>,
    /// The version that it is about.
    pub version: u64,
    /// The stage that it is about, unless that is the state's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The stage before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Stage>,
    /// An event of this type was published before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// The state that it is about, if the item's has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<State>>,
}

/// One change of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The stage that was observed.
    pub stage: Stage,
    /// Xendit's name of the event.
    pub event: String,
    /// When it happened, according to Xendit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When the webhook was received.
    pub received_at: Timestamp,
    /// The delivery that brought it.
    pub delivery: String,
    /// The label of the token that it carried.
    pub token: String,
    /// Whether it contradicted what was known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// Whether the change published nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

/// What an update does to an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the same fact again.
    Duplicate,
    /// Nothing: an older fact.
    Stale,
    /// Write this item.
    Write(Box<Item>),
}

/// The update is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// The token is bound to other accounts. Park the message: somebody may be forging webhooks.
    #[error("the webhook is about an account that its token is not bound to")]
    OtherAccount,
    /// The outbox is full. Retry after some of it is published.
    #[error("too many events of this subject wait to be published")]
    OutboxFull,
}

impl Item {
    /// What an update does to what is known.
    pub fn step(known: Option<&Self>, update: &Update) -> Result<Step, NotApplied> {
        let account = known.and_then(|item| item.state.account.as_ref());
        if !update.is_accepted_for(update.observation.account.as_ref()) || !update.is_accepted_for(account) {
            return Err(NotApplied::OtherAccount);
        }
        let seen = State::from(&update.observation);
        let after = match known {
            None => seen,
            Some(Self { state, .. }) => {
                let is_older = seen.compare(state).is_lt();
                let after = state.clone().merge(seen);
                if after == *state {
                    return Ok(if is_older { Step::Stale } else { Step::Duplicate });
                }
                after
            }
        };
        Self::after(known, update, after).map(|item| Step::Write(Box::new(item)))
    }

    fn after(known: Option<&Self>, update: &Update, after: State) -> Result<Self, NotApplied> {
        let announcements = announce(known.map(|item| &item.state), &after);
        let conflict = announcements.iter().any(|it| it.about == About::Conflict);
        let quiet = announcements.is_empty();
        let (key, version) = (update.key(), known.map_or(1, |item| item.version + 1));
        let mut outbox = known.map(|item| item.outbox_before(&update.delivery.id)).unwrap_or_default();
        for announcement in announcements {
            let id = event_id(&key, announcement.about.detail_type(), &after);
            outbox.insert(id, Pending::of(announcement, &after, update, version));
        }
        if outbox.len() > MAX_PENDING {
            return Err(NotApplied::OutboxFull);
        }
        let seen = &update.observation;
        let mut next = Self {
            key,
            format: FORMAT,
            version,
            reference: after.reference.first().cloned(),
            open: after.stage.is_open().then(|| after.stage.kind().as_str().to_owned()),
            since: after.stage.is_open().then(|| known.map_or(update.delivery.received_at, Self::heard_of_since)),
            state: after,
            outbox,
            history: known.map(|item| item.history.clone()).unwrap_or_default(),
            forgotten: known.map_or(0, |item| item.forgotten),
        };
        next.remember(Entry {
            stage: seen.stage,
            event: seen.event.clone(),
            occurred_at: seen.occurred_at,
            received_at: update.delivery.received_at,
            delivery: update.delivery.id.clone(),
            token: update.delivery.token.clone(),
            conflict,
            quiet,
        });
        Ok(next)
    }

    /// The outbox before a delivery's change. Each event about the current state gets a copy of that state; if the copy does
    /// not fit, the event is built from a later state.
    fn outbox_before(&self, delivery: &str) -> BTreeMap<String, Pending> {
        let mut outbox = self.outbox.clone();
        let (is_crowded, mut bytes) = (outbox.len() >= MANY_PENDING, json(&outbox).len());
        for pending in outbox.values_mut() {
            if is_crowded && pending.publisher() != delivery {
                pending.taken_over_by = Some(delivery.to_owned());
            }
            if pending.state.is_none() {
                bytes += json(&self.state).len();
                pending.state = (bytes <= MAX_PENDING_BYTES).then(|| Box::new(self.state.clone()));
            }
        }
        outbox
    }

    fn heard_of_since(&self) -> Timestamp {
        self.since.or_else(|| self.history.first().map(|entry| entry.received_at)).unwrap_or_default()
    }

    fn remember(&mut self, entry: Entry) {
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..surplus);
        self.forgotten += surplus as u64;
    }

    /// The unpublished events that a delivery publishes: its own, and those whose own message has expired. In the order in
    /// which they happened: money before what came after it, and a conflict last.
    pub fn pending_of(&self, delivery: &Delivery) -> Vec<(&str, &Pending)> {
        let is_of_it = |it: &Pending| it.publisher() == delivery.id || it.is_abandoned_at(delivery.received_at);
        let of_it = self.outbox.iter().filter(|(_, it)| is_of_it(it));
        let mut pending: Vec<_> = of_it.map(|(id, it)| (id.as_str(), it)).collect();
        pending.sort_by_key(|(_, it)| (it.version, it.detail_type == CONFLICT, it.stage.is_none()));
        pending
    }

    /// Whether the change that a delivery made contradicted what was known.
    pub fn is_conflict_of(&self, delivery: &str) -> bool {
        self.history.iter().any(|entry| entry.conflict && entry.delivery == delivery)
    }

    /// The kind of the subject.
    pub fn kind(&self) -> Kind {
        self.state.stage.kind()
    }
}

impl Pending {
    fn of(announcement: Announcement, after: &State, update: &Update, version: u64) -> Self {
        let Announcement { about, previous, update: is_update } = announcement;
        let stage = match about {
            About::Stage(stage) if stage != after.stage => Some(stage),
            About::Stage(_) | About::Conflict => None,
        };
        Self {
            detail_type: about.detail_type().to_owned(),
            delivery: update.delivery.id.clone(),
            received_at: update.delivery.received_at,
            token: update.delivery.token.clone(),
            taken_over_by: None,
            version,
            stage,
            previous,
            update: is_update,
            state: None,
        }
    }

    /// The delivery that publishes it.
    pub fn publisher(&self) -> &str {
        self.taken_over_by.as_ref().unwrap_or(&self.delivery)
    }

    /// Whether no message can be redelivered any more that would publish it.
    fn is_abandoned_at(&self, now: Timestamp) -> bool {
        now.duration_since(self.received_at) > MESSAGE_LIFETIME
    }
}

/// The id of an event: derived from the subject and the state it has reached. States only grow, so one transition has one
/// id, and no two transitions share one.
fn event_id(key: &Key, detail_type: &str, state: &State) -> String {
    let mut hasher = Sha256::new();
    for part in [key.as_str(), detail_type] {
        hasher.update(part);
        hasher.update([0]);
    }
    hasher.update(json(state));
    hex::encode(hasher.finalize().get(..16).unwrap_or_default())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "strings and numbers under string keys always serialise")]
    serde_json::to_vec(value).expect("it is always JSON")
}

#[cfg(test)]
mod tests;
