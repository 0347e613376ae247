//! Batch: messages from the queue, each on its own; a partial batch response back. The processor's control flow.
//!
//! | A message that | is |
//! |---|---|
//! | is understood, and recorded with its events published | done |
//! | is a duplicate or an older fact | done |
//! | is S3's notification of an envelope in the inbox | fetched, then the same |
//! | is not an envelope, from another environment, or not a JSON object | parked in the dead-letter queue, with the reason |
//! | fails for a while, or panics | retried with a growing delay; parked when it keeps failing |
//! | was not begun when time ran short | retried |
//!
//! **Invariant:** this is the only place that says "retry". A message is done only after its effects are stored and
//! published, or after the dead-letter queue has it. Whatever else happens to it, a panic included, affects no other message.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use jiff::{SignedDuration, Timestamp};
use ledger::{
    bus::Bus,
    record::{self, Recorded, Took},
    store::Ledger,
    update::Update,
};
use shared::{
    envelope::{Delivery, Envelope, Environment},
    lifecycle::Stage,
    loggable::Loggable,
    observation::{Drift, Observation},
    outcome::Processed,
    webhook::Webhook,
};
use tokio::sync::Semaphore;
use tracing::Instrument as _;

use crate::{
    config::TokenAccounts,
    failure::{Failure, RESERVE, Remedy, backoff},
    inbox::{Inbox, Payload},
    message::{Batch, Message, MissingMessageId, Response},
    source::Source,
};

/// Limits memory: an envelope of the inbox may hold megabytes, the function 256 MB.
const MAX_CONCURRENT_FETCHES: usize = 2;

/// The processor's dependencies.
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
    /// Which of Xendit's two environments this is.
    pub environment: Environment,
    /// The accounts that each token is bound to.
    pub token_accounts: TokenAccounts,
    /// The time.
    pub clock: C,
}

/// What is known about a message, for its log line.
#[derive(Debug, Default)]
struct LogFields {
    delivery: Option<Delivery>,
    event: Option<String>,
    stage: Option<Stage>,
    id: Option<String>,
    unknown: Option<String>,
    drift: Vec<Drift>,
}

/// Whether SQS delivers a message again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Retry,
}

impl<I: Inbox, L: Ledger, B: Bus, S: Source, C: Fn() -> Timestamp> Processor<I, L, B, S, C> {
    /// Works through a batch before the deadline, and says which messages to retry.
    pub async fn process(&self, batch: Batch, deadline: Timestamp) -> Result<Response, MissingMessageId> {
        let messages = batch.messages()?;
        let ends = self.process_all(&messages, deadline).await;
        let retried = messages.iter().zip(ends).filter(|(_, end)| *end == End::Retry);
        Ok(Response::retry(retried.map(|(message, _)| message)))
    }

    /// Understands, records and ends messages. Results are in order.
    async fn process_all(&self, messages: &[Message], deadline: Timestamp) -> Vec<End> {
        let fetches = Semaphore::new(MAX_CONCURRENT_FETCHES);
        let mut known: Vec<_> = messages.iter().map(|_| LogFields::default()).collect();
        let understood = join_all(messages.iter().zip(&mut known).map(|(message, known)| {
            let span = tracing::info_span!("message", message_id = message.id);
            let work = self.understand(message, deadline, &fetches, known).instrument(span);
            AssertUnwindSafe(work).catch_unwind().map(|result| result.unwrap_or(Err(Failure::Panicked)))
        }))
        .await;

        let updates: Vec<_> = understood.iter().filter_map(|it| it.as_ref().ok()?.clone()).collect();
        let (recorded, took) = record::record(&self.ledger, &self.bus, &updates, &self.clock).await;
        let mut recorded = recorded.into_iter();
        let results = understood.into_iter().map(|it| match it? {
            None => Ok(None),
            Some(_) => recorded.next().unwrap_or(Err(record::NotRecorded::Panicked)).map(Some).map_err(Failure::from),
        });

        join_all(messages.iter().zip(results).zip(known).map(|((message, result), known)| {
            let work = self.end(message, result, took, known);
            AssertUnwindSafe(work).catch_unwind().map(|end| end.unwrap_or(End::Retry))
        }))
        .await
    }

