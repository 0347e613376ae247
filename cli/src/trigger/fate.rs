//! Fate: learns what became of a delivery from what a stack stores: the ledger, the two queues.
//!
//! A delivery that changed something is in the history of its subject. One that changed nothing leaves no trace: the ledger
//! held all it says, or more, and no message waits any more. One that could not be processed is in the dead-letter queue.
//!
//! **Invariant:** a fate is never assumed. What is not seen in time is "still queued".

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::QueueAttributeName::{
    self, ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible,
};
use jiff::Timestamp;
use ledger::{
    dynamo::DynamoLedger,
    item::{Item, Step},
    key::Key,
    store::Ledger as _,
    update::Update,
};
use serde::Serialize;
use shared::{
    envelope::{Delivery, Environment},
    topic::Topic,
    webhook::Webhook,
};

use crate::{dlq::DeadLetters, stack::Stack};

/// How long a webhook may take. The local stack takes less than a second, a deployed one after a cold start two.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(100);

/// For how long the webhook queue must be empty before the dead-letter queue is looked into: what parked a message is to have
/// finished its work.
const QUIET: Duration = Duration::from_millis(500);

/// How often the dead-letter queue is looked into if the webhook queue is never empty.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What became of a webhook.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", content = "reason", rename_all = "snake_case")]
pub(super) enum Fate {
    /// It changed what is known.
    Applied,
    /// It contradicts what was known, and both is kept.
    Conflict,
    /// It is kept, and was not recognised.
    Unknown(String),
    /// All that it says was known.
    Duplicate,
    /// What is known is newer.
    OlderNews,
    /// It is in the dead-letter queue.
    Parked(String),
    /// The stack did not take it.
    Refused(String),
    /// It was taken, and no result was seen in time.
    StillQueued(Option<String>),
    /// It was taken. Nobody looked further, or nobody could.
    Taken(String),
}

impl Fate {
    /// The fate in a word or two.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Conflict => "conflict",
            Self::Unknown(_) => "unknown",
            Self::Duplicate => "duplicate",
            Self::OlderNews => "older news",
            Self::Parked(_) => "parked",
            Self::Refused(_) => "refused",
            Self::StillQueued(_) => "still queued",
            Self::Taken(_) => "taken",
        }
    }

    /// More about it.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Applied | Self::Conflict | Self::Duplicate | Self::OlderNews => None,
            Self::Unknown(why) | Self::Parked(why) | Self::Refused(why) | Self::Taken(why) => Some(why),
            Self::StillQueued(why) => why.as_deref(),
        }
    }
}

/// A domain event about the change that a delivery made.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) detail_type: String,
    pub(super) id: String,
    /// It adds to an event of this type that was published before.
    pub(super) update: bool,
    /// It is in the outbox, and not known to be published.
    pub(super) waits: bool,
}

/// What was learned about a delivery.
pub(super) struct Learned {
    pub(super) fate: Fate,
    /// `None`: it is not known what was published, as while a webhook waits, or when somebody else changed the subject at the
    /// same moment.
    pub(super) events: Option<Vec<Event>>,
}

impl From<Fate> for Learned {
    fn from(fate: Fate) -> Self {
        let events = match fate {
            Fate::StillQueued(_) | Fate::Taken(_) => None,
            _ => Some(Vec::new()),
        };
        Self { fate, events }
    }
}

/// A webhook whose fate is to be learned.
pub(super) struct Sent<'a> {
    pub(super) body: &'a [u8],
    pub(super) topic: Option<Topic>,
}

/// Looks into a stack.
pub(super) struct Watch {
    ledger: DynamoLedger,
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    dead_letters: DeadLetters,
}

