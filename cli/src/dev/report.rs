//! Report: prints the result of each webhook, as a table or as JSON lines.

use std::{io::IsTerminal as _, path::Path, sync::Arc};

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets::NOTHING};

use super::happening::Row;
use crate::stack::Stack;

pub(super) struct Report {
    json: bool,
    /// The number of bundled webhooks.
    expected: usize,
    /// The bundled webhooks whose result is known.
    rows: Vec<Arc<Row>>,
    instructions: String,
}

impl Report {
    pub(super) fn new(json: bool, expected: usize) -> Self {
        Self { json, expected, rows: Vec::new(), instructions: String::new() }
    }

    /// Adds the addresses of the local stack.
    pub(super) fn ready(&mut self, stack: &Stack) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(stack)?);
        }
        self.instructions = format!(
            "Send webhooks to {url} or {topic_url}, with this header:\n  x-callback-token: {token}\n\
             Logs: {logs}\nEmulated AWS: {aws}\nPress Ctrl-C to stop.",
            url = stack.url,
            topic_url = stack.topic_url,
            token = stack.token.as_deref().unwrap_or_default(),
            logs = stack.log_dir.as_deref().unwrap_or(Path::new("")).display(),
            aws = stack.aws_endpoint_url.as_deref().unwrap_or_default(),
        );
        Ok(())
    }

    /// Adds a webhook whose result is known.
    pub(super) fn add(&mut self, row: Arc<Row>) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(&row)?);
        } else if row.webhook.is_none() {
            let mut table = table();
            table.add_row(cells(&row));
            anstream::println!("{table}");
        }
        if row.webhook.is_some() {
            self.rows.push(row);
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

    /// Prints the table of the bundled webhooks, and the totals in one line.
    pub(super) fn print_summary(&mut self) {
        if self.json {
            return;
        }
        self.rows.sort_by(|a, b| a.webhook.cmp(&b.webhook));
        let mut table = table();
        table.set_header(["webhook", "kind.phase", "id", "amount", "result", "published"]);
        for row in &self.rows {
            table.add_row(cells(row));
        }
        anstream::println!("{table}\n\n{}", self.totals());
    }

    /// The number of bundled webhooks that were refused or lost.
    pub(super) fn failures(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_acknowledged() || row.is_lost()).count() + self.missing()
    }

    fn totals(&self) -> String {
        let count = |is: fn(&Row) -> bool| self.rows.iter().filter(|row| is(row)).count();
        let parked = match count(|row| row.parked.is_some()) {
            0 => String::new(),
            parked => format!(" · {parked} parked"),
        };
        format!(
            "{} sent · {} acknowledged · {} in the ledger{parked} · {} lost · {} business events",
            self.rows.len() + self.missing(),
            count(Row::is_acknowledged),
            count(|row| row.in_ledger),
            count(Row::is_lost) + self.missing(),
            self.rows.iter().map(|row| row.published.len()).sum::<usize>(),
        )
    }
}

fn cells(row: &Row) -> [Cell; 6] {
    let stage = match (row.kind, row.phase) {
        (Some(kind), Some(phase)) => format!("{kind}.{phase}"),
        _ => String::new(),
    };
    let amount = match (&row.currency, &row.amount) {
        (Some(currency), Some(amount)) => format!("{currency} {amount}"),
        _ => String::new(),
    };
    let result = match (&row.parked, &row.problem) {
        _ if !row.is_acknowledged() => Cell::new(format!("HTTP {}", row.status)).fg(Color::Red),
        (Some(reason), _) => Cell::new(format!("parked: {reason}")).fg(Color::Yellow),
        _ if row.in_ledger => Cell::new("in the ledger").fg(Color::Green),
        (_, Some(problem)) => Cell::new(format!("unknown: {problem}")).fg(Color::Yellow),
        _ => Cell::new("lost").fg(Color::Red),
    };
    [
        Cell::new(row.webhook.as_deref().unwrap_or("(not bundled)")),
        Cell::new(stage),
        Cell::new(row.id.as_deref().unwrap_or_default()),
        Cell::new(amount),
        result,
        Cell::new(row.published.join(", ")),
    ]
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if !std::io::stdout().is_terminal() {
        table.force_no_tty();
    }
    table
}
