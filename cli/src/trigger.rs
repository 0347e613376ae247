//! `trigger`: sends webhooks like Xendit does, and tells what became of them.
//!
//! ```text
//! sample, story or file ─▶ fresh ids and times ─▶ --set ─▶ POST ─▶ answer ─▶ fate
//! ```

mod change;
mod fate;
mod fresh;
pub(crate) mod story;

use std::{
    io::Read as _,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use jiff::Timestamp;
use ledger::state::State;
use receiver::verify::TOKEN_HEADER;
use serde::{Deserialize, Serialize};
use shared::{money::Money, topic::Topic, webhook::Webhook};

use self::{
    change::Change,
    fate::{Event, Fate, Learned, Sent, Watch},
    fresh::Fresh,
    story::{Flaw, Story},
};
use crate::{
    columns::{beside, message, then},
    dlq::short,
    samples,
    stack::{Stack, StackOption},
};

/// Xendit's own timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The variable with the callback token of a deployed stack.
const TOKEN_VARIABLE: &str = "XENDIT_CALLBACK_TOKEN";

/// The stack that real money is in.
const LIVE: &str = "live";

/// Nobody's token, for the story of a stranger.
const WRONG_TOKEN: &str = "not-the-callback-token-0123456789";

/// The columns of the word that a text stands beside.
const WORD_COLUMNS: usize = 15;

/// The format of the JSON output.
const VERSION: u32 = 1;

#[derive(Args)]
pub(crate) struct Options {
    /// A bundled webhook such as `invoice.paid`, a story such as `story:paid-twice`, the path of a file, or `-` for standard
    /// input. `xendit-hooks events` lists the first two.
    webhook: String,
    /// Set a value in the body, such as data.amount=10000.01 or external_id=order-7. Can be repeated. In a story, it is set in
    /// each webhook that has the path.
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Change>,
    /// Keep the ids, references and times of a bundled webhook. Without this they are new, so that each webhook is about
    /// something new. A file is always sent as it is.
    #[arg(long)]
    same_id: bool,
    /// How many times to send the webhook. All deliveries have the same `webhook-id`, like Xendit's retries.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// The `webhook-id` header. Default: a new UUID.
    #[arg(long)]
    webhook_id: Option<String>,
    /// Print the answer, and do not wait for what becomes of the webhook.
    #[arg(long)]
    no_wait: bool,
    /// Print one JSON object per delivery.
    #[arg(long)]
    json: bool,
    /// The callback token. Default: the token of the running local stack. Put a real token into the variable, because
    /// the shell's history and `ps` show arguments.
    #[arg(long, env = TOKEN_VARIABLE, hide_env_values = true)]
    token: Option<String>,
    /// Send to this URL instead of a stack's. Only its answer is known then.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    stack: StackOption,
}

/// A webhook to send.
struct Parcel {
    /// The name of the sample, or the path of the file.
    name: String,
    body: Vec<u8>,
    flaw: Option<Flaw>,
}

/// Where webhooks go.
struct Target {
    /// How it is named in messages.
    name: String,
    url: String,
    /// The URL for one product.
    topic_url: Option<String>,
    token: String,
    /// Where the token comes from.
    token_source: &'static str,
    /// How to learn what became of a webhook, or why that cannot be known.
    watch: Result<Watch, String>,
}

/// A delivery, for scripts.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    webhook: &'a str,
    story: Option<&'a str>,
    webhook_id: &'a str,
    status: u16,
    took_ms: u128,
    delivery: Option<String>,
    /// Xendit's name of the event.
    event: Option<String>,
    stage: Option<&'static str>,
    id: Option<String>,
    reference: Option<String>,
    amount: Option<Money>,
    #[serde(flatten)]
    fate: Fate,
    /// Null: it is not known what was published.
    events: Option<Vec<Event>>,
}

