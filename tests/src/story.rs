//! Story: post, pump, look. Both functions as they are, from an HTTP request to what is published.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{Request, Response};
use ledger::item::Item;
use processor::{batch::Processor, message::Batch};
use receiver::{
    handler::Receiver,
    verify::{Arrival, Digest, TOKEN_HEADER},
};
use serde_json::Value;
use shared::{domain_event::DomainEvent, envelope::Environment};

use crate::{
    fixture::LOCAL_TOKEN,
    memory::{Delivery, MemoryBus, MemoryInbox, MemoryLedger, MemoryQueue, MemorySource},
    trouble::{Clock, Power},
};

/// The most messages that one invocation gets.
const BATCH: usize = 10;

/// The processor's timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

type NowFn = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// Both functions, and the cloud in memory.
pub struct Story {
    /// Where the receiver puts webhooks.
    pub queue: MemoryQueue,
    /// Where it puts them when the queue does not take them.
    pub inbox: MemoryInbox,
    /// Where facts are kept.
    pub ledger: MemoryLedger,
    /// Where domain events go.
    pub bus: MemoryBus,
    /// How messages go back.
    pub source: MemorySource,
    /// The time.
    pub clock: Clock,
    /// What can be cut.
    pub power: Power,
    receiver: Receiver<MemoryQueue, MemoryInbox>,
    processor: Processor<MemoryInbox, MemoryLedger, MemoryBus, MemorySource, NowFn>,
}

/// A request to the receiver.
#[derive(Clone, Debug)]
pub struct Posting {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Posting {
    /// A body as Xendit posts it: with the right token and no `webhook-id`.
    pub fn of(body: impl AsRef<[u8]>) -> Self {
        let headers = vec![
            (TOKEN_HEADER.to_owned(), LOCAL_TOKEN.to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        Self { path: "/webhook".to_owned(), headers, body: body.as_ref().to_vec() }
    }

    /// To another path.
    #[must_use]
    pub fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    fn into_request(self) -> Request<Vec<u8>> {
        let mut request = Request::post(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(self.body).unwrap()
    }
}

/// A published domain event, read.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its id.
    pub id: String,
    /// Its type.
    pub detail_type: String,
    /// Its detail.
    pub detail: Value,
}

impl From<DomainEvent> for Published {
    fn from(event: DomainEvent) -> Self {
        let detail = serde_json::from_str(&event.detail).unwrap();
        Self { id: event.id, detail_type: event.detail_type, detail }
    }
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

impl Story {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::with_token_accounts([])
    }

    /// The same, with tokens that may speak for some accounts only.
    pub fn with_token_accounts<const N: usize>(token_accounts: [(String, BTreeSet<String>); N]) -> Self {
        let (clock, power) = (Clock::default(), Power::default());
        let queue = MemoryQueue::new(clock.clone(), power.clone());
        let (ledger, bus) = (MemoryLedger::new(power.clone()), MemoryBus::new(power.clone()));
        let source = MemorySource::new(queue.clone());
        let inbox = MemoryInbox::new(queue.clone());
        let tokens = format!("local={}", Digest::of(LOCAL_TOKEN.as_bytes())).parse().unwrap();
        let receiver = Receiver { tokens, queue: queue.clone(), inbox: inbox.clone(), environment: Environment::Test };
        let now = clock.clone();
        let processor = Processor {
            inbox: inbox.clone(),
            ledger: ledger.clone(),
            bus: bus.clone(),
            source: source.clone(),
            environment: Environment::Test,
            token_accounts: token_accounts.into_iter().collect(),
            clock: Box::new(move || now.now()) as NowFn,
        };
        Self { queue, inbox, ledger, bus, source, clock, power, receiver, processor }
    }

    /// Xendit posts a body. What it is answered.
    pub async fn post(&self, body: impl AsRef<[u8]>) -> u16 {
        self.send(Posting::of(body)).await.status().as_u16()
    }

    /// Somebody sends a request.
    pub async fn send(&self, posting: Posting) -> Response<String> {
        self.request(posting.into_request()).await
    }

    /// Somebody sends a request of any kind.
    pub async fn request(&self, request: Request<Vec<u8>>) -> Response<String> {
        // Lambda's request ids are random; these only have to differ.
        let id = format!("delivery-{}", self.clock.now().as_nanosecond());
        self.clock.turn(SignedDuration::from_millis(1));
        self.receiver.receive(request, Arrival { id, at: self.clock.now() }).await
    }

    /// Runs the processor until no message is visible, ten messages at a time.
    pub async fn pump(&self) {
        while let Some(delivery) = self.queue.receive(BATCH) {
            self.invoke(&delivery).await;
        }
    }

    /// Runs a processor for each of two messages, both at the same time.
    pub async fn pump_two_at_once(&self) {
        let (one, two) = (self.queue.receive(1).unwrap(), self.queue.receive(1).unwrap());
        tokio::join!(self.invoke(&one), self.invoke(&two));
    }

    /// Runs the processor, and lets time pass for messages that come again, until the queue is empty.
    pub async fn drain(&self) {
        for _ in 0..200 {
            self.pump().await;
            match self.queue.next_at() {
                Some(moment) => self.clock.turn_to(moment),
                None => return,
            }
        }
        panic!("the queue does not drain");
    }

    /// One invocation. Ends without an answer when the power is cut.
    pub async fn invoke(&self, delivery: &Delivery) -> Option<String> {
        let deadline = self.clock.now().checked_add(SignedDuration::try_from(TIMEOUT).unwrap()).unwrap();
        let answer = self.invoke_until(deadline, delivery).await;
        self.queue.settle(delivery, answer.as_deref());
        answer
    }

    /// One invocation that has to end by a moment. The answer is not acted on.
    pub async fn invoke_until(&self, deadline: Timestamp, delivery: &Delivery) -> Option<String> {
        let batch: Batch = serde_json::from_str(&delivery.event).unwrap();
        // Under a paused clock this waits for nothing: it ends what hangs, by dropping it where it hangs.
        let answer = tokio::time::timeout(TIMEOUT, self.processor.process(batch, deadline)).await.ok()?;
        answer.ok().map(|answer| serde_json::to_string(&answer).unwrap())
    }

    /// Lets time pass.
    pub fn wait(&self, seconds: i64) {
        self.clock.turn(SignedDuration::from_secs(seconds));
    }

    /// The only item in the ledger.
    pub fn item(&self) -> Item {
        let mut items = self.ledger.items();
        assert_eq!(items.len(), 1, "there is one subject in this story");
        items.remove(0)
    }

    /// Every domain event that was published, each time it was.
    pub fn published(&self) -> Vec<Published> {
        self.bus.published().into_iter().map(Published::from).collect()
    }

    /// The types of what was published, in order.
    pub fn told(&self) -> Vec<String> {
        self.published().into_iter().map(|event| event.detail_type).collect()
    }

    /// The only domain event that was published.
    pub fn only_event(&self) -> Published {
        let mut published = self.published();
        assert_eq!(published.len(), 1, "{:?}", self.told());
        published.remove(0)
    }

    /// The reasons of the parked messages, in order.
    pub fn parked(&self) -> Vec<String> {
        self.queue.dead().into_iter().map(|parked| parked.reason.unwrap_or_else(|| "none".to_owned())).collect()
    }
}
