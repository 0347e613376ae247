//! Chaos: the real binaries, frozen and killed wherever they are, while Xendit sends webhooks. Nothing is played here but
//! AWS; the time is real, and a seed draws the same webhooks and the same harm, but not what meets what.
//!
//! ```text
//! Xendit ──event──▶ receivers ──▶ queue, inbox ──▶ poller ──▶ processors ──▶ ledger, bus
//! (tries again)     (sandbox)     (cloud)                     (sandbox)      (cloud)
//! ```
//!
//! In reading order: `sandbox` runs the binaries, and harms them; `verdict` is what must be true in the end; `figures` what
//! is printed.

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
    sandbox::{Habits, Lambda},
    verdict::{Evidence, Letter, Published},
};
use crate::{
    cloud::Cloud,
    fixture::{self, LOCAL_TOKEN},
    xendit::{self, Fact},
};

/// How many requests Xendit makes at a time.
const REQUESTS: usize = 5;

/// How many batches are processed at a time, each of up to ten messages.
const BATCHES: usize = 5;

/// How many messages may wait before Xendit does. Moto looks through all of them each time, and would hardly move.
const BACKLOG: usize = 100;

/// How soon a message that failed comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// After the visibility timeout, or when the processor asked for it.
    Patient,
    /// At once, whatever was asked for, so that a run is over soon.
    Hasty,
}

/// Shorter than some freezes, so that a message comes again while its first run lives.
const VISIBILITY: Duration = Duration::from_secs(5);

/// How long the queue may take to be empty when Xendit has sent everything. A message that meets a dead writer's outbox
/// waits for up to a minute; one that is unlucky again, for some more.
const DRAINS_WITHIN: Duration = Duration::from_mins(10);

const RECEIVER: Habits = Habits {
    name: "receiver",
    // As in the template.
    limit: Duration::from_secs(10),
    killed: 20,
    frozen: 20,
    longest_freeze: Duration::from_secs(12),
};

const PROCESSOR: Habits = Habits {
    name: "processor",
    limit: Duration::from_secs(30),
    killed: 150,
    frozen: 60,
    longest_freeze: Duration::from_secs(8),
};

/// What became of a run.
#[derive(Debug)]
pub struct Report {
    /// How often what happened.
    pub figures: Figures,
    /// What is not true and should be.
    pub violations: Vec<String>,
}

/// Sends webhooks while the functions are harmed, and looks at what is left.
pub async fn run(seed: u64, webhooks: usize, queue: Queue) -> Report {
    let began = Instant::now();
    let mut dice = Rng::with_seed(seed);
    let (facts, sendings) = draw(&mut dice, webhooks);
    let cloud = Cloud::start(VISIBILITY).await;
    let receivers = Lambda::new(RECEIVER, &cloud, REQUESTS, dice.fork());
    let processors = Lambda::new(PROCESSOR, &cloud, BATCHES, dice.fork());
    let backlog = AtomicUsize::new(0);
    let xendit =
        Xendit { facts, backlog: &backlog, receivers: &receivers, dice: Mutex::new(dice), seen: Mutex::default() };
    let aws = Aws { cloud: &cloud, processors: &processors, queue, backlog: &backlog, seen: Mutex::default() };
    let story = async {
        stream::iter(sendings).for_each_concurrent(REQUESTS, |fact| xendit.deliver(fact)).await;
        let mut letters = Vec::new();
        let mut redriven = 0;
        loop {
            let drained = aws.drained().await;
            let (again, read) = xendit.look_at(cloud.take_all("dlq_url").await);
            letters.extend(read);
            if again.is_empty() || !drained {
                return (letters, redriven, drained);
            }
            // As the runbook says.
            redriven += again.len();
            for message in again {
                cloud.send("queue_url", &message).await;
            }
        }
    };
    let (letters, redriven, drained) = tokio::select! {
        end = story => end,
        _ = future::join_all((0..BATCHES).map(|_| aws.poll())) => unreachable!("a poller never ends"),
        () = aws.listen() => unreachable!("a listener never ends"),
    };
    aws.hear(&cloud.take_all("published_url").await);

    let (sent, handled) = (xendit.seen.into_inner().unwrap(), aws.seen.into_inner().unwrap());
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
        batches: handled.batches,
        messages: handled.messages.len(),
        messages_again: handled.again.len(),
        items: items.len(),
        transitions: items.iter().map(|item| item.history.len()).sum(),
        published: handled.published.len(),
        events: handled.published.iter().map(|event| &event.id).collect::<BTreeSet<_>>().len(),
        letters: letters.len(),
        redriven,
        seconds: began.elapsed().as_secs(),
    };
    let mut violations = sent.violations;
    if !drained {
        violations.push(format!("the queue does not drain within {DRAINS_WITHIN:?}"));
    }
    for lambda in [&receivers, &processors] {
        violations.extend(lambda.complaints());
        lambda.leave();
    }
    violations.extend(verdict::violations(&Evidence {
        facts: xendit.facts,
        deliveries: sent.deliveries,
        acknowledged: sent.acknowledged,
        items,
        published: handled.published,
        letters,
    }));
    Report { figures, violations }
}

