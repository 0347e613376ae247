//! Batch: messages off the queue, each on its own; a partial response back. The processor's story.
//!
//! | A message that | is |
//! |---|---|
//! | is understood, and recorded with its events published | done |
//! | is a duplicate or older news | done |
//! | is S3's notification of an envelope in the inbox | fetched, then the same |
//! | is no envelope, of another environment, or no JSON object | parked in the dead-letter queue with the reason |
//! | meets trouble that may pass, or a panic | handed back with a growing delay; parked when it keeps failing |
//! | was not started when time ran short | handed back |
//!
//! **Invariant:** this is the only place that says "retry". A message is done only after its effects are stored and
//! published, or after the dead-letter queue has it; whatever else happens to it, its neighbours do not notice.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use shared::{
    envelope::{Delivery, Envelope, Environment, NotAnEnvelope},
    event::{Event, Unreadable},
    observation::Observation,
};
use tokio::sync::Semaphore;

use crate::{
    bus::{Bus, Together},
    inbox::{Inbox, Letter, NotFetched},
    ledger::{self, Ledger, LedgerTrouble, NotRecorded, Recorded, item::News},
    source::Source,
};

/// How many messages are worked on at a time. They wait for the network, not for the processor.
const IN_FLIGHT: usize = 10;

/// What one message may take when every call runs into its time limit. No message is started with less time left.
const RESERVE: SignedDuration = SignedDuration::from_secs(15);

/// The receive after which a message that keeps failing is parked with its reason, some 40 minutes after the first.
/// The queue's own limit is higher, so that only a message that kills the function gets there without a reason.
const LAST_RECEIVE: u32 = 8;

/// The same for a message that makes the code panic. It will do so again.
const LAST_PANIC: u32 = 3;

/// How many envelopes of the inbox are in memory at a time. They may hold megabytes, and the function has 256.
const FETCHED_IN_FLIGHT: usize = 2;

/// What Lambda hands to the function. The records are read one by one, so that none can spoil the others.
#[derive(Deserialize)]
pub struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
}

/// One message.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// SQS's id of the message. Identifies it in the response, and nothing else.
    pub message_id: String,
    /// What SQS wants back to change this message.
    #[serde(default)]
    pub receipt_handle: String,
    /// The sealed envelope.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub body: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    approximate_receive_count: String,
}

impl Record {
    fn read(raw: &RawValue) -> Result<Self, Unidentified> {
        let record: Self = serde_json::from_str(raw.get()).map_err(|_| Unidentified)?;
        if record.message_id.is_empty() { Err(Unidentified) } else { Ok(record) }
    }

    /// How often the message has been handed out, this time included.
    pub fn receive_count(&self) -> u32 {
        self.attributes.approximate_receive_count.parse().unwrap_or(1)
    }
}

/// A body that is not text is an unreadable message, not an unreadable batch.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(serde_json::from_str(<&RawValue>::deserialize(deserializer)?.get()).unwrap_or_default())
}

/// What Lambda is told: the messages that are to come again. All others are deleted.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Response {
    /// The ids of the messages that are to come again.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str())
    }
}

/// A record has no message id, so that no response could name it. The whole batch has to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record has no message id: is this function's trigger an SQS queue?")]
pub struct Unidentified;

/// What the processor needs.
#[derive(Debug)]
pub struct Processor<I, L, B, S, C> {
    /// Where envelopes are that one message cannot hold.
    pub inbox: I,
    /// Where facts are kept.
    pub ledger: L,
    /// Where domain events go.
    pub bus: B,
    /// Where messages come from.
    pub source: S,
    /// Which of Xendit's two worlds this is.
    pub environment: Environment,
    /// What time it is.
    pub clock: C,
}

/// What the messages of one batch share.
struct Round<'b, B> {
    deadline: Timestamp,
    fetches: Semaphore,
    bus: Together<'b, B>,
}

/// What became of one message.
enum Fate {
    Done,
    ComesAgain,
}

