//! `payment`: tells the story of one payment, payout or refund from the ledger: its state, and each webhook that changed it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use serde::Serialize;
use shared::{envelope::Environment, lifecycle::Kind, money::Money};

use crate::stack::StackOption;

#[derive(Args)]
pub(crate) struct Options {
    /// Your reference, such as an order number; Xendit's id; or a key of the ledger.
    reference: String,
    /// Print one JSON object per subject.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// A subject, for scripts.
#[derive(Serialize)]
struct Story<'a> {
    key: &'a str,
    stage: &'static str,
    reference: Option<&'a str>,
    account: Option<&'a str>,
    paid: Option<Money>,
    requested: Option<&'a Money>,
    paid_late: bool,
    /// How many events wait to be published.
    unpublished: usize,
    history: Vec<Change<'a>>,
}

/// A webhook that changed the subject.
#[derive(Serialize)]
struct Change<'a> {
    received_at: Timestamp,
    occurred_at: Option<Timestamp>,
    stage: &'static str,
    event: &'a str,
    delivery: &'a str,
    token: &'a str,
    conflict: bool,
    /// The change published nothing.
    quiet: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let items = runtime.block_on(find(options))?;
    if items.is_empty() {
        bail!(
            "the ledger of `{}` knows no `{}`, neither as a reference nor as an id",
            options.stack.name(),
            options.reference
        );
    }
    for item in &items {
        let story = Story::of(item);
        if options.json {
            anstream::println!("{}", serde_json::to_string(&story)?);
        } else {
            anstream::println!("{}", story.text());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All subjects with the reference, or else with the id or the key.
async fn find(options: &Options) -> Result<Vec<Item>> {
    let stack = options.stack.find().await?;
    let ledger = DynamoLedger::new(aws_sdk_dynamodb::Client::new(&stack.aws().await), stack.table);
    let mut items = ledger.by_reference(&options.reference).await?;
    if items.is_empty() {
        for key in keys(&options.reference) {
            items.extend(ledger.get(&key).await?);
        }
    }
    Ok(items)
}

/// The keys that a text may stand for: itself, and the id of each kind.
fn keys(text: &str) -> Vec<Key> {
    let of_kind = |kind: &Kind| {
        [Environment::Test, Environment::Live].map(|environment| Key::from(format!("{environment}#{kind}#{text}")))
    };
    let by_id = Kind::ALL.iter().filter(|_| !text.contains('#')).flat_map(of_kind);
    [Key::from(text.to_owned())].into_iter().filter(|_| text.contains('#')).chain(by_id).collect()
}

impl<'a> Story<'a> {
    fn of(item: &'a Item) -> Self {
        let state = &item.state;
        Self {
            key: item.key.as_str(),
            stage: state.stage.as_str(),
            reference: state.reference.first().map(String::as_str),
            account: state.account.as_deref(),
            paid: state.paid_in_all(),
            requested: state.requested.only(),
            paid_late: state.is_paid_late(),
            unpublished: item.outbox.len(),
            history: item
                .history
                .iter()
                .map(|entry| Change {
                    received_at: entry.received_at,
                    occurred_at: entry.occurred_at,
                    stage: entry.stage.as_str(),
                    event: &entry.event,
                    delivery: &entry.delivery,
                    token: &entry.token,
                    conflict: entry.conflict,
                    quiet: entry.quiet,
                })
                .collect(),
        }
    }

    fn text(&self) -> String {
        let mut facts = vec![self.stage.to_owned()];
        facts.extend(self.paid.as_ref().map(|money| format!("paid {money}")));
        facts.extend(self.requested.map(|money| format!("requested {money}")));
        facts.extend(self.paid_late.then(|| "paid late".to_owned()));
        facts.extend(self.reference.map(|reference| format!("reference {reference}")));
        facts.extend(self.account.map(|account| format!("account {account}")));
        facts.extend((self.unpublished > 0).then(|| format!("{} events not published yet", self.unpublished)));
        let mut table = Table::new();
        table.load_style(NOTHING);
        for change in &self.history {
            let received = change.received_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
            let note = match (change.conflict, change.quiet) {
                (true, _) => "conflict",
                (false, true) => "a detail, published nothing",
                (false, false) => "",
            };
            table.add_row([received.as_str(), change.stage, change.delivery, note]);
        }
        format!("{}\n  {}\n{table}\n", self.key, facts.join(" · "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_key_or_the_id_of_any_kind() {
        assert_eq!(keys("test#invoice#i").iter().map(Key::as_str).collect::<Vec<_>>(), ["test#invoice#i"]);
        let by_id = keys("inv-1");
        assert!(by_id.iter().any(|key| key.as_str() == "live#payout#inv-1"));
        assert_eq!(by_id.len(), 2 * Kind::ALL.len());
    }
}
