//! `tail`: one line per webhook while it happens, joined from the lines that the two functions log. `make run` does the same for
//! its own stack.
//!
//! **Invariant:** it shows no bodies, because the logs have none. A webhook that is stored and not processed shows too.

use std::{
    collections::{HashMap, HashSet},
    io::Write as _,
    process::ExitCode,
    time::Duration,
};

use anstyle::AnsiColor;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    domain_event::{CONFLICT, type_of},
    lifecycle::Stage,
    outcome::{Processed, Received},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{
    dev, duration, failed,
    listen::Filter,
    logs::{Line, Logs, Outcome},
    stack::{Stack, StackOption},
};

/// The format of the JSON output.
const VERSION: u32 = 1;

const UNREADABLE: u8 = 3;

/// How often to look into the files of a local stack.
const LOCAL_INTERVAL: Duration = Duration::from_millis(300);

/// How often to look into log groups. A look is two calls, and CloudWatch Logs allows a few in a second.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a webhook waits before that is told.
const PATIENCE: Duration = Duration::from_secs(15);

/// How late the receiver's line may come after the processor's.
const LATE: Duration = Duration::from_mins(10);

const HELP: &str = "\
On a deployed stack, it reads both log groups every two seconds. AWS does not charge for that; a line comes some seconds late.
The credentials need logs:FilterLogEvents on both log groups, and cloudformation:DescribeStacks.
Exit codes: 0 stopped with Ctrl-C; 1 an error; 2 a wrong option; 3 the stack or its logs cannot be read.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Only webhooks with these domain events, such as `payment.*` (in quotes, for the shell). Can be repeated. Leaves out
    /// what was refused, because nobody looked into it.
    #[arg(long, value_name = "TYPE")]
    filter: Vec<Filter>,
    /// Begin this long ago, such as `10m`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration::parse)]
    since: Duration,
    /// Print one JSON object per webhook.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = async {
            let stack = options.stack.find().await?;
            let mut logs = Logs::new(&stack, &stack.aws().await, duration::ago(options.since))?;
            let lines = logs.read().await?;
            Ok::<_, anyhow::Error>((stack, logs, lines))
        };
        let (stack, logs, lines) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return Ok(failed(&error, ExitCode::from(UNREADABLE))),
        };
        anstream::eprintln!("Following the webhooks of `{}`. Press Ctrl-C to stop.", options.stack.name());
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            end = follow(options, &stack, logs, lines) => end?,
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Prints webhooks until the output is closed or the local stack stops. Of other failures it tells, and tries again.
async fn follow(options: &Options, stack: &Stack, mut logs: Logs, first: Vec<Line>) -> Result<()> {
    let interval = if stack.deployed.is_some() { INTERVAL } else { LOCAL_INTERVAL };
    let (mut join, mut lines, mut was_readable) = (Join::default(), Ok(first), true);
    loop {
        match lines {
            Ok(lines) => {
                was_readable = true;
                let now = Timestamp::now();
                let done: Vec<_> = lines.into_iter().filter_map(|line| join.add(line)).collect();
                done.iter().chain(&join.waiting(now)).try_for_each(|webhook| print(options, webhook))?;
            }
            Err(error) if was_readable => {
                anstream::eprintln!("{error:#}; trying again until it works");
                was_readable = false;
            }
            Err(_) => {}
        }
        sleep(interval).await;
        lines = logs.read().await;
        // After the last lines were read.
        if stack.has_stopped() && lines.as_ref().is_ok_and(Vec::is_empty) {
            bail!("the local stack has stopped");
        }
    }
}

fn print(options: &Options, webhook: &Webhook) -> Result<()> {
    if !options.filter.is_empty() && !options.filter.iter().any(|filter| webhook.has_event(filter)) {
        return Ok(());
    }
    let line = if options.json { serde_json::to_string(webhook)? } else { webhook.text() };
    let mut output = anstream::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot print")
}

/// What became of a webhook.
#[derive(Debug, Serialize)]
struct Webhook {
    version: u32,
    /// When it was received, or if that is not known, when it was processed.
    at: Timestamp,
    delivery: Option<String>,
    outcome: Outcome,
    /// Why it was not processed, stored or accepted.
    reason: Option<String>,
    /// The HTTP status of a refused request.
    status: Option<u16>,
    /// Xendit's name of the event.
    event: Option<String>,
    stage: Option<Stage>,
    /// Xendit's id of the subject.
    id: Option<String>,
    token: Option<String>,
    topic: Option<String>,
    /// How many domain events were published.
    events: u64,
    receive_count: Option<u32>,
    /// From the receiver's line to this one.
    took_ms: Option<u64>,
}

