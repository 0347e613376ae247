//! World: the clock, the random numbers, and the contents of all AWS services.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::{
    judge::Judge,
    meter::Meter,
    plan::{Fault, Plan, Service},
};
use crate::{
    aws::{Bucket, Sqs, Table},
    xendit::Fact,
};

/// When every simulation begins.
pub(super) const START: &str = "2026-01-02T03:04:05Z";

/// More steps than any seed needs. More mean an endless loop.
const MAX_STEPS: u64 = 3_000_000;

/// A handle to the world.
#[derive(Clone)]
pub(super) struct World(Arc<Shared>);

struct Shared {
    began: Instant,
    start: Timestamp,
    state: Mutex<State>,
    /// Signals a violation.
    over: Notify,
    /// Wakes the poller.
    wake_poller: Notify,
}

/// The contents of the world.
pub(super) struct State {
    /// The true time.
    pub(super) now: Timestamp,
    start: Timestamp,
    /// The random numbers.
    pub(super) rng: Rng,
    /// The faults to inject.
    pub(super) plan: Plan,
    /// Checks the invariants.
    pub(super) judge: Judge,
    /// SQS.
    pub(super) sqs: Sqs,
    /// S3.
    pub(super) bucket: Bucket,
    /// Deliveries whose notification S3 has yet to send.
    pub(super) pending_notifications: Vec<String>,
    /// DynamoDB.
    pub(super) table: Table,
    /// The delivery of each message, by SQS's id.
    pub(super) deliveries: BTreeMap<String, String>,
    /// How often each fault was injected.
    pub(super) faults: BTreeMap<Fault, u64>,
    /// The number of invocations.
    pub(super) invocations: u64,
    /// Whether to wake the poller.
    pub(super) wake_poller: bool,
    /// What CloudWatch measures, if anybody looks.
    pub(super) meter: Option<Meter>,
    steps: u64,
    ids: u32,
    timeline: Option<Vec<String>>,
}

