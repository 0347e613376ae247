//! Store: the deliveries that the console keeps, in memory, and the search in them.
//!
//! Every change of a delivery gets a revision of its own. A stream that was interrupted goes on after the last revision that
//! it has sent.
//!
//! **Invariant:** the store never grows beyond `MAX_KEPT` deliveries and `MAX_BYTES` of bodies. What it forgets, it counts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use ledger::key::Key;
use serde::Deserialize;
use shared::{
    envelope::{Delivery as Metadata, Envelope, Environment},
    outcome::{Processed, Received},
};
use tokio::sync::watch;

use super::{fate::Fate, mask::Masks, reading::Gist};
use crate::{
    dev::{Event, Request, Row, why_refused},
    logs::{Line, Outcome},
};

/// How many deliveries are kept: hours of a busy test, and quick to search.
pub(super) const MAX_KEPT: usize = 500;

/// The most that the kept bodies may hold together, the largest of which have 10 MB.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// How many log lines of one delivery are kept. A message that fails is parked at its eighth receive.
const MAX_LINES: usize = 20;

/// How much of a body is shown and searched: several times what Xendit sends.
pub(super) const MAX_SHOWN_BYTES: usize = 128 * 1024;

/// One webhook and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// Counts the webhooks.
    pub(super) number: u64,
    /// The change of the store that this is the result of.
    pub(super) revision: u64,
    /// `None`: only the logs tell of it.
    pub(super) request: Option<Arc<Request>>,
    /// `None`: nobody here has it. The logs hold no bodies.
    pub(super) body: Option<Bytes>,
    /// The body as it is shown: see `mask`.
    pub(super) shown: Arc<str>,
    /// How many bytes of it are not shown.
    pub(super) hidden_bytes: usize,
    /// The metadata from which the processor knows the delivery.
    pub(super) metadata: Metadata,
    pub(super) gist: Gist,
    pub(super) fate: Fate,
    pub(super) reason: Option<String>,
    /// The domain events that it caused, masked.
    pub(super) events: Vec<Published>,
    /// How many it caused.
    pub(super) event_count: usize,
    /// What the functions logged about it, masked.
    pub(super) log: Vec<String>,
}

/// A domain event.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) detail_type: String,
    pub(super) json: String,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Filter {
    /// The word of a fate. Nothing: any.
    #[serde(default)]
    pub(super) fate: String,
    /// The kind of the subject. Nothing: any.
    #[serde(default)]
    pub(super) kind: String,
    /// Words that must all occur in the body, in an id, or in the reason.
    #[serde(default)]
    pub(super) q: String,
}

/// A part of the list.
#[derive(Debug)]
pub(super) struct Listed {
    /// The newest first.
    pub(super) deliveries: Vec<Arc<Delivery>>,
    /// Whether there are older ones.
    pub(super) more: bool,
    /// How many are kept.
    pub(super) kept: usize,
    /// How many older ones were forgotten.
    pub(super) forgotten: u64,
    pub(super) revision: u64,
}

pub(super) struct Store {
    pub(super) masks: Masks,
    inner: Mutex<Inner>,
    revision: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// The oldest first.
    deliveries: VecDeque<Arc<Delivery>>,
    /// Events whose request is not known yet, by delivery.
    early: VecDeque<(String, Published)>,
    bytes: usize,
    count: u64,
    forgotten: u64,
    revision: u64,
}

impl Store {
    pub(super) fn new(masks: Masks) -> Self {
        Self { masks, inner: Mutex::default(), revision: watch::Sender::new(0) }
    }

    /// Adds a request that was answered.
    pub(super) fn add(&self, request: &Arc<Request>) {
        let refusal =
            (!request.is_acknowledged()).then(|| format!("{}: {}", request.status, why_refused(request.status)));
        let mut delivery = Delivery::new(metadata(request), request.body.clone(), &self.masks);
        delivery.request = Some(Arc::clone(request));
        delivery.fate = Fate::of_answer(request);
        delivery.reason = refusal.or_else(|| delivery.gist.problem.clone());
        self.push(delivery);
    }

    fn push(&self, mut delivery: Delivery) {
        let mut inner = self.lock();
        inner.count += 1;
        inner.bytes += delivery.bytes();
        let revision = inner.next_revision();
        (delivery.number, delivery.revision) = (inner.count, revision);
        delivery.events = inner.take_early(delivery.id());
        delivery.event_count = delivery.events.len();
        inner.deliveries.push_back(Arc::new(delivery));
        inner.forget();
        drop(inner);
        self.revision.send_replace(revision);
    }

