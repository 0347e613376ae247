//! Lambda: API Gateway in front of the receiver, the SQS event source behind it, and the sandboxes of both.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{Request, Response};
use processor::{batch::Processor, failure, message::Batch};
use receiver::{
    handler::Receiver,
    verify::{Arrival, Digest},
};
use serde_json::json;
use shared::envelope::Environment;
use tokio::sync::Semaphore;

use super::{
    plan::Fault,
    wires::{Sandbox, Wires},
    world::{Letter, Message, World},
};

// All as in the template.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(10);
const PROCESSOR_TIMEOUT: Duration = failure::TIMEOUT;
const VISIBILITY_TIMEOUT: SignedDuration = SignedDuration::from_secs(180);
const MAX_RECEIVE_COUNT: u32 = 10;
const MAX_CONCURRENCY: usize = 5;
const BATCH: usize = 10;
const RETENTION: SignedDuration = SignedDuration::from_hours(4 * 24);
const LETTER_RETENTION: SignedDuration = SignedDuration::from_hours(14 * 24);

/// The receiver's own promise.
const PROMPT: SignedDuration = SignedDuration::from_secs(6);

/// The token that Xendit sends at first, and the one after a rotation.
pub(super) const TOKENS: [&str; 2] = ["the-first-token-of-the-simulation", "the-second-token-of-the-simulation"];

type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

struct Warm<F> {
    sandbox: Arc<Sandbox>,
    function: F,
}

type Receiving = Warm<(Receiver<Wires, Wires>, Vec<usize>)>;
type Processing = Warm<Processor<Wires, Wires, Wires, Wires, Clock>>;

/// The two functions, with their sandboxes.
#[derive(Clone)]
pub(super) struct Lambda {
    world: World,
    receivers: Arc<Mutex<Vec<Receiving>>>,
    processors: Arc<Mutex<Vec<Processing>>>,
}

impl Lambda {
    /// Nothing is warm yet.
    pub(super) fn new(world: World) -> Self {
        Self { world, receivers: Arc::default(), processors: Arc::default() }
    }

    /// Which tokens are accepted at the moment, by their place in `TOKENS`.
    fn accepted(&self) -> Vec<usize> {
        self.world.with(|state| match state.plan.rotation {
            None => vec![0],
            Some((_, accepted, refused)) => {
                let age = state.age();
                let mut tokens = Vec::new();
                tokens.extend((age < refused).then_some(0));
                tokens.extend((age >= accepted).then_some(1));
                tokens
            }
        })
    }

    fn wires(&self, function: &str) -> Wires {
        Wires { world: self.world.clone(), sandbox: Sandbox::new(&self.world, function) }
    }

    fn receiver(&self) -> Receiving {
        let accepted = self.accepted();
        let mut pool = self.receivers.lock().unwrap();
        // A deployment ends the sandboxes of the one before.
        pool.retain(|warm| warm.function.1 == accepted);
        if let Some(warm) = pool.pop() {
            warm.sandbox.thaw(&self.world);
            return warm;
        }
        let wires = self.wires("receiver");
        let pairs: Vec<_> = accepted.iter().map(|n| format!("t{n}={}", Digest::of(TOKENS[*n].as_bytes()))).collect();
        let receiver = Receiver {
            tokens: pairs.join(",").parse().unwrap(),
            queue: wires.clone(),
            inbox: wires.clone(),
            environment: Environment::Test,
        };
        Warm { sandbox: wires.sandbox, function: (receiver, accepted) }
    }

    fn processor(&self) -> Processing {
        if let Some(warm) = self.processors.lock().unwrap().pop() {
            warm.sandbox.thaw(&self.world);
            return warm;
        }
        let wires = self.wires("processor");
        let (world, sandbox) = (self.world.clone(), Arc::clone(&wires.sandbox));
        let processor = Processor {
            inbox: wires.clone(),
            ledger: wires.clone(),
            bus: wires.clone(),
            source: wires.clone(),
            environment: Environment::Test,
            token_accounts: BTreeMap::new(),
            clock: Box::new(move || sandbox.clock(&world)) as Clock,
        };
        Warm { sandbox: wires.sandbox, function: processor }
    }

