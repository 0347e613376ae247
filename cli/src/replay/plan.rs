//! `replay plan`: which events of the archive a consumer gets again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, builder::PossibleValuesParser};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use shared::lifecycle::Kind;

use super::{
    VERSION,
    archive::{Archive, Copy, Event},
    consumer::Consumer,
};
use crate::{
    columns,
    dlq::{printable, short},
    duration,
    listen::Filter,
    plan::{Content, NOTHING_TO_DO, Plan},
    stack::StackOption,
};

/// The most events of a plan.
const MAX_EVENTS: usize = 1000;

/// How long EventBridge may take until an event is in the archive.
const ARCHIVED: SignedDuration = SignedDuration::from_mins(10);

const HELP: &str = "\
An event is chosen if the consumer's rule matches it, and if it fits everything that is asked for. The consumer is one \
SQS queue. A rule with another target, such as a function, is refused: docs/operations.md says how EventBridge itself \
replays to a rule, by time only. So are a FIFO queue, and a target with an InputPath or an InputTransformer.
Exit codes: 0 a plan was made; 1 an error; 2 a wrong option; 3 no event was chosen.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The rule of the bus that leads to the consumer.
    #[arg(long)]
    rule: String,
    /// The id of the rule's target, if it has several.
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// The beginning: a time such as `2026-01-31T09:00:00Z`, or how long ago, such as `3h` or `2d`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Timestamp,
    /// The end, which is not included. Default: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only events of these types, such as `payment.*` (in quotes, for the shell). Can be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<Filter>,
    /// Only those about this kind of subject, such as `invoice`.
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// Only those about this subject: your reference, Xendit's id, or a key of the ledger.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// The events that a replay hands out, and to whom.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlannedReplay {
    pub(super) rule: String,
    pub(super) target: String,
    /// The rule's pattern.
    pub(super) pattern: String,
    pub(super) queue_url: String,
    pub(super) replay_queue_url: String,
    from: Timestamp,
    to: Timestamp,
    pub(super) events: Vec<Planned>,
}

/// An event in a plan.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Planned {
    /// Of the copy in the replay queue.
    pub(super) message_id: String,
    /// The event's own id, by which a consumer recognises it.
    id: String,
    #[serde(rename = "type")]
    detail_type: String,
    time: Timestamp,
    kind: String,
    subject: String,
    reference: Option<String>,
}

impl Content for PlannedReplay {
    const MADE_BY: &'static str = "replay plan";
    const RUN_BY: &'static str = "replay run";
}

/// A plan for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    /// Null: no event was chosen, and there is no plan.
    fingerprint: Option<&'a str>,
    file: Option<&'a Path>,
    stack: &'a str,
    /// How many events in this time the rule matches.
    matched: usize,
    #[serde(flatten)]
    events: &'a PlannedReplay,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let now = Timestamp::now();
    let (from, to) = (options.from, options.to.unwrap_or(now).min(now));
    ensure!(from < to, "the time ends before it begins: {from} to {to}");
    let stack = options.stack.find().await?;
    let name = options.stack.name();
    let (Some(archive), Some(replay_queue_url)) = (stack.archive.clone(), stack.replay_queue_url.clone()) else {
        anyhow::bail!("the stack `{name}` has no replay queue; deploy this version first");
    };
    let aws = stack.aws().await;
    let consumer = Consumer::find(&aws, &stack.bus, &options.rule, options.target.as_deref()).await?;
    if now.duration_since(to) < ARCHIVED {
        anstream::eprintln!(
            "EventBridge may take {ARCHIVED:#} until an event is in the archive: the latest may be missing."
        );
    }
    let is_local = stack.aws_endpoint_url.is_some();
    let archive = Archive::new(&aws, stack.bus.clone(), archive, replay_queue_url.clone(), is_local);
    let copies = archive.copy(&consumer, from, to).await?;
    let (mut chosen, matched, others) = choose(copies, from, to, |event| options.chooses(event));
    archive.delete(&others).await?;
    if chosen.len() > MAX_EVENTS {
        archive.delete(&chosen).await?;
        anyhow::bail!("{} events fit, and a plan has at most {MAX_EVENTS}; choose a shorter time", chosen.len());
    }
    chosen
        .sort_by(|one, other| (one.event.time, &one.event.detail.id).cmp(&(other.event.time, &other.event.detail.id)));

    let events = chosen.iter().map(Planned::of).collect();
    let Consumer { rule, pattern, target, queue_url } = consumer;
    let plan = Plan::new(
        &options.stack,
        PlannedReplay { rule, target, pattern, queue_url, replay_queue_url, from, to, events },
    );
    let saved = if chosen.is_empty() { None } else { Some(plan.save()?) };
    let PlannedReplay { rule, queue_url, events, .. } = &plan.content;
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: saved.as_ref().map(|saved| saved.fingerprint.as_str()),
            file: saved.as_ref().map(|saved| saved.file.as_path()),
            stack: name,
            matched,
            events: &plan.content,
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else if let Some(saved) = &saved {
        print_table(events);
        anstream::println!("\n{} of {matched} events that the rule `{rule}` matches in this time:", events.len());
        for (detail_type, count) in counts(events) {
            anstream::println!("  {count:>5}  {detail_type}");
        }
        anstream::println!("\nNothing was handed out. Within a day, this hands them to {}:", queue_name(queue_url));
        anstream::println!("  {}", plan.command_line(&saved.fingerprint));
    } else {
        anstream::eprintln!(
            "Of {matched} events that the rule `{rule}` matches in this time, none fits. No plan was made."
        );
    }
    Ok(if saved.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_TO_DO) })
}

