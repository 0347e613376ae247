//! Report: prints the result of each webhook as one line of at most 80 columns, or with `--json` as one object. Then the
//! totals of the bundled webhooks.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use jiff::Timestamp;
use shared::{lifecycle::Kind, outcome::Processed};

use super::happening::{Happening, Request, Row};
use crate::{
    columns::{WIDTH, wrapped},
    stack::Stack,
};

/// The width of the name of a webhook.
const NAME_COLUMNS: usize = 24;

/// The width of what stands before the result: time, short id, name.
const INDENT: usize = 8 + 1 + SHORT_ID + 1 + NAME_COLUMNS + 1;

/// How many characters of a request's id are enough to find it.
const SHORT_ID: usize = 8;

pub(super) struct Report {
    json: bool,
    /// The number of bundled webhooks.
    expected: usize,
    /// The acknowledged bundled webhooks that are still in the queue, by delivery id.
    queued: BTreeMap<String, Arc<Request>>,
    /// The bundled webhooks whose result is known.
    rows: Vec<Arc<Row>>,
    instructions: String,
}

impl Report {
    pub(super) fn new(json: bool, expected: usize) -> Self {
        Self { json, expected, queued: BTreeMap::new(), rows: Vec::new(), instructions: String::new() }
    }

    /// Adds the addresses of the local stack.
    pub(super) fn ready(&mut self, stack: &Stack) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(stack)?);
        } else {
            anstream::println!("Ready: {}. Sending the {} bundled webhooks:\n", stack.url, self.expected);
        }
        self.instructions = format!(
            "Console:       {console}\n\
             Webhooks:      {url}, or …/webhook/{{topic}}\n\
             Header:        x-callback-token: {token}\n\
             Xendit API:    {xendit}\n\
             Emulated AWS:  {aws}\n\
             Logs:          {logs}\n\
             Press Ctrl-C to stop.",
            console = stack.console_url.as_deref().unwrap_or_default(),
            url = stack.url,
            token = stack.token.as_deref().unwrap_or_default(),
            xendit = stack.xendit_api_url.as_deref().unwrap_or_default(),
            aws = stack.aws_endpoint_url.as_deref().unwrap_or_default(),
            logs = stack.log_dir.as_deref().unwrap_or(Path::new("")).display(),
        );
        Ok(())
    }

    /// Adds what happened, and prints each result.
    pub(super) fn add(&mut self, happening: Happening) -> Result<()> {
        match happening {
            Happening::Request(request) => {
                if request.sample.is_some() && request.is_acknowledged() {
                    self.queued.insert(request.id.clone(), request);
                }
            }
            Happening::Result(row) => {
                if self.json {
                    anstream::println!("{}", serde_json::to_string(&row)?);
                } else {
                    anstream::println!("{}", row_line(&row, &result(&row)));
                }
                if row.webhook.is_some() {
                    row.delivery.as_ref().and_then(|id| self.queued.remove(id));
                    self.rows.push(row);
                }
            }
            Happening::Event(_) => {}
        }
        Ok(())
    }

    /// The number of bundled webhooks whose result is not known yet.
    pub(super) fn missing(&self) -> usize {
        self.expected.saturating_sub(self.rows.len())
    }

    /// Prints how to use the running stack.
    pub(super) fn print_instructions(&self) {
        if !self.json {
            anstream::println!("\n{}", self.instructions);
        }
    }

    /// Prints the bundled webhooks that are still in the queue, and the totals in one line.
    pub(super) fn print_summary(&self) {
        if self.json {
            return;
        }
        for request in self.queued.values() {
            anstream::println!("{}", row_line(&Row::new(request), &(AnsiColor::Yellow, "still queued".to_owned())));
        }
        anstream::println!("\n{}", self.totals());
    }

    /// The number of bundled webhooks that were refused or lost, or not processed yet.
    pub(super) fn failures(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_acknowledged() || row.is_lost()).count() + self.missing()
    }

    fn totals(&self) -> String {
        let count = |is: fn(&Row) -> bool| self.rows.iter().filter(|row| is(row)).count();
        let unless_zero = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!(" · {count} {what}"),
        };
        format!(
            "{} sent · {} acknowledged · {} in the ledger{}{}{} · {} lost · {} domain events",
            self.rows.len() + self.queued.len(),
            count(Row::is_acknowledged) + self.queued.len(),
            count(|row| row.in_ledger),
            unless_zero(count(|row| row.parked.is_some()), "parked"),
            unless_zero(count(|row| row.problem.is_some()), "not known"),
            unless_zero(self.queued.len(), "still queued"),
            count(Row::is_lost),
            self.rows.iter().map(|row| row.published.len()).sum::<usize>(),
        )
    }
}

