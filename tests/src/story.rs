//! Story: post, pump, look. Both real functions, from an HTTP request to the published events.

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::{Request, Response};
use ledger::item::Item;
use processor::{batch::Processor, config::TokenAccounts, failure::TIMEOUT, message::Batch};
use receiver::{
    handler::Receiver,
    verify::{Arrival, TOKEN_HEADER},
};
use serde_json::Value;
use shared::{domain_event::DomainEvent, envelope::Environment};

use crate::{
    aws::{self, BATCH, Message},
    faults::{Clock, Power},
    fixture::{LOCAL_TOKEN, LOCAL_TOKENS},
    memory::{MemoryBus, MemoryInbox, MemoryLedger, MemoryQueue, MemorySource},
};

type NowFn = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// Both functions, over ports in memory.
pub struct Story {
    /// The webhook queue.
    pub queue: MemoryQueue,
    /// The inbox, for webhooks that the queue does not take.
    pub inbox: MemoryInbox,
    /// The ledger.
    pub ledger: MemoryLedger,
    /// The bus for domain events.
    pub bus: MemoryBus,
    /// The processor's port to the queue.
    pub source: MemorySource,
    /// The time.
    pub clock: Clock,
    /// Simulates crashes.
    pub power: Power,
    receiver: Receiver<MemoryQueue, MemoryInbox, NowFn>,
    processor: Processor<MemoryInbox, MemoryLedger, MemoryBus, MemorySource, NowFn>,
}

/// A request to the receiver.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl WebhookRequest {
    /// A body with the right token and no `webhook-id`.
    pub fn of(body: impl AsRef<[u8]>) -> Self {
        let headers = vec![
            (TOKEN_HEADER.to_owned(), LOCAL_TOKEN.to_owned()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        Self { path: "/webhook".to_owned(), headers, body: body.as_ref().to_vec() }
    }

    /// Changes the path.
    #[must_use]
    pub fn to(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a header.
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

/// A published domain event with its parsed detail.
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
    /// Starts with an empty queue, inbox, ledger and bus.
    pub fn new() -> Self {
        Self::with_token_accounts(TokenAccounts::default())
    }

    /// The same, with tokens that are bound to accounts.
    pub fn with_token_accounts(token_accounts: TokenAccounts) -> Self {
        let (clock, power) = (Clock::default(), Power::default());
        let queue = MemoryQueue::new(clock.clone(), power.clone());
        let (ledger, bus) = (MemoryLedger::new(power.clone()), MemoryBus::new(power.clone()));
        let source = MemorySource::new(queue.clone());
        let inbox = MemoryInbox::new(queue.clone());
        let tokens = LOCAL_TOKENS.parse().unwrap();
        let now_fn = || {
            let clock = clock.clone();
            Box::new(move || clock.now()) as NowFn
        };
        let receiver = Receiver {
            tokens,
            queue: queue.clone(),
            inbox: inbox.clone(),
            environment: Environment::Test,
            clock: now_fn(),
        };
        let processor = Processor {
            inbox: inbox.clone(),
            ledger: ledger.clone(),
            bus: bus.clone(),
            source: source.clone(),
            environment: Environment::Test,
            token_accounts,
            clock: now_fn(),
        };
        Self { queue, inbox, ledger, bus, source, clock, power, receiver, processor }
    }

    /// Posts a body with the right token, and returns the status.
    pub async fn post(&self, body: impl AsRef<[u8]>) -> u16 {
        self.send(WebhookRequest::of(body)).await.status().as_u16()
    }

    /// Sends a webhook request.
    pub async fn send(&self, request: WebhookRequest) -> Response<String> {
        self.request(request.into_request()).await
    }

    /// Sends any HTTP request.
    pub async fn request(&self, request: Request<Vec<u8>>) -> Response<String> {
        // Lambda's request ids are random. Here it is enough that they differ.
        let id = format!("delivery-{}", self.clock.now().as_nanosecond());
        self.clock.advance(SignedDuration::from_millis(1));
        self.receiver.receive(request, Arrival { id, at: self.clock.now() }).await
    }

    /// Invokes the processor with up to ten messages at a time, until no message is visible.
    pub async fn pump(&self) {
        while let Some(batch) = self.queue.receive(BATCH) {
            self.invoke(&batch).await;
        }
    }

    /// Processes two messages concurrently, in one invocation each.
    pub async fn pump_two_at_once(&self) {
        let (one, two) = (self.queue.receive(1).unwrap(), self.queue.receive(1).unwrap());
        tokio::join!(self.invoke(&one), self.invoke(&two));
    }

    /// Pumps, and advances the clock to each redelivery, until the queue is empty.
    pub async fn drain(&self) {
        for _ in 0..200 {
            self.pump().await;
            match self.queue.next_visible_at() {
                Some(time) => self.clock.advance_to(time),
                None => return,
            }
        }
        panic!("the queue does not drain");
    }

    /// Invokes the processor and applies its response. `None`: the power was cut.
    pub async fn invoke(&self, batch: &[Message]) -> Option<String> {
        let deadline = self.clock.now().checked_add(SignedDuration::try_from(TIMEOUT).unwrap()).unwrap();
        let response = self.invoke_until(deadline, batch).await;
        self.queue.apply_response(batch, response.as_deref());
        response
    }

    /// Invokes the processor with a deadline. Its response is returned and not applied.
    pub async fn invoke_until(&self, deadline: Timestamp, batch: &[Message]) -> Option<String> {
        let batch: Batch = serde_json::from_str(&aws::event(batch)).unwrap();
        // With the clock paused, the timeout fires at once when the processor hangs, and drops it at that point.
        let response = tokio::time::timeout(TIMEOUT, self.processor.process(batch, deadline)).await.ok()?;
        response.ok().map(|response| serde_json::to_string(&response).unwrap())
    }

    /// The only item in the ledger.
    pub fn item(&self) -> Item {
        let mut items = self.ledger.items();
        assert_eq!(items.len(), 1, "this story is about one subject");
        items.remove(0)
    }

    /// All publications of domain events, in order.
    pub fn published(&self) -> Vec<Published> {
        self.bus.published().into_iter().map(Published::from).collect()
    }

    /// The types of all published events, in order.
    pub fn event_types(&self) -> Vec<String> {
        self.published().into_iter().map(|event| event.detail_type).collect()
    }

    /// The only published event.
    pub fn only_event(&self) -> Published {
        let mut published = self.published();
        assert_eq!(published.len(), 1, "{:?}", self.event_types());
        published.remove(0)
    }

    /// The reasons in the dead-letter queue, in order.
    pub fn parked_reasons(&self) -> Vec<String> {
        let letters = self.queue.dead_letters().into_iter();
        letters.map(|letter| letter.reason.unwrap_or_else(|| "none".to_owned())).collect()
    }
}
