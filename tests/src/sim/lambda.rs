//! Lambda: API Gateway, the SQS event source, and the sandboxes of both functions.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{Request, Response};
use processor::{batch::Processor, config::TokenAccounts, failure, message::Batch};
use receiver::{
    handler::Receiver,
    verify::{Arrival, Digest, TOKEN_HEADER},
};
use shared::envelope::Environment;
use tokio::sync::Semaphore;

use super::{
    flaw::{Flaw, Flawed},
    plan::Fault,
    ports::{Ports, Sandbox},
    world::World,
};
use crate::aws::{self, BATCH, Message};

// As in the template.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(10);
const PROCESSOR_TIMEOUT: Duration = failure::TIMEOUT;
const MAX_CONCURRENCY: usize = 5;

/// The receiver's limit for an answer.
const ANSWER_LIMIT: SignedDuration = SignedDuration::from_secs(6);

/// The tokens before and after a rotation.
pub(super) const TOKENS: [&str; 2] = ["the-first-token-of-the-simulation", "the-second-token-of-the-simulation"];

type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

struct Warm<F> {
    sandbox: Arc<Sandbox>,
    function: F,
}

type Receiving = Warm<(Receiver<Flawed, Ports, Clock>, Vec<usize>)>;
type Processing = Warm<Processor<Ports, Flawed, Flawed, Flawed, Clock>>;

/// The two functions, with their sandboxes.
#[derive(Clone)]
pub(super) struct Lambda {
    world: World,
    flaw: Option<Flaw>,
    receivers: Arc<Mutex<Vec<Receiving>>>,
    processors: Arc<Mutex<Vec<Processing>>>,
}

impl Lambda {
    /// Starts without warm sandboxes.
    pub(super) fn new(world: World, flaw: Option<Flaw>) -> Self {
        Self { world, flaw, receivers: Arc::default(), processors: Arc::default() }
    }

    /// The tokens that are accepted now, as indexes into `TOKENS`.
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

    fn ports(&self, function: &str) -> Flawed {
        let ports = Ports { world: self.world.clone(), sandbox: Sandbox::new(&self.world, function) };
        Flawed { ports, flaw: self.flaw }
    }

    fn clock(&self, sandbox: &Arc<Sandbox>) -> Clock {
        let (world, sandbox) = (self.world.clone(), Arc::clone(sandbox));
        Box::new(move || sandbox.clock(&world))
    }

    fn receiver(&self) -> Receiving {
        let accepted = self.accepted();
        let mut pool = self.receivers.lock().unwrap();
        // A deployment replaces the sandboxes of the previous one.
        pool.retain(|warm| warm.function.1 == accepted);
        if let Some(warm) = pool.pop() {
            warm.sandbox.thaw(&self.world);
            return warm;
        }
        let flawed = self.ports("receiver");
        let pairs: Vec<_> = accepted.iter().map(|n| format!("t{n}={}", Digest::of(TOKENS[*n].as_bytes()))).collect();
        let receiver = Receiver {
            tokens: pairs.join(",").parse().unwrap(),
            queue: flawed.clone(),
            inbox: flawed.ports.clone(),
            environment: Environment::Test,
            clock: self.clock(&flawed.ports.sandbox),
        };
        Warm { sandbox: flawed.ports.sandbox, function: (receiver, accepted) }
    }

    fn processor(&self) -> Processing {
        if let Some(warm) = self.processors.lock().unwrap().pop() {
            warm.sandbox.thaw(&self.world);
            return warm;
        }
        let flawed = self.ports("processor");
        let processor = Processor {
            inbox: flawed.ports.clone(),
            ledger: flawed.clone(),
            bus: flawed.clone(),
            source: flawed.clone(),
            environment: Environment::Test,
            token_accounts: TokenAccounts::default(),
            clock: self.clock(&flawed.ports.sandbox),
        };
        Warm { sandbox: flawed.ports.sandbox, function: processor }
    }

    /// Sends a request to API Gateway, and returns the status. `fact`: what Xendit sent. `None`: a forged request.
    pub(super) async fn request(&self, request: Request<Vec<u8>>, fact: Option<usize>, token: Option<usize>) -> u16 {
        let began = self.world.now();
        let throttled = self.world.with(|state| {
            let now = state.now;
            state.meter.as_mut().is_some_and(|meter| meter.throttles(now))
        });
        let status = if throttled || self.world.draws(Fault::Throttled, &"gateway") {
            429
        } else {
            self.answer(request, fact, token).await
        };
        self.world.with(|state| {
            let (now, took) = (state.now, state.now.duration_since(began));
            if let Some(meter) = &mut state.meter {
                meter.answered(now, status, took);
            }
        });
        status
    }

    /// Invokes the receiver, and returns the status of the answer.
    async fn answer(&self, mut request: Request<Vec<u8>>, fact: Option<usize>, token: Option<usize>) -> u16 {
        let warm = self.receiver();
        let fact = fact.filter(|_| token.is_some_and(|token| warm.function.1.contains(&token)));
        let delivery = self.world.with(|state| {
            let delivery = format!("d-{:05}", state.next_id());
            state.judge.arrives(&delivery, fact, request.body());
            state.invoked("ReceiverFunction");
            state.note(&warm.sandbox, || format!("receives {delivery}: {fact:?}"));
            delivery
        });
        if self.flaw == Some(Flaw::TokenNotChecked) {
            request.headers_mut().insert(TOKEN_HEADER, TOKENS[warm.function.1[0]].parse().unwrap());
        }
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
        let Some(answer) = answer else {
            self.world.with(|state| state.measure("Errors", "ReceiverFunction", 1));
            return 500;
        };
        let took = self.world.now().duration_since(began);
        self.world.with(|state| {
            state.note(&warm.sandbox, || format!("answers {delivery} with {}", answer.status()));
            if took > ANSWER_LIMIT {
                state.judge.violated(format!("{delivery} was answered after {took:#}"));
            }
            state.judge.answered(&delivery, answer.status().as_u16(), answer.body());
        });
        self.receivers.lock().unwrap().push(warm);
        answer.status().as_u16()
    }

