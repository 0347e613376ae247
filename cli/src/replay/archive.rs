//! Archive: copies events of the archive into the replay queue, as far as they are for a consumer.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_eventbridge::{
    Client,
    primitives::DateTime,
    types::{ReplayDestination, ReplayState, Target},
};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, QueueAttributeName};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::sleep;
use uuid::Uuid;

use super::consumer::Consumer;
use crate::queue::{BATCH, Queue, WAIT};

/// What the name of a replay and of its rule begins with. The policy of the replay queue lets such rules send.
const PREFIX: &str = "xendit-hooks-replay";

/// How long EventBridge may take until a new rule matches events.
const RULE_SETTLES: Duration = Duration::from_mins(1);

/// How often to ask for the state of the replay.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long the replay queue has to stay without new events before all are there.
const ARRIVED: Duration = Duration::from_secs(5);

/// The most copies that are looked at. All of them are hidden meanwhile.
const MAX_COPIES: usize = 10_000;

/// The archive of a stack, and the queue for replays from it.
pub(super) struct Archive {
    events: Client,
    bus: String,
    name: String,
    pub(super) queue: Queue,
    /// Whether it is emulated.
    is_local: bool,
}

/// A copy of an event in the replay queue, as far as a plan needs it.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) message: Message,
    pub(super) event: Event,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "replay-name")]
    replay: String,
    pub(super) time: Timestamp,
    #[serde(rename = "detail-type")]
    pub(super) detail_type: String,
    pub(super) detail: Detail,
}

/// What all versions of a detail have.
#[derive(Debug, Deserialize)]
pub(super) struct Detail {
    pub(super) id: String,
    pub(super) environment: String,
    pub(super) subject: shared::domain_event::Subject,
    pub(super) reference: Option<String>,
}

impl Archive {
    pub(super) fn new(aws: &SdkConfig, bus: String, name: String, queue_url: String, is_local: bool) -> Self {
        let queue = Queue::new(aws, queue_url, "the replay queue", "events");
        Self { events: Client::new(aws), bus, name, queue, is_local }
    }

