//! `listen`: shows the domain events of a stack while they are published, and hands them to an app on this machine. `dev`
//! does the same for its own stack.
//!
//! ```text
//! bus ─▶ rule ─▶ the tap, a queue ─▶ listen ─▶ the terminal
//!                                          `─▶ the app
//! ```
//!
//! The tap keeps events for 14 days, so that nothing is lost while nobody listens or the app fails, and events that were
//! resent, redriven or replayed come too. Nothing on this machine has to be reachable from outside.
//!
//! **Invariant:** an event is deleted from the tap only after it was printed, and accepted by the app if there is one. One
//! that the filter leaves out is not deleted.

use std::{collections::HashMap, io::Write as _, process::ExitCode, str::FromStr, time::Duration};

use anyhow::{Context as _, Error, Result, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, Message},
};
use clap::Args;
use futures_util::{StreamExt as _, future::try_join_all, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{
    domain_event::{CONFLICT, Detail, UNKNOWN},
    lifecycle::Stage,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use crate::{
    forward::{Answer, App, MAX_SHOWN_CHARS, TIMEOUT},
    stack::{Stack, StackOption},
};

/// The most messages that SQS handles in one call.
const BATCH: usize = 10;

/// How long to wait for an event in one call: SQS's maximum, so that an idle tap costs three calls a minute.
const WAIT: Duration = Duration::from_secs(20);

/// After this, a call is repeated: the connection may have died while the machine slept.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long events are hidden from other listeners while the app handles them. After a crash they return this late.
const IN_HAND: Duration = TIMEOUT.saturating_add(Duration::from_secs(5));

/// How long events that the filter leaves out stay hidden at a time. `listen` releases them when it ends; after a crash they
/// return this late. Without hiding, it would receive the same events again and again.
const LEFT_OUT: Duration = Duration::from_mins(15);

/// The longest delay before an event that the app refused is tried again. The first is a second, and each is twice the last.
const MAX_RETRY_DELAY: Duration = Duration::from_mins(1);

/// The first pause while the app or the tap cannot be reached. Each is twice the last.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// The longest one.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How many calls release events at the same time.
const RELEASING: usize = 8;

/// How long `listen` waits at its end for a call that may have received what it released.
const LAST_CALL: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Options {
    /// POST each event to this URL, such as `http://localhost:3000/events`. The body is the whole event as EventBridge
    /// delivers it. An event is done once the app answers 2xx; until then it is sent again.
    #[arg(long, value_name = "URL")]
    forward_to: Option<App>,
    /// Only events of these types, such as `payment.*` (in quotes, for the shell). Can be repeated. The other events stay in
    /// the tap, and come when you listen without the filter.
    #[arg(long, value_name = "TYPE")]
    filter: Vec<Filter>,
    /// Print one JSON object per event: the whole event under `event`, and what the app answered under `answer`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let result = runtime.block_on(listen(options));
    // Do not wait for an app that does not answer.
    runtime.shutdown_background();
    result
}

async fn listen(options: &Options) -> Result<ExitCode> {
    let stack = options.stack.find().await?;
    let Some(queue_url) = stack.tap_queue_url.clone() else { bail!(how_to_turn_on(options.stack.name())) };
    let output = Output { app: options.forward_to.clone(), filter: options.filter.clone(), json: options.json };
    let mut listener = Listener::new(&stack.aws().await, queue_url, output);
    anstream::eprintln!("Listening to {}. Press Ctrl-C to stop; events are kept.", stack.bus);
    let mut terminated = signal(SignalKind::terminate())?;
    let end = tokio::select! {
        end = listener.run(Some(&stack)) => end,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    listener.release().await;
    end.map(|()| ExitCode::SUCCESS)
}

fn how_to_turn_on(stack: &str) -> String {
    let deploy = match stack {
        "test" | "live" => format!("`make deploy TO={stack} REGION=<its region> SET=Tap=on`"),
        _ => "deploy it with the parameter Tap=on".to_owned(),
    };
    format!("the stack {stack} has no tap to listen to; turn it on: {deploy}")
}

/// A pattern for event types, in which `*` stands for any characters.
#[derive(Clone, Debug)]
pub(crate) struct Filter(String);

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let filter = Self(text.to_owned());
        let mut known = Stage::ALL
            .iter()
            .filter(|stage| stage.kind().is_published())
            .map(|stage| stage.as_str())
            .chain([UNKNOWN, CONFLICT]);
        ensure!(known.any(|known| filter.matches(known)), "no event has such a type; docs/webhooks.md lists the types");
        Ok(filter)
    }
}

impl Filter {
    pub(crate) fn matches(&self, detail_type: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| detail_type.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

/// Where events go.
pub(crate) struct Output {
    pub(crate) app: Option<App>,
    pub(crate) filter: Vec<Filter>,
    pub(crate) json: bool,
}

/// Reads a queue with a copy of each domain event.
pub(crate) struct Listener {
    sqs: Client,
    queue_url: String,
    output: Output,
    /// The call that waits for events. SQS may still answer it after nobody waits for it, so it is never dropped while there is
    /// something to receive.
    call: Option<JoinHandle<Result<Vec<Message>>>>,
    /// The messages that are hidden from other listeners, by their id.
    hidden: HashMap<String, Hidden>,
}

#[derive(Default)]
struct Hidden {
    receipt: String,
    /// How often the app has refused the event.
    refusals: u32,
}

/// What became of an event.
enum Fate {
    /// It was printed, and accepted by the app if there is one.
    Done,
    /// The filter leaves it out, or this version cannot read it.
    LeftOut,
    /// The app refused it. It is tried again after this time.
    Refused(Duration),
    /// The app cannot be reached.
    Unreachable(String),
}

impl Listener {
    pub(crate) fn new(aws: &SdkConfig, queue_url: String, output: Output) -> Self {
        Self { sqs: Client::new(aws), queue_url, output, call: None, hidden: HashMap::new() }
    }

    /// Handles events until it is dropped. It ends with an error if the tap cannot be read at first, if its local stack stops,
    /// or if the output is closed. Of other failures it tells, and tries again.
    pub(crate) async fn run(&mut self, stack: Option<&Stack>) -> Result<()> {
        let mut was_readable = false;
        let (mut tap, mut app) = (Pause::default(), Pause::default());
        loop {
            tokio::time::sleep(tap.length + app.length).await;
            let messages = match self.receive().await {
                Ok(messages) => messages,
                Err(error) if !was_readable => return Err(error),
                Err(_) if stack.is_some_and(Stack::has_stopped) => bail!("the local stack has stopped"),
                Err(error) => {
                    tap.lengthen(&format!("{error:#}"));
                    continue;
                }
            };
            was_readable = true;
            tap.end();
            if messages.is_empty() {
                continue;
            }
            match self.handle(&messages).await? {
                Some(unreachable) => app.lengthen(&unreachable),
                None => app.end(),
            }
        }
    }

    async fn receive(&mut self) -> Result<Vec<Message>> {
        let call = match &mut self.call {
            Some(call) => call,
            none => none.insert(tokio::spawn(receive(self.sqs.clone(), self.queue_url.clone()))),
        };
        let messages = call.await;
        self.call = None;
        let messages = messages??;
        for message in &messages {
            receipt(message).clone_into(&mut self.hidden.entry(id(message).to_owned()).or_default().receipt);
        }
        Ok(messages)
    }

    /// Handles the events of one call at the same time, because one of them may keep the app busy. Returns why the app cannot be
    /// reached. An error means that the output is closed.
    async fn handle(&mut self, messages: &[Message]) -> Result<Option<String>> {
        let fates = try_join_all(messages.iter().map(async |message| {
            let fate = self.fate(message).await?;
            self.settle(message, &fate).await;
            Ok::<_, Error>(fate)
        }));
        let mut unreachable = None;
        for (message, fate) in messages.iter().zip(fates.await?) {
            match fate {
                Fate::Done => drop(self.hidden.remove(id(message))),
                Fate::Refused(_) => self.hidden.entry(id(message).to_owned()).or_default().refusals += 1,
                Fate::Unreachable(why) => unreachable = Some(why),
                Fate::LeftOut => {}
            }
        }
        Ok(unreachable)
    }

    async fn fate(&self, message: &Message) -> Result<Fate> {
        let Some(event) = Event::read(message.body().unwrap_or_default()) else {
            anstream::eprintln!("The tap has a message that this version cannot read. It stays there.");
            return Ok(Fate::LeftOut);
        };
        if !self.output.includes(&event) {
            return Ok(Fate::LeftOut);
        }
        let Some(app) = &self.output.app else {
            self.output.print(&event, None)?;
            return Ok(Fate::Done);
        };
        let answer = app.post(event.json.clone()).await?;
        match answer {
            Answer::Unreachable { error } => Ok(Fate::Unreachable(format!("cannot reach {}: {error}", app.url))),
            answer if answer.is_accepted() => {
                self.output.print(&event, Some((&answer, None)))?;
                Ok(Fate::Done)
            }
            answer => {
                let refusals = self.hidden.get(id(message)).map_or(0, |hidden| hidden.refusals);
                let delay = retry_delay(refusals);
                self.output.print(&event, Some((&answer, Some(delay))))?;
                Ok(Fate::Refused(delay))
            }
        }
    }

    /// Deletes a message that is done, and lets any other return after a time.
    async fn settle(&self, message: &Message, fate: &Fate) {
        let hide_for = match fate {
            Fate::Done => return self.delete(message).await,
            Fate::LeftOut => LEFT_OUT,
            Fate::Refused(delay) => *delay,
            Fate::Unreachable(_) => Duration::ZERO,
        };
        let call = self.sqs.change_message_visibility().queue_url(&self.queue_url).receipt_handle(receipt(message));
        // If it fails, the message returns after `IN_HAND`.
        let _ = call.visibility_timeout(seconds(hide_for)).send().await;
    }

    async fn delete(&self, message: &Message) {
        let call = self.sqs.delete_message().queue_url(&self.queue_url).receipt_handle(receipt(message));
        if let Err(error) = call.send().await.map_err(aws_sdk_sqs::Error::from) {
            let error = Error::from(error);
            anstream::eprintln!("cannot delete an event from the tap, so it will be delivered again: {error:#}");
        }
    }

    /// Lets the next run, and other listeners, have the hidden events at once.
    pub(crate) async fn release(&mut self) {
        let receipts: Vec<_> = self.hidden.drain().map(|(_, hidden)| hidden.receipt).collect();
        self.make_visible(&receipts).await;
        let Some(call) = self.call.take().filter(|_| !receipts.is_empty()) else { return };
        if let Ok(Ok(Ok(messages))) = tokio::time::timeout(LAST_CALL, call).await {
            let receipts: Vec<_> = messages.iter().map(|message| receipt(message).to_owned()).collect();
            self.make_visible(&receipts).await;
        }
    }

    async fn make_visible(&self, receipts: &[String]) {
        let calls = receipts.chunks(BATCH).map(|some| {
            let entries = some.iter().enumerate().map(|(index, receipt)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(receipt).visibility_timeout(0).build()
            });
            let call = self.sqs.change_message_visibility_batch().queue_url(&self.queue_url);
            call.set_entries(entries.collect::<Result<_, _>>().ok())
        });
        // If a call fails, its messages return on their own.
        stream::iter(calls).for_each_concurrent(RELEASING, async |call| drop(call.send().await)).await;
    }
}

async fn receive(sqs: Client, queue_url: String) -> Result<Vec<Message>> {
    let call = sqs
        .receive_message()
        .queue_url(queue_url)
        .max_number_of_messages(i32::try_from(BATCH)?)
        .wait_time_seconds(seconds(WAIT))
        .visibility_timeout(seconds(IN_HAND))
        .send();
    let received = tokio::time::timeout(CALL_TIMEOUT, call).await.context("SQS does not answer");
    let received = received.and_then(|result| Ok(result.map_err(aws_sdk_sqs::Error::from)?));
    Ok(received.context("cannot read the tap")?.messages.unwrap_or_default())
}

/// A pause that grows while something cannot be reached.
#[derive(Default)]
struct Pause {
    length: Duration,
}

impl Pause {
    /// Tells the reason when the pause begins, not each time.
    fn lengthen(&mut self, why: &str) {
        if self.length.is_zero() {
            anstream::eprintln!("{why}; trying again until it works");
        }
        self.length = (self.length * 2).clamp(MIN_PAUSE, MAX_PAUSE);
    }

    fn end(&mut self) {
        self.length = Duration::ZERO;
    }
}

impl Output {
    fn includes(&self, event: &Event) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|filter| filter.matches(&event.detail_type))
    }

    /// Prints an event, with the app's answer and the delay before the next try.
    fn print(&self, event: &Event, answered: Option<(&Answer, Option<Duration>)>) -> Result<()> {
        let line = if self.json { event.json_line(answered)? } else { event.text_line(answered) };
        let mut output = anstream::stdout().lock();
        writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot print")
    }
}

