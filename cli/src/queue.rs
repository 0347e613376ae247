//! Queue: looks at the messages of a queue, and moves some of them to another queue.
//!
//! SQS hands out no message by its id, so that all are received to find some, and hidden from others meanwhile.
//!
//! **Invariant:** looking takes nothing away. A message is hidden from others only while it is looked at, and made visible
//! again also after an error or Ctrl-C. Only if this program is killed does it stay hidden, for half a minute.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    pin::Pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed, ApproximateNumberOfMessagesNotVisible,
        },
    },
};
use indicatif::ProgressBar;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use crate::journal::{Journal, Step};

/// The most messages that SQS handles in one call.
pub(crate) const BATCH: usize = 10;

/// How long a message stays hidden if this program is killed while it looks.
const HIDDEN: Duration = Duration::from_secs(30);

/// How often messages that are held for longer are hidden anew.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long to wait for more in one call: with no wait, SQS asks only some of its servers.
pub(crate) const WAIT: Duration = Duration::from_secs(1);

/// How long to look for a message: it may be hidden, by a command that was killed or by somebody who looks.
const PATIENCE: Duration = HIDDEN.saturating_add(Duration::from_secs(5));

/// How long to leave the queue alone between two looks.
const PAUSE: Duration = Duration::from_secs(3);

/// A queue, and what its messages are called.
pub(crate) struct Queue {
    pub(crate) sqs: Client,
    pub(crate) url: String,
    /// Such as "the dead-letter queue".
    pub(crate) name: &'static str,
    /// Such as "dead letters".
    pub(crate) holds: &'static str,
}

/// Resolves when the user interrupts the command.
pub(crate) type Interrupted<'a, F> = Pin<&'a mut F>;

impl Queue {
    pub(crate) fn new(aws: &SdkConfig, url: String, name: &'static str, holds: &'static str) -> Self {
        Self { sqs: Client::new(aws), url, name, holds }
    }

    /// Receives messages until there are no others, until one is found, or until it is interrupted, and makes them visible
    /// again.
    pub(crate) async fn look(
        &self,
        max: usize,
        wait: Duration,
        found: impl Fn(&Message) -> bool,
        interrupted: impl Future<Output = std::io::Result<()>>,
    ) -> Result<BTreeMap<String, Message>> {
        let mut messages = BTreeMap::new();
        let looked = tokio::select! {
            looked = self.receive_into(&mut messages, max, wait, found) => looked,
            _ = interrupted => Err(anyhow!("interrupted")),
        };
        self.release(messages.values()).await;
        looked.map(|()| messages)
    }

    /// Receives messages, which stay hidden, until there are no others, or until one is found.
    async fn receive_into(
        &self,
        messages: &mut BTreeMap<String, Message>,
        max: usize,
        wait: Duration,
        mut found: impl FnMut(&Message) -> bool,
    ) -> Result<()> {
        let mut hidden_at = Instant::now();
        while messages.len() < max {
            // Redelivered messages would look as if there were no others. One that somebody deleted is not redelivered.
            if hidden_at.elapsed() > RENEWAL {
                let _ = self.hide(messages.values(), HIDDEN).await;
                hidden_at = Instant::now();
            }
            let call = self
                .sqs
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(i32::try_from(BATCH)?)
                .visibility_timeout(seconds(HIDDEN))
                .wait_time_seconds(seconds(wait))
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .message_attribute_names("All");
            let received = call.send().await.map_err(aws_sdk_sqs::Error::from);
            let batch = received.with_context(|| format!("cannot read {}", self.name))?.messages.unwrap_or_default();
            let (known, is_found) = (messages.len(), batch.iter().any(&mut found));
            messages.extend(batch.into_iter().map(|message| (message.message_id.clone().unwrap_or_default(), message)));
            if messages.len() == known || is_found {
                break;
            }
        }
        Ok(())
    }

    /// Makes messages visible.
    async fn release(&self, messages: impl Iterator<Item = &Message>) {
        if self.hide(messages, Duration::ZERO).await.is_err() {
            anstream::eprintln!("Some {} stay hidden for {HIDDEN:?}, because SQS did not answer.", self.holds);
        }
    }

