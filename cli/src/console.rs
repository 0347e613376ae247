//! Console: a web page for a stack, on 127.0.0.1. It shows each webhook while it comes in, what it was recognised as
//! and why, and what it changed; and it sends webhooks.
//!
//! ```text
//! happenings of `dev` ─▶ follow ─▶ store ─▶ view ─▶ pages   ─▶ browser
//! logs of any stack   ─────┘        │        └────▶ JSON    ─▶ scripts
//!                                   └─ revisions ─▶ stream  ─▶ both
//! ```
//!
//! `dev` knows each request with its body. Of a deployed stack there are the lines that the functions log, without bodies;
//! the ledger; and the dead-letter queue. Pages are made here, on the server; the script in the browser adds the keyboard and
//! the live rows.
//!
//! **Invariant:** every request passes the guard, and every answer carries its headers. Nothing that was received is shown but
//! through `mask`. The console opens no connection but to its own stack, and sends no webhook to a live one.

mod facts;
mod fate;
mod guard;
mod json;
mod mask;
mod pages;
mod reading;
mod sending;
mod store;
mod view;

use std::{
    convert::Infallible,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Form, Json, Router,
    extract::{DefaultBodyLimit, Path, Query, Request as HttpRequest, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{
        Html, IntoResponse, Redirect, Response,
        sse::{self, KeepAlive, Sse},
    },
    routing::{get, post},
};
use clap::Args;
use futures_util::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use maud::Markup;
use serde::Deserialize;
use shared::{envelope::Environment, webhook::Webhook};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::broadcast::{Receiver, error::RecvError},
};

use self::{
    fate::Fate,
    guard::{Guard, HEADERS, Pass},
    mask::Masks,
    pages::{Live, Tab},
    sending::Sent,
    store::{Delivery, Filter, Store},
    view::{Comparison, Details, List, Story, Subject, Summary},
};
use crate::{
    dev::Happening,
    dlq::DeadLetters,
    duration,
    logs::Logs,
    payment, samples,
    stack::{Stack, StackOption},
    token,
};

/// The port that is tried first, so that the address is usually the same in each run.
const DEFAULT_PORT: u16 = 8788;

/// How many deliveries one page of the list has.
const PAGE: usize = 100;

/// The largest body that the send page takes.
const MAX_SENT_BYTES: usize = 4 * 1024 * 1024;

/// How often logs are read: two calls each time, of the few that CloudWatch Logs allows in a second.
const LOGS_INTERVAL: Duration = Duration::from_secs(3);

/// How long the gateway may take to tell what it answered.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);

/// How long CloudWatch Logs may take to have a line.
const LOGS_PATIENCE: Duration = Duration::from_secs(20);

/// What the page of the parked webhooks lists.
const PARKED_HERE: &str = "What this run moved to the dead-letter queue, also if it was redriven since. Once the cause is gone, \
                           resend a webhook: it comes in as a new one.";
const PARKED_THERE: &str = "What is in the dead-letter queue now. Once the cause is gone, `xendit-hooks dlq plan` and `dlq redrive` \
                            move it back to the webhook queue.";

#[derive(Args)]
pub(crate) struct Options {
    /// How far back to read the logs, such as `30m`, `6h` or `2d`.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    since: Duration,
    /// Let the console send webhooks to a test stack: with the callback token in `XENDIT_CALLBACK_TOKEN`, or one that you are
    /// asked for. A local stack needs no token; to a live stack nothing is sent.
    #[arg(long)]
    token: bool,
    /// Print the link as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackOption,
}

/// A console that listens and does not answer yet.
pub(crate) struct Console {
    listener: TcpListener,
    guard: Guard,
    token: String,
}

/// What every request needs.
#[derive(Clone)]
struct Context(Arc<Inner>);

struct Inner {
    guard: Guard,
    stack: Stack,
    /// The name of a stack that is not this process's own.
    name: Option<String>,
    ledger: DynamoLedger,
    store: Store,
    origin: Origin,
}