impl World {
    /// Creates an empty world.
    pub(super) fn new(rng: Rng, plan: Plan, judge: Judge, traced: bool) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let state = State {
            now: start,
            start,
            rng,
            plan,
            judge,
            sqs: Sqs::default(),
            bucket: Bucket::default(),
            pending_notifications: Vec::new(),
            table: Table::default(),
            deliveries: BTreeMap::new(),
            faults: BTreeMap::new(),
            invocations: 0,
            wake_poller: false,
            meter: None,
            steps: 0,
            ids: 0,
            timeline: traced.then(Vec::new),
        };
        Self(Arc::new(Shared {
            began: Instant::now(),
            start,
            state: Mutex::new(state),
            over: Notify::new(),
            wake_poller: Notify::new(),
        }))
    }

    /// The true time.
    pub(super) fn now(&self) -> Timestamp {
        self.0.start + SignedDuration::try_from(self.0.began.elapsed()).unwrap()
    }

    /// Reads or changes the world as one atomic step.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap();
        state.now = self.now();
        state.steps += 1;
        if state.steps == MAX_STEPS {
            state.judge.violated("the simulation runs in an endless loop".to_owned());
        }
        let result = change(&mut state);
        if state.judge.violation.is_some() {
            self.0.over.notify_one();
        }
        if std::mem::take(&mut state.wake_poller) {
            self.0.wake_poller.notify_one();
        }
        result
    }

    /// Draws whether a fault hits this step.
    pub(super) fn draws(&self, fault: Fault, actor: &dyn Display) -> bool {
        self.with(|state| state.draws(fault, actor))
    }

    /// Adds a line to the timeline.
    pub(super) fn note(&self, actor: &dyn Display, what: impl FnOnce() -> String) {
        self.with(|state| state.note(actor, what));
    }

    /// Sleeps for a random time between two bounds, in milliseconds.
    pub(super) async fn pause(&self, from: u64, to: u64) {
        let ms = self.with(|state| state.rng.u64(from..=to));
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Sleeps until a time.
    pub(super) async fn until(&self, time: Timestamp) {
        let left = time.duration_since(self.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    }

    /// Waits until the poller is woken.
    pub(super) async fn poller_woken(&self) {
        self.0.wake_poller.notified().await;
    }

    /// Waits for a violation.
    pub(super) async fn over(&self) {
        self.0.over.notified().await;
    }
}

impl State {
    /// The time since the start.
    pub(super) fn age(&self) -> SignedDuration {
        self.now.duration_since(self.start)
    }

    /// Whether faults are still injected.
    pub(super) fn is_faulty(&self) -> bool {
        self.was_faulty_at(self.now)
    }

    /// Whether faults were still injected at a time.
    pub(super) fn was_faulty_at(&self, time: Timestamp) -> bool {
        !self.plan.calm && time.duration_since(self.start) < self.plan.fault_period
    }

    /// Draws whether a fault hits this step.
    pub(super) fn draws(&mut self, fault: Fault, actor: &dyn Display) -> bool {
        let rate = self.plan.rates.get(&fault).copied().unwrap_or(0);
        let hit = rate > 0 && self.is_faulty() && self.rng.u32(..1000) < rate;
        if hit {
            self.count(fault, actor);
        }
        hit
    }

    /// Counts a fault, and adds it to the timeline.
    pub(super) fn count(&mut self, fault: Fault, actor: &dyn Display) {
        *self.faults.entry(fault).or_default() += 1;
        self.note(actor, || format!("! {fault:?}"));
    }

    /// Whether a service is down.
    pub(super) fn is_down(&self, service: Service) -> bool {
        let age = self.age();
        self.is_faulty()
            && self.plan.outages.iter().any(|(which, from, to)| *which == service && (*from..*to).contains(&age))
    }

    /// Whether a subject triggers a simulated bug.
    pub(super) fn triggers(&self, key: &str, bug: &str) -> bool {
        let fault = if bug == "poison" { Fault::Panicked } else { Fault::KilledByMessage };
        self.is_faulty() && self.plan.rates.contains_key(&fault) && Fact::bug(key) == Some(bug)
    }

    /// A new number for an id.
    pub(super) fn next_id(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// Adds a line to the timeline.
    pub(super) fn note(&mut self, actor: &dyn Display, what: impl FnOnce() -> String) {
        let (now, age) = (self.now, self.age());
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!(
                "{:>4}:{:02}:{:02}.{:03}  {actor:<14} {}",
                age.as_hours(),
                age.as_mins() % 60,
                age.as_secs() % 60,
                now.subsec_millisecond(),
                what()
            ));
        }
    }

    /// The timeline so far.
    pub(super) fn take_timeline(&mut self) -> Vec<String> {
        self.timeline.take().unwrap_or_default()
    }

    /// Sends a message to the queue.
    pub(super) fn send(&mut self, body: Arc<str>, delivery: &str) {
        let id = self.sqs.send(body, self.now);
        self.measure("NumberOfMessagesSent", "WebhookQueue", 1);
        self.note(&"sqs", || format!("{id} holds {delivery}"));
        self.deliveries.insert(id, delivery.to_owned());
        self.wake_poller = true;
    }

    /// Measures a value of a resource.
    pub(super) fn measure(&mut self, metric: &'static str, resource: &'static str, value: i64) {
        let now = self.now;
        if let Some(meter) = &mut self.meter {
            meter.measure(now, metric, resource, value);
        }
    }

    /// Measures an invocation.
    pub(super) fn invoked(&mut self, function: &'static str) {
        self.invocations += 1;
        for (metric, value) in [("Invocations", 1), ("Errors", 0), ("Throttles", 0)] {
            self.measure(metric, function, value);
        }
    }

    /// A message is gone. After the last one of its delivery, the judge checks that the delivery was applied.
    pub(super) fn released(&mut self, id: &str) {
        let delivery = &self.deliveries[id];
        let messages = self.sqs.messages.iter().chain(&self.sqs.dead_letters);
        let copies = messages.map(|message| &self.deliveries[&message.id]).chain(&self.pending_notifications);
        if copies.into_iter().any(|copy| copy == delivery) {
            return;
        }
        let key = self.judge.fact_of(delivery).and_then(|fact| self.judge.key_of(fact));
        let item = key.and_then(|key| self.table.items.get(&key));
        self.judge.released(delivery, item);
    }
}
