//! `wait`: waits until the ledger knows that a subject has reached a phase, for tests and scripts.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use clap::{Args, builder::PossibleValuesParser};
use ledger::{dynamo::DynamoLedger, item::Item};
use serde::Serialize;
use shared::lifecycle::{Kind, Stage};
use tokio::time::sleep;

use crate::{columns::then, duration, failed, stack::StackOption};

/// The format of the JSON output.
const VERSION: u32 = 1;

/// How often to look.
const INTERVAL: Duration = Duration::from_millis(250);

const TIMED_OUT: u8 = 1;
const USAGE: u8 = 2;
const UNREADABLE: u8 = 3;

const HELP: &str = "\
A phase is reached if the subject is in it, or was: an invoice that is settled was paid. The output says where it is now.
Exit codes: 0 reached; 1 not reached in time; 2 a wrong option; 3 the stack or its ledger cannot be read.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Your reference, such as an order number.
    #[arg(long)]
    reference: String,
    /// The phase to wait for, such as `paid`. `xendit-hooks events` lists the stages as kind.phase.
    #[arg(long, hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(Stage::ALL.iter().map(|stage| stage.phase()).collect::<BTreeSet<_>>()))]
    phase: String,
    /// Only a subject of this kind, such as `invoice`. Default: any with the reference.
    #[arg(long, hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// How long to wait, such as `30s` or `5m`.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// What is known in the end.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    reference: &'a str,
    phase: &'a str,
    reached: bool,
    waited_ms: u128,
    /// All subjects with the reference, of the kind if one was given.
    subjects: Vec<Subject<'a>>,
}

#[derive(Serialize)]
struct Subject<'a> {
    key: &'a str,
    /// Where it is now.
    stage: &'static str,
    reached: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(kind) = &options.kind
        && !Stage::ALL.iter().any(|stage| stage.kind().as_str() == kind && stage.phase() == options.phase)
    {
        let phases = Stage::ALL.iter().filter(|stage| stage.kind().as_str() == kind).map(|stage| stage.phase());
        let phases = phases.collect::<Vec<_>>().join(", ");
        let error = anyhow!("the kind `{kind}` has no phase `{}`; it has: {phases}", options.phase);
        return Ok(failed(&error, ExitCode::from(USAGE)));
    }
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let items = match runtime.block_on(wait(options)) {
        Ok(items) => items,
        Err(error) => return Ok(failed(&error, ExitCode::from(UNREADABLE))),
    };
    let subject = |item| Subject::of(item, &options.phase);
    let subjects: Vec<_> = items.iter().map(subject).collect();
    let reached = subjects.iter().any(|subject| subject.reached);
    let Options { reference, phase, .. } = options;
    if options.json {
        let waited_ms = start.elapsed().as_millis();
        let report = Report { version: VERSION, reference, phase, reached, waited_ms, subjects };
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else {
        for Subject { key, stage, reached } in subjects {
            let reached = if reached { format!("{phase} reached") } else { format!("{phase} not reached") };
            anstream::println!("{}", then(&format!("{stage}  {reached}"), key));
        }
    }
    if reached {
        return Ok(ExitCode::SUCCESS);
    }
    let advice = if items.is_empty() {
        "the ledger knows nothing with this reference; `xendit-hooks dlq list` shows what could not be processed"
    } else {
        "`xendit-hooks payment` tells which webhooks came"
    };
    let error = anyhow!("`{reference}` did not reach `{phase}` within {:?}; {advice}", options.timeout);
    Ok(failed(&error, ExitCode::from(TIMED_OUT)))
}

/// All subjects with the reference, as soon as one has reached the phase, or at the end of the time.
async fn wait(options: &Options) -> Result<Vec<Item>> {
    let stack = options.stack.find().await?;
    let ledger = DynamoLedger::new(aws_sdk_dynamodb::Client::new(&stack.aws().await), stack.table);
    let start = Instant::now();
    loop {
        let mut items = ledger.by_reference(&options.reference).await?;
        items.retain(|item| options.kind.as_deref().is_none_or(|kind| item.kind().as_str() == kind));
        let left = options.timeout.saturating_sub(start.elapsed());
        if left.is_zero() || items.iter().any(|item| has_reached(item, &options.phase)) {
            return Ok(items);
        }
        sleep(left.min(INTERVAL)).await;
    }
}

/// Whether a subject is in a phase, or was.
fn has_reached(item: &Item, phase: &str) -> bool {
    let now = item.state.stage;
    let stages = item.history.iter().map(|entry| entry.stage).chain(now.money_stage()).chain([now]);
    stages.into_iter().any(|stage| stage.phase() == phase)
}

impl<'a> Subject<'a> {
    fn of(item: &'a Item, phase: &str) -> Self {
        Self { key: item.key.as_str(), stage: item.state.stage.as_str(), reached: has_reached(item, phase) }
    }
}
