//! Report: what became of each webhook, for people as a table and for machines as JSON lines.

use std::io::IsTerminal as _;

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets::NOTHING};
use processor::ledger::{item, state::State};
use serde::Serialize;
use shared::{envelope::Environment, event::Event, topic::Topic};

use super::{Ready, gateway::Arrival, local_aws::LocalAws};

/// One webhook and what became of it.
#[derive(Serialize)]
pub(super) struct Row {
    /// The bundled webhook's name, or none for one that somebody else sent.
    webhook: Option<String>,
    status: u16,
    /// The delivery's id, when it was acknowledged.
    pub(super) delivery: Option<String>,
    event: Option<String>,
    kind: Option<&'static str>,
    phase: Option<&'static str>,
    id: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    /// Whether the ledger knows what the webhook said, or something newer.
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

    /// Looks where the webhook must be by now: what it says is worked out here, and compared with what is stored.
    pub(super) async fn see_through(&mut self, aws: &LocalAws) -> Result<()> {
        let (path, body) = &self.request;
        let topic = path.strip_prefix("/webhook/").and_then(|topic| topic.parse::<Topic>().ok());
        let delivery = self.delivery.as_deref().unwrap_or_default();
        let Ok(event) = Event::parse(body, topic.as_ref()) else {
            self.parked = aws.parked(delivery).await?;
            return Ok(());
        };
        let seen = event.observe();
        let state = State::from(&seen);
        let item = aws.item(&item::key(Environment::Test, &seen)).await?;
        self.in_ledger = item.is_some_and(|item| item.state.clone().merge(state.clone()) == item.state);
        self.published = aws.published(delivery).await?;
        if !self.in_ledger {
            self.parked = aws.parked(delivery).await?;
        }
        let money = state.paid_in_all().or(seen.asked);
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
    invitation: String,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), invitation: String::new() }
    }

    pub(super) fn ready(&mut self, ready: &Ready<'_>) -> Result<()> {
        if self.json {
            anstream::println!("{}", serde_json::to_string(ready)?);
        }
        self.invitation = format!(
            "Send webhooks to {url} or {topic_url}, with this header:\n  x-callback-token: {token}\n\
             Logs: {logs}   Emulated AWS: {aws}\nStop with Ctrl-C.",
            url = ready.url,
            topic_url = ready.topic_url,
            token = ready.token,
            logs = ready.log_dir.display(),
            aws = ready.aws_endpoint_url,
        );
        Ok(())
    }

    /// Takes a webhook that has been seen through. Returns how many bundled ones that were.
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

    /// How to use the stack that is now serving.
    pub(super) fn invite(&self) {
        if !self.json {
            anstream::println!("\n{}", self.invitation);
        }
    }

    /// Prints the table of the bundled webhooks and the line that sums it up. `missing` were not seen through.
    pub(super) fn sum_up(&mut self, missing: usize) {
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

    /// How many bundled webhooks were refused, or acknowledged and then lost.
    pub(super) fn unwell(&self) -> usize {
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
