//! `events`: lists the known webhooks. It reads the tables with which the processor recognises webhooks.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Result, ensure};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use shared::{
    lifecycle::Stage,
    webhook::{self, Entry, Webhook},
};

use crate::samples::{self, Sample};

/// The text above the table in docs/webhooks.md. After a change, run `make docs`.
const INTRODUCTION: &str = "\
# Webhooks

<!-- Written by `make docs` from the tables by which webhooks are recognised. -->

Every webhook that Xendit Hooks recognises. `xendit-hooks events NAME` shows one in detail: the meaning of each status, the
keys that are read, and a sample body.

- **Topic**: the last part of the URL, `…/webhook/{topic}`.
- **Event**: the value of `event` in the body. A name in brackets is ours: the body names no event and is recognised by its
  keys.
- **Stages**: what the webhook can report, as *kind.phase*. This is also the type of the
  [domain event](schemas/README.md).
- **Callback type**: the webhook's name in Xendit's callback-URL API. Where it is missing, the URL is set in the dashboard,
  or in each request (retired products).
";

#[derive(Args)]
pub(crate) struct Options {
    /// Show one webhook in detail: the meaning of each status, the keys that are read, and a sample body.
    name: Option<String>,
    /// List only the products whose name contains this text, in upper or lower case.
    #[arg(long)]
    product: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Print the page docs/webhooks.md.
    #[arg(long, conflicts_with_all = ["name", "product", "json"])]
    markdown: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let entries: Vec<_> = webhook::catalogue().filter(|entry| options.includes(entry)).collect();
    ensure!(!entries.is_empty(), "no such webhook is known; `xendit-hooks events` lists all known webhooks");
    let text = if options.markdown {
        markdown(&entries)
    } else if options.json {
        json(&entries)?
    } else if options.name.is_some() {
        entries.iter().map(describe).collect::<Vec<_>>().join(
            "
",
        )
    } else {
        table(&entries)
    };
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn includes(&self, entry: &Entry) -> bool {
        let is_in_product = |text: &String| entry.product.to_lowercase().contains(&text.to_lowercase());
        self.name.as_ref().is_none_or(|name| name == entry.event) && self.product.as_ref().is_none_or(is_in_product)
    }
}

/// One webhook as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    product: &'a str,
    topic: String,
    event: &'a str,
    /// Whether the body contains the event name.
    named: bool,
    callback_type: Option<String>,
    stages: &'a [Stage],
    /// The stage of a body without a status.
    without_status: Option<Stage>,
    /// Each status with its stage. Null: the stage does not depend on the status.
    statuses: Option<&'a [(&'a str, Stage)]>,
    keys: &'a [&'a str],
}

fn json(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for entry in entries {
        let line = Line {
            product: entry.product,
            topic: entry.topic(),
            event: entry.event,
            named: entry.is_named,
            callback_type: entry.callback_type(),
            stages: &entry.stages,
            without_status: entry.without_status,
            statuses: entry.statuses.as_deref(),
            keys: &entry.keys,
        };
        text += &serde_json::to_string(&line)?;
        text += "\n";
    }
    Ok(text)
}

fn table(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["product", "topic", "event", "kind.phase", "callback type"]);
    for entry in entries {
        table.add_row([
            entry.product.to_owned(),
            entry.topic(),
            event_name(entry),
            stages(entry, ""),
            entry.callback_type().unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn markdown(entries: &[Entry]) -> String {
    let mut page =
        format!("{INTRODUCTION}\n| Product | Topic | Event | Stages | Callback type |\n|---|---|---|---|---|\n");
    for entry in entries {
        let callback_type = entry.callback_type().map_or_else(|| "—".to_owned(), |name| format!("`{name}`"));
        let (topic, event) = (entry.topic(), event_name(entry));
        let _ =
            writeln!(page, "| {} | `{topic}` | `{event}` | {} | {callback_type} |", entry.product, stages(entry, "`"));
    }
    page
}

/// The event name. In brackets: the name is ours, and not in the body.
fn event_name(entry: &Entry) -> String {
    if entry.is_named { entry.event.to_owned() } else { format!("({})", entry.event) }
}

fn stages(entry: &Entry, quote: &str) -> String {
    let stages: Vec<_> = entry.stages.iter().map(|stage| format!("{quote}{stage}{quote}")).collect();
    stages.join(", ")
}

/// One webhook in detail.
fn describe(entry: &Entry) -> String {
    let mut statuses = Table::new();
    statuses.load_style(NOTHING);
    for (status, stage) in entry.statuses.iter().flatten() {
        statuses.add_row([*status, stage.as_str()]);
    }
    if let Some(stage) = entry.without_status {
        let status = if entry.statuses.is_none() { "(any)" } else { "(none)" };
        statuses.add_row([status, stage.as_str()]);
    }
    let mut text = format!("{}: {}\n\n", entry.product, event_name(entry));
    let _ = writeln!(text, "url             …/webhook/{}", entry.topic());
    let _ = writeln!(text, "callback type   {}", entry.callback_type().as_deref().unwrap_or("none"));
    let _ = writeln!(text, "keys            {}", entry.keys.join(", "));
    let _ = writeln!(text, "\nstatus\n{statuses}");
    let is_sample = |sample: &Sample| recognise(sample.body).is_some_and(|other| other == *entry);
    for sample in samples::all().into_iter().filter(is_sample) {
        let _ = writeln!(text, "\nevents/webhooks/{}.json\n{}", sample.name, sample.body.trim_end());
    }
    text
}

fn recognise(body: &str) -> Option<Entry> {
    Webhook::parse(body.as_bytes(), None).ok()?.entry()
}