/// What the stack answered.
struct Answer {
    status: u16,
    took: Duration,
    text: String,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let story = options.story()?;
    let parcels = options.parcels(story)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let target = options.target().await?;
        if let Some(story) = story.filter(|_| !options.json) {
            anstream::println!("{}\n{}", story.full_name(), beside(0, story.says));
        }
        let mut all_expected = true;
        for parcel in &parcels {
            let webhook_id = options.webhook_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            for _ in 0..options.times {
                let line = target.deliver(parcel, &webhook_id, story).await?;
                let is_refused = matches!(line.fate, Fate::Refused(_));
                all_expected &= is_refused == (parcel.flaw == Some(Flaw::WrongToken));
                line.print(options.json)?;
            }
        }
        Ok(if all_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

impl Options {
    fn story(&self) -> Result<Option<&'static Story>> {
        let Some(name) = self.webhook.strip_prefix(story::PREFIX) else { return Ok(None) };
        let found = story::ALL.iter().find(|story| story.name == name);
        Ok(Some(found.with_context(|| unknown(&self.webhook))?))
    }

    /// The webhooks to send, with all their changes.
    fn parcels(&self, story: Option<&'static Story>) -> Result<Vec<Parcel>> {
        let mut parcels = match (story, samples::find(&self.webhook)) {
            (Some(story), _) => {
                let names = story.steps.iter().map(|step| (step.sample, step.flaw));
                self.fresh(names.zip(story.bodies()?))
            }
            (None, Some(sample)) => self.fresh([((sample.name, None), sample.body.to_owned())]),
            (None, None) => {
                let body = read(&self.webhook)?;
                let name = if self.webhook == "-" { event_of(&body) } else { self.webhook.clone() };
                vec![Parcel { name, body, flaw: None }]
            }
        };
        for change in &self.set {
            let in_each = parcels.iter().map(|parcel| change.warning(&String::from_utf8_lossy(&parcel.body)));
            let warnings: Vec<_> = in_each.collect();
            // In a story, a path that only some webhooks have is meant for those.
            let is_nowhere = warnings.iter().all(Option::is_some);
            if let Some(warning) = warnings.iter().flatten().next().filter(|_| is_nowhere) {
                warn(warning);
            }
            for (parcel, _) in parcels.iter_mut().zip(&warnings).filter(|(_, it)| is_nowhere || it.is_none()) {
                let body =
                    std::str::from_utf8(&parcel.body).context("the body is not text, so nothing can be set in it")?;
                parcel.body = change.apply(body)?.into_bytes();
            }
        }
        for parcel in &mut parcels {
            if let Some(flaw) = parcel.flaw {
                parcel.body = flaw.spoil(&String::from_utf8_lossy(&parcel.body))?.into_bytes();
            }
        }
        Ok(parcels)
    }

    fn fresh(&self, bundled: impl IntoIterator<Item = ((&'static str, Option<Flaw>), String)>) -> Vec<Parcel> {
        let bundled: Vec<_> = bundled.into_iter().collect();
        let fresh = Fresh::of(bundled.iter().map(|(_, body)| body.as_str()), Timestamp::now());
        let parcel = |((name, flaw), body): ((&str, _), String)| {
            let body = if self.same_id { body } else { fresh.apply(&body) };
            Parcel { name: name.to_owned(), body: body.into_bytes(), flaw }
        };
        bundled.into_iter().map(parcel).collect()
    }

    async fn target(&self) -> Result<Target> {
        if let Some(url) = &self.url {
            let local = || Stack::local(None).ok()?.token;
            let token = self.token.clone().or_else(local).with_context(|| {
                format!("put the callback token into {TOKEN_VARIABLE}, or start a local stack and leave out --url")
            })?;
            let watch = Err("only the answer of a URL is known; --stack tells more".to_owned());
            let (name, url, token_source) = (url.clone(), url.clone(), self.token_source());
            return Ok(Target { name, url, topic_url: None, token, token_source, watch });
        }
        ensure!(
            self.stack.name() != LIVE,
            "in the stack `{LIVE}`, a webhook that Xendit has not sent would look like real money; if you mean it, give the \
             stack's URL with --url"
        );
        let stack = self.stack.find().await?;
        let token = self.token.clone().or_else(|| stack.token.clone()).with_context(|| {
            format!("the stack `{}` does not tell its callback token; put it into {TOKEN_VARIABLE}", self.stack.name())
        })?;
        let watch = if self.no_wait { Err("it was not waited for".to_owned()) } else { Ok(Watch::new(&stack).await) };
        Ok(Target {
            name: format!("the stack `{}`", self.stack.name()),
            url: stack.url,
            topic_url: Some(stack.topic_url),
            token,
            token_source: self.token_source(),
            watch,
        })
    }

    fn token_source(&self) -> &'static str {
        match &self.token {
            None => "the local stack",
            Some(token) if std::env::var(TOKEN_VARIABLE).as_ref() == Ok(token) => TOKEN_VARIABLE,
            Some(_) => "--token",
        }
    }
}

impl Target {
    /// Sends a webhook, and learns what became of it.
    async fn deliver<'a>(&self, parcel: &'a Parcel, webhook_id: &'a str, story: Option<&'a Story>) -> Result<Line<'a>> {
        let webhook = Webhook::parse(&parcel.body, None).ok();
        let topic = webhook.as_ref().and_then(|webhook| webhook.entry()?.topic().parse::<Topic>().ok());
        let topic = topic.filter(|_| self.topic_url.is_some());
        let url = match (&self.topic_url, &topic) {
            (Some(url), Some(topic)) => url.replace("{topic}", topic.as_str()),
            _ => self.url.clone(),
        };
        let sent = Sent { body: &parcel.body, topic };
        let before = match &self.watch {
            Ok(watch) => watch.before(&sent).await.map(Some),
            Err(_) => Ok(None),
        };
        let token = if parcel.flaw == Some(Flaw::WrongToken) { WRONG_TOKEN } else { &self.token };
        let answer = send(&url, token, webhook_id, &parcel.body)?;
        let delivery = answer.delivery();
        let learned = match (&self.watch, before, &delivery) {
            _ if !answer.is_success() => Fate::Refused(self.why_refused(&answer, parcel.flaw)).into(),
            (Ok(watch), Ok(before), Some(delivery)) => {
                let learned = watch.fate(&sent, delivery, before.flatten().as_ref()).await;
                learned.unwrap_or_else(|error| Fate::Taken(format!("{error:#}")).into())
            }
            (Ok(_), Err(error), _) => Fate::Taken(format!("{error:#}")).into(),
            (Ok(_), Ok(_), None) => Fate::Taken("the answer has no delivery id".to_owned()).into(),
            (Err(why), ..) => Fate::Taken(why.clone()).into(),
        };
        let Learned { fate, events } = learned;
        let seen = webhook.map(|webhook| webhook.observe());
        Ok(Line {
            version: VERSION,
            webhook: &parcel.name,
            story: story.map(|story| story.name),
            webhook_id,
            status: answer.status,
            took_ms: answer.took.as_millis(),
            delivery,
            event: seen.as_ref().map(|seen| seen.event.clone()),
            stage: seen.as_ref().map(|seen| seen.stage.as_str()),
            reference: seen.as_ref().and_then(|seen| seen.reference.clone()),
            amount: seen.as_ref().and_then(|seen| State::from(seen).paid_in_all().or(seen.requested.clone())),
            id: seen.map(|seen| seen.id),
            fate,
            events,
        })
    }