    /// The event source: receives messages, invokes the processor, and deletes what the response allows. Never ends.
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
                    () = self.world.poller_woken() => {}
                    () = self.world.until(next) => {}
                }
            };
            let lambda = self.clone();
            tokio::task::spawn_local(async move {
                lambda.work(batch).await;
                drop(slot);
                lambda.world.with(|state| state.wake_poller = true);
            });
        }
    }

    /// Receives up to ten visible messages. Also returns when the next one may become visible.
    fn receive(&self) -> (Vec<Message>, Timestamp) {
        self.world.with(|state| {
            let now = state.now;
            if let Some((_, to)) = state.plan.processor_off.filter(|(from, to)| (*from..*to).contains(&state.age())) {
                return (Vec::new(), now + (to - state.age()));
            }
            for message in state.sqs.expire(now) {
                state.note(&"sqs", || format!("{} has expired", message.id));
                state.released(&message.id);
            }
            for message in state.sqs.move_exhausted(now) {
                state.note(&"sqs", || format!("{} was received too often", message.id));
                // Only what kills the function, or a fault, keeps the processor from parking it with a reason.
                if !state.was_faulty_at(message.sent_at) {
                    state.judge.violated(format!("{} was received too often without a fault", message.id));
                }
            }
            let mut visible = state.sqs.visible(now);
            state.rng.shuffle(&mut visible);
            visible.truncate(state.rng.usize(1..=BATCH));
            let mut batch = Vec::new();
            for place in visible {
                batch.push(state.sqs.receive(place, now));
                // A message that is delivered twice stays visible.
                if state.draws(Fault::DeliveredTwice, &"sqs") {
                    state.sqs.messages[place].visible_at = now;
                }
            }
            let next = state.sqs.next_visible_at();
            (batch, next.unwrap_or(Timestamp::MAX))
        })
    }

    /// Invokes the processor with a batch, and applies its response.
    async fn work(&self, batch: Vec<Message>) {
        self.world.pause(1, 30).await;
        if self.world.draws(Fault::Throttled, &"processor") {
            self.world.with(|state| state.measure("Throttles", "ProcessorFunction", 1));
            return;
        }
        let ids: Vec<&str> = batch.iter().map(|message| &*message.id).collect();
        let response = self.invoke(&batch).await;
        let failed = poller::messages_to_retry(&ids, response.as_deref());
        self.world.pause(1, 15).await;
        self.world.with(|state| {
            for message in batch.iter().filter(|message| !failed.contains(&*message.id)) {
                if state.draws(Fault::DeletionLost, &"sqs") {
                    continue;
                }
                if state.sqs.delete(&message.id).is_some() {
                    state.note(&"sqs", || format!("{} is deleted", message.id));
                    state.released(&message.id);
                }
            }
        });
    }

    /// Invokes the processor, and returns the bytes of its response. `None`: it failed.
    async fn invoke(&self, batch: &[Message]) -> Option<Vec<u8>> {
        let warm = self.processor();
        self.world.with(|state| {
            state.invoked("ProcessorFunction");
            state.note(&warm.sandbox, || {
                let ids: Vec<_> =
                    batch.iter().map(|message| format!("{} ({})", message.id, message.receives)).collect();
                format!("receives {}", ids.join(", "))
            });
        });
        let event: Batch = serde_json::from_str(&aws::event(batch)).unwrap();
        let deadline = warm.sandbox.clock(&self.world) + SignedDuration::try_from(PROCESSOR_TIMEOUT).unwrap();
        let work = AssertUnwindSafe(warm.function.process(event, deadline)).catch_unwind();
        let response = tokio::select! {
            biased;
            () = warm.sandbox.death() => None,
            done = tokio::time::timeout(PROCESSOR_TIMEOUT, work) => done.ok().and_then(Result::ok).and_then(Result::ok),
        };
        self.world.note(&warm.sandbox, || match &response {
            Some(response) => format!("retries {:?}", response.failures().collect::<Vec<_>>()),
            None => "failed".to_owned(),
        });
        let Some(response) = response else {
            self.world.with(|state| state.measure("Errors", "ProcessorFunction", 1));
            return None;
        };
        self.processors.lock().unwrap().push(warm);
        if self.flaw == Some(Flaw::WholeBatchSucceeds) {
            return Some(b"{}".to_vec());
        }
        Some(serde_json::to_vec(&response).unwrap())
    }

    /// An operator redrives the dead letters and removes the unreadable ones. Returns what was redriven.
    pub(super) fn redrive(&self) -> Vec<Message> {
        self.world.with(|state| {
            let mut sent = Vec::new();
            for letter in std::mem::take(&mut state.sqs.dead_letters) {
                let delivery = state.deliveries[&letter.id].clone();
                if state.judge.fact_of(&delivery).is_some_and(|fact| !fact.is_unreadable()) {
                    state.note(&"operator", || format!("redrives {delivery}"));
                    state.send(Arc::clone(&letter.body), &delivery);
                    sent.push(letter);
                }
            }
            sent
        })
    }
}