    /// Adds what the functions logged, the oldest first.
    pub(super) fn log_all(&self, lines: &[Line], environment: Environment) {
        for line in lines {
            self.log(line, environment);
        }
    }

    /// A delivery that is not known begins with its first line.
    fn log(&self, line: &Line, environment: Environment) {
        // A message that cannot be read names no delivery.
        let Some(delivery) = &line.delivery else { return };
        if line.outcome == Outcome::Processed(Processed::NoWebhook) {
            return;
        }
        if !self.change(delivery, |delivery| delivery.log(line, &self.masks)) {
            let mut delivery = Delivery::logged(delivery, line, environment, &self.masks);
            delivery.log(line, &self.masks);
            self.push(delivery);
        }
    }

    /// Adds a domain event to the delivery that caused it. It may come before the request.
    pub(super) fn publish(&self, event: &Event) {
        let published =
            Published { detail_type: self.masks.text(&event.detail_type), json: self.masks.text(&event.json) };
        let add = |delivery: &mut Delivery| {
            delivery.events.push(published.clone());
            delivery.event_count = delivery.events.len();
        };
        if !self.change(&event.delivery, add) {
            let early = &mut self.lock().early;
            early.push_back((event.delivery.clone(), published));
            early.drain(..early.len().saturating_sub(MAX_KEPT));
        }
    }

    /// Concludes a delivery with its result. Only an acknowledged one has an id.
    pub(super) fn conclude(&self, row: &Row) {
        let Some(id) = &row.delivery else { return };
        self.change(id, |delivery| {
            let (fate, reason) = delivery.conclusion(row);
            (delivery.fate, delivery.reason) = (fate, reason.map(|reason| self.masks.text(&reason)));
        });
    }

