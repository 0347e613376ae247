//! `inbox sweep`: sends the webhook queue a notification of each object of a plan, in S3's place.
//!
//! **Invariant:** nothing is sent that is not in the plan, or that was processed meanwhile. After a kill, one notification may
//! be sent twice, and the ledger recognises the second one as a duplicate.

use std::{collections::BTreeSet, pin::pin, process::ExitCode};

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{Inbox, Object, State, VERSION, plan::PlannedSweep};
use crate::{
    journal::{Journal, Step},
    plan::{Content as _, Plan, Refused, RunOptions, exit_code},
    queue::{attribute, ticks},
};

/// The attribute of a notification with the plan's fingerprint.
const SWEEP: &str = "sweep";

/// The attribute with the reason for the sweep.
const SWEEP_REASON: &str = "sweep_reason";

pub(super) const HELP: &str = "\
A plan can be run for a day, on the stack that it was made for. After an interruption, the same command goes on.
Exit codes: 0 a notification of each was sent; 1 an error, and the same command goes on; 2 a wrong option; 3 refused: the \
plan is unknown, changed, for another stack, too old, done or stale, or the stack's name was not confirmed.";

/// The result for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    fingerprint: &'a str,
    stack: &'a str,
    planned: usize,
    /// Sent by this run.
    sent: usize,
    sent_before: usize,
    /// Not sent, because they were processed after the first run had begun.
    not_needed: usize,
    /// How many may have been sent twice, because a run was interrupted between sending and writing that down.
    perhaps_sent_twice: usize,
}

pub(super) async fn run(options: &RunOptions) -> Result<ExitCode> {
    exit_code(sweep(options).await)
}

async fn sweep(options: &RunOptions) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let (plan, journal) = Plan::<PlannedSweep>::load(&options.fingerprint)?;
    plan.check_place(&plan.content.bucket, &stack.inbox)?;
    plan.check_place(&plan.content.queue_url, &stack.queue_url)?;
    let sqs = aws_sdk_sqs::Client::new(&stack.aws().await);
    let mut sweep = Sweep { plan, journal: Journal::open(&journal)?, sqs, options };
    let (planned, sent_before) = (sweep.plan.content.objects.len(), sweep.count(Step::Sent));
    if sweep.left().is_empty() {
        return Err(Refused::Done("a notification of each of its objects was sent").into());
    }
    sweep.plan.check_age(Timestamp::now())?;
    sweep.look_again(&Inbox::of(&stack).await).await?;
    options.confirm(&format!("sends {} notifications to the webhook queue", sweep.left().len()))?;

    sweep.journal.begin(options.reason.as_deref())?;
    let sending = sweep.send_all().await;
    let sent = sweep.count(Step::Sent);
    sending
        .with_context(|| format!("notifications of {sent} of {planned} objects are sent; the same command goes on"))?;

    let (not_needed, perhaps_sent_twice) = (sweep.count(Step::NotNeeded), sweep.journal.perhaps_sent_twice());
    let sent = sent - sent_before;
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: &options.fingerprint,
            stack: options.stack.name(),
            planned,
            sent,
            sent_before,
            not_needed,
            perhaps_sent_twice,
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let before = if sent_before > 0 { format!(" {sent_before} had been sent before.") } else { String::new() };
    anstream::println!("Sent notifications of {sent} of {planned} planned objects to the webhook queue.{before}");
    if not_needed > 0 {
        anstream::println!("{not_needed} needed none, because they were processed meanwhile.");
    }
    if perhaps_sent_twice > 0 {
        anstream::println!("{perhaps_sent_twice} may have been sent twice, which the ledger recognises.");
    }
    anstream::eprintln!("To see that all were processed, make a plan again: `xendit-hooks inbox plan`.");
    Ok(ExitCode::SUCCESS)
}

/// A plan that is being run.
struct Sweep<'a> {
    plan: Plan<PlannedSweep>,
    journal: Journal,
    sqs: aws_sdk_sqs::Client,
    options: &'a RunOptions,
}

