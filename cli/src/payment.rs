//! `payment`: tells the story of one payment, payout or refund from the ledger: its state, and each webhook that changed it.
//!
//! The ledger keeps an event's id only until the event is published. Which events a change has published follows from the
//! stages before and after it, by the rules in `ledger::announce`.
//!
//! **Invariant:** everything that is shown follows from the item. Where the item says too little, the story says so.

mod xendit_says;

use std::{collections::HashMap, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use ledger::{
    announce::announce,
    dynamo::DynamoLedger,
    item::{Entry, Item},
    key::Key,
    state::{GivenUp, State},
    stated::Stated,
    store::Ledger as _,
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use shared::{
    domain_event::{CONFLICT, type_of},
    envelope::Environment,
    lifecycle::Kind,
    money::Money,
};

use self::xendit_says::{Answer, ask};
use crate::{
    columns::{beside, then},
    dlq::{printable, short},
    stack::{Stack, StackOption},
};

/// The format of the JSON output.
const VERSION: u32 = 1;

/// How many keys are tried at a time.
const READS_AT_A_TIME: usize = 10;

#[derive(Args)]
pub(crate) struct Options {
    /// Your reference, such as an order number; Xendit's id; or a key of the ledger.
    reference: String,
    /// Print one JSON object per subject.
    #[arg(long)]
    json: bool,
    /// Ask Xendit, too. The key is the one in `XENDIT_API_KEY`, or one that you are asked for; it only has to read.
    #[arg(long)]
    xendit: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// What is known about a subject: for people as text, for scripts as JSON.
#[derive(Serialize)]
struct Story<'a> {
    version: u32,
    key: &'a str,
    environment: &'a str,
    kind: Kind,
    phase: &'static str,
    stage: &'static str,
    id: String,
    /// What the id belongs to, if it is not globally unique.
    within: Option<String>,
    reference: Option<&'a str>,
    account: Option<&'a str>,
    channel: Option<&'a str>,
    failure_code: Option<&'a str>,
    /// What was paid in all. Null: nothing was, or what was stated contradicts itself.
    paid: Option<Money>,
    requested: Option<&'a Money>,
    captures: Vec<Capture<'a>>,
    /// When the money came, according to Xendit.
    paid_at: Option<Timestamp>,
    paid_late: bool,
    /// When it failed, expired or was canceled, if that came with a time.
    given_up_at: Option<Timestamp>,
    /// What was asked for is known, and something else was paid.
    amount_mismatch: bool,
    conflicts: Vec<Contradiction>,
    /// How many events wait to be published.
    unpublished: usize,
    /// How many older changes are not in the history any more.
    forgotten: u64,
    /// What Xendit says, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    xendit: Option<Answer>,
    history: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Capture<'a> {
    id: &'a str,
    amount: Option<&'a Money>,
}

/// Different answers to the same question.
#[derive(Serialize)]
struct Contradiction {
    about: String,
    /// The first answer comes first.
    answers: Vec<String>,
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
    /// The events about it. Null: the item does not hold what came before.
    events: Option<Vec<Event<'a>>>,
}

/// A domain event.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    detail_type: &'a str,
    /// Known while the event waits.
    id: Option<&'a str>,
    /// An event of this type was published before.
    again: bool,
    /// It is in the outbox, and not known to be published.
    waits: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stack, items) = runtime.block_on(find(options))?;
    if items.is_empty() {
        bail!(
            "the ledger of `{}` knows no `{}`, neither as a reference nor as an id; a webhook that could not be processed \
             is in `xendit-hooks dlq list`",
            options.stack.name(),
            options.reference
        );
    }
    let client = if options.xendit { Some(xendit_says::client(&stack)?) } else { None };
    for (index, item) in items.iter().enumerate() {
        let mut story = Story::of(item);
        if let Some(client) = &client {
            story.xendit = Some(runtime.block_on(ask(client, &story, &item.state)));
        }
        if options.json {
            anstream::println!("{}", serde_json::to_string(&story)?);
        } else {
            let gap = if index > 0 { "\n" } else { "" };
            anstream::print!("{gap}{}", story.text());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(options: &Options) -> Result<(Stack, Vec<Item>)> {
    let stack = options.stack.find().await?;
    let ledger = DynamoLedger::new(aws_sdk_dynamodb::Client::new(&stack.aws().await), stack.table.clone());
    let items = find_in(&ledger, &options.reference).await?;
    Ok((stack, items))
}

/// All subjects with a reference, or else with an id or a key.
pub(crate) async fn find_in(ledger: &DynamoLedger, text: &str) -> Result<Vec<Item>> {
    let mut items = ledger.by_reference(text).await?;
    if items.is_empty() {
        let reads = keys(text).into_iter().map(async |key| ledger.get(&key).await);
        let found: Vec<_> = stream::iter(reads).buffered(READS_AT_A_TIME).try_collect().await?;
        items.extend(found.into_iter().flatten());
    }
    // The payment before its refund.
    items.sort_by_key(|item| item.history.first().map(|entry| entry.received_at));
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
        let mut parts = item.key.as_str().split('#');
        let environment = parts.next().unwrap_or_default();
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let mut ids: Vec<_> = parts.skip(1).map(decoded).collect();
        Self {
            version: VERSION,
            key: item.key.as_str(),
            environment,
            kind: item.kind(),
            phase: state.stage.phase(),
            stage: state.stage.as_str(),
            id: ids.pop().unwrap_or_default(),
            within: ids.pop(),
            reference: state.reference.first().map(String::as_str),
            account: state.account.as_deref(),
            channel: state.channel.as_deref(),
            failure_code: state.failure_code.as_deref(),
            paid: state.paid_in_all(),
            requested: state.requested.only(),
            captures: state.captures.iter().map(|(id, amounts)| Capture { id, amount: amounts.only() }).collect(),
            paid_at: state.money_at,
            paid_late: state.is_paid_late(),
            given_up_at: match state.given_up {
                Some(GivenUp::At(at)) => Some(at),
                Some(GivenUp::Undated) | None => None,
            },
            amount_mismatch: state.has_money() && state.differs_from_requested(),
            conflicts: contradictions(state),
            unpublished: item.outbox.len(),
            forgotten: item.forgotten,
            xendit: None,
            history: changes(item),
        }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("{} {}", capitalised(self.kind.as_str()), self.id)];
        let mut fact = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("  {name:<11} {}", beside(14, &value))));
        };
        let text = |value: Option<&str>| value.map(str::to_owned);
        let late = match (self.paid_late, self.given_up_at) {
            (false, _) => String::new(),
            (true, Some(at)) => format!(", late: it had been given up on {}", time(at)),
            (true, None) => ", late: it had been given up before".to_owned(),
        };
        fact("state", Some(format!("{}{late}", spaced(self.phase))));
        fact("reference", text(self.reference));
        let at = self.paid_at.map(|at| format!(" on {}", time(at))).unwrap_or_default();
        fact(self.money_word(), self.paid.as_ref().map(|money| format!("{money}{at}")));
        let mismatch = if self.amount_mismatch { ", not what was paid" } else { "" };
        fact("requested", self.requested.map(|money| format!("{money}{mismatch}")));
        for Capture { id, amount } in &self.captures {
            let amount = amount.map_or_else(|| "in doubt".to_owned(), ToString::to_string);
            fact("capture", Some(format!("{amount}  {id}")));
        }
        for Contradiction { about, answers } in &self.conflicts {
            fact("CONFLICT", Some(format!("{about}: {}", answers.join(" or "))));
        }
        fact("failure", text(self.failure_code));
        fact("channel", text(self.channel));
        fact("account", text(self.account));
        fact("mode", Some(self.environment.to_owned()));
        fact("within", self.within.clone());
        let waiting = (self.unpublished > 0).then(|| format!("{} not published yet", plural(self.unpublished)));
        fact("events", waiting);
        fact("Xendit", self.xendit.as_ref().map(Answer::text));
        lines.push("\nWhat the webhooks changed, by the time of arrival (UTC):".to_owned());
        if self.forgotten > 0 {
            lines.push(format!("  {} older changes are not kept.", self.forgotten));
        }
        let width = self.history.iter().map(|change| change.stage.len()).max().unwrap_or_default();
        for change in &self.history {
            let fate = if change.conflict { "conflict" } else { "applied" };
            let (received, stage, delivery) = (time(change.received_at), change.stage, short(change.delivery));
            lines.push(then(&format!("  {received}  {stage:<width$}"), &format!("{fate:<8}  delivery {delivery}")));
            let mut more = |text: String| lines.push(format!("{:23}{}", "", beside(33, &text)));
            if let Some(at) = change.occurred_at {
                more(format!("happened  {}", time(at)));
            }
            more(format!("webhook   {}, token {}", change.event, change.token));
            match &change.events {
                None => more("published something; what came before is not kept".to_owned()),
                Some(events) if events.is_empty() => more("published nothing".to_owned()),
                Some(events) => events.iter().for_each(|event| more(event.text())),
            }
        }
        lines.push(String::new());
        // References and codes are as they were sent.
        printable(&lines.join("\n")).into_owned()
    }
}