/// The copies of chosen events, one for each event; how many events are of the time; and all other copies.
fn choose(
    copies: Vec<Copy>,
    from: Timestamp,
    to: Timestamp,
    fits: impl Fn(&Event) -> bool,
) -> (Vec<Copy>, usize, Vec<Copy>) {
    let mut ids = BTreeSet::new();
    let (of_time, mut others): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| {
        let Event { time, detail, .. } = &copy.event;
        (from..to).contains(time) && ids.insert(detail.id.clone())
    });
    let matched = of_time.len();
    let (chosen, left_out): (Vec<_>, Vec<_>) = of_time.into_iter().partition(|copy| fits(&copy.event));
    others.extend(left_out);
    (chosen, matched, others)
}

/// How many events are of each type, the most frequent one first.
fn counts(events: &[Planned]) -> Vec<(&str, usize)> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.detail_type.as_str()).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn print_table(events: &[Planned]) {
    let mut table = columns::table(["published (UTC)", "event", "type", "reference or id"]);
    for event in events {
        table.add_row([
            event.time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            short(&event.id).to_owned(),
            event.detail_type.clone(),
            printable(event.reference.as_ref().unwrap_or(&event.subject)).into_owned(),
        ]);
    }
    columns::print_table(&table);
}

/// The name of a queue, which its URL ends with.
pub(super) fn queue_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

impl Options {
    fn chooses(&self, event: &Event) -> bool {
        (self.types.is_empty() || self.types.iter().any(|filter| filter.matches(&event.detail_type)))
            && self.kind.as_deref().is_none_or(|kind| event.detail.subject.kind == kind)
            && self.subject.as_deref().is_none_or(|subject| event.is_about(subject))
    }
}

impl Planned {
    fn of(copy: &Copy) -> Self {
        let Event { time, detail_type, detail, .. } = &copy.event;
        Self {
            message_id: copy.message.message_id().unwrap_or_default().to_owned(),
            id: detail.id.clone(),
            detail_type: detail_type.clone(),
            time: *time,
            kind: detail.subject.kind.clone(),
            subject: detail.subject.id.clone(),
            reference: detail.reference.clone(),
        }
    }
}

/// A time, or how long ago it was.
fn time(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = duration::parse(text).context("a time is written as `2026-01-31T09:00:00Z`")?;
    Ok(Timestamp::now().checked_sub(ago)?)
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::Message;
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(text: &str) -> Options {
        let start = ["plan", "--rule", "r", "--from", "1h"];
        Cli::parse_from(start.into_iter().chain(text.split_terminator(' '))).options
    }

    /// A copy of an event about an invoice, published at this second.
    fn copy(id: &str, second: i64) -> Copy {
        let event = json!({
            "replay-name": "now",
            "time": Timestamp::from_second(second).unwrap(),
            "detail-type": "invoice.paid",
            "detail": {
                "id": id, "environment": "test", "subject": { "kind": "invoice", "id": "i-1" }, "reference": "order-7",
            },
        });
        Copy { message: Message::builder().message_id(id).build(), event: serde_json::from_value(event).unwrap() }
    }

    #[test]
    fn an_event_is_chosen_if_it_fits_everything() {
        let event = copy("e", 1).event;
        for (text, chosen) in [
            ("", true),
            ("--type invoice.*", true),
            ("--type payment.* --type invoice.paid", true),
            ("--kind invoice --subject order-7", true),
            ("--subject i-1", true),
            ("--subject test#invoice#i-1", true),
            ("--type payment.*", false),
            ("--kind payout", false),
            ("--subject order-8", false),
            ("--type invoice.* --subject order-8", false),
        ] {
            assert_eq!(options(text).chooses(&event), chosen, "{text}");
        }
    }

    #[test]
    fn a_plan_has_one_copy_of_each_event_of_the_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let copies = vec![copy("a", 9), copy("b", 10), copy("b", 10), copy("c", 19), copy("d", 20)];
        let (chosen, matched, others) = choose(copies, at(10), at(20), |event| event.detail.id != "c");
        let ids = |copies: Vec<Copy>| copies.into_iter().map(|copy| copy.event.detail.id).collect::<Vec<_>>();
        assert_eq!(
            (ids(chosen), matched, ids(others)),
            (vec!["b".to_owned()], 2, ["a", "b", "d", "c"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn a_time_is_a_moment_or_how_long_ago() {
        assert_eq!(time("2026-01-31T09:00:00Z").unwrap().as_second(), 1_769_850_000);
        let then = time("2h").unwrap();
        let ago = Timestamp::now().duration_since(then).as_secs();
        assert!((7200..7205).contains(&ago), "{ago}");
        assert!(time("yesterday").is_err());
    }
}
