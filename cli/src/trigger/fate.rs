//! Fate: learns what became of a delivery from what a stack stores: the ledger, the two queues.
//!
//! A delivery that changed something is in the history of its subject. One that changed nothing leaves no trace: the ledger
//! held all it says, or more, and no message waits any more. One that could not be processed is in the dead-letter queue.
//!
//! **Invariant:** a fate is never assumed. What is not seen in time is "still queued".

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use ledger::{
    dynamo::DynamoLedger,
    item::{Item, Pending, Step},
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

use crate::{dlq::DeadLetters, queue, stack::Stack};

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

impl Learned {
    /// Whether an event is not known to be published.
    fn waits(&self) -> bool {
        self.events.iter().flatten().any(|event| event.waits)
    }
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
            tokio::time::sleep(INTERVAL).await;
            let is_last = start.elapsed() > PATIENCE;
            let seen = self.find(sent, delivery).await?.map(|(item, update)| Seen::of(&item, &update, before));
            let nothing_new = match seen {
                Some(Seen::Changed(learned)) if is_last || !learned.waits() => return Ok(learned),
                Some(Seen::Changed(_)) => continue,
                Some(Seen::NothingNew(fate)) => Some(fate),
                Some(Seen::Nothing) | None => None,
            };
            quiet_since = if self.is_queue_empty().await? { quiet_since.or(Some(Instant::now())) } else { None };
            if let Some(fate) = nothing_new {
                if quiet_since.is_some() {
                    return Ok(fate.into());
                }
                if is_last {
                    return Ok(Fate::StillQueued(Some("it says nothing new".to_owned())).into());
                }
                continue;
            }
            let is_quiet = quiet_since.is_some_and(|since: Instant| since.elapsed() > QUIET);
            if is_last || (is_quiet && looked.elapsed() > QUIET) || looked.elapsed() > LOOK_INTERVAL {
                if let Some(reason) = self.dead_letters.reason(delivery).await? {
                    return Ok(Fate::Parked(reason).into());
                }
                looked = Instant::now();
            }
            if is_last {
                return Ok(Fate::StillQueued(None).into());
            }
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
        let counts = queue::counts(&self.sqs, &self.queue_url).await;
        Ok(counts.context("cannot count the messages in the webhook queue")? == [0; 3])
    }
}

/// What the ledger says about a delivery.
enum Seen {
    /// It changed its subject.
    Changed(Learned),
    /// The ledger holds all that it says, or more. States only grow, so that this stays true.
    NothingNew(Fate),
    /// It was not recorded yet.
    Nothing,
}

impl Seen {
    /// `before`: the subject before the delivery was sent.
    fn of(item: &Item, update: &Update, before: Option<&Item>) -> Self {
        let delivery = &update.delivery.id;
        if let Some(position) = item.history.iter().position(|entry| entry.delivery == *delivery) {
            let fate = match update.observation.unknown {
                _ if item.is_conflict_of(delivery) => Fate::Conflict,
                Some(reason) => Fate::Unknown(reason.to_string()),
                None => Fate::Applied,
            };
            return Self::Changed(Learned { fate, events: events(item, position, update, before) });
        }
        match Item::step(Some(item), update) {
            Ok(Step::Duplicate) => Self::NothingNew(Fate::Duplicate),
            Ok(Step::Stale) => Self::NothingNew(Fate::OlderNews),
            Ok(Step::Write(_)) | Err(_) => Self::Nothing,
        }
    }
}

/// The events about the change at a position in the history. They follow from the subject as it was before, if nothing else
/// came between.
fn events(item: &Item, position: usize, update: &Update, before: Option<&Item>) -> Option<Vec<Event>> {
    let previous = position.checked_sub(1).and_then(|previous| item.history.get(previous));
    if previous != before.and_then(|before| before.history.last()) {
        return None;
    }
    let Ok(Step::Write(next)) = Item::step(before, update) else { return None };
    let of_it = next.pending_of(&update.delivery).into_iter();
    let of_it = of_it.filter(|(_, pending)| pending.delivery == update.delivery.id);
    let event = |(id, pending): (&str, &Pending)| Event {
        detail_type: pending.detail_type.clone(),
        id: id.to_owned(),
        update: pending.update,
        waits: item.outbox.contains_key(id),
    };
    Some(of_it.map(event).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(delivery: &str, status: &str, amount: u32) -> Update {
        let body = format!(
            r#"{{"id":"i","external_id":"o","user_id":"u","merchant_name":"m","currency":"IDR","status":"{status}",
                "amount":{amount},"paid_amount":{amount},"paid_at":"2026-01-02T03:00:00Z"}}"#
        );
        let delivery = Delivery {
            id: delivery.to_owned(),
            received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        Update::new(&Webhook::parse(body.as_bytes(), None).unwrap(), delivery)
    }

    fn after(before: Option<&Item>, update: &Update) -> Item {
        let Step::Write(item) = Item::step(before, update).unwrap() else { panic!("nothing changed") };
        *item
    }

    fn learned(item: &Item, update: &Update, before: Option<&Item>) -> Learned {
        let Seen::Changed(learned) = Seen::of(item, update, before) else { panic!("it changed something") };
        learned
    }

    #[test]
    fn a_change_whose_events_wait_is_a_change_and_no_duplicate() {
        let paid = update("d-1", "PAID", 100);
        let mut item = after(None, &paid);
        let waiting = learned(&item, &paid, None);
        assert!(waiting.fate == Fate::Applied && waiting.waits());
        item.outbox.clear();
        let published = learned(&item, &paid, None);
        assert!(published.fate == Fate::Applied && !published.waits());
        assert_eq!(published.events.unwrap()[0].id, waiting.events.unwrap()[0].id);
    }

    #[test]
    fn what_says_nothing_new_is_a_duplicate_or_older_news_and_what_does_is_not_recorded_yet() {
        let item = after(None, &update("d-1", "SETTLED", 100));
        let fate = |status, amount| match Seen::of(&item, &update("d-2", status, amount), Some(&item)) {
            Seen::NothingNew(fate) => Some(fate),
            Seen::Changed(_) | Seen::Nothing => None,
        };
        assert_eq!(fate("SETTLED", 100), Some(Fate::Duplicate));
        assert_eq!(fate("PAID", 100), Some(Fate::OlderNews));
        assert_eq!(fate("SETTLED", 200), None);
    }

    #[test]
    fn the_events_are_not_known_if_something_else_changed_the_subject_in_between() {
        let (paid, settled) = (update("d-1", "PAID", 100), update("d-2", "SETTLED", 100));
        let before = after(None, &paid);
        let item = after(Some(&before), &settled);
        let types = |before| {
            let events = learned(&item, &settled, before).events?;
            Some(events.into_iter().map(|event| event.detail_type).collect::<Vec<_>>())
        };
        assert_eq!(types(Some(&before)), Some(vec!["invoice.settled".to_owned()]));
        assert_eq!(types(None), None);
    }
}
