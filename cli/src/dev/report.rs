//! Report: the result of each webhook, for people as a table and for machines as JSON lines.

use std::{io::IsTerminal as _, path::Path};

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets::NOTHING};
use ledger::{state::State, update::Update};
use serde::Serialize;
use shared::{envelope::Delivery, topic::Topic, webhook::Webhook};

use super::{gateway::Arrival, local_aws::LocalAws};

/// Everything that another tool needs to use the stack.
#[derive(Serialize)]
pub(super) struct Ready<'a> {
    pub(super) url: &'a str,
    pub(super) topic_url: &'a str,
    pub(super) token: &'a str,
    pub(super) aws_endpoint_url: &'a str,
    pub(super) region: &'a str,
    pub(super) queue_url: &'a str,
    pub(super) dlq_url: &'a str,
    pub(super) table: &'a str,
    pub(super) bus: &'a str,
    pub(super) log_dir: &'a Path,
}

/// One webhook and its result.
#[derive(Serialize)]
pub(super) struct Row {
    /// The bundled webhook's name. `None`: somebody else sent it.
    webhook: Option<String>,
    status: u16,
    /// The delivery's id. `None`: the receiver did not acknowledge the webhook.
    pub(super) delivery: Option<String>,
    event: Option<String>,
    kind: Option<&'static str>,
    phase: Option<&'static str>,
    id: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    /// Whether the ledger holds what the webhook says, or something newer.
    in_ledger: bool,
    /// Why it is in the dead-letter queue.
    parked: Option<String>,
    /// The domain events that were published because of it.
    published: Vec<String>,
    #[serde(skip)]
    request: (String, Vec<u8>),
}

impl Row {
    pub(super) fn of(arrival: Arrival) -> Self {
        Self {
            webhook: arrival.sample,
            status: arrival.status,
            delivery: arrival.delivery,
            event: None,
            kind: None,
            phase: None,
            id: None,
            amount: None,
            currency: None,
            in_ledger: false,
            parked: None,
            published: Vec::new(),
            request: (arrival.path, arrival.body),
        }
    }

    /// Fills in the result of a webhook whose message has left the queue.
    ///
    /// What the ledger must hold is worked out from the request that the gateway got. Only the time of arrival comes from
    /// the delivery: by it the ledger decides which times in a body it believes.
    pub(super) async fn complete(&mut self, delivery: Delivery, aws: &LocalAws) -> Result<()> {
        let (path, body) = &self.request;
        let topic = path.strip_prefix("/webhook/").and_then(|topic| topic.parse::<Topic>().ok());
        let id = delivery.id.clone();
        let Ok(webhook) = Webhook::parse(body, topic.as_ref()) else {
            self.parked = aws.parked(&id).await?;
            return Ok(());
        };
        let update = Update::new(webhook.observe(), delivery, webhook.text());
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

    fn acknowledged(&self) -> bool {
        self.delivery.is_some()
    }

    fn lost(&self) -> bool {
        self.acknowledged() && !self.in_ledger && self.parked.is_none()
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
        let fate = match &self.parked {
            _ if !self.acknowledged() => Cell::new(format!("answered {}", self.status)).fg(Color::Red),
            Some(reason) => Cell::new(format!("parked: {reason}")).fg(Color::Yellow),
            None if self.in_ledger => Cell::new("in the ledger").fg(Color::Green),
            None => Cell::new("lost").fg(Color::Red),
        };
        [
            Cell::new(self.webhook.as_deref().unwrap_or("yours")),
            Cell::new(stage),
            Cell::new(self.id.as_deref().unwrap_or_default()),
            Cell::new(amount),
            fate,
            Cell::new(self.published.join(", ")),
        ]
    }
}

pub(super) struct Report {
    json: bool,
    /// The bundled webhooks.
    rows: Vec<Row>,
    instructions: String,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), instructions: String::new() }
    }

    pub(super) fn ready(&mut self, ready: &Ready<'_>) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(ready)?);
        }
        self.instructions = format!(
            "Send webhooks to {url} or {topic_url}, with this header:\n  x-callback-token: {token}\n\
             Logs: {logs}   Emulated AWS: {aws}\nPress Ctrl-C to stop.",
            url = ready.url,
            topic_url = ready.topic_url,
            token = ready.token,
            logs = ready.log_dir.display(),
            aws = ready.aws_endpoint_url,
        );
        Ok(())
    }

    /// Adds a webhook whose result is known. Returns how many bundled ones that were.
    pub(super) fn add(&mut self, row: Row) -> Result<usize> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(&row)?);
        } else if row.webhook.is_none() {
            let mut table = table();
            table.add_row(row.cells());
            anstream::println!("{table}");
        }
        if row.webhook.is_none() {
            return Ok(0);
        }
        self.rows.push(row);
        Ok(1)
    }

    /// Prints how to use the stack while it serves.
    pub(super) fn print_instructions(&self) {
        if !self.json {
            anstream::println!("\n{}", self.instructions);
        }
    }

    /// Prints the table of the bundled webhooks and the last line. The result of `missing` more is unknown.
    pub(super) fn summarize(&mut self, missing: usize) {
        if self.json {
            return;
        }
        self.rows.sort_by(|a, b| a.webhook.cmp(&b.webhook));
        let mut table = table();
        table.set_header(["webhook", "kind.phase", "id", "amount", "fate", "published"]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        anstream::println!("{table}\n\n{}", self.last_line(missing));
    }

    /// How many bundled webhooks were refused or lost.
    pub(super) fn failures(&self) -> usize {
        self.rows.iter().filter(|row| !row.acknowledged() || row.lost()).count()
    }

    fn last_line(&self, missing: usize) -> String {
        let count = |is: fn(&Row) -> bool| self.rows.iter().filter(|row| is(row)).count();
        let parked = match count(|row| row.parked.is_some()) {
            0 => String::new(),
            parked => format!(" · {parked} parked"),
        };
        format!(
            "{} sent · {} acknowledged · {} in the ledger{parked} · {} lost · {} business events",
            self.rows.len() + missing,
            count(Row::acknowledged),
            count(|row| row.in_ledger),
            count(Row::lost) + missing,
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