    /// Returns whether the delivery is kept.
    fn change(&self, id: &str, change: impl FnOnce(&mut Delivery)) -> bool {
        let mut inner = self.lock();
        let revision = inner.next_revision();
        let found = inner.deliveries.iter_mut().rev().find(|delivery| delivery.id() == id);
        let is_kept = found.is_some();
        if let Some(delivery) = found {
            let delivery = Arc::make_mut(delivery);
            delivery.revision = revision;
            change(delivery);
        }
        drop(inner);
        self.revision.send_replace(revision);
        is_kept
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Delivery>> {
        self.lock().deliveries.iter().rev().find(|delivery| delivery.id() == id).cloned()
    }

    /// How many deliveries are kept with each fate, without those that have none.
    pub(super) fn counts(&self) -> Vec<(Fate, usize)> {
        let inner = self.lock();
        let count = |fate: &Fate| (*fate, inner.deliveries.iter().filter(|it| it.fate == *fate).count());
        Fate::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// The number of the newest delivery.
    pub(super) fn newest(&self) -> u64 {
        self.lock().count
    }

    /// The delivery with a `webhook-id` that came after another one.
    pub(super) fn sent_after(&self, number: u64, webhook_id: &str) -> Option<Arc<Delivery>> {
        let is_it = |it: &&Arc<Delivery>| it.number > number && it.metadata.webhook_id.as_deref() == Some(webhook_id);
        self.lock().deliveries.iter().find(is_it).cloned()
    }

    /// The next older and the next newer delivery.
    pub(super) fn neighbours(&self, number: u64) -> [Option<Arc<Delivery>>; 2] {
        let inner = self.lock();
        let older = inner.deliveries.iter().rev().find(|it| it.number < number).cloned();
        [older, inner.deliveries.iter().find(|it| it.number > number).cloned()]
    }

    /// The deliveries of a filter, the newest first, before a number.
    pub(super) fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Listed {
        let inner = self.lock();
        let (kept, forgotten, revision) = (inner.deliveries.len(), inner.forgotten, inner.revision);
        let all: Vec<_> = inner.deliveries.iter().rev().cloned().collect();
        drop(inner);
        let is_listed = |it: &Arc<Delivery>| before.is_none_or(|before| it.number < before) && filter.includes(it);
        let mut deliveries: Vec<_> = all.into_iter().filter(is_listed).take(limit + 1).collect();
        let more = deliveries.len() > limit;
        deliveries.truncate(limit);
        Listed { deliveries, more, kept, forgotten, revision }
    }

    /// The acknowledged deliveries about a subject, the oldest first.
    pub(super) fn about(&self, key: &Key) -> Vec<Arc<Delivery>> {
        let is_about = |it: &&Arc<Delivery>| it.is_acknowledged() && it.gist.key.as_ref().is_some_and(|it| it == key);
        self.lock().deliveries.iter().filter(is_about).cloned().collect()
    }

    /// The deliveries that changed after a revision, in the order of their changes; and the revision now.
    pub(super) fn changed_after(&self, revision: u64) -> (Vec<Arc<Delivery>>, u64) {
        let inner = self.lock();
        let mut changed: Vec<_> = inner.deliveries.iter().filter(|it| it.revision > revision).cloned().collect();
        changed.sort_unstable_by_key(|it| it.revision);
        (changed, inner.revision)
    }

    /// The revision now.
    pub(super) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Reports each new revision.
    pub(super) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change leaves the store whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn take_early(&mut self, id: &str) -> Vec<Published> {
        let (own, others) = std::mem::take(&mut self.early).into_iter().partition(|(delivery, _)| delivery == id);
        self.early = others;
        VecDeque::into_iter(own).map(|(_, published)| published).collect()
    }

    fn forget(&mut self) {
        while self.deliveries.len() > MAX_KEPT || (self.bytes > MAX_BYTES && self.deliveries.len() > 1) {
            let Some(oldest) = self.deliveries.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.forgotten += 1;
        }
    }
}

impl Filter {
    pub(super) fn includes(&self, delivery: &Delivery) -> bool {
        let is = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        is(&self.fate, delivery.fate.word())
            && is(&self.kind, delivery.gist.kind.unwrap_or_default())
            && delivery.mentions(&self.q)
    }
}

impl Delivery {
    /// A delivery with its body, before anything is known about its fate.
    fn new(metadata: Metadata, body: Bytes, masks: &Masks) -> Self {
        let shown = masks.body(&body);
        let end = shown.floor_char_boundary(MAX_SHOWN_BYTES);
        Self {
            hidden_bytes: shown.len() - end,
            shown: shown.get(..end).unwrap_or_default().into(),
            gist: Gist::of(&body, &metadata, masks),
            body: Some(body),
            ..Self::bare(metadata)
        }
    }

    /// A webhook in the dead-letter queue.
    pub(super) fn parked(envelope: Envelope, reason: &str, masks: &Masks) -> Self {
        let reason = Some(masks.text(reason));
        Self { fate: Fate::Parked, reason, ..Self::new(envelope.delivery, envelope.body.into(), masks) }
    }

    /// A delivery of which a function logged a line.
    fn logged(delivery: &str, line: &Line, environment: Environment, masks: &Masks) -> Self {
        Self::bare(Metadata {
            id: masks.text(delivery),
            received_at: line.at,
            environment,
            token: String::new(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        })
    }

    fn bare(metadata: Metadata) -> Self {
        Self {
            number: 0,
            revision: 0,
            request: None,
            body: None,
            shown: "".into(),
            hidden_bytes: 0,
            metadata,
            gist: Gist::not_read(),
            fate: Fate::Waiting,
            reason: None,
            events: Vec::new(),
            event_count: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.metadata.id
    }

    /// Whether the receiver stored the webhook.
    pub(super) fn is_acknowledged(&self) -> bool {
        match &self.request {
            Some(request) => request.is_acknowledged(),
            None => !matches!(self.fate, Fate::Refused | Fate::NotStored),
        }
    }

    fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    /// Takes over what a line says.
    fn log(&mut self, line: &Line, masks: &Masks) {
        if self.log.len() < MAX_LINES {
            self.log.push(masks.text(&line.text));
        }
        let masked = |text: &Option<String>| text.as_ref().map(|text| masks.text(text));
        let reason = masked(&line.reason);
        match line.outcome {
            Outcome::Received(received) => {
                self.metadata.received_at = line.at;
                self.metadata.token = masked(&line.token).unwrap_or_default();
                self.metadata.topic = line.topic.as_deref().and_then(|topic| topic.parse().ok());
                self.metadata.webhook_id.clone_from(&line.webhook_id);
                let status = line.status.map(|status| format!("{status}: ")).unwrap_or_default();
                match received {
                    // The processor may have logged first.
                    Received::Stored | Received::StoredInInbox => {}
                    Received::NotStored => (self.fate, self.reason) = (Fate::NotStored, reason),
                    Received::Refused => {
                        self.fate = Fate::Refused;
                        self.reason = reason.map(|reason| format!("{status}{reason}"));
                    }
                }
            }
            Outcome::Processed(processed) => {
                if self.body.is_none() {
                    self.gist.learn(line, self.metadata.environment, masks);
                }
                let is_done = matches!(self.fate, Fate::Applied | Fate::Conflict | Fate::Unknown);
                (self.fate, self.reason) = match processed {
                    // A message that is redelivered after it was applied says nothing new.
                    Processed::Duplicate | Processed::Stale if is_done => return,
                    Processed::Duplicate => (Fate::Duplicate, None),
                    Processed::Stale => (Fate::Stale, None),
                    Processed::Conflict => (Fate::Conflict, None),
                    Processed::Applied if self.gist.unknown.is_some() => (Fate::Unknown, self.gist.unknown.clone()),
                    Processed::Applied => (Fate::Applied, published_nothing(line.events == 0)),
                    Processed::Parked => (Fate::Parked, reason),
                    Processed::Retry | Processed::NoTime | Processed::NotParked | Processed::NoWebhook => {
                        let count = line.receive_count.map(|count| format!("try {count} failed: ")).unwrap_or_default();
                        (Fate::Waiting, reason.map(|reason| format!("{count}{reason}")))
                    }
                };
                self.event_count = line.events.try_into().unwrap_or(usize::MAX);
            }
        }
    }

    /// Whether all words occur in what is shown of the delivery, in upper or lower case.
    fn mentions(&self, words: &str) -> bool {
        if words.trim().is_empty() {
            return true;
        }
        let key = self.gist.key.as_ref().map(Key::as_str).unwrap_or_default();
        let reason = self.reason.as_deref().unwrap_or_default();
        let events = self.events.iter().map(|event| event.detail_type.as_str());
        let mut texts = vec![self.id(), &*self.gist.event, key, reason, &*self.shown];
        let request = self.request.iter().flat_map(|it| it.headers.values().chain([&it.path]));
        texts.extend(request.chain(&self.log).map(String::as_str).chain(events));
        let texts: Vec<_> = texts.into_iter().map(str::to_lowercase).collect();
        words.to_lowercase().split_whitespace().all(|word| texts.iter().any(|text| text.contains(word)))
    }

    fn conclusion(&self, row: &Row) -> (Fate, Option<String>) {
        match (&row.parked, &row.problem, row.outcome) {
            (Some(reason), ..) => (Fate::Parked, Some(reason.clone())),
            (_, Some(problem), _) => (Fate::Waiting, Some(format!("the result could not be read: {problem}"))),
            (.., Some(Processed::Conflict)) => (Fate::Conflict, None),
            (.., Some(Processed::Stale)) => (Fate::Stale, None),
            (.., Some(Processed::Duplicate)) => (Fate::Duplicate, None),
            (.., Some(Processed::Applied)) if self.gist.unknown.is_some() => (Fate::Unknown, self.gist.unknown.clone()),
            (.., Some(Processed::Applied)) => (Fate::Applied, published_nothing(row.published.is_empty())),
            _ => (Fate::Lost, None),
        }
    }
}

fn published_nothing(is_so: bool) -> Option<String> {
    is_so.then(|| "published nothing".to_owned())
}

impl Fate {
    /// The fate of a request whose result is not known.
    fn of_answer(request: &Request) -> Self {
        match request.status {
            200..300 => Self::Waiting,
            500.. => Self::NotStored,
            _ => Self::Refused,
        }
    }
}

/// What the receiver notes about a request. The local stack is one for test mode, with one token.
fn metadata(request: &Request) -> Metadata {
    let header = |name: &str| request.headers.get(name).cloned();
    Metadata {
        id: request.id.clone(),
        received_at: request.at,
        environment: Environment::Test,
        token: "local".to_owned(),
        topic: request.path.strip_prefix("/webhook/").and_then(|topic| topic.parse().ok()),
        webhook_id: header("webhook-id"),
        api_version: header("api-version"),
        content_type: header("content-type"),
    }
}
