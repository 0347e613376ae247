//! `inbox plan`: which objects in the inbox were never processed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Found, Inbox, Line, Object, State, VERSION};
use crate::{
    columns,
    dlq::{DeadLetters, age, printable, short},
    duration,
    plan::{Content, NOTHING_TO_DO, Plan},
    queue,
    stack::{Stack, StackOption},
};

const HELP: &str = "\
An object is chosen if the ledger does not know what its webhook says, or if the webhook's events are not published, and \
if it is not in the dead-letter queue: `dlq plan` is for those. It may still be on its way. Sent twice, it is applied once.
Exit codes: 0 a plan was made; 1 an error; 2 a wrong option; 3 no object was chosen.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Only objects that were stored longer ago than this, such as `30m`, `2h` or `3d`. S3's notification takes seconds, or
    /// minutes.
    #[arg(long, value_name = "AGE", default_value = "15m", value_parser = duration::parse)]
    older_than: Duration,
    /// Only objects that were stored less long ago than this.
    #[arg(long, value_name = "AGE", value_parser = duration::parse)]
    newer_than: Option<Duration>,
    /// At most so many: the oldest ones.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// The objects that a sweep will send notifications of, and to where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlannedSweep {
    pub(super) bucket: String,
    pub(super) queue_url: String,
    pub(super) objects: Vec<Planned>,
}

/// An object in a plan.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) key: String,
    stored_at: Option<Timestamp>,
    state: String,
}

impl Content for PlannedSweep {
    const MADE_BY: &'static str = "inbox plan";
    const RUN_BY: &'static str = "inbox sweep";
}

/// A plan for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    /// Null if no object was chosen: then there is no plan.
    fingerprint: Option<&'a str>,
    file: Option<&'a Path>,
    stack: &'a str,
    bucket: &'a str,
    queue_url: &'a str,
    /// All objects in the inbox.
    in_all: usize,
    /// Those that were not looked into, because of their age.
    not_looked_into: usize,
    processed: usize,
    dead_letters: usize,
    /// How many messages are in the webhook queue. They may be about some of these objects.
    queued: u64,
    objects: Vec<Line<'a>>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let inbox = Inbox::of(&stack).await;
    let objects = inbox.list().await?;
    let (in_all, now) = (objects.len(), Timestamp::now());
    let of_age: Vec<_> = objects.into_iter().filter(|object| options.fits(object, now)).collect();
    let not_looked_into = in_all - of_age.len();
    let dead = dead_letters(&stack).await?;
    let (dead, others): (Vec<_>, Vec<_>) = of_age.into_iter().partition(|object| dead.contains(object.delivery()));
    // Since the dead letters were looked at, Ctrl-C does not end the process by itself any more.
    let found = tokio::select! {
        found = inbox.look_into(others) => found?,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing was changed"),
    };
    let (processed, mut waiting): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|found| found.state == State::Processed);
    let wait = waiting.len();
    waiting.truncate(options.limit.unwrap_or(usize::MAX));
    let queued = queued(&stack).await?;

    let objects = waiting.iter().map(Planned::of).collect();
    let Stack { inbox: bucket, queue_url, .. } = stack;
    let plan = Plan::new(&options.stack, PlannedSweep { bucket, queue_url, objects });
    let saved = if waiting.is_empty() { None } else { Some(plan.save()?) };
    let name = options.stack.name();
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: saved.as_ref().map(|saved| saved.fingerprint.as_str()),
            file: saved.as_ref().map(|saved| saved.file.as_path()),
            stack: name,
            bucket: &plan.content.bucket,
            queue_url: &plan.content.queue_url,
            in_all,
            not_looked_into,
            processed: processed.len(),
            dead_letters: dead.len(),
            queued,
            objects: waiting.iter().map(Found::line).collect(),
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else {
        if saved.is_some() {
            print_table(&waiting, now);
            anstream::println!("\n{} of {in_all} objects in the inbox:", waiting.len());
            for (state, count) in counts(&waiting) {
                anstream::println!("  {count:>5}  {state}");
            }
        }
        let others = [
            (processed.len(), "processed"),
            (dead.len(), "in the dead-letter queue: see `xendit-hooks dlq list`"),
            (not_looked_into, "not looked into, because of their age"),
            (wait - waiting.len(), "left out by --limit"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            anstream::eprintln!("Not chosen: {count} {what}.");
        }
        if queued > 0 {
            anstream::eprintln!("The webhook queue holds {queued} messages, which may be about some of these objects.");
        }
        match &saved {
            Some(saved) => {
                anstream::println!("\nNothing was changed. Within a day, this notifies the processor of them:");
                anstream::println!("  {}", plan.command_line(&saved.fingerprint));
            }
            None if in_all == 0 => anstream::eprintln!("The inbox of `{name}` is empty. No plan was made."),
            None => anstream::eprintln!("The inbox of `{name}` holds nothing that waits. No plan was made."),
        }
    }
    Ok(if saved.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_TO_DO) })
}