    /// Copies the events of a time that are for a consumer, and returns the copies, which stay in the replay queue.
    pub(super) async fn copy(&self, consumer: &Consumer, from: Timestamp, to: Timestamp) -> Result<Vec<Copy>> {
        let id = Uuid::new_v4().simple().to_string();
        let name =
            format!("{PREFIX}-{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S"), id.get(..4).unwrap_or_default());
        let mut interrupted = pin!(tokio::signal::ctrl_c());
        let copied = tokio::select! {
            copied = self.replay(&name, consumer, from, to) => copied,
            _ = &mut interrupted => {
                let _ = self.events.cancel_replay().replay_name(&name).send().await;
                Err(anyhow!("interrupted"))
            }
        };
        self.remove_rule(&name).await;
        copied?;
        let is_of_it = |event: &Event| event.replay == name;
        self.collect(is_of_it).await
    }

    /// Lets EventBridge replay through a new rule, and waits for the end.
    async fn replay(&self, name: &str, consumer: &Consumer, from: Timestamp, to: Timestamp) -> Result<()> {
        let archive = self.events.describe_archive().archive_name(&self.name).send().await;
        let archive = archive.map_err(aws_sdk_eventbridge::Error::from);
        let archive = archive.with_context(|| format!("cannot read the archive {}", self.name))?;
        let rule = self.put_rule(name, consumer).await.context("cannot make the rule for the replay")?;
        if !self.is_local {
            anstream::eprintln!("Waiting for {RULE_SETTLES:?}, until the rule for the replay works …");
            sleep(RULE_SETTLES).await;
        }
        let bus = archive.event_source_arn.context("the archive has no bus")?;
        let destination = ReplayDestination::builder().arn(bus).filter_arns(rule).build()?;
        // Whole seconds, and one more at the end: what is too much is left out by its own time.
        let started = self
            .events
            .start_replay()
            .replay_name(name)
            .description("xendit-hooks replay plan")
            .set_event_source_arn(archive.archive_arn)
            .event_start_time(DateTime::from_secs(from.as_second()))
            .event_end_time(DateTime::from_secs(to.as_second() + 1))
            .destination(destination)
            .send()
            .await;
        started.map_err(aws_sdk_eventbridge::Error::from).context("cannot start the replay from the archive")?;
        anstream::eprintln!("EventBridge replays the archive from {from} to {to} into the replay queue …");
        loop {
            let replay = self.events.describe_replay().replay_name(name).send().await;
            let replay = replay.map_err(aws_sdk_eventbridge::Error::from).context("cannot read the replay's state")?;
            match replay.state {
                Some(ReplayState::Completed) => return Ok(()),
                Some(ReplayState::Cancelled | ReplayState::Cancelling) => bail!("somebody cancelled the replay {name}"),
                Some(ReplayState::Failed) => {
                    bail!("the replay {name} failed: {}", replay.state_reason.unwrap_or_default());
                }
                _ => sleep(INTERVAL).await,
            }
        }
    }

    /// Makes the rule, and returns its ARN.
    async fn put_rule(&self, name: &str, consumer: &Consumer) -> Result<String> {
        let call = self.queue.sqs.get_queue_attributes().queue_url(&self.queue.url);
        let attributes = call.attribute_names(QueueAttributeName::QueueArn).send().await;
        let attributes = attributes.map_err(aws_sdk_sqs::Error::from)?.attributes.unwrap_or_default();
        let queue = attributes.get(&QueueAttributeName::QueueArn).context("the replay queue has no ARN")?;
        let call = self.events.put_rule().event_bus_name(&self.bus).name(name);
        let call = call.event_pattern(consumer.pattern_of_replay(name)?);
        let call = call.description(format!("For a replay to `{}`. It can be deleted.", consumer.rule));
        let rule = call.send().await.map_err(aws_sdk_eventbridge::Error::from)?.rule_arn.context("it has no ARN")?;
        let target = Target::builder().id("replay").arn(queue).build()?;
        let put = self.events.put_targets().event_bus_name(&self.bus).rule(name).targets(target).send().await;
        let put = put.map_err(aws_sdk_eventbridge::Error::from)?;
        ensure!(put.failed_entry_count == 0, "EventBridge did not accept its target");
        Ok(rule)
    }

    /// Removes the rule of a replay. It matches nothing any more.
    async fn remove_rule(&self, name: &str) {
        let _ = self.events.remove_targets().event_bus_name(&self.bus).rule(name).ids("replay").send().await;
        if self.events.delete_rule().event_bus_name(&self.bus).name(name).send().await.is_err() {
            anstream::eprintln!("The rule {name} is perhaps still there. It matches nothing, and can be deleted.");
        }
    }

    /// The copies of a replay, when no more arrive.
    async fn collect(&self, is_of_it: impl Fn(&Event) -> bool) -> Result<Vec<Copy>> {
        let mut copies = BTreeMap::new();
        let mut arrived_at = Instant::now();
        let settled = if self.is_local { Duration::ZERO } else { ARRIVED };
        loop {
            let known = copies.len();
            let messages = self.queue.look(MAX_COPIES, WAIT, |_| false, tokio::signal::ctrl_c()).await?;
            if messages.len() >= MAX_COPIES {
                bail!(
                    "the replay queue holds {MAX_COPIES} events or more; empty it with `aws sqs purge-queue --queue-url {}`, and \
                     choose a shorter time (the archive keeps all events; plans that are not run yet become stale)",
                    self.queue.url
                );
            }
            copies.extend(messages.into_iter().filter_map(|(id, message)| {
                let event = serde_json::from_str::<Event>(message.body()?).ok().filter(&is_of_it)?;
                Some((id, Copy { message, event }))
            }));
            if copies.len() > known {
                arrived_at = Instant::now();
            } else if arrived_at.elapsed() >= settled {
                return Ok(copies.into_values().collect());
            }
        }
    }

    /// Deletes copies that are not chosen. The archive keeps the events.
    pub(super) async fn delete(&self, copies: &[Copy]) -> Result<()> {
        for some in copies.chunks(BATCH) {
            let entries = some.iter().enumerate().map(|(index, copy)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entry.set_receipt_handle(copy.message.receipt_handle.clone()).build()
            });
            let call = self.queue.sqs.delete_message_batch().queue_url(&self.queue.url);
            let deleted = call.set_entries(Some(entries.collect::<Result<_, _>>()?)).send().await;
            deleted
                .map_err(aws_sdk_sqs::Error::from)
                .context("cannot delete from the replay queue what is not chosen")?;
        }
        Ok(())
    }
}

impl Event {
    /// Whether it is about a subject: by the merchant's reference, by Xendit's id, or by the ledger's key.
    pub(super) fn is_about(&self, subject: &str) -> bool {
        let Detail { environment, subject: of, reference, .. } = &self.detail;
        let parts = [Some(environment), Some(&of.kind), of.scope.as_ref(), Some(&of.id)];
        let key = parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("#");
        reference.as_deref() == Some(subject) || of.id == subject || key == subject
    }
}
