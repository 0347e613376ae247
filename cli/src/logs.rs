//! Logs: the lines in which the functions say what became of each webhook: in the log files of a local stack, or in the log
//! groups of a deployed one.
//!
//! **Invariant:** a line is handed out once, although log groups are read with an overlap: their lines can arrive late.

use std::{
    collections::HashMap,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    canary,
    lifecycle::{CanaryPhase, Stage},
    outcome::{Processed, Received},
};

use crate::{
    aws::{Caller, Service},
    stack::Stack,
};

/// How late a line may arrive in its log group.
const OVERLAP: Duration = Duration::from_mins(1);

/// Leaves out what Lambda itself writes.
const WITH_OUTCOME: &str = "{ $.outcome = * }";

/// What the processor says about a canary.
pub(crate) const CANARY: Stage = Stage::Canary(CanaryPhase::Seen);

/// What a function says about a webhook.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    /// As it was logged.
    #[serde(skip)]
    pub(crate) text: String,
    #[serde(rename = "timestamp")]
    pub(crate) at: Timestamp,
    /// `None`: the processor could not read the message.
    pub(crate) delivery: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    /// The HTTP status of a refused request.
    pub(crate) status: Option<u16>,
    /// The label of the callback token.
    pub(crate) token: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) webhook_id: Option<String>,
    /// Xendit's name of the event.
    pub(crate) event: Option<String>,
    stage: Option<String>,
    /// Xendit's id of the subject.
    pub(crate) id: Option<String>,
    /// Why it was not recognised.
    pub(crate) unknown: Option<String>,
    /// How many domain events were published.
    #[serde(default)]
    pub(crate) events: u64,
    pub(crate) receive_count: Option<u32>,
}

/// What became of a webhook, in a line of one of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    Received(Received),
    Processed(Processed),
}

impl Outcome {
    /// Whether the webhook is acknowledged.
    pub(crate) const fn is_accepted(self) -> bool {
        matches!(self, Self::Received(Received::Stored | Received::StoredInInbox))
    }

    /// Whether the processor is done with the webhook.
    pub(crate) const fn is_final(self) -> bool {
        let Self::Processed(outcome) = self else { return false };
        !matches!(outcome, Processed::Retry | Processed::NoTime | Processed::NotParked)
    }
}

impl Line {
    /// `None`: the line is about something else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let line: Self = serde_json::from_str(text).ok()?;
        Some(Self { text: text.trim_end().to_owned(), ..line })
    }

    /// What the webhook says. `None`: the line does not say, or in a word that this version does not know.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.stage.clone()?.try_into().ok()
    }

    /// Whether it is about a canary, which `smoke` sent and not Xendit. The receiver logs the topic, the processor the stage.
    pub(crate) fn is_canary(&self) -> bool {
        self.topic.as_deref() == Some(canary::TOPIC) || self.stage.as_deref() == Some(CANARY.as_str())
    }
}

/// The lines of a stack.
pub(crate) enum Logs {
    Local(Vec<LogFile>),
    Deployed { logs: Caller, groups: Vec<LogGroup> },
}

/// A growing file.
pub(crate) struct LogFile {
    path: PathBuf,
    read: u64,
    since: Timestamp,
}

/// A growing log group.
pub(crate) struct LogGroup {
    name: String,
    since: Timestamp,
    /// The lines since then, by their id.
    handed_out: HashMap<String, Timestamp>,
}

impl Logs {
    /// The lines from a time on.
    pub(crate) fn new(stack: &Stack, aws: &SdkConfig, since: Timestamp) -> Result<Self> {
        let Some(deployed) = &stack.deployed else {
            let folder = stack.log_dir.as_deref().context("the local stack does not say where its logs are")?;
            let file = |name: &str| LogFile { path: folder.join(name), read: 0, since };
            return Ok(Self::Local(["receiver.log", "processor.log"].map(file).into()));
        };
        let group = |output: &str| {
            let name = deployed.output(output)?.to_owned();
            Ok(LogGroup { name, since, handed_out: HashMap::new() })
        };
        let groups = ["ReceiverLogGroupName", "ProcessorLogGroupName"].map(group);
        Ok(Self::Deployed {
            logs: Caller::new(aws, Service::Logs)?,
            groups: groups.into_iter().collect::<Result<_>>()?,
        })
    }

