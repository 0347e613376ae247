//! `dlq plan`: which dead letters a redrive will move.

use std::{collections::BTreeMap, path::Path, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, builder::PossibleValuesParser};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::lifecycle::Kind;

use super::{DeadLetter, DeadLetters, Line, MAX_LETTERS, VERSION, print_table};
use crate::{
    columns::beside,
    duration,
    plan::{Content, NOTHING_TO_DO, Plan},
    stack::{Stack, StackOption},
};

const HELP: &str = "\
A dead letter is chosen if all options that are given fit. Without one, all dead letters are.
Exit codes: 0 a plan was made; 1 an error; 2 a wrong option; 3 no dead letter was chosen.";

#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// Only those whose reason contains this text, in upper or lower case.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those of this event, as `dlq list` names it.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only those about this kind of subject, such as `invoice`.
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// Only those that have been in the dead-letter queue for longer than this, such as `30m`, `2h` or `3d`.
    #[arg(long, value_name = "AGE", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Only those that have been in the dead-letter queue for less than this.
    #[arg(long, value_name = "AGE", value_parser = duration::parse)]
    newer_than: Option<Duration>,
    /// At most so many: the oldest ones.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// What a redrive will move, from where to where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlannedRedrive {
    pub(super) dlq_url: String,
    pub(super) queue_url: String,
    pub(super) letters: Vec<Planned>,
}

impl Content for PlannedRedrive {
    const MADE_BY: &'static str = "dlq plan";
    const RUN_BY: &'static str = "dlq redrive";
}

/// A dead letter in a plan.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) message_id: String,
    delivery: Option<String>,
    reason: String,
    dead_since: Option<Timestamp>,
}

/// A plan for scripts.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    /// Null: no dead letter was chosen, and there is no plan.
    fingerprint: Option<&'a str>,
    file: Option<&'a Path>,
    created_at: Timestamp,
    stack: &'a str,
    dlq_url: &'a str,
    queue_url: &'a str,
    /// Whether all dead letters were looked at.
    complete: bool,
    reasons: Vec<Count<'a>>,
    letters: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Count<'a> {
    reason: &'a str,
    count: usize,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let (letters, more) = DeadLetters::new(&stack.aws().await, stack.dlq_url.clone()).all().await?;
    if more {
        anstream::eprintln!(
            "There are more than {MAX_LETTERS} dead letters. The plan is about the first that SQS handed out; \
             make another one when it is done."
        );
    }
    let in_all = letters.len();
    let now = Timestamp::now();
    let chosen = letters.into_iter().filter(|letter| options.chooses(letter, now));
    let chosen: Vec<_> = chosen.take(options.limit.unwrap_or(usize::MAX)).collect();
    let letters = chosen.iter().map(Planned::of).collect();
    let Stack { dlq_url, queue_url, .. } = stack;
    let plan = Plan::new(&options.stack, PlannedRedrive { dlq_url, queue_url, letters });
    let saved = if chosen.is_empty() { None } else { Some(plan.save()?) };
    let reasons = reasons(&chosen);
    if options.json {
        let report = Report {
            version: VERSION,
            fingerprint: saved.as_ref().map(|saved| saved.fingerprint.as_str()),
            file: saved.as_ref().map(|saved| saved.file.as_path()),
            created_at: now,
            stack: options.stack.name(),
            dlq_url: &plan.content.dlq_url,
            queue_url: &plan.content.queue_url,
            complete: !more,
            reasons,
            letters: chosen.iter().map(|letter| letter.line(false)).collect(),
        };
        anstream::println!("{}", serde_json::to_string(&report)?);
    } else if let Some(saved) = &saved {
        print_table(&chosen);
        anstream::println!("\n{} of {in_all} dead letters:", chosen.len());
        for Count { reason, count } in reasons {
            anstream::println!("  {count:>5}  {}", beside(9, reason));
        }
        anstream::println!("\nNothing was changed. Within a day, this moves them to the webhook queue:");
        anstream::println!("  {}", plan.command_line(&saved.fingerprint));
    } else {
        let which = if in_all == 0 { "is empty" } else { "holds none that fits" };
        anstream::eprintln!("The dead-letter queue of `{}` {which}. No plan was made.", options.stack.name());
    }
    Ok(if saved.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOTHING_TO_DO) })
}

/// How many letters have each reason, the most frequent one first.
fn reasons(letters: &[DeadLetter]) -> Vec<Count<'_>> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter.reason()).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().map(|(reason, count)| Count { reason, count }).collect();
    counts.sort_by_key(|it| std::cmp::Reverse(it.count));
    counts
}

impl Options {
    fn chooses(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let line = letter.line(false);
        let contains = |text: &str| line.reason.to_lowercase().contains(&text.to_lowercase());
        // A clock that is ahead makes no letter negative in age.
        let age = letter.sent_at.and_then(|at| Duration::try_from(now.duration_since(at)).ok()).unwrap_or_default();
        self.reason.as_deref().is_none_or(contains)
            && self.event.as_deref().is_none_or(|name| line.event.as_deref() == Some(name))
            && self.kind.as_deref().is_none_or(|kind| line.kind == Some(kind))
            && self.older_than.is_none_or(|limit| age > limit)
            && self.newer_than.is_none_or(|limit| age < limit)
    }
}

impl Planned {
    fn of(letter: &DeadLetter) -> Self {
        Self {
            message_id: letter.message.message_id().unwrap_or_default().to_owned(),
            delivery: letter.delivery().map(str::to_owned),
            reason: letter.reason().to_owned(),
            dead_since: letter.sent_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName::SentTimestamp};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(text: &str) -> Options {
        Cli::parse_from(["plan"].into_iter().chain(text.split_terminator(' '))).options
    }

    /// A letter about a paid invoice, sent at this second.
    fn letter(reason: &str, second: i64) -> DeadLetter {
        let body = r#"{"id":"i","external_id":"o","user_id":"u","status":"PAID","amount":1,"merchant_name":"m","currency":"IDR"}"#;
        let envelope = serde_json::json!({
            "v": 1, "id": "d", "received_at": "2026-01-02T03:04:05Z", "environment": "test", "token": "test", "body": body,
        });
        let reason = MessageAttributeValue::builder().data_type("String").string_value(reason).build().unwrap();
        let message = Message::builder()
            .message_id("m")
            .body(envelope.to_string())
            .message_attributes("reason", reason)
            .attributes(SentTimestamp, (second * 1000).to_string());
        DeadLetter::read(message.build())
    }

    #[test]
    fn a_letter_is_chosen_if_it_fits_everything() {
        let letter = letter("the Body is not JSON", 1000);
        let now = Timestamp::from_second(1060).unwrap();
        let event = letter.line(false).event.unwrap();
        for (text, chosen) in [
            ("", true),
            ("--reason body", true),
            ("--reason JSON --kind invoice --older-than 59s --newer-than 61s", true),
            ("--reason ledger", false),
            ("--kind payout", false),
            ("--event payout.succeeded", false),
            ("--older-than 60s", false),
            ("--newer-than 60s", false),
            ("--reason body --newer-than 30s", false),
        ] {
            assert_eq!(options(text).chooses(&letter, now), chosen, "{text}");
        }
        assert!(Options { event: Some(event), ..options("") }.chooses(&letter, now));
    }

    #[test]
    fn the_most_frequent_reason_comes_first() {
        let letters = ["a", "b", "b"].map(|reason| letter(reason, 1));
        let counts = reasons(&letters).into_iter().map(|it| (it.reason, it.count)).collect::<Vec<_>>();
        assert_eq!(counts, [("b", 2), ("a", 1)]);
    }
}