    /// From the queue to an update: open, recognise, observe. `None`: the message is not a webhook.
    async fn understand(
        &self,
        message: &Message,
        deadline: Timestamp,
        fetches: &Semaphore,
        known: &mut LogFields,
    ) -> Result<Option<Update>, Failure> {
        let in_time = || {
            let left = Duration::try_from(deadline.duration_since((self.clock)())).unwrap_or_default();
            if left < RESERVE { Err(Failure::NoTime) } else { Ok(()) }
        };
        in_time()?;
        let (_permit, envelope) = match Payload::read(&message.body)? {
            Payload::Test => return Ok(None),
            Payload::Envelope => (None, Envelope::open(&message.body)?),
            Payload::ObjectRef(claim) => {
                let permit = fetches.acquire().await.ok();
                in_time()?;
                (permit, Envelope::open(&self.inbox.fetch(&claim).await?)?)
            }
        };
        let Envelope { delivery, body } = envelope;
        let environment = known.delivery.insert(delivery.clone()).environment;
        if environment != self.environment {
            return Err(Failure::OtherEnvironment { webhook: environment, stack: self.environment });
        }
        let webhook = Webhook::parse(&body, delivery.topic.as_ref())?;
        let accounts = self.token_accounts.of(&delivery.token);
        let update = Update::new(&webhook, delivery).bound_to(accounts);
        known.observed(&update.observation);
        Ok(Some(update))
    }

    /// Ends a message: logs what became of it, and delays or parks it where it is not done.
    async fn end(
        &self,
        message: &Message,
        result: Result<Option<Recorded>, Failure>,
        took: Took,
        mut known: LogFields,
    ) -> End {
        let failure = match result {
            Ok(recorded) => {
                known.log_done(message, recorded, took, (self.clock)());
                return End::Done;
            }
            Err(failure) => failure,
        };
        match failure.remedy(message) {
            Remedy::Retry(delay) => {
                let outcome = if matches!(failure, Failure::NoTime) { Processed::NoTime } else { Processed::Retry };
                known.log_failed(message, outcome, &failure);
                self.retry(message, delay).await
            }
            Remedy::Park => match self.source.park(message, &failure.to_string()).await {
                Ok(()) => {
                    known.log_failed(message, Processed::Parked, &failure);
                    End::Done
                }
                Err(error) => {
                    known.log_failed(message, Processed::NotParked, &format_args!("{failure}; {error}"));
                    self.retry(message, backoff(message)).await
                }
            },
        }
    }

    async fn retry(&self, message: &Message, delay: Duration) -> End {
        if let Err(reason) = self.source.postpone(message, delay).await {
            tracing::debug!(message_id = message.id, %reason, "the delay could not be set; the queue's visibility timeout applies");
        }
        End::Retry
    }
}

impl LogFields {
    fn observed(&mut self, seen: &Observation) {
        self.event = Some(seen.event.clone());
        self.stage = Some(seen.stage);
        self.id = Some(seen.id.clone());
        self.unknown = seen.unknown.map(|reason| reason.to_string());
        self.drift.clone_from(&seen.drift);
    }

    fn delivery_id(&self) -> Option<&str> {
        self.delivery.as_ref().map(|delivery| &*delivery.id)
    }

    fn delivery_age(&self, now: Timestamp) -> Option<SignedDuration> {
        self.delivery.as_ref().map(|delivery| now.duration_since(delivery.received_at))
    }

    fn log_done(&mut self, message: &Message, recorded: Option<Recorded>, took: Took, now: Timestamp) {
        let (outcome, events) = match recorded {
            Some(Recorded::Applied { events, conflict: true, .. }) => (Processed::Conflict, events),
            Some(Recorded::Applied { events, conflict: false, .. }) => (Processed::Applied, events),
            Some(Recorded::Duplicate) => (Processed::Duplicate, 0),
            Some(Recorded::Stale) => (Processed::Stale, 0),
            None => (Processed::NoWebhook, 0),
        };
        if let Some(Recorded::Applied { without_body: 1.., .. }) = recorded {
            self.drift.push(Drift { field: "body", found: "not accepted by the bus" });
        }
        let drift: Vec<_> = self.drift.iter().map(ToString::to_string).collect();
        tracing::info!(
            // The delivery names the webhook, and what is done needs no search in SQS.
            message_id = self.delivery.is_none().then_some(&*message.id),
            delivery = self.delivery_id(),
            event = self.event.as_deref().map(loggable),
            stage = self.stage.map(Stage::as_str),
            id = self.id.as_deref().map(loggable),
            unknown = self.unknown,
            drift = (!drift.is_empty()).then(|| drift.join("; ")),
            outcome = outcome.as_str(),
            events,
            age_ms = self.delivery_age(now).map(ms),
            apply_ms = recorded.map(|_| ms(took.apply)),
            publish_ms = (events > 0).then(|| ms(took.publish)),
            "processed"
        );
    }

    fn log_failed(&self, message: &Message, outcome: Processed, reason: &dyn std::fmt::Display) {
        tracing::warn!(
            message_id = message.id,
            delivery = self.delivery_id(),
            stage = self.stage.map(Stage::as_str),
            id = self.id.as_deref().map(loggable),
            receive_count = message.receive_count(),
            outcome = outcome.as_str(),
            %reason,
            "not processed"
        );
    }
}

/// Not negative: clocks are not equal, and may be set back.
fn ms(duration: SignedDuration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(0)
}

fn loggable(text: &str) -> tracing::field::DisplayValue<Loggable<'_>> {
    tracing::field::display(Loggable(text))
}