    fn why_refused(&self, answer: &Answer, flaw: Option<Flaw>) -> String {
        match answer.status {
            401 if flaw == Some(Flaw::WrongToken) => "the stack does not accept this token, as it should".to_owned(),
            401 => format!(
                "{} does not accept the token from {}. Check that it is this stack's token (test and live have one each), \
                 and that its digest is among the stack's labels: `xendit-hooks token digest` prints it. A local stack \
                 knows its own token if {TOKEN_VARIABLE} is not set",
                self.name, self.token_source
            ),
            404 | 405 => "this URL takes no webhooks; it ends in /webhook or /webhook/TOPIC".to_owned(),
            413 => "the body is too large".to_owned(),
            503 => "it was not stored; Xendit would send it again".to_owned(),
            _ => answer.text.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

impl Answer {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The delivery id in the receiver's answer.
    fn delivery(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Acknowledged {
            id: String,
        }

        let acknowledged: Option<Acknowledged> = serde_json::from_str(&self.text).ok();
        acknowledged.filter(|_| self.is_success()).map(|Acknowledged { id }| id)
    }
}

impl Line<'_> {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            anstream::println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let delivery = self.delivery.as_deref().map(|delivery| format!("delivery {delivery}")).unwrap_or_default();
        let webhook = format!("{}  {} ms  {}", self.status, self.took_ms, self.webhook);
        anstream::println!("{}", then(&webhook, &delivery));
        let color = match self.fate {
            Fate::Applied | Fate::Duplicate | Fate::OlderNews => anstyle::AnsiColor::Green,
            Fate::Conflict | Fate::Unknown(_) | Fate::Parked(_) | Fate::StillQueued(_) => anstyle::AnsiColor::Yellow,
            Fate::Refused(_) => anstyle::AnsiColor::Red,
            Fate::Taken(_) => anstyle::AnsiColor::Cyan,
        };
        let (color, reset) = (color.on_default(), anstyle::Reset);
        let reason = self.fate.reason().map(|reason| match (&self.fate, &self.event) {
            (Fate::Unknown(_), Some(event)) => format!("{event}: {reason}"),
            _ => reason.to_owned(),
        });
        let amount = self.amount.as_ref().map(|amount| format!("  {amount}")).unwrap_or_default();
        let about = reason.unwrap_or_else(|| format!("{}{amount}", self.stage.unwrap_or_default()));
        anstream::println!("  {color}{:<12}{reset} {}", self.fate.word(), beside(WORD_COLUMNS, &about));
        if matches!(self.fate, Fate::Refused(_)) {
            return Ok(());
        }
        let fact = |name: &str, value: &str| anstream::println!("  {name:<12} {}", beside(WORD_COLUMNS, value));
        if let Some(id) = &self.id {
            fact("id", id);
        }
        if let Some(reference) = &self.reference {
            fact("reference", reference);
        }
        match &self.events {
            None if self.fate.reason().is_some() => {}
            None => fact("published", "not known: something else changed it at the same moment"),
            Some(events) => {
                for event in events {
                    let name = if event.waits { "to publish" } else { "published" };
                    let update = if event.update { "  (update)" } else { "" };
                    fact(name, &format!("{}  event {}{update}", event.detail_type, short(&event.id)));
                }
            }
        }
        Ok(())
    }
}

/// Posts a webhook.
fn send(url: &str, token: &str, webhook_id: &str, body: &[u8]) -> Result<Answer> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
    let start = Instant::now();
    let mut response = ureq::Agent::new_with_config(agent)
        .post(url)
        .header(TOKEN_HEADER, token)
        .header("webhook-id", webhook_id)
        .header("content-type", "application/json")
        .send(body)
        .with_context(|| format!("no response from {url}; check the URL, and that the stack is running"))?;
    let text = response.body_mut().read_to_string().context("cannot read the response")?;
    Ok(Answer { status: response.status().as_u16(), took: start.elapsed(), text })
}

