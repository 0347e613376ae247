//! Logs: what the functions have logged about each webhook. A deployed stack's lines come from CloudWatch Logs, a local
//! one's from the files of its run.
//!
//! **Invariant:** no line is returned twice, and none is left out because it came late: each call reads the last minute again.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aws_sdk_cloudwatchlogs::{Client, types::FilteredLogEvent};
use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    lifecycle::Stage,
    outcome::{Processed, Received},
    topic::Topic,
};

use crate::stack::Stack;

/// How much later than others a line may come. CloudWatch Logs needs a few seconds.
const LATE: Duration = Duration::from_mins(1);

/// The lines with an outcome: one for each webhook from each function.
const PATTERN: &str = r#"{ $.outcome = "*" }"#;

/// Reads the logs of both functions.
pub(super) struct Logs {
    from: From,
    /// Read lines from here on.
    since: Timestamp,
}

enum From {
    Groups {
        client: Client,
        names: [String; 2],
        /// The lines of the last minute, by id, with their times.
        known: HashMap<String, i64>,
    },
    Files([LogFile; 2]),
}

struct LogFile {
    path: PathBuf,
    /// How far it was read.
    end: u64,
}

/// A line about a webhook.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line {
    /// As it was logged.
    #[serde(skip)]
    pub(super) text: String,
    pub(super) timestamp: Timestamp,
    pub(super) delivery: String,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
    /// Of a refusal.
    pub(super) status: Option<u16>,
    pub(super) webhook_id: Option<String>,
    pub(super) topic: Option<Topic>,
    pub(super) token: Option<String>,
    pub(super) event: Option<String>,
    pub(super) stage: Option<Stage>,
    /// The id of the subject.
    pub(super) id: Option<String>,
    /// Why it was not recognised.
    pub(super) unknown: Option<String>,
    /// How many domain events were published.
    pub(super) events: Option<usize>,
    pub(super) receive_count: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Received(Received),
    Processed(Processed),
}

impl Line {
    /// `None`: the line is not about a webhook.
    fn read(text: &str) -> Option<Self> {
        let line: Self = serde_json::from_str(text).ok()?;
        Some(Self { text: text.trim_end().to_owned(), ..line })
    }
}

impl Logs {
    /// The lines of a stack from a moment on.
    pub(super) async fn of(stack: &Stack, since: Timestamp) -> Result<Self> {
        let from = if let Some(folder) = &stack.log_dir {
            let file = |name: &str| LogFile { path: folder.join(name), end: 0 };
            From::Files(["receiver.log", "processor.log"].map(file))
        } else {
            let groups = stack.receiver_logs.clone().zip(stack.processor_logs.clone());
            let (receiver, processor) =
                groups.context("the stack has no outputs with its log groups; deploy this version of the template")?;
            let client = Client::new(&stack.aws().await);
            From::Groups { client, names: [receiver, processor], known: HashMap::new() }
        };
        Ok(Self { from, since })
    }

    /// The lines that came since the last call, the oldest first.
    pub(super) async fn next(&mut self) -> Result<Vec<Line>> {
        let since = self.since;
        let mut lines = match &mut self.from {
            From::Groups { client, names, known } => {
                let now = Timestamp::now();
                let mut events = Vec::new();
                for name in names {
                    events.extend(read_group(client, name, since).await?);
                }
                let id = |event: &FilteredLogEvent| event.event_id.clone().unwrap_or_default();
                events.retain(|event| !known.contains_key(&id(event)));
                known.extend(events.iter().map(|event| (id(event), event.timestamp.unwrap_or_default())));
                self.since = (now - LATE).max(since);
                known.retain(|_, at| *at >= self.since.as_millisecond());
                events.iter().filter_map(|event| Line::read(event.message()?)).collect::<Vec<_>>()
            }
            From::Files(files) => {
                let texts = files.iter_mut().map(LogFile::read).collect::<Result<Vec<_>>>()?;
                let lines = texts.iter().flat_map(|text| text.lines()).filter_map(Line::read);
                lines.filter(|line| line.timestamp >= since).collect()
            }
        };
        lines.sort_by_key(|line| line.timestamp);
        Ok(lines)
    }
}

async fn read_group(client: &Client, name: &str, since: Timestamp) -> Result<Vec<FilteredLogEvent>> {
    let call = client.filter_log_events().log_group_name(name).filter_pattern(PATTERN);
    let pages = call.start_time(since.as_millisecond()).into_paginator().send();
    let pages = pages.try_collect().await.map_err(aws_sdk_cloudwatchlogs::Error::from).with_context(|| {
        format!("cannot read the log group {name}; the credentials need logs:FilterLogEvents on it")
    })?;
    Ok(pages.into_iter().flat_map(|page| page.events.unwrap_or_default()).collect())
}

impl LogFile {
    /// The whole lines that were written since the last call.
    fn read(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut file =
            File::open(&self.path).with_context(|| format!("cannot read the log {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.end))?;
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        self.end += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
