//! Chaos: kills and freezes the real binaries at random points while Xendit sends webhooks. Only AWS is emulated, and time
//! is real. A seed draws the same webhooks and the same faults, but not the same interleaving.
//!
//! ```text
//! Xendit ──event──▶ receivers ──▶ queue, inbox ──▶ poller ──▶ processors ──▶ ledger, bus
//! (retries)         (sandbox)     (cloud)                     (sandbox)      (cloud)
//! ```
//!
//! In reading order: `sandbox` runs the binaries and injects the faults; `verdict` checks the result; `figures` are what is
//! printed.

mod figures;
mod sandbox;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_sqs::types::MessageSystemAttributeName;
use fastrand::Rng;
use futures_util::{StreamExt as _, future, stream};
use jiff::Timestamp;
use serde_json::Value;
use shared::envelope::MAX_QUEUED_BYTES;
use tokio::time::sleep;

pub use self::figures::Figures;
use self::{
    sandbox::{Lambda, Profile},
    verdict::{DeadLetter, Evidence, Published},
};
use crate::{
    cloud::Cloud,
    fixture::{self, LOCAL_TOKEN},
    xendit::{self, Fact},
};

/// How many requests Xendit sends concurrently.
const REQUESTS: usize = 5;

/// How many batches of up to ten messages are processed concurrently.
const BATCHES: usize = 5;

/// Xendit pauses while more messages than this are in the queue. Moto scans all of them on each receive, and gets slow.
const MAX_BACKLOG: usize = 100;

/// When a failed message is redelivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// After the delay that the processor set, or after the visibility timeout.
    AsConfigured,
    /// At once, to keep a run short.
    Immediate,
}

/// Shorter than some freezes, so that a message is redelivered while its first invocation still runs.
const VISIBILITY: Duration = Duration::from_secs(5);

/// The limit to empty the queue after Xendit has sent everything.
const DRAINS_WITHIN: Duration = Duration::from_mins(10);

const RECEIVER: Profile = Profile {
    name: "receiver",
    // As in the template.
    limit: Duration::from_secs(10),
    killed: 20,
    frozen: 20,
    longest_freeze: Duration::from_secs(12),
};

const PROCESSOR: Profile = Profile {
    name: "processor",
    limit: Duration::from_secs(30),
    killed: 150,
    frozen: 60,
    longest_freeze: Duration::from_secs(8),
};

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The counts.
    pub figures: Figures,
    /// All violations.
    pub violations: Vec<String>,
}

/// Sends webhooks while faults are injected, and checks the result.
pub async fn run(seed: u64, webhooks: usize, redelivery: Redelivery) -> Report {
    let began = Instant::now();
    let mut rng = Rng::with_seed(seed);
    let (facts, schedule) = draw(&mut rng, webhooks);
    let cloud = Cloud::start(VISIBILITY).await;
    let receivers = Lambda::new(RECEIVER, &cloud, REQUESTS, rng.fork());
    let processors = Lambda::new(PROCESSOR, &cloud, BATCHES, rng.fork());
    let backlog = AtomicUsize::new(0);
    let xendit =
        Xendit { facts, backlog: &backlog, receivers: &receivers, rng: Mutex::new(rng), sent: Mutex::default() };
    let aws = Aws { cloud: &cloud, processors: &processors, redelivery, backlog: &backlog, seen: Mutex::default() };
    let story = async {
        stream::iter(schedule).for_each_concurrent(REQUESTS, |fact| xendit.deliver(fact)).await;
        let mut dead_letters = Vec::new();
        let mut redriven = 0;
        loop {
            let drained = aws.drained().await;
            let (readable, unreadable) = xendit.sort(cloud.drain("dlq_url").await);
            dead_letters.extend(unreadable);
            if readable.is_empty() || !drained {
                return (dead_letters, redriven, drained);
            }
            // Redrive, as the runbook says.
            redriven += readable.len();
            for message in readable {
                cloud.send("queue_url", &message).await;
            }
        }
    };
    let (dead_letters, redriven, drained) = tokio::select! {
        end = story => end,
        _ = future::join_all((0..BATCHES).map(|_| aws.poll())) => unreachable!("a poller never ends"),
        () = aws.listen() => unreachable!("a listener never ends"),
    };
    aws.record(&cloud.drain("published_url").await);

    let (sent, observed) = (xendit.sent.into_inner().unwrap(), aws.seen.into_inner().unwrap());
    let items = cloud.items().await;
    let figures = Figures {
        seed,
        webhooks,
        attempts: sent.deliveries.len(),
        acknowledged: sent.acknowledged.len(),
        failed: sent.failed,
        forged: sent.forged,
        receivers: receivers.tally(),
        processors: processors.tally(),
        batches: observed.batches,
        messages: observed.messages.len(),
        redelivered: observed.redelivered.len(),
        items: items.len(),
        transitions: items.iter().map(|item| item.history.len()).sum(),
        published: observed.published.len(),
        events: observed.published.iter().map(|event| &event.id).collect::<BTreeSet<_>>().len(),
        dead_letters: dead_letters.len(),
        redriven,
        seconds: began.elapsed().as_secs(),
    };
    let mut violations = sent.violations;
    if !drained {
        violations.push(format!("the queue did not drain within {DRAINS_WITHIN:?}"));
    }
    for lambda in [&receivers, &processors] {
        violations.extend(lambda.panics());
        lambda.remove_program();
    }
    violations.extend(verdict::violations(&Evidence {
        facts: xendit.facts,
        deliveries: sent.deliveries,
        acknowledged: sent.acknowledged,
        items,
        published: observed.published,
        dead_letters,
    }));
    Report { figures, violations }
}

