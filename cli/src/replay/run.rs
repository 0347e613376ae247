//! `replay run`: moves the copies of the planned events from the replay queue to the consumer's queue, each once (see `queue`).

use std::{collections::HashMap, pin::pin, process::ExitCode};

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    VERSION,
    consumer::Consumer,
    plan::{PlannedReplay, queue_name},
};
use crate::{
    journal::Journal,
    plan::{Content as _, Plan, Refused, RunOptions, exit_code},
    queue::{Gone, Moving, Queue, attribute},
};

/// The attribute of an event's message with the plan's fingerprint.
const REPLAY: &str = "replay";

/// The attribute with the reason for the replay.
const REPLAY_REASON: &str = "replay_reason";

pub(super) const HELP: &str = "\
A plan can be run for a day, on the stack that it was made for. After an interruption, the same command goes on.
Exit codes: 0 all are handed out; 1 an error, and the same command goes on; 2 a wrong option; 3 refused: the plan is \
unknown, changed, for another stack, too old, done or stale, or the stack's name was not confirmed.";

/// The result for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    fingerprint: &'a str,
    stack: &'a str,
    rule: &'a str,
    target: &'a str,
    queue_url: &'a str,
    planned: usize,
    /// Handed out by this run.
    handed_out: usize,
    handed_out_before: usize,
    /// How many may have been sent twice, because a run was interrupted between sending and writing that down.
    perhaps_sent_twice: usize,
}

pub(super) async fn run(options: &RunOptions) -> Result<ExitCode> {
    exit_code(replay(options).await)
}

async fn replay(options: &RunOptions) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let (plan, journal) = Plan::<PlannedReplay>::load(&options.fingerprint)?;
    let PlannedReplay { rule, target, pattern, queue_url, replay_queue_url, events, .. } = &plan.content;
    plan.check_place(replay_queue_url, stack.replay_queue_url.as_deref().unwrap_or_default())?;
    let aws = stack.aws().await;
    let mut replay = Moving {
        from: Queue::new(&aws, replay_queue_url.clone(), "the replay queue", "events"),
        to: queue_url.clone(),
        to_name: "the consumer's queue",
        planned: events.iter().map(|event| event.message_id.clone()).collect(),
        journal: Journal::open(&journal)?,
        attributes: |_: &Message| attributes(options),
    };
    let (planned, before) = (events.len(), replay.moved());
    if before == planned {
        return Err(Refused::Done("all its events are handed out").into());
    }
    plan.check_age(Timestamp::now())?;
    let stale = |why: String| Refused::Stale { why, made_by: PlannedReplay::MADE_BY };
    let consumer = Consumer::find(&aws, &stack.bus, rule, Some(target)).await?;
    if (&consumer.queue_url, &consumer.pattern) != (queue_url, pattern) {
        return Err(stale(format!("nothing was handed out now: the rule `{rule}` has another pattern or queue")).into());
    }
    let name = queue_name(queue_url);
    options.confirm(&format!("hands {} events to the queue {name}", planned - before))?;

    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let held = replay.find(interrupted.as_mut()).await.map_err(|error| match error.downcast::<Gone>() {
        Ok(Gone(gone)) => {
            stale(format!("nothing was handed out now: {gone} of its events left the replay queue")).into()
        }
        Err(error) => error,
    })?;
    replay.journal.begin(options.reason.as_deref())?;
    let moving = replay.move_all(held, options.rate, interrupted).await;
    let moved = replay.moved();
    moving.with_context(|| format!("{moved} of {planned} events are handed out; the same command goes on"))?;

    let perhaps_sent_twice = replay.journal.perhaps_sent_twice();
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: &options.fingerprint,
            stack: options.stack.name(),
            rule,
            target,
            queue_url,
            planned,
            handed_out: moved - before,
            handed_out_before: before,
            perhaps_sent_twice,
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let earlier = if before > 0 { format!(" {before} had been handed out before.") } else { String::new() };
    anstream::println!("Handed {} of {planned} planned events to the queue {name}.{earlier}", moved - before);
    if perhaps_sent_twice > 0 {
        anstream::println!("{perhaps_sent_twice} may have been sent twice; the consumer recognises them by their ids.");
    }
    Ok(ExitCode::SUCCESS)
}

fn attributes(options: &RunOptions) -> HashMap<String, MessageAttributeValue> {
    let mut attributes = HashMap::from([(REPLAY.to_owned(), attribute(&options.fingerprint))]);
    attributes.extend(options.reason.as_deref().map(|text| (REPLAY_REASON.to_owned(), attribute(text))));
    attributes
}