impl Story<'_> {
    /// What was done with the money.
    fn money_word(&self) -> &'static str {
        match self.kind {
            Kind::Payout | Kind::PayoutBatch => "sent",
            Kind::Refund => "refunded",
            _ => "paid",
        }
    }
}

impl Event<'_> {
    fn text(&self) -> String {
        let again = if self.again { " again, because more is known" } else { "" };
        match self.id.filter(|_| self.waits) {
            Some(id) => format!("waits     {}, event {}{again}", self.detail_type, short(id)),
            None => format!("published {}{again}", self.detail_type),
        }
    }
}

fn contradictions(state: &State) -> Vec<Contradiction> {
    fn answers<T: Ord + ToString>(about: String, stated: &Stated<T>) -> Option<Contradiction> {
        let answers: Vec<_> = stated.answers().map(ToString::to_string).collect();
        (stated.contradictions() > 0).then_some(Contradiction { about, answers })
    }
    let paid = answers("paid".to_owned(), &state.paid);
    let requested = answers("requested".to_owned(), &state.requested);
    let reference = answers("reference".to_owned(), &state.reference);
    let of_captures = state.captures.iter().filter_map(|(id, amounts)| answers(format!("capture {id}"), amounts));
    let mut all: Vec<_> = paid.into_iter().chain(requested).chain(reference).chain(of_captures).collect();
    // What is left is between the captures, or between them and the total.
    let captured: Vec<_> = state.captures.values().filter_map(Stated::only).map(ToString::to_string).collect();
    if all.is_empty() && !captured.is_empty() && state.has_conflicting_captures() {
        let total = state.paid.only().map(|total| format!("{total} in all"));
        let more = state.captures_overflow.then(|| "more captures than are kept".to_owned());
        let answers = total.into_iter().chain([captured.join(" + ")]).chain(more).collect();
        all.push(Contradiction { about: "captures".to_owned(), answers });
    }
    all
}

