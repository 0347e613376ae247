//! `explain`: shows what the processor would recognise in a body. It runs the same code.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use ledger::state::State;
use serde::Serialize;
use shared::{lifecycle::Kind, topic::Topic, webhook::Webhook};

#[derive(Args)]
pub(crate) struct Options {
    /// Files with one body each. `-` reads standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The topic of the URL, as in /webhook/TOPIC. It helps to recognise a body without an event name.
    #[arg(long)]
    topic: Option<Topic>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// What was recognised in a body.
#[derive(Serialize)]
pub(crate) struct Explanation {
    file: String,
    event: String,
    kind: &'static str,
    phase: &'static str,
    id: String,
    account: Option<String>,
    reference: Option<String>,
    /// The exact amount that was paid, or else the one that was requested.
    amount: Option<String>,
    currency: Option<String>,
    occurred_at: Option<String>,
    unknown: bool,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Fields with an unexpected type or value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drift: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["file", "event", "kind.phase", "id", "reference", "amount", "notes"]);
    let mut failed = false;
    for file in &options.files {
        match explain(file, options.topic.as_ref()) {
            Ok(one) if options.json => anstream::println!("{}", serde_json::to_string(&one)?),
            Ok(one) => {
                table.add_row(row(&one));
            }
            Err(error) => {
                failed = true;
                anstream::eprintln!("error: {error:#}");
            }
        }
    }
    if table.row_count() > 0 {
        anstream::println!("{table}");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn explain(file: &PathBuf, topic: Option<&Topic>) -> Result<Explanation> {
    let name = file.display().to_string();
    let mut body = Vec::new();
    if name == "-" {
        std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
    } else {
        body = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
    }
    let webhook = Webhook::parse(&body, topic).with_context(|| format!("{name} is not a webhook"))?;
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

fn row(one: &Explanation) -> [String; 7] {
    let file = one.file.rsplit('/').next().unwrap_or(&one.file).to_owned();
    let amount = match (&one.currency, &one.amount) {
        (Some(currency), Some(amount)) => format!("{currency} {amount}"),
        _ => String::new(),
    };
    let notes: Vec<_> = one.reason.iter().chain(&one.drift).cloned().collect();
    [
        file,
        one.event.clone(),
        format!("{}.{}", one.kind, one.phase),
        one.id.clone(),
        one.reference.clone().unwrap_or_default(),
        amount,
        notes.join("; "),
    ]
}
