//! Report: prints the result of each webhook, as a table or as JSON lines.

use std::{io::IsTerminal as _, path::Path};

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets::NOTHING};
use ledger::{state::State, update::Update};
use serde::Serialize;
use shared::{envelope::Delivery, topic::Topic, webhook::Webhook};

use super::{gateway::AnsweredRequest, local_aws::LocalAws};
use crate::stack::Stack;

/// One webhook and its result: every further JSON line.
#[derive(Serialize)]
pub(super) struct Row {
    /// The name of the bundled webhook. `None`: another client sent the webhook.
    webhook: Option<String>,
    status: u16,
    /// The delivery id. `None`: the receiver did not acknowledge the webhook.
    pub(super) delivery: Option<String>,
    event: Option<String>,
    kind: Option<&'static str>,
    phase: Option<&'static str>,
    id: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    /// Whether the ledger holds the webhook's fact or a newer one.
    in_ledger: bool,
    /// Why the message is in the dead-letter queue. `None`: it is not there.
    parked: Option<String>,
    /// The types of the domain events that were published for the webhook.
    published: Vec<String>,
    #[serde(skip)]
    path: String,
    #[serde(skip)]
    body: Vec<u8>,
}

impl Row {
    pub(super) fn new(request: AnsweredRequest) -> Self {
        Self {
            webhook: request.sample,
            status: request.status,
            delivery: request.delivery,
            event: None,
            kind: None,
            phase: None,
            id: None,
            amount: None,
            currency: None,
            in_ledger: false,
            parked: None,
            published: Vec::new(),
            path: request.path,
            body: request.body,
        }
    }

    /// Fills in the result of a webhook whose message was deleted from the queue.
    ///
    /// It derives what the ledger must hold from the request at the gateway, not from the message. It needs the message only
    /// for the time of arrival: the ledger ignores times in a body that are far later.
    pub(super) async fn complete(&mut self, delivery: Delivery, aws: &LocalAws) -> Result<()> {
        let topic = self.path.strip_prefix("/webhook/").and_then(|topic| topic.parse::<Topic>().ok());
        let id = delivery.id.clone();
        let Ok(webhook) = Webhook::parse(&self.body, topic.as_ref()) else {
            self.parked = aws.parked(&id).await?;
            return Ok(());
        };
        let update = Update::new(&webhook, delivery);
        let state = State::from(&update.observation);
        let item = aws.item(&update.key()).await?;
        self.in_ledger = item.is_some_and(|item| item.state.clone().merge(state.clone()) == item.state);
        self.published = aws.published(&id).await?;
        if !self.in_ledger {
            self.parked = aws.parked(&id).await?;
        }
        let seen = update.observation;
        let money = state.paid_in_all().or(seen.requested);
        self.amount = money.as_ref().map(|money| money.amount.to_string());
        self.currency = money.map(|money| money.currency.to_string());
        self.event = Some(seen.event);
        self.kind = Some(seen.stage.kind().as_str());
        self.phase = Some(seen.stage.phase());
        self.id = Some(seen.id);
        Ok(())
    }

    fn is_acknowledged(&self) -> bool {
        self.delivery.is_some()
    }

    fn is_lost(&self) -> bool {
        self.is_acknowledged() && !self.in_ledger && self.parked.is_none()
    }

    fn cells(&self) -> [Cell; 6] {
        let stage = match (self.kind, self.phase) {
            (Some(kind), Some(phase)) => format!("{kind}.{phase}"),
            _ => String::new(),
        };
        let amount = match (&self.currency, &self.amount) {
            (Some(currency), Some(amount)) => format!("{currency} {amount}"),
            _ => String::new(),
        };
        let result = match &self.parked {
            _ if !self.is_acknowledged() => Cell::new(format!("HTTP {}", self.status)).fg(Color::Red),
            Some(reason) => Cell::new(format!("parked: {reason}")).fg(Color::Yellow),
            None if self.in_ledger => Cell::new("in the ledger").fg(Color::Green),
            None => Cell::new("lost").fg(Color::Red),
        };
        [
            Cell::new(self.webhook.as_deref().unwrap_or("(not bundled)")),
            Cell::new(stage),
            Cell::new(self.id.as_deref().unwrap_or_default()),
            Cell::new(amount),
            result,
            Cell::new(self.published.join(", ")),
        ]
    }
}

pub(super) struct Report {
    json: bool,
    /// The number of bundled webhooks.
    expected: usize,
    /// The bundled webhooks whose result is known.
    rows: Vec<Row>,
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
    pub(super) fn add(&mut self, row: Row) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(&row)?);
        } else if row.webhook.is_none() {
            let mut table = table();
            table.add_row(row.cells());
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
            table.add_row(row.cells());
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

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if !std::io::stdout().is_terminal() {
        table.force_no_tty();
    }
    table
}