    /// A request to API Gateway, and the status that it answers. `fact`: what it says, if Xendit sent it.
    pub(super) async fn request(&self, request: Request<Vec<u8>>, fact: Option<usize>, token: Option<usize>) -> u16 {
        if self.world.strikes(Fault::Throttled, &"gateway") {
            return 429;
        }
        let warm = self.receiver();
        let fact = fact.filter(|_| token.is_some_and(|token| warm.function.1.contains(&token)));
        let delivery = self.world.with(|state| {
            let delivery = format!("d-{:05}", state.fresh());
            state.judge.arrives(&delivery, fact);
            state.invocations += 1;
            state.note(&warm.sandbox, || format!("gets {delivery}: {fact:?}"));
            delivery
        });
        let arrival = Arrival { id: delivery.clone(), at: warm.sandbox.clock(&self.world) };
        let began = self.world.now();
        let work = AssertUnwindSafe(warm.function.0.receive(request, arrival)).catch_unwind();
        let answer: Option<Response<String>> = tokio::select! {
            biased;
            () = warm.sandbox.death() => None,
            answer = tokio::time::timeout(RECEIVER_TIMEOUT, work) => match answer {
                Ok(Ok(answer)) => Some(answer),
                Ok(Err(_)) => {
                    self.world.with(|state| state.judge.violated("the receiver panicked".to_owned()));
                    None
                }
                Err(_) => {
                    self.world.with(|state| state.judge.violated(format!("{delivery}: no answer within 10 s")));
                    None
                }
            },
        };
        let Some(answer) = answer else { return 500 };
        let took = self.world.now().duration_since(began);
        self.world.with(|state| {
            state.note(&warm.sandbox, || format!("answers {} to {delivery}", answer.status()));
            if took > PROMPT {
                state.judge.violated(format!("{delivery} was answered after {took:#}"));
            }
            state.judge.answered(&delivery, answer.status().as_u16(), answer.body());
        });
        self.receivers.lock().unwrap().push(warm);
        answer.status().as_u16()
    }

