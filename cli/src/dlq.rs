//! `dlq`: shows what is in the dead-letter queue, and why. `plan` and `redrive` move it back to the webhook queue.
//!
//! A dead letter is a webhook that could not be processed. It stays in the queue for 14 days.
//!
//! **Invariant:** looking takes nothing away: see `queue`.

mod plan;
mod redrive;

use std::{borrow::Cow, future::pending, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use aws_config::SdkConfig;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use processor::source::EARLIER_REASON;
use serde::Serialize;
use serde_json::Value;
use shared::{
    envelope::{Delivery, Envelope},
    lifecycle::Stage,
    topic::Topic,
    webhook::Webhook,
};

use crate::{
    columns::{self, beside},
    plan::RunOptions,
    queue::{Queue, WAIT},
    stack::StackOption,
};

/// The most dead letters that are looked at. All of them are hidden meanwhile.
const MAX_LETTERS: usize = 1000;

/// The format of the JSON output.
const VERSION: u32 = 1;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the dead letters with their reasons, oldest first.
    List(List),
    /// Show one dead letter: its delivery, the reason, and the webhook's body, which may hold personal data.
    Show(Show),
    /// Choose dead letters to move back to the webhook queue: prints the list, and changes nothing.
    Plan(plan::Options),
    /// Move the dead letters of a plan back to the webhook queue.
    #[command(after_help = redrive::HELP)]
    Redrive(RunOptions),
}

#[derive(Args)]
pub(crate) struct List {
    /// Print one JSON object per dead letter.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The id of the delivery or of the message, or the first characters of one.
    id: String,
    /// Print one JSON object, with the body as text or as base64.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::List(List { json, stack }) => {
            let (letters, more) = runtime.block_on(letters(stack))?;
            list(&letters, more, *json, stack.name())
        }
        Command::Show(Show { id, json, stack }) => {
            let (letters, _) = runtime.block_on(letters(stack))?;
            match chosen(&letters, id).as_slice() {
                [letter] => letter.show(*json),
                [] => bail!("no dead letter of `{}` has an id that begins with `{id}`", stack.name()),
                several => bail!(
                    "{} dead letters have an id that begins with `{id}`; give the id of one message:\n{}",
                    several.len(),
                    several.iter().map(|letter| letter.in_brief()).collect::<String>().trim_end()
                ),
            }
        }
        Command::Plan(options) => runtime.block_on(plan::run(options)),
        Command::Redrive(options) => runtime.block_on(redrive::run(options)),
    }
}

/// All dead letters of a stack, oldest first, and whether there are more than are looked at.
async fn letters(stack: &StackOption) -> Result<(Vec<DeadLetter>, bool)> {
    let found = stack.find().await?;
    DeadLetters::new(&found.aws().await, found.dlq_url).all().await
}

/// The letters with an id that begins with a text. One whose message has that very id is meant alone.
fn chosen<'a>(letters: &'a [DeadLetter], id: &str) -> Vec<&'a DeadLetter> {
    match letters.iter().find(|letter| letter.message.message_id() == Some(id)) {
        Some(letter) => vec![letter],
        None => letters.iter().filter(|letter| letter.ids().any(|known| known.starts_with(id))).collect(),
    }
}