/// What became of a webhook, and why. An amount is shown if there is room for it.
fn result(row: &Row) -> (AnsiColor, String) {
    let published = match row.published.as_slice() {
        [] => "published nothing".to_owned(),
        [only] => format!("→ {only}"),
        [first, rest @ ..] => format!("→ {first} +{}", rest.len()),
    };
    let amount = row.currency.as_ref().zip(row.amount.as_ref());
    let with_amount = amount.map(|(currency, amount)| format!("{currency} {amount} {published}"));
    match (row.outcome, &row.parked, &row.problem) {
        _ if !row.is_acknowledged() => {
            (AnsiColor::Red, format!("refused, {}: {}", row.status, why_refused(row.status)))
        }
        (_, Some(reason), _) => (AnsiColor::Yellow, format!("parked: {reason}")),
        (_, _, Some(problem)) => (AnsiColor::Yellow, format!("not known: {problem}")),
        (Some(Processed::Conflict), ..) => (AnsiColor::Yellow, format!("conflict {published}")),
        (Some(Processed::Duplicate), ..) => (AnsiColor::Cyan, "duplicate".to_owned()),
        (Some(Processed::Stale), ..) => (AnsiColor::Cyan, "older news".to_owned()),
        _ if row.kind == Some(Kind::Unknown.as_str()) => (AnsiColor::Yellow, format!("unknown {published}")),
        _ if row.in_ledger => (AnsiColor::Green, with_amount.filter(|text| fits(text)).unwrap_or(published)),
        _ => (AnsiColor::Red, "lost: it is in no store".to_owned()),
    }
}

/// Why a request was not acknowledged.
pub(crate) fn why_refused(status: u16) -> &'static str {
    match status {
        401 => "the token is missing or wrong",
        404 => "there is no such path",
        413 => "it is too large for AWS",
        429 => "too many at once",
        503 => "no store took it",
        _ => "the receiver failed; see its log",
    }
}

fn row_line(row: &Row, (color, result): &(AnsiColor, String)) -> String {
    let name = row.webhook.as_deref().or(row.event.as_deref()).unwrap_or(&row.path);
    line(row.at, &row.request, name, *color, result)
}

/// A line for a webhook. A long result stands on lines of its own.
pub(crate) fn line(at: Timestamp, id: &str, name: &str, color: AnsiColor, result: &str) -> String {
    let id: String = id.chars().take(SHORT_ID).collect();
    let name = shortened(&printable(name), NAME_COLUMNS);
    let start = format!("{} {id:SHORT_ID$} {name:NAME_COLUMNS$} ", at.strftime("%H:%M:%S"));
    let style = Style::new().fg_color(Some(color.into()));
    let result = printable(result);
    if fits(&result) {
        return format!("{start}{style}{result}{style:#}");
    }
    let lines = wrapped(&result, WIDTH - 2).into_iter().map(|line| format!("\n  {style}{line}{style:#}"));
    format!("{}{}", start.trim_end(), lines.collect::<String>())
}

/// Whether a result fits behind the name.
fn fits(result: &str) -> bool {
    INDENT + result.chars().count() <= WIDTH
}

