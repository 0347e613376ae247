//! World: the one clock, the one source of chance, and everything that AWS holds.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use ledger::item::Item;
use tokio::{sync::Notify, time::Instant};

use super::{
    judge::Judge,
    plan::{Fault, Plan, Service},
};
use crate::xendit::Fact;

/// When every simulation begins.
pub(super) const START: &str = "2026-01-02T03:04:05Z";

/// More steps than any seed needs. Whatever takes more is going round in circles.
const MAX_STEPS: u64 = 3_000_000;

/// Handle to the world.
#[derive(Clone)]
pub(super) struct World(Arc<Shared>);

struct Shared {
    began: Instant,
    start: Timestamp,
    state: Mutex<State>,
    /// Something is not true.
    over: Notify,
    /// There may be something for a poller to do.
    stirred: Notify,
}

/// What the world holds.
pub(super) struct State {
    /// Now, as it really is.
    pub(super) now: Timestamp,
    start: Timestamp,
    /// Chance.
    pub(super) dice: Rng,
    /// What is going to happen.
    pub(super) plan: Plan,
    /// What must be true.
    pub(super) judge: Judge,
    /// SQS.
    pub(super) queue: Vec<Message>,
    /// The dead-letter queue.
    pub(super) letters: Vec<Letter>,
    /// S3.
    pub(super) bucket: BTreeMap<String, Object>,
    /// Deliveries that S3 has not told the queue of yet.
    pub(super) untold: Vec<String>,
    /// DynamoDB.
    pub(super) table: BTreeMap<String, Item>,
    /// Which delivery each message brings.
    pub(super) senders: BTreeMap<String, String>,
    /// How often what happened.
    pub(super) faults: BTreeMap<Fault, u64>,
    /// How many invocations there have been.
    pub(super) invocations: u64,
    /// There may be something for a poller to do.
    pub(super) stirred: bool,
    steps: u64,
    ids: u32,
    timeline: Option<Vec<String>>,
}

/// A message in the queue.
#[derive(Clone)]
pub(super) struct Message {
    /// SQS's id.
    pub(super) id: String,
    /// Its body.
    pub(super) body: Arc<str>,
    /// Which delivery it brings.
    pub(super) delivery: String,
    /// How often it was handed out.
    pub(super) receives: u32,
    /// From when on it can be handed out.
    pub(super) visible_at: Timestamp,
    /// Since when it is there.
    pub(super) sent_at: Timestamp,
}

/// A message in the dead-letter queue.
#[derive(Clone)]
pub(super) struct Letter {
    /// Its body.
    pub(super) body: Arc<str>,
    /// Which delivery it brings.
    pub(super) delivery: String,
    /// Since when it counts as sent.
    pub(super) sent_at: Timestamp,
}

/// An object in the bucket.
#[derive(Clone)]
pub(super) struct Object {
    /// The sealed envelope.
    pub(super) text: Arc<str>,
}

impl World {
    /// A world in which nothing has happened.
    pub(super) fn new(dice: Rng, plan: Plan, judge: Judge, traced: bool) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let state = State {
            now: start,
            start,
            dice,
            plan,
            judge,
            queue: Vec::new(),
            letters: Vec::new(),
            bucket: BTreeMap::new(),
            untold: Vec::new(),
            table: BTreeMap::new(),
            senders: BTreeMap::new(),
            faults: BTreeMap::new(),
            invocations: 0,
            stirred: false,
            steps: 0,
            ids: 0,
            timeline: traced.then(Vec::new),
        };
        Self(Arc::new(Shared {
            began: Instant::now(),
            start,
            state: Mutex::new(state),
            over: Notify::new(),
            stirred: Notify::new(),
        }))
    }

    /// Now, as it really is.
    pub(super) fn now(&self) -> Timestamp {
        self.0.start + SignedDuration::try_from(self.0.began.elapsed()).unwrap()
    }

    /// Looks at the world, or changes it. Nothing else happens meanwhile.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap();
        state.now = self.now();
        state.steps += 1;
        if state.steps == MAX_STEPS {
            state.judge.violated("it goes round in circles".to_owned());
        }
        let result = change(&mut state);
        if state.judge.violation.is_some() {
            self.0.over.notify_one();
        }
        if std::mem::take(&mut state.stirred) {
            self.0.stirred.notify_one();
        }
        result
    }

    /// Whether a step meets a fault.
    pub(super) fn strikes(&self, fault: Fault, whom: &dyn Display) -> bool {
        self.with(|state| state.strikes(fault, whom))
    }

    /// Writes a line of the timeline.
    pub(super) fn note(&self, who: &dyn Display, what: impl FnOnce() -> String) {
        self.with(|state| state.note(who, what));
    }

    /// Some time between two bounds, in milliseconds.
    pub(super) async fn pause(&self, from: u64, to: u64) {
        let ms = self.with(|state| state.dice.u64(from..=to));
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Until a moment.
    pub(super) async fn until(&self, moment: Timestamp) {
        let left = moment.duration_since(self.now());
        tokio::time::sleep(left.try_into().unwrap_or_default()).await;
    }

    /// Until there may be something for a poller to do.
    pub(super) async fn stirred(&self) {
        self.0.stirred.notified().await;
    }

    /// Until something is not true.
    pub(super) async fn over(&self) {
        self.0.over.notified().await;
    }
}