impl Webhook {
    fn new(line: Line, received: Option<&Line>) -> Self {
        let took = received.map(|received| line.at.duration_since(received.at).as_millis());
        Self {
            version: VERSION,
            at: received.map_or(line.at, |received| received.at),
            outcome: line.outcome,
            stage: line.stage(),
            token: received.unwrap_or(&line).token.clone(),
            topic: received.unwrap_or(&line).topic.clone(),
            delivery: line.delivery,
            reason: line.reason,
            status: line.status,
            event: line.event,
            id: line.id,
            events: line.events,
            receive_count: line.receive_count,
            took_ms: took.map(|took| u64::try_from(took).unwrap_or_default()),
        }
    }

    /// Whether a filter for domain events includes the webhook.
    fn has_event(&self, filter: &Filter) -> bool {
        let is_conflict = self.outcome == Outcome::Processed(Processed::Conflict);
        self.stage.is_some_and(|stage| filter.matches(type_of(stage))) || (is_conflict && filter.matches(CONFLICT))
    }

    fn text(&self) -> String {
        let name = self.stage.map(type_of).or(self.event.as_deref()).or(self.topic.as_deref()).unwrap_or("-");
        let (colour, mut result) = self.result();
        let took = Duration::from_millis(self.took_ms.unwrap_or_default());
        if took > PATIENCE {
            result = format!("{result}, after {} s", took.as_secs());
        }
        dev::line(self.at, self.delivery.as_deref().unwrap_or("-"), name, colour, &result)
    }

    fn result(&self) -> (AnsiColor, String) {
        let reason = self.reason.as_deref().unwrap_or("no reason");
        let events = match self.events {
            0 => "published nothing".to_owned(),
            1 => "published 1 event".to_owned(),
            events => format!("published {events} events"),
        };
        match self.outcome {
            Outcome::Received(Received::Refused) => {
                (AnsiColor::Red, format!("refused, {}: {reason}", self.status.unwrap_or_default()))
            }
            Outcome::Received(Received::NotStored) => (AnsiColor::Red, format!("not stored, 503: {reason}")),
            Outcome::Received(Received::Stored) => (AnsiColor::Yellow, "waits in the queue".to_owned()),
            Outcome::Received(Received::StoredInInbox) => (AnsiColor::Yellow, format!("waits in the inbox: {reason}")),
            Outcome::Processed(outcome) => match outcome {
                Processed::Applied => (AnsiColor::Green, events),
                Processed::Duplicate => (AnsiColor::Cyan, "duplicate".to_owned()),
                Processed::Stale => (AnsiColor::Cyan, "older news".to_owned()),
                Processed::Conflict => (AnsiColor::Yellow, format!("conflict, {events}")),
                Processed::Parked => (AnsiColor::Yellow, format!("parked: {reason}")),
                Processed::NotParked => (AnsiColor::Red, format!("not parked: {reason}")),
                Processed::NoWebhook => (AnsiColor::Cyan, "no webhook".to_owned()),
                Processed::Retry | Processed::NoTime => {
                    (AnsiColor::Yellow, format!("failed {} times: {reason}", self.receive_count.unwrap_or(1)))
                }
            },
        }
    }
}

/// Joins the lines of the two functions.
#[derive(Default)]
struct Join {
    /// The receiver's lines of the webhooks that are not processed yet, by delivery.
    stored: HashMap<String, Line>,
    /// The deliveries of which it is told that they wait.
    told: HashSet<String>,
    /// The deliveries that were processed, because the receiver's line may come later.
    done: HashMap<String, Timestamp>,
}

impl Join {
    /// Adds a line. Returns what it tells about a webhook.
    fn add(&mut self, line: Line) -> Option<Webhook> {
        let delivery = line.delivery.clone().unwrap_or_default();
        match line.outcome {
            outcome if outcome.is_accepted() => {
                if !self.done.contains_key(&delivery) {
                    self.stored.insert(delivery, line);
                }
                None
            }
            Outcome::Processed(Processed::NoWebhook) => None,
            outcome if outcome.is_final() => {
                self.told.remove(&delivery);
                let received = self.stored.remove(&delivery);
                self.done.retain(|_, at| line.at.duration_since(*at).unsigned_abs() < LATE);
                self.done.insert(delivery, line.at);
                Some(Webhook::new(line, received.as_ref()))
            }
            _ => Some(Webhook::new(line, self.stored.get(&delivery))),
        }
    }