    /// Hides messages for a while from now. All are tried.
    async fn hide(&self, messages: impl Iterator<Item = &Message>, time: Duration) -> Result<()> {
        let mut result = Ok(());
        let receipts: Vec<_> = messages.filter_map(|message| message.receipt_handle.clone()).collect();
        for some in receipts.chunks(BATCH) {
            let entries = some.iter().enumerate().map(|(index, receipt)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(receipt).visibility_timeout(seconds(time)).build()
            });
            let call = self.sqs.change_message_visibility_batch().queue_url(&self.url);
            let call = call.set_entries(entries.collect::<Result<_, _>>().ok());
            let answer = call.send().await.map_err(aws_sdk_sqs::Error::from);
            let answer = answer
                .with_context(|| format!("cannot change for how long {} are hidden", self.holds))
                .and_then(|answer| {
                    // One that is gone cannot be made visible, and need not.
                    let is_held = time.is_zero() || answer.failed.is_empty();
                    ensure!(is_held, "somebody else received some of the {} meanwhile", self.holds);
                    Ok(())
                });
            result = result.and(answer);
        }
        result
    }
}

/// How many messages of a queue wait, were received and are not done, and are delayed.
pub(crate) async fn counts(sqs: &Client, url: &str) -> Result<[u64; 3]> {
    let names =
        [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible, ApproximateNumberOfMessagesDelayed];
    let call = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer =
        call.send().await.map_err(|error| match error.as_service_error().map(|error| error.meta().code()) {
            Some(Some("AccessDenied" | "AccessDeniedException")) => anyhow!("no permission for sqs:GetQueueAttributes"),
            _ => aws_sdk_sqs::Error::from(error).into(),
        })?;
    Ok(names.map(|name| answer.attributes().and_then(|all| all.get(&name)?.parse().ok()).unwrap_or_default()))
}

/// Some messages of a queue, on their way to another, each once:
///
/// ```text
/// find ─▶ "sending" ─▶ send to the other queue ─▶ "sent" ─▶ delete from the first ─▶ "removed"
/// ```
///
/// What is in quotes is written to the journal. **Invariant:** a message is deleted only after the other queue has confirmed,
/// by its MD5, that it holds the same body. So a kill may send a message twice, and never loses one.
pub(crate) struct Moving<A> {
    pub(crate) from: Queue,
    /// The URL of the other queue.
    pub(crate) to: String,
    /// Such as "the webhook queue".
    pub(crate) to_name: &'static str,
    /// The ids of the messages, in the order in which they are moved.
    pub(crate) planned: Vec<String>,
    pub(crate) journal: Journal,
    /// The attributes that a message gets.
    pub(crate) attributes: A,
}

/// How many of the planned messages are neither there nor moved by this plan.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the planned messages are gone")]
pub(crate) struct Gone(pub(crate) usize);

impl<A: Fn(&Message) -> HashMap<String, MessageAttributeValue>> Moving<A> {
    /// How many are moved.
    pub(crate) fn moved(&self) -> usize {
        self.planned.len() - self.left().count()
    }

    /// Those that are still to be moved.
    fn left(&self) -> impl Iterator<Item = &str> {
        self.planned.iter().filter(|id| self.journal.step(id) != Some(Step::Removed)).map(String::as_str)
    }

    /// Receives the planned messages, which stay hidden, in their order. All others are made visible. An error may be `Gone`.
    pub(crate) async fn find(
        &mut self,
        mut interrupted: Interrupted<'_, impl Future<Output = std::io::Result<()>>>,
    ) -> Result<VecDeque<Message>> {
        let start = Instant::now();
        let wanted: BTreeSet<_> = self.left().map(str::to_owned).collect();
        let mut told = false;
        loop {
            let (mut messages, mut missing) = (BTreeMap::new(), wanted.clone());
            let found = |message: &Message| {
                missing.remove(message.message_id().unwrap_or_default());
                missing.is_empty()
            };
            let looked = tokio::select! {
                looked = self.from.receive_into(&mut messages, usize::MAX, WAIT, found) => looked,
                _ = &mut interrupted => Err(anyhow!("interrupted")),
            };
            // One that was sent and is not there is deleted: the run that deleted it could not write that down.
            let is_last = start.elapsed() > PATIENCE;
            let gone = missing.iter().filter(|id| self.journal.step(id) != Some(Step::Sent)).count();
            let is_complete = looked.is_ok() && (missing.is_empty() || (is_last && gone == 0));
            let (held, others): (Vec<_>, Vec<_>) = messages
                .into_values()
                .partition(|message| is_complete && wanted.contains(message.message_id().unwrap_or_default()));
            self.from.release(others.iter()).await;
            looked?;
            if is_complete {
                for id in &missing {
                    self.journal.write(id, Step::Removed)?;
                }
                return Ok(self.in_order(held));
            }
            if is_last {
                return Err(Gone(gone).into());
            }
            if !told {
                let (missing, wanted, holds) = (missing.len(), wanted.len(), self.from.holds);
                anstream::eprintln!(
                    "{missing} of {wanted} planned {holds} are hidden or gone. Looking for {PATIENCE:?} …"
                );
                told = true;
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = &mut interrupted => bail!("interrupted"),
            }
        }
    }

