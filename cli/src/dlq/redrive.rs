//! `dlq redrive`: moves the dead letters of a plan back to the webhook queue, each once, and nothing else.
//!
//! A kill may send a message twice (see `queue`). The envelope stays as it is, and the ledger recognises the second one as a
//! duplicate.

use std::{collections::HashMap, pin::pin, process::ExitCode};

use anyhow::{Context as _, Result};
use aws_sdk_sqs::types::{Message, MessageAttributeValue};
use jiff::Timestamp;
use processor::source::EARLIER_REASON;
use serde::Serialize;

use super::{DeadLetters, VERSION, plan::PlannedRedrive};
use crate::{
    journal::Journal,
    plan::{Content as _, Plan, Refused, RunOptions, exit_code},
    queue::{Gone, Moving, attribute},
};

/// The attribute of a moved message with the plan's fingerprint.
const REDRIVE: &str = "redrive";

/// The attribute with the reason for the redrive.
const REDRIVE_REASON: &str = "redrive_reason";

pub(super) const HELP: &str = "\
A plan can be run for a day, on the stack that it was made for. After an interruption, the same command goes on.
Exit codes: 0 all are moved; 1 an error, and the same command goes on; 2 a wrong option; 3 refused: the plan is \
unknown, changed, for another stack, too old, done or stale, or the stack's name was not confirmed.";

/// The result for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    fingerprint: &'a str,
    stack: &'a str,
    planned: usize,
    /// Moved by this run.
    moved: usize,
    moved_before: usize,
    /// How many may have been sent twice, because a run was interrupted between sending and writing that down.
    perhaps_sent_twice: usize,
}

pub(super) async fn run(options: &RunOptions) -> Result<ExitCode> {
    exit_code(redrive(options).await)
}

async fn redrive(options: &RunOptions) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let (plan, journal) = Plan::<PlannedRedrive>::load(&options.fingerprint)?;
    let PlannedRedrive { dlq_url, queue_url, letters } = &plan.content;
    plan.check_place(dlq_url, &stack.dlq_url)?;
    plan.check_place(queue_url, &stack.queue_url)?;
    let mut redrive = Moving {
        from: DeadLetters::new(&stack.aws().await, dlq_url.clone()).0,
        to: queue_url.clone(),
        to_name: "the webhook queue",
        planned: letters.iter().map(|letter| letter.message_id.clone()).collect(),
        journal: Journal::open(&journal)?,
        attributes: |message: &Message| attributes(message, options),
    };
    let (planned, moved_before) = (letters.len(), redrive.moved());
    if moved_before == planned {
        return Err(Refused::Done("all its dead letters are moved").into());
    }
    plan.check_age(Timestamp::now())?;
    options.confirm(&format!("moves {} dead letters to the webhook queue", planned - moved_before))?;

    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let held = redrive.find(interrupted.as_mut()).await.map_err(|error| match error.downcast::<Gone>() {
        Ok(Gone(gone)) => {
            let why = format!("nothing was moved now: {gone} of its dead letters left the queue in another way");
            Refused::Stale { why, made_by: PlannedRedrive::MADE_BY }.into()
        }
        Err(error) => error,
    })?;
    redrive.journal.begin(options.reason.as_deref())?;
    let moving = redrive.move_all(held, options.rate, interrupted).await;
    let moved = redrive.moved();
    moving.with_context(|| format!("{moved} of {planned} dead letters are moved; the same command goes on"))?;

    let perhaps_sent_twice = redrive.journal.perhaps_sent_twice();
    let moved = moved - moved_before;
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: &options.fingerprint,
            stack: options.stack.name(),
            planned,
            moved,
            moved_before,
            perhaps_sent_twice,
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let before = if moved_before > 0 { format!(" {moved_before} had been moved before.") } else { String::new() };
    anstream::println!("Moved {moved} of {planned} planned dead letters to the webhook queue.{before}");
    if perhaps_sent_twice > 0 {
        anstream::println!("{perhaps_sent_twice} may have been sent twice, which the ledger recognises.");
    }
    anstream::eprintln!("One that fails again comes back with its reason: `xendit-hooks dlq list` shows it.");
    Ok(ExitCode::SUCCESS)
}

/// What a moved message says about where it was.
fn attributes(message: &Message, options: &RunOptions) -> HashMap<String, MessageAttributeValue> {
    let known = message.message_attributes();
    let earlier = known.and_then(|all| all.get("reason").or_else(|| all.get(EARLIER_REASON)));
    let mut attributes = HashMap::from([(REDRIVE.to_owned(), attribute(&options.fingerprint))]);
    attributes.extend(earlier.map(|reason| (EARLIER_REASON.to_owned(), reason.clone())));
    attributes.extend(options.reason.as_deref().map(|text| (REDRIVE_REASON.to_owned(), attribute(text))));
    attributes
}