/// Replaces control characters, with which a sender could change what the terminal shows.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn shortened(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        Some(_) => text.chars().take(columns - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    fn request(id: &str, sample: Option<&str>, status: u16) -> Arc<Request> {
        Arc::new(Request {
            id: id.to_owned(),
            sample: sample.map(str::to_owned),
            at: Timestamp::UNIX_EPOCH,
            method: "POST".to_owned(),
            path: "/webhook".to_owned(),
            headers: BTreeMap::new(),
            body: Bytes::new(),
            status,
            answer: Bytes::new(),
            took: std::time::Duration::ZERO,
        })
    }

    fn shown(row: &Row) -> String {
        anstream::adapter::strip_str(&row_line(row, &result(row))).to_string()
    }

    #[test]
    fn a_line_shows_time_short_id_name_result_and_reason_in_80_columns() {
        let mut row = Row::new(&request("8476a536-e9f4-11e8", Some("invoice.paid"), 200));
        assert_eq!(shown(&row), "00:00:00 8476a536 invoice.paid             lost: it is in no store");
        row.in_ledger = true;
        row.outcome = Some(Processed::Applied);
        row.published = vec!["invoice.paid".to_owned(), "payment.succeeded".to_owned()];
        (row.currency, row.amount) = (Some("IDR".to_owned()), Some("10000.01".to_owned()));
        assert_eq!(shown(&row), "00:00:00 8476a536 invoice.paid             IDR 10000.01 → invoice.paid +1");
        row.outcome = Some(Processed::Stale);
        assert!(shown(&row).ends_with(" older news"));
        row.parked = Some("a ".repeat(60));
        row.webhook = Some("remittance_payout.pending_compliance_assessment".to_owned());
        let lines = shown(&row);
        assert!(lines.starts_with("00:00:00 8476a536 remittance_payout.pendi…\n  parked: a a"), "{lines}");
        assert!(lines.lines().count() > 2 && lines.lines().all(|line| line.chars().count() <= WIDTH), "{lines}");
        let refused = Row::new(&request("8476a536", None, 401));
        assert_eq!(shown(&refused), "00:00:00 8476a536 /webhook\n  refused, 401: the token is missing or wrong");
    }

    #[test]
    fn a_sender_cannot_control_the_terminal() {
        let mut row = Row::new(&request("d", None, 200));
        row.event = Some("\u{1b}[2Jx\n".to_owned());
        row.parked = Some("\u{7}".to_owned());
        assert!(
            !row_line(&row, &result(&row))
                .replace("\u{1b}[33m", "")
                .replace("\u{1b}[0m", "")
                .contains(char::is_control)
        );
    }

    #[test]
    fn the_instructions_name_the_xendit_api() {
        let stack = serde_json::json!({
            "url": "http://127.0.0.1:1/webhook", "topic_url": "", "region": "", "environment": "test", "queue_url": "", "dlq_url": "",
            "inbox": "", "table": "", "bus": "", "xendit_api_url": "http://127.0.0.1:2",
        });
        let mut report = Report::new(true, 0);
        report.ready(&serde_json::from_value(stack).unwrap()).unwrap();
        assert!(report.instructions.contains("\nXendit API:    http://127.0.0.1:2\n"), "{}", report.instructions);
    }

    #[test]
    fn a_webhook_in_the_queue_is_not_lost() {
        let mut report = Report::new(true, 3);
        for (id, status) in [("a", 200), ("b", 200), ("c", 401)] {
            report.add(Happening::Request(request(id, Some("invoice.paid"), status))).unwrap();
        }
        report.add(Happening::Result(Arc::new(Row::new(&request("c", Some("invoice.paid"), 401))))).unwrap();
        let mut done = Row::new(&request("a", Some("invoice.paid"), 200));
        done.in_ledger = true;
        report.add(Happening::Result(Arc::new(done))).unwrap();
        assert_eq!(
            report.totals(),
            "3 sent · 2 acknowledged · 1 in the ledger · 1 still queued · 0 lost · 0 domain events"
        );
        assert_eq!((report.missing(), report.failures()), (1, 2));
    }
}