    /// The lines that have come since the last call, oldest first.
    pub(crate) async fn read(&mut self) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        match self {
            Self::Local(files) => {
                for file in files {
                    lines.extend(file.read()?);
                }
            }
            Self::Deployed { logs, groups } => {
                let mut failed = None;
                for group in groups {
                    match group.read(logs).await {
                        Ok(read) => lines.extend(read),
                        Err(error) => failed = Some(error),
                    }
                }
                // It shows again at the next call. What was read is handed out now.
                if let Some(error) = failed.filter(|_| lines.is_empty()) {
                    return Err(error);
                }
            }
        }
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}

impl LogFile {
    fn read(&mut self) -> Result<Vec<Line>> {
        let bytes = read_from(&self.path, self.read).with_context(|| format!("cannot read {}", self.path.display()))?;
        // What follows the last line break is a line that is still being written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (whole, _) = bytes.split_at(whole);
        self.read += u64::try_from(whole.len())?;
        let lines = String::from_utf8_lossy(whole);
        Ok(lines.lines().filter_map(Line::read).filter(|line| line.at >= self.since).collect())
    }
}

fn read_from(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl LogGroup {
    async fn read(&mut self, logs: &Caller) -> Result<Vec<Line>> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "eventId")]
            id: String,
            message: String,
            timestamp: i64,
        }

        let (mut lines, mut read, mut token) = (Vec::new(), HashMap::new(), None::<String>);
        loop {
            let from = self.since.as_millisecond();
            let mut input = json!({ "logGroupName": self.name, "filterPattern": WITH_OUTCOME, "startTime": from });
            if let (Some(token), Some(input)) = (&token, input.as_object_mut()) {
                input.insert("nextToken".to_owned(), token.as_str().into());
            }
            let mut answer = logs.json("FilterLogEvents", &input).await?;
            let events: Vec<Event> =
                answer.get_mut("events").map(Value::take).map(serde_json::from_value).transpose()?.unwrap_or_default();
            for Event { id, message, timestamp } in events {
                if !self.handed_out.contains_key(&id) {
                    lines.extend(Line::read(&message));
                    read.insert(id, Timestamp::from_millisecond(timestamp)?);
                }
            }
            token = answer.get("nextToken").and_then(Value::as_str).map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        let newest = read.values().copied().max().unwrap_or(self.since);
        self.since = self.since.max(newest - OVERLAP);
        self.handed_out.extend(read);
        self.handed_out.retain(|_, at| *at >= self.since);
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const STORED: &str = r#"{"timestamp":"2026-11-24T10:00:00Z","level":"INFO","message":"received","delivery":"d-1","token":"test","bytes":9,"outcome":"stored"}"#;

    #[test]
    fn lines_of_both_functions_are_read_and_others_are_not() {
        let stored = Line::read(STORED).unwrap();
        assert_eq!((stored.outcome, stored.outcome.is_accepted()), (Outcome::Received(Received::Stored), true));
        let applied = r#"{"timestamp":"2026-11-24T10:00:01Z","delivery":"d-1","event":"invoice","stage":"invoice.paid","id":"i","outcome":"applied","events":2}"#;
        let applied = Line::read(applied).unwrap();
        assert_eq!((applied.events, applied.stage().map(Stage::as_str)), (2, Some("invoice.paid")));
        assert!(applied.outcome.is_final() && !applied.outcome.is_accepted());
        for other in [r#"{"timestamp":"2026-11-24T10:00:01Z","outcome":"other"}"#, "START RequestId", "{}"] {
            assert!(Line::read(other).is_none(), "{other}");
        }
        for outcome in Received::ALL {
            assert_eq!(json!(serde_json::from_value::<Outcome>(json!(outcome)).unwrap()), outcome.as_str());
        }
        for outcome in Processed::ALL {
            assert_eq!(json!(serde_json::from_value::<Outcome>(json!(outcome)).unwrap()), outcome.as_str());
        }
    }

    #[test]
    fn a_file_is_read_on_from_its_last_whole_line() {
        let path = std::env::temp_dir().join(format!("xendit-hooks-logs-{}", std::process::id()));
        let mut file = LogFile { path: path.clone(), read: 0, since: "2026-11-24T10:00:00Z".parse().unwrap() };
        assert!(file.read().unwrap().is_empty(), "the function has not written yet");
        let (begin, end) = STORED.split_at(20);
        let early = STORED.replace("T10:", "T09:");
        fs::write(&path, format!("{early}\n{STORED}\n{begin}")).unwrap();
        assert_eq!(file.read().unwrap().len(), 1, "one is too early, and one is not whole");
        fs::write(&path, format!("{early}\n{STORED}\n{begin}{end}\n")).unwrap();
        assert_eq!((file.read().unwrap().len(), file.read().unwrap().len()), (1, 0));
        fs::remove_file(&path).unwrap();
    }
}