    /// The event source: takes messages, invokes the processor with them, deletes what is not to come again. For ever.
    pub(super) async fn poll(self) {
        let slots = Arc::new(Semaphore::new(MAX_CONCURRENCY));
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
            let batch = loop {
                let (batch, next) = self.receive();
                if !batch.is_empty() {
                    break batch;
                }
                tokio::select! {
                    () = self.world.stirred() => {}
                    () = self.world.until(next) => {}
                }
            };
            let lambda = self.clone();
            tokio::task::spawn_local(async move {
                lambda.work(batch).await;
                drop(slot);
                lambda.world.with(|state| state.stirred = true);
            });
        }
    }

    /// Takes up to ten visible messages, or says when there may be some.
    fn receive(&self) -> (Vec<Message>, Timestamp) {
        self.world.with(|state| {
            let now = state.now;
            if let Some((from, to)) = state.plan.processor_off.filter(|(from, to)| (*from..*to).contains(&state.age()))
            {
                let _ = from;
                return (Vec::new(), now + (to - state.age()));
            }
            let old: Vec<_> =
                state.queue.extract_if(.., |message| now.duration_since(message.sent_at) > RETENTION).collect();
            for message in old {
                state.note(&"sqs", || format!("{} is too old", message.id));
                state.released(&message.delivery);
            }
            let worn = |message: &mut Message| message.visible_at <= now && message.receives >= MAX_RECEIVE_COUNT;
            let worn_out: Vec<_> = state.queue.extract_if(.., worn).collect();
            for Message { id, body, delivery, sent_at, .. } in worn_out {
                state.note(&"sqs", || format!("{id} came too often"));
                state.letters.push(Letter { body, delivery, sent_at });
            }
            let mut visible: Vec<usize> =
                (0..state.queue.len()).filter(|index| state.queue[*index].visible_at <= now).collect();
            state.dice.shuffle(&mut visible);
            visible.truncate(state.dice.usize(1..=BATCH));
            let mut batch = Vec::new();
            for index in visible {
                // A message that is handed out twice stays visible.
                let twice = state.strikes(Fault::HandedOutTwice, &"sqs");
                let message = &mut state.queue[index];
                message.receives += 1;
                if !twice {
                    message.visible_at = now + VISIBILITY_TIMEOUT;
                }
                batch.push(message.clone());
            }
            let next = state.queue.iter().map(|message| message.visible_at).min();
            (batch, next.unwrap_or(now + RETENTION))
        })
    }

    /// One invocation of the processor, and what follows from its answer.
    async fn work(&self, batch: Vec<Message>) {
        self.world.pause(1, 30).await;
        if self.world.strikes(Fault::Throttled, &"processor") {
            return;
        }
        let ids: Vec<&str> = batch.iter().map(|message| &*message.id).collect();
        let answer = self.invoke(&batch).await;
        let again = poller::come_again(&ids, answer.as_deref());
        self.world.pause(1, 15).await;
        self.world.with(|state| {
            for message in batch.iter().filter(|message| !again.contains(&*message.id)) {
                if state.strikes(Fault::DeletionLost, &"sqs") {
                    continue;
                }
                let here = state.queue.iter().position(|other| other.id == message.id);
                if let Some(index) = here {
                    state.queue.remove(index);
                    state.note(&"sqs", || format!("{} is done", message.id));
                    state.released(&message.delivery);
                }
            }
        });
    }

    /// The bytes of the processor's answer, if there are any.
    async fn invoke(&self, batch: &[Message]) -> Option<Vec<u8>> {
        let warm = self.processor();
        self.world.with(|state| {
            state.invocations += 1;
            state.note(&warm.sandbox, || {
                let ids: Vec<_> =
                    batch.iter().map(|message| format!("{} ({})", message.id, message.receives)).collect();
                format!("gets {}", ids.join(", "))
            });
        });
        let event = json!({ "Records": batch.iter().map(record).collect::<Vec<_>>() }).to_string();
        let event: Batch = serde_json::from_str(&event).unwrap();
        let deadline = warm.sandbox.clock(&self.world) + SignedDuration::try_from(PROCESSOR_TIMEOUT).unwrap();
        let work = AssertUnwindSafe(warm.function.process(event, deadline)).catch_unwind();
        let answer = tokio::select! {
            biased;
            () = warm.sandbox.death() => None,
            answer = tokio::time::timeout(PROCESSOR_TIMEOUT, work) => answer.ok().and_then(Result::ok).and_then(Result::ok),
        };
        self.world.note(&warm.sandbox, || match &answer {
            Some(answer) => format!("hands back {:?}", answer.failures().collect::<Vec<_>>()),
            None => "is gone".to_owned(),
        });
        let answer = answer?;
        self.processors.lock().unwrap().push(warm);
        Some(serde_json::to_vec(&answer).unwrap())
    }

    /// Somebody looks at the dead letters and sends them back. What nobody can read is taken out, by the person who
    /// looked. Copies of the rest are returned.
    pub(super) fn redrive(&self) -> Vec<Letter> {
        self.world.with(|state| {
            let now = state.now;
            let letters = std::mem::take(&mut state.letters);
            let mut sent = Vec::new();
            for letter in letters {
                if now.duration_since(letter.sent_at) > LETTER_RETENTION {
                    state.released(&letter.delivery);
                } else if state.judge.fact_of(&letter.delivery).is_some_and(|fact| !fact.is_unreadable()) {
                    state.note(&"operator", || format!("redrives {}", letter.delivery));
                    state.send(Arc::clone(&letter.body), &letter.delivery, now);
                    sent.push(letter);
                }
            }
            sent
        })
    }
}

/// A record as SQS hands it to Lambda.
fn record(message: &Message) -> serde_json::Value {
    json!({
        "messageId": message.id,
        "receiptHandle": format!("{}/{}", message.id, message.receives),
        "body": &*message.body,
        "attributes": { "ApproximateReceiveCount": message.receives.to_string() },
        "eventSource": "aws:sqs",
    })
}