/// The types of the events that each delivery published, as far as they are known.
pub(crate) fn published(item: &Item) -> HashMap<&str, Vec<String>> {
    let types = |events: Vec<Event<'_>>| events.iter().map(|event| event.detail_type.to_owned()).collect();
    changes(item).into_iter().filter_map(|change| Some((change.delivery, types(change.events?)))).collect()
}

/// The history, each change with its events.
fn changes(item: &Item) -> Vec<Change<'_>> {
    let mut known: Option<State> = None;
    item.history
        .iter()
        .map(|entry| {
            let seen = only_stage(entry);
            let after = known.clone().map_or_else(|| seen.clone(), |known| known.merge(seen.clone()));
            let events = (item.forgotten == 0 || entry.quiet).then(|| events(item, entry, known.as_ref(), &after));
            known = Some(after);
            Change {
                received_at: entry.received_at,
                occurred_at: entry.occurred_at,
                stage: entry.stage.as_str(),
                event: &entry.event,
                delivery: &entry.delivery,
                token: &entry.token,
                conflict: entry.conflict,
                quiet: entry.quiet,
                events,
            }
        })
        .collect()
}

/// The events about a change: those that follow from the stages, and those that wait in the outbox.
fn events<'a>(item: &'a Item, entry: &Entry, before: Option<&State>, after: &State) -> Vec<Event<'a>> {
    if entry.quiet {
        return Vec::new();
    }
    let reached = announce(before, after).into_iter().map(|it| (it.about.detail_type(), false));
    let mut types: Vec<_> = reached.collect();
    if types.is_empty() && !entry.conflict {
        // The stage stays, so that more became known.
        let money = after.stage.money_stage().filter(|money| *money != after.stage);
        types.extend(money.into_iter().chain([after.stage]).map(|stage| (type_of(stage), true)));
    }
    types.extend(entry.conflict.then_some((CONFLICT, false)));
    let waiting = item.outbox.iter().filter(|(_, pending)| pending.delivery == entry.delivery);
    let mut waiting: Vec<_> = waiting.map(|(id, pending)| (id.as_str(), pending)).collect();
    let published = types.into_iter().map(|(detail_type, again)| {
        let position = waiting.iter().position(|(_, pending)| pending.detail_type == detail_type);
        let id = position.map(|position| waiting.remove(position).0);
        Event { detail_type, id, again, waits: id.is_some() }
    });
    let mut events: Vec<_> = published.collect();
    events.extend(waiting.into_iter().map(|(id, pending)| Event {
        detail_type: &pending.detail_type,
        id: Some(id),
        again: pending.update,
        waits: true,
    }));
    events
}