/// The body in a file or in standard input.
fn read(path: &str) -> Result<Vec<u8>> {
    if path == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
        return Ok(body);
    }
    if !Path::new(path).is_file() {
        bail!(unknown(path));
    }
    std::fs::read(path).with_context(|| format!("cannot read {path}"))
}

/// Xendit's name of the event in a body that has no other name.
fn event_of(body: &[u8]) -> String {
    Webhook::parse(body, None).map_or_else(|_| "standard input".to_owned(), |webhook| webhook.observe().event)
}

/// What to say about a name that nothing has.
fn unknown(name: &str) -> String {
    let stories: Vec<_> = story::ALL.iter().map(Story::full_name).collect();
    let names = samples::all().into_iter().map(|sample| sample.name).chain(stories.iter().map(String::as_str));
    let story = stories.iter().find(|story| story.strip_prefix(story::PREFIX) == Some(name));
    let advice = match story.map(String::as_str).or_else(|| samples::closest(name, names)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`xendit-hooks events` lists what there is".to_owned(),
    };
    format!("`{name}` is no bundled webhook, no story and no file; {advice}")
}

fn warn(text: &str) {
    let (yellow, reset) = (anstyle::AnsiColor::Yellow.on_default(), anstyle::Reset);
    anstream::eprintln!("{yellow}warning:{reset} {}", message(9, text));
}