/// What Xendit has to tell, and which fact it tells when: some more than once, and much of what is told of one thing at
/// about the same time, for that is when runs meet.
fn draw(dice: &mut Rng, webhooks: usize) -> (Vec<Fact>, Vec<usize>) {
    // A subject has some two facts, each told once or more.
    let facts = xendit::facts(dice, webhooks, Timestamp::now());
    let mut sendings: Vec<(usize, usize)> = Vec::new();
    for fact in 0..facts.len() {
        if sendings.len() >= webhooks {
            break;
        }
        for _ in 0..*dice.choice(&[1, 1, 1, 2, 3]).unwrap() {
            let hurried = dice.u32(..4) > 0;
            sendings.push((fact + dice.usize(..if hurried { 8 } else { webhooks }), fact));
        }
    }
    sendings.truncate(webhooks);
    sendings.sort_unstable();
    (facts, sendings.into_iter().map(|(_, fact)| fact).collect())
}

/// Xendit and API Gateway.
struct Xendit<'a> {
    facts: Vec<Fact>,
    receivers: &'a Lambda,
    backlog: &'a AtomicUsize,
    dice: Mutex<Rng>,
    seen: Mutex<Sent>,
}

/// What Xendit has done and seen.
#[derive(Default)]
struct Sent {
    /// Which fact each attempt tells.
    deliveries: BTreeMap<String, usize>,
    acknowledged: Vec<String>,
    failed: usize,
    forged: usize,
    violations: Vec<String>,
}