fn list(letters: &[DeadLetter], more: bool, json: bool, stack: &str) -> Result<ExitCode> {
    if more {
        anstream::eprintln!("There are more than {MAX_LETTERS} dead letters. These are the first that SQS handed out.");
    }
    if json {
        for letter in letters {
            anstream::println!("{}", serde_json::to_string(&letter.line(false))?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if letters.is_empty() {
        anstream::eprintln!("The dead-letter queue of `{stack}` is empty.");
        return Ok(ExitCode::SUCCESS);
    }
    print_table(letters);
    Ok(ExitCode::SUCCESS)
}

fn print_table(letters: &[DeadLetter]) {
    let now = Timestamp::now();
    let mut table = columns::table(["age", "delivery", "event", "reference or id", "reason"]);
    for letter in letters {
        let line = letter.line(false);
        let subject = line.reference.or(line.id).unwrap_or_default();
        table.add_row([
            letter.sent_at.map(|at| age(now, at)).unwrap_or_default(),
            short(line.delivery.unwrap_or(line.message_id)).to_owned(),
            printable(&line.event.unwrap_or_else(|| letter.without_event().to_owned())).into_owned(),
            printable(&subject).into_owned(),
            printable(line.reason).into_owned(),
        ]);
    }
    columns::print_table(&table);
}

/// The dead-letter queue of a stack.
pub(crate) struct DeadLetters(Queue);

impl DeadLetters {
    pub(crate) fn new(aws: &SdkConfig, url: String) -> Self {
        Self(Queue::new(aws, url, "the dead-letter queue", "dead letters"))
    }

    /// All dead letters, oldest first, and whether there are more than are looked at.
    pub(crate) async fn all(&self) -> Result<(Vec<DeadLetter>, bool)> {
        let messages = self.0.look(MAX_LETTERS, WAIT, |_| false, tokio::signal::ctrl_c()).await?;
        let more = messages.len() >= MAX_LETTERS;
        let mut letters: Vec<_> = messages.into_values().map(DeadLetter::read).collect();
        letters.sort_by_key(|letter| letter.sent_at);
        Ok((letters, more))
    }

    /// Why a delivery is in the dead-letter queue. `None`: it was not found there.
    pub(crate) async fn reason(&self, delivery: &str) -> Result<Option<String>> {
        let is_it = |message: &Message| DeadLetter::read(message.clone()).delivery() == Some(delivery);
        let messages = self.0.look(MAX_LETTERS, Duration::ZERO, is_it, pending()).await?;
        let mut letters = messages.into_values().map(DeadLetter::read);
        let letter = letters.find(|letter| letter.delivery() == Some(delivery));
        Ok(letter.map(|letter| letter.reason().to_owned()))
    }
}

/// A message in the dead-letter queue.
pub(crate) struct DeadLetter {
    message: Message,
    sent_at: Option<Timestamp>,
    content: Content,
}

/// What a message holds.
enum Content {
    Envelope(Envelope),
    /// S3's notification of an envelope that was too large for the queue.
    InInbox {
        delivery: String,
        place: String,
    },
    Other,
}

/// A dead letter for scripts.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    message_id: &'a str,
    /// When it came into the dead-letter queue.
    dead_since: Option<Timestamp>,
    reason: &'a str,
    /// Why it was in the dead-letter queue before it was redriven.
    earlier_reason: Option<&'a str>,
    /// How often the processor tried. `None`: SQS moved the message by itself.
    tries: Option<&'a str>,
    delivery: Option<&'a str>,
    received_at: Option<Timestamp>,
    token: Option<&'a str>,
    topic: Option<&'a str>,
    webhook_id: Option<&'a str>,
    event: Option<String>,
    kind: Option<&'static str>,
    phase: Option<&'static str>,
    id: Option<String>,
    reference: Option<String>,
    /// Where the body is, if not here.
    in_inbox: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl DeadLetter {
    fn read(message: Message) -> Self {
        let body = message.body().unwrap_or_default();
        let content = match Envelope::open(body) {
            Ok(envelope) => Content::Envelope(envelope),
            Err(_) => in_inbox(body).unwrap_or(Content::Other),
        };
        let attributes = message.attributes.as_ref();
        let sent = attributes.and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
        let sent_at = sent.and_then(|millis| Timestamp::from_millisecond(millis.parse().ok()?).ok());
        Self { message, sent_at, content }
    }

    pub(crate) fn delivery(&self) -> Option<&str> {
        match &self.content {
            Content::Envelope(envelope) => Some(&envelope.delivery.id),
            Content::InInbox { delivery, .. } => Some(delivery),
            Content::Other => None,
        }
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.delivery().into_iter().chain(self.message.message_id())
    }

    /// What to say in place of an event.
    fn without_event(&self) -> &'static str {
        match self.content {
            Content::Envelope(_) => "unreadable body",
            Content::InInbox { .. } => "in the inbox",
            Content::Other => "no webhook",
        }
    }

    /// A line that tells it from others with the same delivery.
    fn in_brief(&self) -> String {
        let since = self.sent_at.map(|at| format!(", dead since {}", time(at))).unwrap_or_default();
        format!(
            "  {}  delivery {}{since}\n",
            self.message.message_id().unwrap_or_default(),
            self.delivery().unwrap_or("unknown")
        )
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.message.message_attributes()?.get(name)?.string_value()
    }

    /// The webhook, if the message holds it.
    pub(crate) fn into_envelope(self) -> Option<Envelope> {
        match self.content {
            Content::Envelope(envelope) => Some(envelope),
            Content::InInbox { .. } | Content::Other => None,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        self.attribute("reason").unwrap_or("no reason: it was received too often, and SQS moved it here")
    }

    fn line(&self, with_body: bool) -> Line<'_> {
        let envelope = match &self.content {
            Content::Envelope(envelope) => Some(envelope),
            Content::InInbox { .. } | Content::Other => None,
        };
        let delivery = envelope.map(|envelope| &envelope.delivery);
        let topic = delivery.and_then(|delivery| delivery.topic.as_ref());
        let seen = envelope.and_then(|envelope| Some(Webhook::parse(&envelope.body, topic).ok()?.observe()));
        let stage = seen.as_ref().map(|seen| seen.stage);
        let body = envelope.filter(|_| with_body).map(|envelope| std::str::from_utf8(&envelope.body));
        Line {
            version: VERSION,
            message_id: self.message.message_id().unwrap_or_default(),
            dead_since: self.sent_at,
            reason: self.reason(),
            earlier_reason: self.attribute(EARLIER_REASON),
            tries: self.attribute("receive_count"),
            delivery: self.delivery(),
            received_at: delivery.map(|delivery| delivery.received_at),
            token: delivery.map(|delivery| delivery.token.as_str()),
            topic: topic.map(Topic::as_str),
            webhook_id: delivery.and_then(|delivery| delivery.webhook_id.as_deref()),
            event: seen.as_ref().map(|seen| seen.event.clone()),
            kind: stage.map(|stage| stage.kind().as_str()),
            phase: stage.map(Stage::phase),
            reference: seen.as_ref().and_then(|seen| seen.reference.clone()),
            id: seen.map(|seen| seen.id),
            in_inbox: match &self.content {
                Content::InInbox { place, .. } => Some(place),
                Content::Envelope(_) | Content::Other => None,
            },
            body: body.and_then(Result::ok),
            body_base64: envelope.filter(|_| body.is_some_and(|body| body.is_err())).map(|it| BASE64.encode(&it.body)),
        }
    }

    fn show(&self, json: bool) -> Result<ExitCode> {
        let line = self.line(true);
        if json {
            anstream::println!("{}", serde_json::to_string(&line)?);
            return Ok(ExitCode::SUCCESS);
        }
        let fact = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                anstream::println!("{name:<14}{}", beside(14, &printable(&value)));
            }
        };
        let text = |value: Option<&str>| value.map(str::to_owned);
        fact("reason", text(Some(line.reason)));
        fact("earlier", text(line.earlier_reason));
        fact("delivery", text(line.delivery));
        fact("received", line.received_at.map(time));
        fact("dead since", line.dead_since.map(|at| format!("{} ({} ago)", time(at), age(Timestamp::now(), at))));
        fact("tries", text(line.tries));
        fact("message", text(Some(line.message_id)));
        fact("token", text(line.token));
        fact("topic", text(line.topic));
        fact("webhook-id", text(line.webhook_id));
        fact("content type", self.content_type());
        fact("event", line.event);
        fact("stage", line.kind.zip(line.phase).map(|(kind, phase)| format!("{kind}.{phase}")));
        fact("id", line.id);
        fact("reference", line.reference);
        fact("body", line.in_inbox.map(|place| format!("in the inbox: {place}")));
        match &self.content {
            Content::Envelope(Envelope { body, .. }) => {
                anstream::println!("\n{}", printable(&indented(&String::from_utf8_lossy(body))));
            }
            Content::InInbox { .. } => {}
            // Not one of ours: somebody put it on the queue by hand.
            Content::Other => anstream::println!("\n{}", printable(self.message.body().unwrap_or_default())),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn content_type(&self) -> Option<String> {
        let Content::Envelope(Envelope { delivery: Delivery { content_type, .. }, .. }) = &self.content else {
            return None;
        };
        content_type.clone()
    }
}

/// The envelope that a notification of S3 is about. Its key ends with the delivery's id.
fn in_inbox(message: &str) -> Option<Content> {
    let notification: Value = serde_json::from_str(message).ok()?;
    let text = |path: &str| notification.pointer(path)?.as_str();
    let key = text("/Records/0/s3/object/key")?.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().ok()?;
    let delivery = key.rsplit('/').next()?.to_owned();
    Some(Content::InInbox { delivery, place: format!("s3://{}/{key}", text("/Records/0/s3/bucket/name")?) })
}

/// The first characters of an id, as far as people compare them.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago something was, in its largest unit.
pub(crate) fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The text without characters that a terminal obeys.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && c != '\n';
    if !text.contains(is_obeyed) {
        return text.into();
    }
    text.chars().map(|c| if is_obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A JSON text on several lines, its numbers as they are written. Any other text stays as it is.
fn indented(text: &str) -> Cow<'_, str> {
    if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() {
        return text.into();
    }
    let (mut lines, mut depth, mut in_string, mut escaped) = (String::new(), 0, false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            lines.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        let new_line = |depth: usize| format!("\n{}", "  ".repeat(depth));
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                lines.push(c);
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    lines.push(end);
                } else {
                    depth += 1;
                    lines += &new_line(depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                lines += &new_line(depth);
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                lines += &new_line(depth);
            }
            ':' => lines += ": ",
            _ => {
                in_string = c == '"';
                lines.push(c);
            }
        }
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_indented_and_keeps_its_digits() {
        let text = r#"{ "a":10000.10,"b":[],"c":{ },"d":["x, \"y\": {\\",1e3] }"#;
        let expected = "{\n  \"a\": 10000.10,\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    \"x, \\\"y\\\": {\\\\\",\n    1e3\n  ]\n}";
        assert_eq!(indented(text), expected);
        assert_eq!(indented("{not JSON"), "{not JSON");
    }

    #[test]
    fn a_terminal_obeys_nothing_in_a_body() {
        assert_eq!(printable("a\n\u{1b}[2J\u{9b}é"), "a\n\\u{1b}[2J\\u{9b}é");
    }

    #[test]
    fn a_webhook_in_the_inbox_is_found_by_its_delivery_and_its_place_is_told() {
        let message = r#"{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"webhooks%2F2026-01-02/d-1"}}}]}"#;
        let letter = DeadLetter::read(Message::builder().body(message).message_id("m-1").build());
        assert_eq!(
            (letter.delivery(), letter.line(true).in_inbox),
            (Some("d-1"), Some("s3://b/webhooks/2026-01-02/d-1"))
        );
        assert_eq!(letter.ids().collect::<Vec<_>>(), ["d-1", "m-1"]);
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let at = |seconds: i64| age(Timestamp::from_second(seconds).unwrap(), Timestamp::UNIX_EPOCH);
        let ages = [-5, 59, 60, 3599, 3600, 86_399, 86_400, 864_000].map(at);
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "10 d"]);
    }
}