/// The deliveries in the dead-letter queue.
async fn dead_letters(stack: &Stack) -> Result<BTreeSet<String>> {
    let (letters, more) = DeadLetters::new(&stack.aws().await, stack.dlq_url.clone()).all().await?;
    if more {
        anstream::eprintln!(
            "There are more dead letters than are looked at, so that some of the objects may be among them."
        );
    }
    Ok(letters.iter().filter_map(|letter| letter.delivery()).map(str::to_owned).collect())
}

/// How many messages are in the webhook queue.
async fn queued(stack: &Stack) -> Result<u64> {
    let sqs = aws_sdk_sqs::Client::new(&stack.aws().await);
    let counts = queue::counts(&sqs, &stack.queue_url).await.context("cannot read the webhook queue")?;
    Ok(counts.iter().sum())
}

/// How many objects are in each state, the most frequent one first.
fn counts(found: &[Found]) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    for found in found {
        *counts.entry(found.state.to_string()).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn print_table(found: &[Found], now: Timestamp) {
    let mut table = columns::table(["age", "delivery", "event", "reference or id", "state"]);
    for found in found {
        let line = found.line();
        table.add_row([
            line.stored_at.map(|at| age(now, at)).unwrap_or_default(),
            short(line.delivery).to_owned(),
            printable(line.event.unwrap_or("unreadable")).into_owned(),
            printable(line.reference.or(line.id).unwrap_or_default()).into_owned(),
            line.state,
        ]);
    }
    columns::print_table(&table);
}

impl Options {
    fn fits(&self, object: &Object, now: Timestamp) -> bool {
        // A clock that is ahead makes no object negative in age.
        let age = object.stored_at.and_then(|at| Duration::try_from(now.duration_since(at)).ok()).unwrap_or_default();
        age >= self.older_than && self.newer_than.is_none_or(|limit| age < limit)
    }
}

impl Planned {
    fn of(found: &Found) -> Self {
        let Found { object: Object { key, stored_at }, state, .. } = found;
        Self { key: key.clone(), stored_at: *stored_at, state: state.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn an_object_that_was_just_stored_is_left_to_s3() {
        let now = Timestamp::from_second(10_000).unwrap();
        let fits = |text: &str, age: i64| {
            let options = Cli::parse_from(["plan"].into_iter().chain(text.split_terminator(' '))).options;
            let stored_at = Timestamp::from_second(10_000 - age).ok();
            options.fits(&Object { key: "webhooks/2026-01-02/d-1".to_owned(), stored_at }, now)
        };
        assert!(!fits("", 899) && fits("", 900) && fits("--older-than 0s", 0));
        assert!(fits("--newer-than 1h", 3599) && !fits("--newer-than 1h", 3600));
        assert!(!fits("", -5), "our clock is behind");
    }
}