/// A domain event in the tap.
struct Event {
    /// The whole event, as EventBridge delivered it.
    json: String,
    published_at: Timestamp,
    detail_type: String,
    detail: Detail,
}

impl Event {
    /// `None`: it is of a version that this program does not know, or not one of ours.
    fn read(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            time: Timestamp,
            #[serde(rename = "detail-type")]
            detail_type: String,
            detail: Box<RawValue>,
        }

        let envelope: Envelope = serde_json::from_str(json).ok()?;
        let detail = Detail::read(envelope.detail.get())?;
        Some(Self { json: json.to_owned(), published_at: envelope.time, detail_type: envelope.detail_type, detail })
    }

    fn json_line(&self, answered: Option<(&Answer, Option<Duration>)>) -> Result<String> {
        #[derive(Serialize)]
        struct Line<'a> {
            event: &'a RawValue,
            #[serde(skip_serializing_if = "Option::is_none")]
            answer: Option<&'a Answer>,
            #[serde(skip_serializing_if = "Option::is_none")]
            again_in_secs: Option<u64>,
        }

        let (answer, delay) = answered.unzip();
        let again_in_secs = delay.flatten().map(|delay| delay.as_secs());
        Ok(serde_json::to_string(&Line { event: serde_json::from_str(&self.json)?, answer, again_in_secs })?)
    }

    fn text_line(&self, answered: Option<(&Answer, Option<Duration>)>) -> String {
        let detail = &self.detail;
        let is_today = self.published_at.strftime("%F").to_string() == Timestamp::now().strftime("%F").to_string();
        let time = self.published_at.strftime(if is_today { "%T" } else { "%F %T" });
        // As in the lines of `dev`: it finds the webhook's log lines, and leads to its story.
        let delivery: String = detail.delivery_id.chars().take(8).collect();
        let money = detail.paid.as_ref().or(detail.requested.as_ref()).map(ToString::to_string).unwrap_or_default();
        let reference = shown(detail.reference.as_deref().unwrap_or("-"), 18);
        let fields = format!("{time} {delivery:8} {:<22} {reference:<18} {money:>14}", self.detail_type);
        let update = detail.update.then(|| "update".to_owned());
        let answer = answered.map(|(answer, delay)| {
            let colour = if answer.is_accepted() { anstyle::AnsiColor::Green } else { anstyle::AnsiColor::Red };
            let (colour, reset) = (colour.on_default(), anstyle::Reset);
            let text = match answer {
                Answer::Status { status, text } => format!("{status} {text}"),
                Answer::TooSlow { error } | Answer::Unreachable { error } => error.clone(),
            };
            let again = delay.map(|delay| format!(" (again in {delay:?})")).unwrap_or_default();
            format!("{colour}{}{reset}{again}", shown(text.trim_end(), MAX_SHOWN_CHARS))
        });
        [Some(fields), update, answer].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// At most so many characters of a text, without control characters, which could change what the terminal shows.
fn shown(text: &str, max_chars: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    let mut shown: String = chars.by_ref().take(max_chars).collect();
    if chars.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// The delay before an event is tried again that the app has refused before.
fn retry_delay(refusals: u32) -> Duration {
    Duration::from_secs(1 << refusals.min(6)).min(MAX_RETRY_DELAY)
}

fn id(message: &Message) -> &str {
    message.message_id().unwrap_or_default()
}

fn receipt(message: &Message) -> &str {
    message.receipt_handle().unwrap_or_default()
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (filter, matching, other) in [
            ("payment.*", "payment.succeeded", "payment_token.active"),
            ("*.succeeded", "payout.succeeded", "payout.failed"),
            ("payment.succeeded", "payment.succeeded", "payment.failed"),
            ("pay*.succ*", "payout.succeeded", "payout.failed"),
            ("*", "webhook.unknown", ""),
        ] {
            let filter: Filter = filter.parse().unwrap();
            assert!(filter.matches(matching), "{filter:?}");
            assert!(other.is_empty() || !filter.matches(other), "{filter:?}");
        }
        assert!(!Filter("a*a".to_owned()).matches("a"), "no character is used twice");
    }

    #[test]
    fn a_filter_for_a_type_that_no_event_has_is_refused() {
        for text in ["payments.*", "", "payment", "invoice.paid "] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_is_short_and_cannot_change_what_the_terminal_shows() {
        let detail = json!({
            "schema_version": 1, "id": "e-1", "environment": "test", "source": "webhook",
            "subject": { "kind": "invoice", "id": "i-1" }, "reference": "\u{1b}[2J of a very long order",
            "phase": "paid", "update": false, "event": "invoice", "paid_late": false, "amount_mismatch": false,
            "paid": { "amount": "10000.01", "currency": "IDR" }, "received_at": "2026-11-24T06:00:00Z",
            "delivery_id": "34f141d2-d651-486a-9ee8-5fefa24cc8f3", "token_label": "local", "version": 1,
        });
        let event = json!({ "time": "2026-11-24T06:00:00Z", "detail-type": "invoice.paid", "detail": detail });
        let event = Event { published_at: Timestamp::now(), ..Event::read(&event.to_string()).unwrap() };
        let line = event.text_line(None);
        let columns = "34f141d2 invoice.paid           \u{FFFD}[2J of a very lo…   IDR 10000.01";
        assert_eq!(line.split_once(' ').unwrap().1, columns);
        let refused = Answer::Status { status: 500, text: "\u{1b}[2J".to_owned() };
        let line = event.text_line(Some((&refused, Some(Duration::from_secs(2)))));
        assert!(line.contains("500 \u{FFFD}[2J") && line.ends_with(" (again in 2s)"), "{line}");
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        assert_eq!([0, 1, 2, 5, 6, 1000].map(|refusals| retry_delay(refusals).as_secs()), [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn a_missing_tap_says_how_to_turn_it_on() {
        assert!(how_to_turn_on("test").contains("make deploy TO=test REGION=<its region> SET=Tap=on"));
        assert!(how_to_turn_on("my-stack").contains("Tap=on"));
    }
}