impl Xendit<'_> {
    /// Sends a webhook until it is acknowledged. Xendit waits for minutes and hours where this waits for moments, and
    /// whoever looks at its dashboard sends again what it has given up.
    async fn deliver(&self, fact: usize) {
        if self.dice.lock().unwrap().u32(..100) == 0 {
            self.forge().await;
        }
        while self.backlog.load(Ordering::Relaxed) > BACKLOG {
            sleep(Duration::from_millis(100)).await;
        }
        let mut wait = Duration::from_millis(100);
        loop {
            let mut body = self.facts[fact].body(Timestamp::now());
            if self.dice.lock().unwrap().u32(..200) == 0 {
                body.push_str(&" ".repeat(MAX_QUEUED_BYTES));
            }
            let id = self.fresh_id();
            self.seen.lock().unwrap().deliveries.insert(id.clone(), fact);
            let answer = self.post(&id, LOCAL_TOKEN, &body).await;
            if self.is_settled(id, answer) {
                return;
            }
            sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(5));
        }
    }

    /// Takes an attempt's answer. Whether it was an acknowledgement.
    fn is_settled(&self, id: String, answer: Option<(u16, String)>) -> bool {
        let mut seen = self.seen.lock().unwrap();
        match answer {
            Some((200, said)) if said.contains(&id) => {
                seen.acknowledged.push(id);
                return true;
            }
            None | Some((503, _)) => seen.failed += 1,
            Some(other) => seen.violations.push(format!("{id} was answered {other:?}")),
        }
        false
    }

    /// A stranger sends what Xendit never said.
    async fn forge(&self) {
        let id = self.fresh_id();
        let body = format!(r#"{{"id":"{id}","external_id":"o","user_id":"u","merchant_name":"M","status":"PAID"}}"#);
        let answer = self.post(&id, "not-the-token-of-anybody", &body).await;
        let mut seen = self.seen.lock().unwrap();
        seen.forged += 1;
        if answer.as_ref().is_some_and(|(status, _)| *status != 401) {
            seen.violations.push(format!("a stranger's {id} was answered {answer:?}"));
        }
    }

    fn fresh_id(&self) -> String {
        format!("{:032x}", self.dice.lock().unwrap().u128(..))
    }

    /// A request as API Gateway makes it, and what it gets. `None`: the function did not answer, which is a 5xx.
    async fn post(&self, id: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let event = fixture::api_event(token, body.as_bytes());
        let answer: Value = serde_json::from_str(&self.receivers.invoke(id, event).await?).unwrap();
        let said = answer["body"].as_str().unwrap_or_default();
        Some((answer["statusCode"].as_u64().unwrap().try_into().unwrap(), said.to_owned()))
    }

    /// Divides dead letters into what may be sent again, and what nobody can read.
    fn look_at(&self, messages: Vec<String>) -> (Vec<String>, Vec<Letter>) {
        let seen = self.seen.lock().unwrap();
        let (mut again, mut letters) = (Vec::new(), Vec::new());
        for message in messages {
            let letter = Letter::open(&message);
            match seen.deliveries.get(&letter.delivery) {
                Some(fact) if !self.facts[*fact].is_unreadable() => again.push(message),
                _ => letters.push(letter),
            }
        }
        (again, letters)
    }
}

/// What AWS does by itself behind the receiver, and who listens.
struct Aws<'a> {
    cloud: &'a Cloud,
    processors: &'a Lambda,
    queue: Queue,
    backlog: &'a AtomicUsize,
    seen: Mutex<Handled>,
}

#[derive(Default)]
struct Handled {
    batches: usize,
    /// The ids of messages, and of those that were handed out more than once.
    messages: BTreeSet<String>,
    again: BTreeSet<String>,
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
                        seen.again.insert(id.clone());
                    }
                    seen.messages.insert(id);
                }
                format!("batch-{}", seen.batches)
            };
            let answer = self.processors.invoke(&invocation, poller::event(&messages)).await;
            let again = poller::come_again(&ids, answer.as_deref().map(str::as_bytes));
            let (failed, done): (Vec<_>, Vec<_>) =
                messages.iter().partition(|message| again.contains(message.message_id().unwrap()));
            self.cloud.delete("queue_url", done.into_iter()).await;
            if self.queue == Queue::Hasty {
                self.cloud.show("queue_url", &failed).await;
            }
        }
    }

    /// A merchant, and somebody who looks at the queue.
    async fn listen(&self) {
        loop {
            self.backlog.store(self.cloud.waiting("queue_url").await, Ordering::Relaxed);
            self.hear(&self.cloud.take_all("published_url").await);
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn hear(&self, messages: &[String]) {
        self.seen.lock().unwrap().published.extend(messages.iter().map(|message| Published::read(message)));
    }

    /// Until nothing is under way. Whether that was soon enough.
    async fn drained(&self) -> bool {
        let empty = async {
            while self.cloud.depth("queue_url").await > 0 {
                sleep(Duration::from_millis(200)).await;
            }
            // Whoever was frozen may have something to say yet.
            self.processors.idle().await;
        };
        tokio::time::timeout(DRAINS_WITHIN, empty).await.is_ok()
    }
}