impl Sweep<'_> {
    /// The keys of the objects for which nothing is done yet.
    fn left(&self) -> Vec<String> {
        let is_left = |key: &str| !matches!(self.journal.step(key), Some(Step::Sent | Step::NotNeeded));
        self.plan.content.objects.iter().map(|object| &object.key).filter(|key| is_left(key)).cloned().collect()
    }

    fn count(&self, step: Step) -> usize {
        self.plan.content.objects.iter().filter(|object| self.journal.step(&object.key) == Some(step)).count()
    }

    /// Refuses a plan of which something is gone or was processed since it was made. Once a run has begun, what was processed
    /// needs nothing.
    async fn look_again(&mut self, inbox: &Inbox) -> Result<()> {
        let left = self.left();
        let there: BTreeSet<_> = inbox.list().await?.into_iter().map(|object| object.key).collect();
        let gone = left.iter().filter(|key| !there.contains(*key)).count();
        let objects = left.into_iter().map(|key| Object { key, stored_at: None });
        let found = inbox.look_into(objects).await?;
        let processed: Vec<_> = found.into_iter().filter(|found| found.state == State::Processed).collect();
        if gone > 0 || (self.journal.is_new() && !processed.is_empty()) {
            let why = format!(
                "nothing was sent now: of its objects, {gone} are gone, and {} were processed meanwhile",
                processed.len()
            );
            return Err(Refused::Stale { why, made_by: PlannedSweep::MADE_BY }.into());
        }
        processed.iter().try_for_each(|found| self.journal.write(&found.object.key, Step::NotNeeded))
    }

    /// Sends the notifications, not more than so many in a second.
    async fn send_all(&mut self) -> Result<()> {
        let left = self.left();
        let rate = self.options.rate;
        let (mut ticks, mut interrupted) = (ticks(rate), pin!(tokio::signal::ctrl_c()));
        anstream::eprintln!("Sending {} notifications, at most {rate} in a second …", left.len());
        let bar = ProgressBar::new(u64::try_from(left.len())?);
        let mut result = Ok(());
        for key in left {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut interrupted => {
                    result = Err(anyhow!("interrupted"));
                    break;
                }
            }
            result = self.send(&key).await;
            if result.is_err() {
                break;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        result
    }

    async fn send(&mut self, key: &str) -> Result<()> {
        self.journal.write(key, Step::Sending)?;
        let PlannedSweep { bucket, queue_url, .. } = &self.plan.content;
        let call = self.sqs.send_message().queue_url(queue_url).message_body(notification(bucket, key));
        let mut call = call.message_attributes(SWEEP, attribute(&self.options.fingerprint));
        if let Some(reason) = &self.options.reason {
            call = call.message_attributes(SWEEP_REASON, attribute(reason));
        }
        let sent = call.send().await.map_err(aws_sdk_sqs::Error::from).context("cannot send to the webhook queue")?;
        ensure!(sent.message_id.is_some(), "the webhook queue did not confirm the notification");
        self.journal.write(key, Step::Sent)
    }
}

/// What S3 would have sent, as far as the processor reads it.
fn notification(bucket: &str, key: &str) -> String {
    let key: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
    json!({ "Records": [{
        "eventSource": "xendit-hooks",
        "eventName": "InboxSweep",
        "s3": { "bucket": { "name": bucket }, "object": { "key": key } },
    }] })
    .to_string()
}

#[cfg(test)]
mod tests {
    use processor::inbox::{ObjectRef, Payload};

    use super::*;

    #[test]
    fn the_processor_reads_a_notification_as_one_of_s3() {
        for key in ["webhooks/2026-01-02/8476a536-e9f4", "webhooks/by hand/é+%"] {
            let object = ObjectRef { bucket: "inbox".to_owned(), key: key.to_owned() };
            assert_eq!(Payload::read(&notification("inbox", key)), Ok(Payload::ObjectRef(object)));
        }
    }
}