/// Where the store's deliveries come from.
enum Origin {
    /// The gateway of this process's own stack.
    Gateway,
    Logs {
        since: Timestamp,
        /// Why they could not be read the last time.
        problem: Mutex<Option<String>>,
        dead_letters: DeadLetters,
        /// What was in the dead-letter queue when it was last looked into.
        letters: Mutex<Vec<Arc<Delivery>>>,
    },
}

/// Shows a stack that runs elsewhere.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let result = runtime.block_on(show(options));
    runtime.shutdown_background();
    result
}

async fn show(options: &Options) -> Result<ExitCode> {
    let mut stack = options.stack.find().await?;
    if options.token && stack.token.is_none() && stack.environment == Environment::Test {
        stack.token = Some(token::given()?);
    }
    let since = duration::ago(options.since);
    let mut logs = Logs::new(&stack, &stack.aws().await, since)?;
    // An error now ends the command; later ones are shown.
    let lines = logs.read().await?;
    let console = Console::bind().await?;
    let url = console.url();
    let aws = stack.aws().await;
    let origin = Origin::Logs {
        since,
        problem: Mutex::default(),
        dead_letters: DeadLetters::new(&aws, stack.dlq_url.clone()),
        letters: Mutex::default(),
    };
    let (listener, context) = console.context(stack, Some(options.stack.name().to_owned()), origin).await;
    let inner = &context.0;
    inner.store.log_all(&lines, inner.stack.environment);
    if options.json {
        anstream::println!("{}", serde_json::json!({ "version": 1, "console_url": url }));
    } else {
        anstream::println!("{url}");
        anstream::eprintln!("Open this link to see the stack `{}`. Press Ctrl-C to stop.", options.stack.name());
    }
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        () = follow_logs(inner, &mut logs) => {}
        served = axum::serve(listener, router(&context)).into_future() => served.context("the console cannot listen")?,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Console {
    /// Takes a port of 127.0.0.1, and makes this run's token.
    pub(crate) async fn bind() -> Result<Self> {
        let listener = match TcpListener::bind(("127.0.0.1", DEFAULT_PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port for the console")?,
        };
        let token = token::new()?;
        Ok(Self { guard: Guard::new(listener.local_addr()?.port(), token.clone()), listener, token })
    }

    /// The link with the token.
    pub(crate) fn url(&self) -> String {
        self.guard.link()
    }

    /// Answers requests about this process's own stack until it is aborted.
    pub(crate) async fn serve(self, stack: Stack, happenings: Receiver<Happening>) {
        let (listener, context) = self.context(stack, None, Origin::Gateway).await;
        let following = follow(&context.0.store, happenings);
        let serving = axum::serve(listener, router(&context)).into_future();
        // Neither ends before the stack does.
        let _ = tokio::join!(following, serving);
    }

    async fn context(self, stack: Stack, name: Option<String>, origin: Origin) -> (TcpListener, Context) {
        let ledger = DynamoLedger::new(aws_sdk_dynamodb::Client::new(&stack.aws().await), stack.table.clone());
        let store = Store::new(Masks::new(stack.token.clone().into_iter().chain([self.token])));
        let inner = Inner { guard: self.guard, stack, name, ledger, store, origin };
        (self.listener, Context(Arc::new(inner)))
    }
}

/// Puts what is logged into the store.
async fn follow_logs(console: &Inner, logs: &mut Logs) {
    loop {
        tokio::time::sleep(LOGS_INTERVAL).await;
        let problem = match logs.read().await {
            Ok(lines) => {
                console.store.log_all(&lines, console.stack.environment);
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        if let Origin::Logs { problem: shown, .. } = &console.origin {
            *locked(shown) = problem;
        }
    }
}

/// Every change leaves the value whole.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what happens into the store.
async fn follow(store: &Store, mut happenings: Receiver<Happening>) {
    loop {
        match happenings.recv().await {
            Ok(Happening::Request(request)) => store.add(&request),
            Ok(Happening::Event(event)) => store.publish(&event),
            Ok(Happening::Result(row)) => store.conclude(&row),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn router(context: &Context) -> Router {
    let asset = |content_type: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, content_type)], text))
    };
    Router::new()
        .route("/", get(list_page))
        .route("/deliveries/{id}", get(delivery_page))
        .route("/deliveries/{id}/resend", post(resend_page))
        .route("/story", get(story_page))
        .route("/compare", get(comparison_page))
        .route("/parked", get(parked_page))
        .route("/find", get(find_page))
        .route("/send", get(send_page).post(send_form))
        .route("/api/deliveries", get(list_json))
        .route("/api/deliveries/{id}", get(delivery_json))
        .route("/api/deliveries/{id}/resend", post(resend_json))
        .route("/api/story", get(story_json))
        .route("/api/compare", get(comparison_json))
        .route("/api/parked", get(parked_json))
        .route("/api/find", get(find_json))
        .route("/api/samples", get(samples_json))
        .route("/api/send", post(send_json))
        .route("/api/stream", get(stream))
        .route("/assets/console.css", asset("text/css; charset=utf-8", include_str!("console/assets/console.css")))
        .route("/assets/console.js", asset("text/javascript; charset=utf-8", include_str!("console/assets/console.js")))
        .route("/assets/icon.svg", asset("image/svg+xml", include_str!("console/assets/icon.svg")))
        .fallback(async || Failure::not_found("there is no such page"))
        .layer(DefaultBodyLimit::max(MAX_SENT_BYTES))
        .layer(from_fn_with_state(context.clone(), guarded))
        .with_state(context.clone())
}

/// Lets a request pass the guard, and adds the headers to the answer.
async fn guarded(State(context): State<Context>, request: HttpRequest, next: Next) -> Response {
    let mut response = match context.0.guard.check(request.method(), request.uri(), request.headers()) {
        Ok(Pass::Answer) => next.run(request).await,
        Ok(Pass::SetCookie { cookie, location }) => {
            ([(header::SET_COOKIE, cookie)], Redirect::to(&location)).into_response()
        }
        Err(refusal) => (StatusCode::FORBIDDEN, format!("{refusal}\n")).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Why there is no answer.
struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    fn not_found(message: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.to_owned() }
    }

    fn forbidden(message: &str) -> Self {
        Self { status: StatusCode::FORBIDDEN, message: message.to_owned() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { status: StatusCode::BAD_GATEWAY, message: format!("{:#}", error.into()) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page = pages::page(None, "Not here", Tab::None, None, &pages::message(&self.message));
        (self.status, Html(page)).into_response()
    }
}

/// The same for scripts.
struct JsonFailure(Failure);

impl<E: Into<Failure>> From<E> for JsonFailure {
    fn from(failure: E) -> Self {
        Self(failure.into())
    }
}

impl IntoResponse for JsonFailure {
    fn into_response(self) -> Response {
        (self.0.status, Json(serde_json::json!({ "error": self.0.message }))).into_response()
    }
}

type Page = Result<Html<String>, Failure>;
type Answer<T> = Result<Json<T>, JsonFailure>;

/// A part of the list.
#[derive(Deserialize)]
struct Part {
    before: Option<u64>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct StoryQuery {
    key: String,
}

#[derive(Deserialize)]
struct FindQuery {
    #[serde(default)]
    reference: String,
}

#[derive(Deserialize)]
struct CompareQuery {
    a: String,
    b: String,
}

#[derive(Deserialize)]
struct SampleQuery {
    #[serde(default)]
    sample: String,
}

#[derive(Deserialize)]
struct StreamQuery {
    after: Option<u64>,
}

/// A webhook to send: a body, or the name of a sample.
#[derive(Deserialize)]
struct SendForm {
    #[serde(default)]
    body: String,
    #[serde(default)]
    sample: String,
    #[serde(default)]
    topic: String,
}

impl Inner {
    fn page(&self, title: &str, tab: Tab, live: Option<Live<'_>>, main: &Markup) -> Html<String> {
        Html(pages::page(self.name.as_deref(), title, tab, live, main))
    }

    fn list(&self, filter: &Filter, part: &Part) -> List {
        let limit = part.limit.unwrap_or(PAGE).min(store::MAX_KEPT);
        List::of(&self.store.list(filter, part.before, limit), &self.store, self.note())
    }

    /// What to know about the list.
    fn note(&self) -> Option<String> {
        let Origin::Logs { since, problem, .. } = &self.origin else { return None };
        Some(match &*locked(problem) {
            Some(problem) => format!("The logs could not be read the last time: {problem}"),
            None => format!("From the logs since {} UTC.", since.strftime("%Y-%m-%d %H:%M")),
        })
    }

    fn delivery(&self, id: &str) -> Result<Arc<Delivery>, Failure> {
        let kept = self.store.get(id);
        match &self.origin {
            Origin::Gateway => {
                kept.ok_or_else(|| Failure::not_found("this delivery is not kept any more, or of another run"))
            }
            Origin::Logs { letters, .. } => {
                let with_body = || locked(letters).iter().find(|it| it.id() == id).cloned();
                let found = kept.filter(|it| it.fate != Fate::Parked).or_else(with_body).or_else(|| self.store.get(id));
                found.ok_or_else(|| {
                    Failure::not_found("this delivery is not in the logs that were read; --since reads older ones")
                })
            }
        }
    }

    /// The parked webhooks, and what these are.
    async fn parked(&self) -> Result<(Vec<Summary>, String), Failure> {
        let Origin::Logs { dead_letters, letters, .. } = &self.origin else {
            let filter = Filter { fate: Fate::Parked.word().to_owned(), ..Filter::default() };
            let list = self.list(&filter, &Part { before: None, limit: Some(store::MAX_KEPT) });
            return Ok((list.deliveries, PARKED_HERE.to_owned()));
        };
        let (found, more) = dead_letters.all().await?;
        let in_all = found.len();
        let parked = found.into_iter().filter_map(|letter| {
            let reason = letter.reason().to_owned();
            Some(Arc::new(Delivery::parked(letter.into_envelope()?, &reason, &self.store.masks)))
        });
        let parked: Vec<_> = parked.collect();
        let summaries = parked.iter().map(|it| Summary::of(it, &self.store.masks)).collect();
        let lead = parked_there(in_all - parked.len(), more);
        *locked(letters) = parked;
        Ok((summaries, lead))
    }

    async fn find(&self, text: &str) -> Result<Vec<Subject>, Failure> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let items = payment::find_in(&self.ledger, text).await?;
        Ok(items.iter().map(|item| Subject::of(item, &self.store.masks)).collect())
    }

    /// The token to send webhooks with, or why none may be sent.
    fn may_send(&self) -> Result<(), &'static str> {
        match (self.stack.environment, &self.stack.token) {
            (Environment::Live, _) => Err("to a live stack nothing is sent: it would look like real money"),
            (Environment::Test, None) => Err("start the console with --token to send webhooks to this stack"),
            (Environment::Test, Some(_)) => Ok(()),
        }
    }

    const fn patience(&self) -> Duration {
        match self.origin {
            Origin::Gateway => GATEWAY_PATIENCE,
            Origin::Logs { .. } => LOGS_PATIENCE,
        }
    }

    async fn item(&self, key: Option<&Key>) -> Result<Option<Item>, Failure> {
        match key {
            Some(key) => Ok(self.ledger.get(key).await?),
            None => Ok(None),
        }
    }

    async fn details(&self, id: &str) -> Result<Details, Failure> {
        let delivery = self.delivery(id)?;
        let key = delivery.gist.key.as_ref().filter(|_| delivery.is_acknowledged());
        let item = self.item(key).await?;
        Ok(Details::of(&delivery, item.as_ref(), &self.store, &self.stack.url))
    }

    async fn story(&self, key: &str) -> Result<Story, Failure> {
        let key = Key::from(key.to_owned());
        let (about, item) = (self.store.about(&key), self.item(Some(&key)).await?);
        if about.is_empty() && item.is_none() {
            return Err(Failure::not_found("neither the console nor the ledger knows this subject"));
        }
        Ok(Story::of(key.as_str(), &about, item.as_ref(), &self.store))
    }

    fn comparison(&self, query: &CompareQuery) -> Result<Comparison, Failure> {
        let (a, b) = (self.delivery(&query.a)?, self.delivery(&query.b)?);
        Ok(Comparison::of(&a, &b, &self.store))
    }

    async fn resend(&self, id: &str) -> Result<Sent, Failure> {
        self.may_send().map_err(Failure::forbidden)?;
        let webhook = sending::Webhook::again(&*self.delivery(id)?);
        let webhook = webhook.ok_or_else(|| Failure::not_found("the body of this delivery is not known here"))?;
        Ok(webhook.send(&self.stack, &self.store, self.patience()).await?)
    }

    async fn send(&self, form: SendForm) -> Result<Sent, Failure> {
        self.may_send().map_err(Failure::forbidden)?;
        let sample = samples::find(&form.sample);
        let body = match sample {
            Some(sample) if form.body.is_empty() => sample.body.to_owned(),
            None if !form.sample.is_empty() => return Err(Failure::not_found("there is no such sample")),
            _ => form.body,
        };
        let topic = if form.topic.is_empty() && sample.is_some() { topic_of(&body) } else { form.topic };
        Ok(sending::Webhook::new(body, topic).send(&self.stack, &self.store, self.patience()).await?)
    }
}

/// What the page of a deployed stack's parked webhooks lists, and what it leaves out.
fn parked_there(without_body: usize, more: bool) -> String {
    let elsewhere = match without_body {
        0 => String::new(),
        count => format!(
            " {count} more have their bodies in the inbox, or are no webhooks: `xendit-hooks dlq list` shows them."
        ),
    };
    let more = if more { " There are more than are looked at." } else { "" };
    format!("{PARKED_THERE}{elsewhere}{more}")
}

/// The topic of the URL to which Xendit would send a body. Empty: none.
fn topic_of(body: &str) -> String {
    let entry = Webhook::parse(body.as_bytes(), None).ok().and_then(|webhook| webhook.entry());
    entry.map(|entry| entry.topic()).unwrap_or_default()
}

async fn list_page(
    State(Context(console)): State<Context>,
    Query(filter): Query<Filter>,
    Query(part): Query<Part>,
) -> Page {
    let list = console.list(&filter, &part);
    let main = pages::list(&list, &filter.fate, &filter.q);
    // New ones do not belong on a page of older ones.
    let live = part.before.is_none().then_some(Live { about: "", after: list.revision });
    Ok(console.page("Webhooks", Tab::Webhooks, live, &main))
}

async fn list_json(
    State(Context(console)): State<Context>,
    Query(filter): Query<Filter>,
    Query(part): Query<Part>,
) -> Json<List> {
    Json(console.list(&filter, &part))
}

async fn delivery_page(State(Context(console)): State<Context>, Path(id): Path<String>) -> Page {
    let after = console.store.revision();
    let details = console.details(&id).await?;
    let live = Live { about: &details.summary.id, after };
    let main = pages::delivery(&details, console.may_send().is_ok());
    Ok(console.page(&details.summary.event, Tab::None, Some(live), &main))
}

async fn delivery_json(State(Context(console)): State<Context>, Path(id): Path<String>) -> Answer<Details> {
    Ok(Json(console.details(&id).await?))
}

async fn resend_page(State(Context(console)): State<Context>, Path(id): Path<String>) -> Result<Redirect, Failure> {
    Ok(to_delivery(&console.resend(&id).await?))
}

async fn resend_json(State(Context(console)): State<Context>, Path(id): Path<String>) -> Answer<Sent> {
    Ok(Json(console.resend(&id).await?))
}

fn to_delivery(sent: &Sent) -> Redirect {
    Redirect::to(&sent.delivery.as_ref().map_or_else(|| "/".to_owned(), |id| format!("/deliveries/{id}")))
}

async fn story_page(State(Context(console)): State<Context>, Query(query): Query<StoryQuery>) -> Page {
    let after = console.store.revision();
    let story = console.story(&query.key).await?;
    let live = Live { about: &story.key, after };
    Ok(console.page("Story", Tab::None, Some(live), &pages::story(&story)))
}

async fn story_json(State(Context(console)): State<Context>, Query(query): Query<StoryQuery>) -> Answer<Story> {
    Ok(Json(console.story(&query.key).await?))
}

async fn comparison_page(State(Context(console)): State<Context>, Query(query): Query<CompareQuery>) -> Page {
    let comparison = console.comparison(&query)?;
    Ok(console.page("Difference", Tab::None, None, &pages::comparison(&comparison)))
}

async fn comparison_json(
    State(Context(console)): State<Context>,
    Query(query): Query<CompareQuery>,
) -> Answer<Comparison> {
    Ok(Json(console.comparison(&query)?))
}

async fn parked_page(State(Context(console)): State<Context>) -> Page {
    let after = console.store.revision();
    let (parked, lead) = console.parked().await?;
    // The dead-letter queue is not looked into again and again.
    let live = matches!(console.origin, Origin::Gateway).then_some(Live { about: "", after });
    Ok(console.page("Parked", Tab::Parked, live, &pages::parked(&parked, &lead)))
}

async fn parked_json(State(Context(console)): State<Context>) -> Answer<Vec<Summary>> {
    Ok(Json(console.parked().await?.0))
}

async fn find_page(State(Context(console)): State<Context>, Query(query): Query<FindQuery>) -> Page {
    let text = query.reference.trim();
    let subjects = console.find(text).await?;
    Ok(console.page("Find", Tab::Find, None, &pages::find(text, &subjects)))
}

async fn find_json(State(Context(console)): State<Context>, Query(query): Query<FindQuery>) -> Answer<Vec<Subject>> {
    Ok(Json(console.find(query.reference.trim()).await?))
}

async fn send_page(State(Context(console)): State<Context>, Query(query): Query<SampleQuery>) -> Html<String> {
    let main = if let Err(why) = console.may_send() {
        pages::cannot_send(why)
    } else {
        let chosen = samples::find(&query.sample).or_else(|| samples::find("invoice.paid"));
        let body = chosen.map(|sample| sample.body).unwrap_or_default();
        pages::send(&samples::all(), chosen, body, &topic_of(body))
    };
    console.page("Send", Tab::Send, None, &main)
}

async fn send_form(State(Context(console)): State<Context>, Form(form): Form<SendForm>) -> Result<Redirect, Failure> {
    Ok(to_delivery(&console.send(form).await?))
}

async fn send_json(State(Context(console)): State<Context>, Json(form): Json<SendForm>) -> Answer<Sent> {
    Ok(Json(console.send(form).await?))
}

async fn samples_json() -> Json<Vec<&'static str>> {
    Json(samples::all().into_iter().map(|sample| sample.name).collect())
}

/// The summary of each delivery that changes, as one event.
async fn stream(
    State(Context(console)): State<Context>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    // A browser that lost the connection says how far it got.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after = last.or(query.after).unwrap_or_else(|| console.store.revision());
    let revisions = console.store.revisions();
    let batches = stream::unfold((console, revisions, after), async |(console, mut revisions, after)| {
        revisions.wait_for(|revision| *revision > after).await.ok()?;
        let (changed, revision) = console.store.changed_after(after);
        let event = |it: Arc<Delivery>| {
            let summary = serde_json::to_string(&Summary::of(&it, &console.store.masks)).unwrap_or_default();
            Ok(sse::Event::default().id(it.revision.to_string()).data(summary))
        };
        let events: Vec<_> = changed.into_iter().map(event).collect();
        Some((stream::iter(events), (console, revisions, revision)))
    });
    Sse::new(batches.flatten()).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_parked_webhooks_says_what_it_leaves_out() {
        assert_eq!(parked_there(0, false), PARKED_THERE);
        let lead = parked_there(2, true);
        assert!(
            lead.contains("2 more have their bodies in the inbox") && lead.ends_with("more than are looked at."),
            "{lead}"
        );
    }
}