/// Draws the facts, and the order in which to send them. Some are sent more than once, and most of a subject's facts at
/// about the same time, so that invocations race.
fn draw(rng: &mut Rng, webhooks: usize) -> (Vec<Fact>, Vec<usize>) {
    // A subject has about two facts, each sent once or more.
    let facts = xendit::facts(rng, webhooks, Timestamp::now());
    let mut schedule: Vec<(usize, usize)> = Vec::new();
    for fact in 0..facts.len() {
        if schedule.len() >= webhooks {
            break;
        }
        for _ in 0..*rng.choice(&[1, 1, 1, 2, 3]).unwrap() {
            let races = rng.u32(..4) > 0;
            schedule.push((fact + rng.usize(..if races { 8 } else { webhooks }), fact));
        }
    }
    schedule.truncate(webhooks);
    schedule.sort_unstable();
    (facts, schedule.into_iter().map(|(_, fact)| fact).collect())
}

/// Xendit and API Gateway.
struct Xendit<'a> {
    facts: Vec<Fact>,
    receivers: &'a Lambda,
    backlog: &'a AtomicUsize,
    rng: Mutex<Rng>,
    sent: Mutex<Sent>,
}

/// What Xendit has sent, and how it was answered.
#[derive(Default)]
struct Sent {
    /// The fact of each attempt.
    deliveries: BTreeMap<String, usize>,
    acknowledged: Vec<String>,
    failed: usize,
    forged: usize,
    violations: Vec<String>,
}