/// Why a message is not done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("there is too little time left")]
    NoTime,
    #[error("{0}")]
    NotFetched(#[from] NotFetched),
    #[error("{0}")]
    NotAnEnvelope(#[from] NotAnEnvelope),
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    #[error("the webhook is of the {theirs} environment, and this is {ours}")]
    OtherEnvironment { theirs: Environment, ours: Environment },
    #[error("{0}")]
    NotRecorded(#[from] NotRecorded),
    #[error("a bug: the code panicked on this message")]
    Panicked,
}

impl Trouble {
    /// The receive after which trying again is hopeless. 0: it always was.
    fn last_receive(&self) -> u32 {
        match self {
            Self::NotFetched(NotFetched::Permanent(_))
            | Self::NotAnEnvelope(_)
            | Self::Unreadable(_)
            | Self::OtherEnvironment { .. }
            | Self::NotRecorded(NotRecorded::Ledger(LedgerTrouble::Permanent(_))) => 0,
            Self::NoTime | Self::NotFetched(NotFetched::Transient(_)) | Self::NotRecorded(_) => LAST_RECEIVE,
            Self::Panicked => LAST_PANIC,
        }
    }
}

impl<I: Inbox, L: Ledger, B: Bus, S: Source, C: Fn() -> Timestamp> Processor<I, L, B, S, C> {
    /// Works through a batch before the deadline, and says which messages are to come again.
    pub async fn process(&self, batch: Batch, deadline: Timestamp) -> Result<Response, Unidentified> {
        // Each is dropped in its raw form once it is read: a batch may hold megabytes.
        let records: Vec<Record> = batch.records.into_iter().map(|raw| Record::read(&raw)).collect::<Result<_, _>>()?;
        let round = &Round {
            deadline,
            fetches: Semaphore::new(FETCHED_IN_FLIGHT),
            bus: Together::new(&self.bus, records.len()),
        };
        let batch_item_failures = stream::iter(&records)
            .map(|record| async move {
                // Whatever panics, be it while a message is handed back, only its own message comes again.
                let fate = AssertUnwindSafe(self.deal_with(record, round)).catch_unwind().await;
                match fate.unwrap_or(Fate::ComesAgain) {
                    Fate::Done => None,
                    Fate::ComesAgain => Some(Failure { item_identifier: record.message_id.clone() }),
                }
            })
            .buffer_unordered(IN_FLIGHT)
            .filter_map(async |failure| failure)
            .collect()
            .await;
        Ok(Response { batch_item_failures })
    }

    /// One message, from its body to its end. Never fails.
    async fn deal_with(&self, record: &Record, round: &Round<'_, B>) -> Fate {
        let mut known = Known::default();
        let result = AssertUnwindSafe(self.understand(record, round, &mut known)).catch_unwind().await;
        match result.unwrap_or(Err(Trouble::Panicked)) {
            Ok(recorded) => {
                known.log_done(record, recorded);
                Fate::Done
            }
            Err(Trouble::NoTime) => {
                tracing::warn!(message_id = record.message_id, outcome = "no_time", "handed back");
                self.hand_back(record, Duration::from_secs(1)).await
            }
            Err(trouble) if record.receive_count() >= trouble.last_receive() => {
                self.park(record, &known, &trouble).await
            }
            Err(trouble) => {
                let delay = backoff(record);
                known.log_trouble(record, "retry", &trouble);
                self.hand_back(record, delay).await
            }
        }
    }

    /// The arrows from the queue to the ledger: open, parse, observe, record. `None`: the message is no webhook.
    async fn understand(
        &self,
        record: &Record,
        round: &Round<'_, B>,
        known: &mut Known,
    ) -> Result<Option<Recorded>, Trouble> {
        let in_time =
            || if round.deadline.duration_since((self.clock)()) < RESERVE { Err(Trouble::NoTime) } else { Ok(()) };
        in_time()?;
        let (_permit, envelope) = match Letter::read(&record.body)? {
            Letter::Test => return Ok(None),
            Letter::Envelope => (None, Envelope::open(&record.body)?),
            Letter::Claim(claim) => {
                let permit = round.fetches.acquire().await.ok();
                in_time()?;
                (permit, Envelope::open(&self.inbox.fetch(&claim).await?)?)
            }
        };
        let Envelope { delivery, body } = envelope;
        let delivery = known.delivery.insert(delivery);
        if delivery.environment != self.environment {
            return Err(Trouble::OtherEnvironment { theirs: delivery.environment, ours: self.environment });
        }
        let event = Event::parse(&body, delivery.topic.as_ref())?;
        let observation = known.observation.insert(event.observe());
        let news = News {
            observation,
            delivery,
            body: event.text(),
            message_id: &record.message_id,
            receive_count: record.receive_count(),
            now: (self.clock)(),
        };
        Ok(Some(ledger::record(&self.ledger, &round.bus, &news).await?))
    }

    async fn park(&self, record: &Record, known: &Known, trouble: &Trouble) -> Fate {
        match self.source.park(record, &trouble.to_string()).await {
            Ok(()) => {
                known.log_trouble(record, "parked", trouble);
                Fate::Done
            }
            Err(reason) => {
                tracing::error!(message_id = record.message_id, outcome = "not_parked", %reason, "not parked");
                self.hand_back(record, backoff(record)).await
            }
        }
    }

    async fn hand_back(&self, record: &Record, delay: Duration) -> Fate {
        if let Err(reason) = self.source.postpone(record, delay).await {
            tracing::debug!(message_id = record.message_id, %reason, "comes again after the visibility timeout");
        }
        Fate::ComesAgain
    }
}

/// How long until a message comes again: 5 s, three times as long each time up to 15 minutes, less up to a half.
///
/// What is taken off depends on the message's id, so that messages that failed together do not come back together.
fn backoff(record: &Record) -> Duration {
    let exponent = record.receive_count().saturating_sub(1).min(6);
    let longest = (5 * 3_u64.pow(exponent)).min(900);
    let spread = record.message_id.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Duration::from_secs(longest - spread % (longest / 2))
}

/// What is known of a message so far, for its log line.
#[derive(Default)]
struct Known {
    delivery: Option<Delivery>,
    observation: Option<Observation>,
}

impl Known {
    fn log_done(&self, record: &Record, recorded: Option<Recorded>) {
        let (delivery, seen) = (self.delivery.as_ref(), self.observation.as_ref());
        let (outcome, events) = match recorded {
            Some(Recorded::Applied { events, conflict: true }) => ("conflict", events),
            Some(Recorded::Applied { events, conflict: false }) => ("applied", events),
            Some(Recorded::Duplicate) => ("duplicate", 0),
            Some(Recorded::Stale) => ("stale", 0),
            None => ("no_webhook", 0),
        };
        let drift = seen.map(|seen| &seen.drift).filter(|drift| !drift.is_empty());
        tracing::info!(
            message_id = record.message_id,
            delivery = delivery.map(|delivery| &*delivery.id),
            webhook_id = delivery.and_then(|delivery| delivery.webhook_id.as_deref()),
            event = seen.map(|seen| &*seen.event),
            stage = seen.map(|seen| seen.stage.as_str()),
            id = seen.map(|seen| &*seen.id),
            unknown = seen.and_then(|seen| seen.unknown).map(|reason| reason.to_string()),
            drift = drift.map(|drift| drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            outcome,
            events,
            "processed"
        );
    }

    fn log_trouble(&self, record: &Record, outcome: &str, reason: &Trouble) {
        let (delivery, seen) = (self.delivery.as_ref(), self.observation.as_ref());
        tracing::warn!(
            message_id = record.message_id,
            delivery = delivery.map(|delivery| &*delivery.id),
            stage = seen.map(|seen| seen.stage.as_str()),
            id = seen.map(|seen| &*seen.id),
            receive_count = record.receive_count(),
            outcome,
            %reason,
            "not processed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::Rejected,
        domain_event::DomainEvent,
        inbox::Claim,
        ledger::{Write, item::Item},
        source::SourceTrouble,
    };

    /// Ports that nothing gets as far as.
    struct Untouched;

    impl Inbox for Untouched {
        async fn fetch(&self, _: &Claim) -> Result<String, NotFetched> {
            unreachable!()
        }
    }

    impl Ledger for Untouched {
        async fn insert(&self, _: &Item) -> Result<Write, LedgerTrouble> {
            unreachable!()
        }
        async fn replace(&self, _: &Item, _: u64) -> Result<Write, LedgerTrouble> {
            unreachable!()
        }
        async fn clear(&self, _: &str, _: &[&DomainEvent]) -> Result<(), LedgerTrouble> {
            unreachable!()
        }
    }

    impl Bus for Untouched {
        async fn publish(&self, _: &[&DomainEvent]) -> Vec<Rejected> {
            unreachable!()
        }
    }

    /// Cannot park, so that everything comes again.
    struct Stuck;

    impl Source for Stuck {
        async fn postpone(&self, _: &Record, _: Duration) -> Result<(), SourceTrouble> {
            Ok(())
        }
        async fn park(&self, _: &Record, _: &str) -> Result<(), SourceTrouble> {
            Err(SourceTrouble("timeout".to_owned()))
        }
    }

    fn batch(json: &str) -> Batch {
        serde_json::from_str(json).unwrap()
    }

    async fn process(json: &str) -> Result<String, Unidentified> {
        let processor = Processor {
            inbox: Untouched,
            ledger: Untouched,
            bus: Untouched,
            source: Stuck,
            environment: Environment::Test,
            clock: || Timestamp::UNIX_EPOCH,
        };
        let response = processor.process(batch(json), Timestamp::MAX).await?;
        Ok(serde_json::to_string(&response).unwrap())
    }

    fn record(id: &str, receive_count: u32) -> Record {
        let attributes = Attributes { approximate_receive_count: receive_count.to_string() };
        Record { message_id: id.to_owned(), receipt_handle: String::new(), body: String::new(), attributes }
    }

    #[tokio::test]
    async fn an_answer_is_what_lambda_reads() {
        assert_eq!(process(r#"{"Records":[]}"#).await.unwrap(), r#"{"batchItemFailures":[]}"#);
        let one = r#"{"Records":[{"messageId":"m-1","body":"no envelope"}]}"#;
        assert_eq!(process(one).await.unwrap(), r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#);
        let two = r#"{"Records":[{"messageId":"m-1","body":""},{"messageId":"m-2","body":"{}"}]}"#;
        let answer = process(two).await.unwrap();
        assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"m-1"},{"itemIdentifier":"m-2"}]}"#);
    }

    #[tokio::test]
    async fn a_record_without_a_message_id_brings_the_whole_batch_back() {
        for strange in [r"{}", r#"{"messageId":""}"#, r#"{"messageId":null}"#, r#"{"messageId":7}"#, "7", "null", "[]"]
        {
            let json = format!(r#"{{"Records":[{{"messageId":"m-1","body":"x"}},{strange}]}}"#);
            assert_eq!(process(&json).await, Err(Unidentified), "{strange}");
        }
    }

    #[tokio::test]
    async fn a_record_with_an_id_is_its_own_affair_whatever_else_it_holds() {
        for strange in [r#""body":null"#, r#""body":7"#, r#""body":{"a":1}"#, r#""body":"\ud800""#, r#""other":1"#] {
            let json = format!(r#"{{"Records":[{{"messageId":"m-1",{strange}}}]}}"#);
            let answer = process(&json).await.unwrap();
            assert_eq!(answer, r#"{"batchItemFailures":[{"itemIdentifier":"m-1"}]}"#, "{strange}");
        }
    }

    #[test]
    fn what_is_no_batch_is_not_taken_for_an_empty_one() {
        for json in ["{}", "null", "[]", r#"{"records":[]}"#, r#"{"Records":null}"#] {
            assert!(serde_json::from_str::<Batch>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_message_that_does_not_say_how_often_it_came_came_once() {
        let count = |json: &str| serde_json::from_str::<Record>(json).unwrap().receive_count();
        assert_eq!(count(r#"{"messageId":"m"}"#), 1);
        assert_eq!(count(r#"{"messageId":"m","attributes":{"ApproximateReceiveCount":"x"}}"#), 1);
        assert_eq!(count(r#"{"messageId":"m","attributes":{"ApproximateReceiveCount":"7"}}"#), 7);
    }

    #[test]
    fn the_delay_grows_with_each_receive_up_to_a_quarter_of_an_hour() {
        for id in ["m-1", "059f36b4-87a3-44ab-83d2-661975830a7d", ""] {
            let delays: Vec<_> = (1..=12).map(|count| backoff(&record(id, count)).as_secs()).collect();
            for (delay, longest) in delays.iter().zip([5, 15, 45, 135, 405, 900, 900, 900, 900, 900, 900, 900]) {
                assert!((longest / 2..=longest).contains(delay), "{id}: {delays:?}");
            }
            assert!(delays.windows(2).take(4).all(|pair| pair[0] < pair[1]), "{id}: {delays:?}");
        }
        assert!(backoff(&record("m", 0)).as_secs() >= 2);
        assert!(backoff(&record("m", u32::MAX)).as_secs() <= 900);
    }

    #[test]
    fn messages_that_failed_together_come_back_apart() {
        let delays: std::collections::BTreeSet<_> =
            (0..100).map(|n| backoff(&record(&format!("message-{n}"), 4))).collect();
        assert!(delays.len() > 30, "{}", delays.len());
    }
}