/// What an entry of the history says by itself.
fn only_stage(entry: &Entry) -> State {
    State {
        stage: entry.stage,
        mark: None,
        occurred_at: entry.occurred_at,
        status: None,
        event: entry.event.clone(),
        failure_code: None,
        paid: Stated::default(),
        requested: Stated::default(),
        captures: std::collections::BTreeMap::new(),
        captures_overflow: false,
        reference: Stated::default(),
        account: None,
        channel: None,
        money_at: None,
        given_up: None,
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    spaced(&first.into_iter().chain(chars).collect::<String>())
}

fn plural(events: usize) -> String {
    if events == 1 { "1 event is".to_owned() } else { format!("{events} events are") }
}

#[cfg(test)]
mod tests {
    use ledger::{item::Step, update::Update};
    use shared::{envelope::Delivery, webhook::Webhook};

    use super::*;

    #[test]
    fn a_text_is_a_key_or_the_id_of_any_kind() {
        assert_eq!(keys("test#invoice#i").iter().map(Key::as_str).collect::<Vec<_>>(), ["test#invoice#i"]);
        let by_id = keys("inv-1");
        assert!(by_id.iter().any(|key| key.as_str() == "live#payout#inv-1"));
        assert_eq!(by_id.len(), 2 * Kind::ALL.len());
    }
    const AT: &str = "2026-01-02T03:04:05Z";

    /// An invoice after webhooks with these statuses, amounts and times in minutes.
    fn invoice(webhooks: &[(&str, u32, u32)]) -> Item {
        let mut known = None;
        for (index, (status, amount, minute)) in webhooks.iter().enumerate() {
            let body = format!(
                r#"{{"id":"i","external_id":"o","user_id":"u","merchant_name":"m","currency":"IDR","status":"{status}",
                    "amount":{amount},"paid_amount":{amount},"updated":"2026-01-02T03:{minute:02}:00Z"}}"#
            );
            let delivery = Delivery {
                id: format!("d-{index}"),
                received_at: AT.parse().unwrap(),
                environment: Environment::Test,
                token: "test".to_owned(),
                topic: None,
                webhook_id: None,
                api_version: None,
                content_type: None,
            };
            let update = Update::new(&Webhook::parse(body.as_bytes(), None).unwrap(), delivery);
            if let Step::Write(item) = Item::step(known.as_ref(), &update).unwrap() {
                known = Some(*item);
            }
        }
        known.unwrap()
    }

    /// The events of each change, as text.
    fn told(item: &Item) -> Vec<String> {
        let texts = |change: &Change<'_>| {
            let texts = change.events.iter().flatten().map(Event::text).collect::<Vec<_>>();
            texts.join("; ")
        };
        Story::of(item).history.iter().map(texts).collect()
    }

    #[test]
    fn each_change_has_the_events_that_the_ledger_has_made_of_it() {
        let webhooks = [("SETTLED", 100, 2), ("PAID", 100, 1), ("EXPIRED", 100, 0), ("SETTLED", 200, 2)];
        let mut item = invoice(&webhooks);
        for change in Story::of(&item).history {
            let pending = item.outbox.values().filter(|it| it.delivery == change.delivery);
            let mut made: Vec<_> = pending.map(|it| it.detail_type.as_str()).collect();
            let mut told: Vec<_> = change.events.unwrap().into_iter().map(|event| event.detail_type).collect();
            made.sort_unstable();
            told.sort_unstable();
            assert_eq!(told, made, "{}", change.delivery);
        }
        item.outbox.clear();
        let again = "again, because more is known";
        assert_eq!(
            told(&item),
            [
                "published invoice.paid; published invoice.settled".to_owned(),
                // Only when it was paid became known.
                String::new(),
                format!("published invoice.paid {again}; published invoice.settled {again}"),
                "published webhook.conflict".to_owned(),
            ]
        );
    }

    #[test]
    fn an_event_that_is_not_published_yet_waits_with_its_id() {
        let item = invoice(&[("PAID", 100, 1)]);
        let id = item.outbox.keys().next().unwrap();
        assert_eq!(told(&item), [format!("waits     invoice.paid, event {}", short(id))]);
        assert!(Story::of(&item).text().contains("  events      1 event is not published yet\n"));
    }

    #[test]
    fn a_story_whose_beginning_is_not_kept_does_not_guess_the_events() {
        let mut item = invoice(&[("PAID", 100, 1)]);
        item.outbox.clear();
        item.forgotten = 3;
        let story = Story::of(&item);
        assert!(story.history[0].events.is_none());
        let text = story.text();
        assert!(text.contains("3 older changes are not kept") && text.contains("published something"), "{text}");
    }

    #[test]
    fn a_sender_cannot_control_the_terminal() {
        let mut item = invoice(&[("PAID", 100, 1)]);
        item.state.channel = Some("\u{1b}[2J".to_owned());
        let text = Story::of(&item).text();
        assert!(text.contains(r"\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn contradictions_are_told_with_all_answers() {
        let item = invoice(&[("PAID", 100, 1), ("PAID", 200, 1)]);
        let told: Vec<_> = Story::of(&item).conflicts.into_iter().map(|it| (it.about, it.answers)).collect();
        let answers = vec!["IDR 100".to_owned(), "IDR 200".to_owned()];
        assert_eq!(told, [("paid".to_owned(), answers.clone()), ("requested".to_owned(), answers)]);
    }
}