impl State {
    /// How long this has been going on.
    pub(super) fn age(&self) -> SignedDuration {
        self.now.duration_since(self.start)
    }

    /// Whether things still fail.
    pub(super) fn is_troubled(&self) -> bool {
        !self.plan.calm && self.age() < self.plan.trouble
    }

    /// Whether a step meets a fault.
    pub(super) fn strikes(&mut self, fault: Fault, whom: &dyn Display) -> bool {
        let odds = self.plan.odds.get(&fault).copied().unwrap_or(0);
        let struck = odds > 0 && self.is_troubled() && self.dice.u32(..1000) < odds;
        if struck {
            self.struck(fault, whom);
        }
        struck
    }

    /// A fault has happened.
    pub(super) fn struck(&mut self, fault: Fault, whom: &dyn Display) {
        *self.faults.entry(fault).or_default() += 1;
        self.note(whom, || format!("! {fault:?}"));
    }

    /// Whether a service is down.
    pub(super) fn is_down(&self, service: Service) -> bool {
        let age = self.age();
        self.is_troubled()
            && self.plan.outages.iter().any(|(which, from, to)| *which == service && (*from..*to).contains(&age))
    }

    /// Whether the code has a bug that a subject brings out.
    pub(super) fn is_tripped_by(&self, key: &str, nature: &str) -> bool {
        let fault = if nature == "poison" { Fault::Panicked } else { Fault::KilledByMessage };
        self.is_troubled() && self.plan.odds.contains_key(&fault) && Fact::nature(key) == Some(nature)
    }

    /// A number that nobody else has.
    pub(super) fn fresh(&mut self) -> u32 {
        self.ids += 1;
        self.ids
    }

    /// Writes a line of the timeline.
    pub(super) fn note(&mut self, who: &dyn Display, what: impl FnOnce() -> String) {
        let (now, age) = (self.now, self.age());
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!(
                "{:>4}:{:02}:{:02}.{:03}  {who:<14} {}",
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

    /// A message comes into the queue.
    pub(super) fn send(&mut self, body: Arc<str>, delivery: &str, sent_at: Timestamp) {
        let id = format!("m-{}", self.fresh());
        self.senders.insert(id.clone(), delivery.to_owned());
        self.note(&"sqs", || format!("{id} holds {delivery}"));
        let message = Message { id, body, delivery: delivery.to_owned(), receives: 0, visible_at: self.now, sent_at };
        self.queue.push(message);
        self.stirred = true;
    }

    /// A copy of a delivery has gone. If it was the last one, that has to be all right.
    pub(super) fn released(&mut self, delivery: &str) {
        let here = |other: &String| other == delivery;
        let held = self.queue.iter().any(|message| here(&message.delivery))
            || self.letters.iter().any(|letter| here(&letter.delivery))
            || self.untold.iter().any(here);
        if held {
            return;
        }
        let Some(fact) = self.judge.fact_of(delivery).cloned() else { return };
        let key = self.judge.key_of(&fact);
        let item = key.and_then(|key| self.table.get(&key));
        self.judge.is_over(delivery, item);
    }
}
