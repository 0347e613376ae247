//! `events`: lists the known webhooks, from the tables by which the processor recognises them; and the samples and stories
//! that `trigger` sends.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use shared::{
    lifecycle::Stage,
    webhook::{self, Entry, Webhook},
};

use crate::{
    columns::{WIDTH, beside},
    samples::{self, Sample},
    trigger::story::{self, Story},
};

/// The columns for the name of an event, and for the name of a story.
const NAME_WIDTH: usize = 33;
const STORY_WIDTH: usize = 24;

/// The column for the name of a fact about one webhook.
const DETAIL_WIDTH: usize = 16;

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
    /// Show one in detail: a webhook with the meaning of each status, the keys that are read and its samples; one sample; or
    /// the steps of a story.
    name: Option<String>,
    /// List only the products whose name contains this text, in upper or lower case.
    #[arg(long, conflicts_with = "name")]
    product: Option<String>,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Print the page docs/webhooks.md.
    #[arg(long, conflicts_with_all = ["name", "product", "json"])]
    markdown: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let found = match &options.name {
        Some(name) => Found::named(name)?,
        None => Found::of_product(options.product.as_deref())?,
    };
    let text = if options.markdown {
        markdown(&found.entries)
    } else if options.json {
        found.json()?
    } else if options.name.is_some() {
        found.describe()
    } else {
        found.list()
    };
    anstream::print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// What is listed or shown.
struct Found {
    entries: Vec<Entry>,
    samples: Vec<Sample>,
    stories: Vec<&'static Story>,
}

impl Found {
    /// The products whose name contains a text; everything, without one.
    fn of_product(product: Option<&str>) -> Result<Self> {
        let product = product.map(str::to_lowercase);
        let is_in_product = |entry: &Entry| {
            product.as_ref().is_none_or(|product| entry.product.to_lowercase().contains(product.as_str()))
        };
        let entries: Vec<_> = webhook::catalogue().filter(is_in_product).collect();
        if entries.is_empty() {
            bail!("no product has such a name; `xendit-hooks events` lists them");
        }
        let is_listed = |sample: &Sample| match recognise(sample.body) {
            Some(entry) => entries.contains(&entry),
            None => product.is_none(),
        };
        let samples = samples::all().into_iter().filter(is_listed).collect();
        let stories = story::ALL.iter().filter(|_| product.is_none()).collect();
        Ok(Self { entries, samples, stories })
    }

    /// The webhook, the sample or the story with a name.
    fn named(name: &str) -> Result<Self> {
        let all = Self::of_product(None)?;
        let is_event = |entry: &Entry| entry.event == name;
        if let Some(story) = all.stories.iter().find(|story| story.full_name() == name) {
            return Ok(Self { entries: Vec::new(), samples: Vec::new(), stories: vec![story] });
        }
        if all.entries.iter().any(is_event) {
            let entries: Vec<_> = all.entries.into_iter().filter(is_event).collect();
            let is_of_it = |sample: &Sample| recognise(sample.body).is_some_and(|entry| entries.contains(&entry));
            let samples = all.samples.into_iter().filter(is_of_it).collect();
            return Ok(Self { entries, samples, stories: Vec::new() });
        }
        if let Some(sample) = samples::find(name) {
            let entries = recognise(sample.body).into_iter().collect();
            return Ok(Self { entries, samples: vec![sample], stories: Vec::new() });
        }
        let stories: Vec<_> = all.stories.iter().map(|story| story.full_name()).collect();
        let names = all.entries.iter().map(|entry| entry.event).chain(all.samples.iter().map(|sample| sample.name));
        match samples::closest(name, names.chain(stories.iter().map(String::as_str))) {
            Some(meant) => bail!("no such webhook is known: `{name}`; did you mean `{meant}`?"),
            None => bail!("no such webhook is known: `{name}`; `xendit-hooks events` lists all"),
        }
    }

    fn samples_of(&self, entry: &Entry) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| recognise(sample.body).is_some_and(|of| of == *entry))
    }
}

/// One webhook as a JSON line.
#[derive(Serialize)]
struct Webhooks<'a> {
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
    /// The names of its samples, for `trigger`.
    samples: Vec<&'a str>,
}

/// One story as a JSON line.
#[derive(Serialize)]
struct StoryLine {
    story: String,
    says: &'static str,
    /// The names of the samples that it sends.
    steps: Vec<&'static str>,
}