    fn in_order(&self, held: Vec<Message>) -> VecDeque<Message> {
        let mut held: BTreeMap<_, _> =
            held.into_iter().map(|message| (message.message_id().unwrap_or_default().to_owned(), message)).collect();
        self.planned.iter().filter_map(|id| held.remove(id)).collect()
    }

    /// Moves messages, not more than so many in a second. After an error or an interruption, the rest is made visible.
    pub(crate) async fn move_all(
        &mut self,
        mut held: VecDeque<Message>,
        rate: u32,
        mut interrupted: Interrupted<'_, impl Future<Output = std::io::Result<()>>>,
    ) -> Result<()> {
        let mut ticks = ticks(rate);
        let mut hidden_at = None;
        anstream::eprintln!("Moving {} {}, at most {rate} in a second …", held.len(), self.from.holds);
        let bar = ProgressBar::new(u64::try_from(held.len())?);
        let mut result = Ok(());
        while let Some(message) = held.front() {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut interrupted => {
                    result = Err(anyhow!("interrupted"));
                    break;
                }
            }
            if hidden_at.is_none_or(|at: Instant| at.elapsed() > RENEWAL) {
                result = self.from.hide(held.iter(), HIDDEN).await;
                hidden_at = Some(Instant::now());
            }
            if result.is_ok() {
                result = self.move_one(message).await;
            }
            if result.is_err() {
                break;
            }
            held.pop_front();
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.from.release(held.iter()).await;
        result
    }

    async fn move_one(&mut self, message: &Message) -> Result<()> {
        let id = message.message_id().unwrap_or_default();
        if self.journal.step(id) != Some(Step::Sent) {
            self.journal.write(id, Step::Sending)?;
            self.send(message).await?;
            self.journal.write(id, Step::Sent)?;
        }
        let receipt = message.receipt_handle().unwrap_or_default();
        let call = self.from.sqs.delete_message().queue_url(&self.from.url).receipt_handle(receipt);
        let deleted = call.send().await.map_err(aws_sdk_sqs::Error::from);
        deleted.with_context(|| format!("cannot delete from {} what was moved", self.from.name))?;
        self.journal.write(id, Step::Removed)
    }

    /// Puts the message into the other queue.
    async fn send(&self, message: &Message) -> Result<()> {
        let call = self.from.sqs.send_message().queue_url(&self.to);
        let call = call.message_body(message.body().unwrap_or_default());
        let sent = call.set_message_attributes(Some((self.attributes)(message))).send().await;
        let sent = sent.map_err(aws_sdk_sqs::Error::from);
        let sent = sent.with_context(|| format!("cannot send to {}", self.to_name))?;
        ensure!(
            sent.message_id.is_some() && sent.md5_of_message_body() == message.md5_of_body(),
            "{} confirmed another body than was sent",
            self.to_name
        );
        Ok(())
    }
}

/// The times at which so many messages in a second are sent.
pub(crate) fn ticks(rate: u32) -> Interval {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An attribute of a message.
pub(crate) fn attribute(text: &str) -> MessageAttributeValue {
    #[expect(clippy::expect_used, reason = "the only required field is set")]
    MessageAttributeValue::builder().data_type("String").string_value(text).build().expect("it has its type")
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}