impl Watch {
    pub(super) async fn new(stack: &Stack) -> Self {
        let aws = stack.aws().await;
        Self {
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&aws), stack.table.clone()),
            sqs: aws_sdk_sqs::Client::new(&aws),
            queue_url: stack.queue_url.clone(),
            dead_letters: DeadLetters::new(&aws, stack.dlq_url.clone()),
        }
    }

    /// The subject of a webhook before it is sent.
    pub(super) async fn before(&self, sent: &Sent<'_>) -> Result<Option<Item>> {
        Ok(self.find(sent, "").await?.map(|(item, _)| item))
    }

    /// Waits for the fate of a delivery.
    pub(super) async fn fate(&self, sent: &Sent<'_>, delivery: &str, before: Option<&Item>) -> Result<Learned> {
        let start = Instant::now();
        let (mut quiet_since, mut looked) = (None, start);
        loop {
            let found = self.find(sent, delivery).await?;
            let is_last = start.elapsed() > PATIENCE;
            if let Some((item, update)) = &found
                && let Some(learned) = changed(item, update, before)
                && (is_last || learned.events.iter().flatten().all(|event| !event.waits))
            {
                return Ok(learned);
            }
            let known = found.and_then(|(item, update)| nothing_new(&item, &update));
            if self.is_queue_empty().await? {
                if let Some(fate) = known {
                    return Ok(fate.into());
                }
                quiet_since = quiet_since.or(Some(Instant::now()));
            } else {
                quiet_since = None;
            }
            let is_quiet = quiet_since.is_some_and(|since: Instant| since.elapsed() > QUIET);
            if is_last || (is_quiet && looked.elapsed() > QUIET) || looked.elapsed() > LOOK_INTERVAL {
                if let Some(reason) = self.dead_letters.reason(delivery).await? {
                    return Ok(Fate::Parked(reason).into());
                }
                looked = Instant::now();
            }
            if is_last {
                let why = known.map(|_| "it says nothing new, but the queue is not empty".to_owned());
                return Ok(Fate::StillQueued(why).into());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The subject of a webhook as it is in the ledger, and what the delivery says about it. `None`: the ledger does not know
    /// it, or the body cannot be read.
    async fn find(&self, sent: &Sent<'_>, delivery: &str) -> Result<Option<(Item, Update)>> {
        let Ok(webhook) = Webhook::parse(sent.body, sent.topic.as_ref()) else { return Ok(None) };
        for environment in [Environment::Test, Environment::Live] {
            let delivery = Delivery {
                id: delivery.to_owned(),
                received_at: Timestamp::now(),
                environment,
                token: String::new(),
                topic: sent.topic.clone(),
                webhook_id: None,
                api_version: None,
                content_type: None,
            };
            let update = Update::new(&webhook, delivery);
            let key: Key = update.key();
            if let Some(item) = self.ledger.get(&key).await? {
                return Ok(Some((item, update)));
            }
        }
        Ok(None)
    }

    async fn is_queue_empty(&self) -> Result<bool> {
        const COUNTS: [QueueAttributeName; 3] =
            [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ApproximateNumberOfMessagesDelayed];
        let call = self.sqs.get_queue_attributes().queue_url(&self.queue_url);
        let answer = call.set_attribute_names(Some(COUNTS.to_vec())).send().await.map_err(aws_sdk_sqs::Error::from);
        let counts = answer.context("cannot count the messages in the webhook queue")?.attributes.unwrap_or_default();
        Ok(COUNTS.iter().all(|count| counts.get(count).is_none_or(|count| count == "0")))
    }
}

/// The fate of a delivery that is in the history of its subject.
fn changed(item: &Item, update: &Update, before: Option<&Item>) -> Option<Learned> {
    let delivery = &update.delivery.id;
    let position = item.history.iter().position(|entry| entry.delivery == *delivery)?;
    let fate = match update.observation.unknown {
        _ if item.is_conflict_of(delivery) => Fate::Conflict,
        Some(reason) => Fate::Unknown(reason.to_string()),
        None => Fate::Applied,
    };
    // What was published follows from the subject as it was, if the delivery's change came next.
    let previous = position.checked_sub(1).and_then(|previous| item.history.get(previous));
    let is_next = previous == before.and_then(|before| before.history.last());
    let next = Item::step(before, update).ok().filter(|_| is_next);
    let events = next.and_then(|step| match step {
        Step::Write(next) => Some(next),
        Step::Duplicate | Step::Stale => None,
    });
    let events = events.map(|next| {
        let event = |(id, pending): (&str, &ledger::item::Pending)| Event {
            detail_type: pending.detail_type.clone(),
            id: id.to_owned(),
            update: pending.update,
            waits: item.outbox.contains_key(id),
        };
        next.pending_of(delivery).into_iter().filter(|(_, it)| it.delivery == *delivery).map(event).collect()
    });
    Some(Learned { fate, events })
}

/// The fate of a delivery that says nothing which the ledger does not hold. States only grow, so that it stays true.
fn nothing_new(item: &Item, update: &Update) -> Option<Fate> {
    match Item::step(Some(item), update).ok()? {
        Step::Duplicate => Some(Fate::Duplicate),
        Step::Stale => Some(Fate::OlderNews),
        Step::Write(_) => None,
    }
}
