//! `explain`: shows how the processor reads a webhook body. It runs the processor's own code, without AWS.

use std::{io::Read as _, iter, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use ledger::state::State;
use serde::Serialize;
use shared::{lifecycle::Kind, topic::Topic, webhook::Webhook};

use crate::{
    columns::{WIDTH, beside},
    samples,
};

/// The columns of the name that a value stands beside.
const NAME_COLUMNS: usize = 13;

#[derive(Args)]
pub(crate) struct Options {
    /// The files to read, with one body each; names of samples, such as `invoice.paid`; or `-` for standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The topic in the URL, as in /webhook/TOPIC. It helps to recognise a body without an event name.
    #[arg(long)]
    topic: Option<Topic>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// What the processor reads in one body.
#[derive(Serialize)]
struct Explanation {
    file: String,
    event: String,
    kind: &'static str,
    phase: &'static str,
    id: String,
    account: Option<String>,
    reference: Option<String>,
    /// The amount that was paid; if none was paid, the amount that was requested.
    amount: Option<String>,
    currency: Option<String>,
    occurred_at: Option<String>,
    unknown: bool,
    /// Why the webhook is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Fields with an unexpected type or value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drift: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut failed = false;
    for file in &options.files {
        match explain(file, options.topic.as_ref()) {
            Ok(explanation) if options.json => anstream::println!("{}", serde_json::to_string(&explanation)?),
            Ok(explanation) => anstream::println!("{}", text(&explanation)),
            Err(error) => {
                failed = true;
                anstream::eprintln!("error: {error:#}");
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn explain(file: &PathBuf, topic: Option<&Topic>) -> Result<Explanation> {
    let name = file.display().to_string();
    let mut body = Vec::new();
    if name == "-" {
        std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
    } else if let Some(sample) = samples::find(&name).filter(|_| !file.exists()) {
        body.extend_from_slice(sample.body.as_bytes());
    } else {
        body = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    }
    let webhook = Webhook::parse(&body, topic).with_context(|| format!("cannot read a webhook in {name}"))?;
    let seen = webhook.observe();
    let money = State::from(&seen).paid_in_all().or(seen.requested);
    Ok(Explanation {
        file: name,
        event: seen.event,
        kind: seen.stage.kind().as_str(),
        phase: seen.stage.phase(),
        id: seen.id,
        account: seen.account,
        reference: seen.reference,
        amount: money.as_ref().map(|money| money.amount.to_string()),
        currency: money.map(|money| money.currency.to_string()),
        occurred_at: seen.occurred_at.map(|time| time.to_string()),
        unknown: seen.stage.kind() == Kind::Unknown,
        reason: seen.unknown.map(|reason| reason.to_string()),
        drift: seen.drift.iter().map(ToString::to_string).collect(),
    })
}

fn text(explanation: &Explanation) -> String {
    let Explanation { event, kind, phase, id, reference, reason, drift, .. } = explanation;
    let file = explanation.file.rsplit('/').next().unwrap_or(&explanation.file);
    let amount = match (&explanation.currency, &explanation.amount) {
        (Some(currency), Some(amount)) => format!("  {currency} {amount}"),
        _ => String::new(),
    };
    let event = (*event != format!("{kind}.{phase}")).then_some(event);
    let facts = [("event", event), ("id", Some(id)), ("reference", reference.as_ref()), ("unknown", reason.as_ref())];
    let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let facts = facts.chain(drift.iter().map(|drift| ("unexpected", drift)));
    let lines = facts.map(|(name, value)| format!("  {name:<10} {}", beside(NAME_COLUMNS, value)));
    let found = format!("{kind}.{phase}{amount}");
    let is_short = file.len() + 2 + found.len() <= WIDTH;
    let first = if is_short { format!("{file}: {found}") } else { format!("{file}:\n  {found}") };
    let lines: Vec<_> = iter::once(first).chain(lines).collect();
    lines.join("\n")
}