impl Xendit<'_> {
    /// Sends a webhook until it is acknowledged. The retries of the real Xendit take hours, and are followed by manual
    /// resends.
    async fn deliver(&self, fact: usize) {
        if self.rng.lock().unwrap().u32(..100) == 0 {
            self.forge().await;
        }
        while self.backlog.load(Ordering::Relaxed) > MAX_BACKLOG {
            sleep(Duration::from_millis(100)).await;
        }
        let mut wait = Duration::from_millis(100);
        loop {
            let mut body = self.facts[fact].body(Timestamp::now());
            if self.rng.lock().unwrap().u32(..200) == 0 {
                body.push_str(&" ".repeat(MAX_QUEUED_BYTES));
            }
            let id = self.next_id();
            self.sent.lock().unwrap().deliveries.insert(id.clone(), fact);
            let answer = self.post(&id, LOCAL_TOKEN, &body).await;
            if self.is_acknowledged(id, answer) {
                return;
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    /// Records an attempt's answer. Returns whether it was an acknowledgement.
    fn is_acknowledged(&self, id: String, answer: Option<(u16, String)>) -> bool {
        let mut sent = self.sent.lock().unwrap();
        match answer {
            Some((200, body)) if body.contains(&id) => {
                sent.acknowledged.push(id);
                return true;
            }
            None | Some((503, _)) => sent.failed += 1,
            Some(other) => sent.violations.push(format!("{id} was answered {other:?}")),
        }
        false
    }

    /// Sends a forged webhook with a wrong token.
    async fn forge(&self) {
        let id = self.next_id();
        let body = format!(r#"{{"id":"{id}","external_id":"o","user_id":"u","merchant_name":"M","status":"PAID"}}"#);
        let answer = self.post(&id, "a-wrong-token-0123456789", &body).await;
        let mut sent = self.sent.lock().unwrap();
        sent.forged += 1;
        if answer.as_ref().is_some_and(|(status, _)| *status != 401) {
            sent.violations.push(format!("the forged {id} was answered {answer:?}"));
        }
    }

    fn next_id(&self) -> String {
        format!("{:032x}", self.rng.lock().unwrap().u128(..))
    }

    /// Invokes the receiver with a request, and returns its answer. `None`: it did not answer, which is a 5xx.
    async fn post(&self, id: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let event = fixture::api_event(token, body.as_bytes());
        let answer: Value = serde_json::from_str(&self.receivers.invoke(id, event).await?).unwrap();
        let body = answer["body"].as_str().unwrap_or_default();
        Some((answer["statusCode"].as_u64().unwrap().try_into().unwrap(), body.to_owned()))
    }

    /// Sorts dead letters into the readable ones, to redrive, and the unreadable ones.
    fn sort(&self, messages: Vec<String>) -> (Vec<String>, Vec<DeadLetter>) {
        let sent = self.sent.lock().unwrap();
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for message in messages {
            let letter = DeadLetter::read(&message);
            match sent.deliveries.get(&letter.delivery) {
                Some(fact) if !self.facts[*fact].is_unreadable() => readable.push(message),
                _ => unreadable.push(letter),
            }
        }
        (readable, unreadable)
    }
}

/// The event source, and a subscriber to the bus.
struct Aws<'a> {
    cloud: &'a Cloud,
    processors: &'a Lambda,
    redelivery: Redelivery,
    backlog: &'a AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    batches: usize,
    /// The ids of all messages.
    messages: BTreeSet<String>,
    /// The ids of the messages that were received more than once.
    redelivered: BTreeSet<String>,
    published: Vec<Published>,
}

impl Aws<'_> {
    /// Lambda's event source.
    async fn poll(&self) {
        loop {
            let messages = self.cloud.receive("queue_url").await;
            if messages.is_empty() {
                sleep(Duration::from_millis(250)).await;
                continue;
            }
            let ids: Vec<_> = messages.iter().map(|message| message.message_id().unwrap()).collect();
            let invocation = {
                let mut seen = self.seen.lock().unwrap();
                seen.batches += 1;
                for message in &messages {
                    let receives = &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount];
                    let id = message.message_id().unwrap().to_owned();
                    if receives != "1" {
                        seen.redelivered.insert(id.clone());
                    }
                    seen.messages.insert(id);
                }
                format!("batch-{}", seen.batches)
            };
            let response = self.processors.invoke(&invocation, poller::event(&messages)).await;
            let failed = poller::messages_to_retry(&ids, response.as_deref().map(str::as_bytes));
            let (failed, done): (Vec<_>, Vec<_>) =
                messages.iter().partition(|message| failed.contains(message.message_id().unwrap()));
            self.cloud.delete("queue_url", done.into_iter()).await;
            if self.redelivery == Redelivery::Immediate {
                self.cloud.make_visible("queue_url", &failed).await;
            }
        }
    }

    /// Subscribes to the bus, and measures the backlog.
    async fn listen(&self) {
        loop {
            self.backlog.store(self.cloud.visible("queue_url").await, Ordering::Relaxed);
            self.record(&self.cloud.drain("published_url").await);
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn record(&self, messages: &[String]) {
        self.seen.lock().unwrap().published.extend(messages.iter().map(|message| Published::read(message)));
    }

    /// Waits until the queue is empty and no function runs. Returns whether that was within the limit.
    async fn drained(&self) -> bool {
        let empty = async {
            while self.cloud.depth("queue_url").await > 0 {
                sleep(Duration::from_millis(200)).await;
            }
            // A frozen processor may still publish.
            self.processors.idle().await;
        };
        tokio::time::timeout(DRAINS_WITHIN, empty).await.is_ok()
    }
}