impl Found {
    fn json(&self) -> Result<String> {
        let mut text = String::new();
        for entry in &self.entries {
            let line = Webhooks {
                product: entry.product,
                topic: entry.topic(),
                event: entry.event,
                named: entry.is_named,
                callback_type: entry.callback_type(),
                stages: &entry.stages,
                without_status: entry.without_status,
                statuses: entry.statuses.as_deref(),
                keys: &entry.keys,
                samples: self.samples_of(entry).map(|sample| sample.name).collect(),
            };
            text += &serde_json::to_string(&line)?;
            text += "\n";
        }
        for story in &self.stories {
            let steps = story.steps.iter().map(|step| step.sample).collect();
            text += &serde_json::to_string(&StoryLine { story: story.full_name(), says: story.says, steps })?;
            text += "\n";
        }
        Ok(text)
    }

    fn list(&self) -> String {
        let mut text = String::from("The webhooks that are recognised, with what each can report:\n");
        let mut product = "";
        for entry in &self.entries {
            if entry.product != product {
                product = entry.product;
                let _ = writeln!(text, "\n{product}");
            }
            let stages = in_lines(entry.stages.iter().map(|stage| stage.as_str()), ",", NAME_WIDTH + 3);
            let name = event_name(entry);
            if name.len() > NAME_WIDTH {
                let _ = writeln!(text, "  {name}\n  {:NAME_WIDTH$} {stages}", "");
            } else {
                let _ = writeln!(text, "  {name:<NAME_WIDTH$} {stages}");
            }
        }
        let samples = in_lines(self.samples.iter().map(|sample| sample.name), "", 2);
        let _ = writeln!(text, "\nSamples, to send with `xendit-hooks trigger NAME`:\n  {samples}");
        if !self.stories.is_empty() {
            text += "\nStories, to send with the same command:\n";
        }
        for story in &self.stories {
            let says = in_lines(story.says.split(' '), "", STORY_WIDTH + 3);
            let _ = writeln!(text, "  {:<STORY_WIDTH$} {says}", story.full_name());
        }
        text
    }

    fn describe(&self) -> String {
        let mut texts: Vec<_> = self.entries.iter().map(|entry| self.describe_webhook(entry)).collect();
        // Samples of webhooks that are not recognised.
        texts.extend(self.samples.iter().filter(|_| self.entries.is_empty()).map(describe_sample));
        texts.extend(self.stories.iter().map(|story| {
            let mut text = format!("{}\n{}\n\n", story.full_name(), beside(0, story.says));
            for (index, step) in story.steps.iter().enumerate() {
                let _ = writeln!(text, "{}. {}", index + 1, step.sample);
            }
            text
        }));
        texts.join("\n")
    }
}

/// Words on lines that are no longer than the width. Each line but the first is indented.
fn in_lines<'a>(words: impl Iterator<Item = &'a str>, separator: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if indent + line.len() + separator.len() * 2 + 1 + word.len() <= WIDTH => {
                line.extend([separator, " ", word]);
            }
            last => {
                if let Some(line) = last {
                    line.push_str(separator);
                }
                lines.push(word.to_owned());
            }
        }
    }
    lines.join(&format!("\n{:indent$}", ""))
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

impl Found {
    /// One webhook in detail.
    fn describe_webhook(&self, entry: &Entry) -> String {
        let mut statuses = Table::new();
        statuses.load_style(NOTHING);
        for (status, stage) in entry.statuses.iter().flatten() {
            statuses.add_row([*status, stage.as_str()]);
        }
        if let Some(stage) = entry.without_status {
            let status = if entry.statuses.is_none() { "(any)" } else { "(none)" };
            statuses.add_row([status, stage.as_str()]);
        }
        let mut text = format!("{}\n\n", beside(2, &format!("{}: {}", entry.product, event_name(entry))));
        let _ = writeln!(text, "{:<DETAIL_WIDTH$}…/webhook/{}", "url", entry.topic());
        let callback_type = entry.callback_type();
        let _ = writeln!(text, "{:<DETAIL_WIDTH$}{}", "callback type", callback_type.as_deref().unwrap_or("none"));
        let keys = in_lines(entry.keys.iter().copied(), ",", DETAIL_WIDTH);
        let _ = writeln!(text, "{:<DETAIL_WIDTH$}{keys}", "keys");
        text += "\nstatus\n";
        for row in statuses.lines() {
            text += row.trim_end();
            text += "\n";
        }
        for sample in self.samples_of(entry) {
            text += "\n";
            text += &describe_sample(sample);
        }
        text
    }
}

fn describe_sample(sample: &Sample) -> String {
    format!("events/webhooks/{}.json\n{}\n", sample.name, sample.body.trim_end())
}

fn recognise(body: &str) -> Option<Entry> {
    Webhook::parse(body.as_bytes(), None).ok()?.entry()
}