    /// The webhooks that have waited for a while, each once.
    fn waiting(&mut self, now: Timestamp) -> Vec<Webhook> {
        let late = self.stored.iter().filter(|(delivery, line)| {
            now.duration_since(line.at).unsigned_abs() > PATIENCE && !self.told.contains(*delivery)
        });
        let late: Vec<_> = late.map(|(_, line)| Webhook::new(line.clone(), None)).collect();
        self.told.extend(late.iter().filter_map(|webhook| webhook.delivery.clone()));
        late
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(second: u8, delivery: &str, outcome: &str, more: &Value) -> Line {
        let mut line =
            json!({ "timestamp": format!("2026-11-24T10:00:{second:02}Z"), "delivery": delivery, "outcome": outcome });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Line::read(&line.to_string()).unwrap()
    }

    fn shown(webhook: &Webhook) -> String {
        anstream::adapter::strip_str(&webhook.text()).to_string()
    }

    #[test]
    fn a_webhook_is_one_line_with_what_both_functions_know() {
        let mut join = Join::default();
        assert!(join.add(line(1, "8476a536-e9f4", "stored", &json!({ "token": "live" }))).is_none());
        let paid = json!({ "stage": "invoice.paid", "event": "invoice", "id": "i", "events": 1 });
        let webhook = join.add(line(2, "8476a536-e9f4", "applied", &paid)).unwrap();
        assert_eq!(shown(&webhook), "10:00:01 8476a536 invoice.paid             published 1 event");
        assert_eq!((webhook.token.as_deref(), webhook.took_ms), (Some("live"), Some(1000)));
        let json = serde_json::to_value(&webhook).unwrap();
        assert_eq!((&json["outcome"], &json["stage"]), (&json!("applied"), &json!("invoice.paid")));
        // SQS delivers a message twice now and then.
        assert!(shown(&join.add(line(3, "8476a536-e9f4", "duplicate", &paid)).unwrap()).ends_with(" duplicate"));
        assert!(join.waiting("2026-11-24T11:00:00Z".parse().unwrap()).is_empty());
    }

    #[test]
    fn what_is_refused_retried_or_parked_says_why() {
        let mut join = Join::default();
        let told = |webhook: Option<Webhook>| {
            shown(&webhook.unwrap()).split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
        };
        let wrong = json!({ "status": 401, "reason": "wrong token" });
        assert_eq!(told(join.add(line(1, "a", "refused", &wrong))), "- refused, 401: wrong token");
        join.add(line(1, "b", "stored", &json!({ "topic": "invoice" })));
        let failed = json!({ "reason": "ledger", "receive_count": 4 });
        assert_eq!(told(join.add(line(5, "b", "retry", &failed))), "invoice failed 4 times: ledger");
        assert_eq!(told(join.add(line(20, "b", "parked", &failed))), "invoice parked: ledger, after 19 s");
    }

    #[test]
    fn a_webhook_that_nobody_processes_is_told_once() {
        let mut join = Join::default();
        let at = |second: u8| format!("2026-11-24T10:00:{second:02}Z").parse().unwrap();
        join.add(line(1, "a", "stored", &json!({})));
        assert!(join.waiting(at(10)).is_empty());
        let waiting = join.waiting(at(17));
        assert_eq!(waiting.len(), 1);
        assert!(shown(&waiting[0]).ends_with(" waits in the queue"));
        assert!(join.waiting(at(18)).is_empty());
        // The receiver's line may be the later one to arrive.
        join.add(line(2, "b", "applied", &json!({})));
        join.add(line(1, "b", "stored", &json!({})));
        assert!(join.waiting(at(59)).is_empty());
    }

    #[test]
    fn a_filter_is_about_domain_events() {
        let filter: Filter = "invoice.*".parse().unwrap();
        let mut join = Join::default();
        let mut has = |outcome: &str, more: &Value| join.add(line(1, "a", outcome, more)).unwrap().has_event(&filter);
        assert!(
            has("applied", &json!({ "stage": "invoice.paid" })) && has("parked", &json!({ "stage": "invoice.paid" }))
        );
        assert!(!has("applied", &json!({ "stage": "payment.succeeded" })) && !has("refused", &json!({})));
        let conflicts: Filter = CONFLICT.parse().unwrap();
        let conflict = join.add(line(1, "a", "conflict", &json!({ "stage": "payment.succeeded" }))).unwrap();
        assert!(conflict.has_event(&conflicts));
    }
}
