//! Bus: where domain events are published. The port, what puts the events of a batch together, and the adapter for
//! EventBridge.

use std::{
    future::Future,
    mem,
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_eventbridge::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::PutEventsRequestEntry,
};
use futures_util::FutureExt as _;
use tokio::sync::{Notify, oneshot};

use crate::domain_event::{DomainEvent, SOURCE};

/// The most entries that one `PutEvents` takes.
const MAX_ENTRIES: usize = 10;

/// The most bytes that one `PutEvents` takes are 256 KB, with the names of source and type in them.
const MAX_BYTES: usize = 250 * 1024;

/// Where domain events are published.
pub trait Bus: Sync {
    /// Publishes events and returns those that are not known to be published.
    fn publish(&self, events: &[&DomainEvent]) -> impl Future<Output = Vec<Rejected>> + Send;
}

/// An event that is not known to be published. Try again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The event's id.
    pub id: String,
    /// The bus's error code.
    pub reason: String,
}

/// How long the first message waits for the events of others. A call to the bus takes several times as long.
const LINGER: Duration = Duration::from_millis(2);

/// A bus for one batch: what its messages have to say within a moment goes out together, because ten events fit into one
/// call. A message that is alone in its batch waits for nobody.
#[derive(Debug)]
pub struct Together<'b, B> {
    bus: &'b B,
    alone: bool,
    waiting: Mutex<Vec<Waiting>>,
    /// Says that as many wait as one call takes.
    full: Notify,
}

/// The events of one message, and where it hears what became of them.
#[derive(Debug)]
struct Waiting {
    events: Vec<DomainEvent>,
    told: oneshot::Sender<Vec<Rejected>>,
}

impl<'b, B: Bus> Together<'b, B> {
    /// A bus for a batch of so many messages.
    pub fn new(bus: &'b B, messages: usize) -> Self {
        Self { bus, alone: messages < 2, waiting: Mutex::default(), full: Notify::new() }
    }

    /// Adds a message to those that wait. Whether it is the first of them, and has to publish for all.
    fn join(&self, waiting: Waiting) -> bool {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(waiting);
        if all.len() >= MAX_ENTRIES {
            self.full.notify_one();
        }
        all.len() == 1
    }

    /// Publishes for all that wait, and tells each about its own.
    async fn publish_for_all(&self) {
        let _ = tokio::time::timeout(LINGER, self.full.notified()).await;
        let all = self.take();
        let events: Vec<_> = all.iter().flat_map(|waiting| &waiting.events).collect();
        let rejected = self.bus.publish(&events).await;
        for Waiting { events, told } in all {
            let of_it = |rejected: &&Rejected| events.iter().any(|event| event.id == rejected.id);
            // Whoever waited may be gone.
            let _ = told.send(rejected.iter().filter(of_it).cloned().collect());
        }
    }

    fn take(&self) -> Vec<Waiting> {
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<B: Bus> Bus for Together<'_, B> {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Rejected> {
        if self.alone {
            return self.bus.publish(events).await;
        }
        let (told, hear) = oneshot::channel();
        if self.join(Waiting { events: events.iter().copied().cloned().collect(), told })
            && AssertUnwindSafe(self.publish_for_all()).catch_unwind().await.is_err()
        {
            // Nobody is told, and nobody may be left waiting.
            drop(self.take());
        }
        match hear.await {
            Ok(rejected) => rejected,
            // The code has panicked on one of the events. When each message publishes alone, it shows whose it was.
            Err(_) => self.bus.publish(events).await,
        }
    }
}

/// An EventBridge bus.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    name: String,
}

impl EventBridge {
    /// The bus of a name.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Publishes what fits into one call.
    ///
    /// A 200 may hold failed entries, in the order of the request; an answer without one result for each entry
    /// confirms nothing.
    async fn put(&self, events: &[&DomainEvent]) -> Vec<Rejected> {
        let entries = events.iter().map(|event| {
            PutEventsRequestEntry::builder()
                .source(SOURCE)
                .detail_type(&event.detail_type)
                .detail(&event.detail)
                .event_bus_name(&self.name)
                .build()
        });
        let answer = self.client.put_events().set_entries(Some(entries.collect())).send().await;
        let results = match &answer {
            Ok(answer) if answer.entries().len() == events.len() => answer.entries(),
            Ok(_) => return reject(events, "the answer does not match the request"),
            Err(error) => return reject(events, code(error)),
        };
        let failed = events.iter().zip(results).filter(|(_, result)| result.event_id().is_none());
        failed
            .map(|(event, result)| Rejected {
                id: event.id.clone(),
                reason: result.error_code().unwrap_or("no error code").to_owned(),
            })
            .collect()
    }
}

impl Bus for EventBridge {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for call in calls(events) {
            rejected.extend(self.put(call).await);
        }
        rejected
    }
}

/// Divides events into what fits into one call each.
fn calls<'a, 'e>(events: &'a [&'e DomainEvent]) -> Vec<&'a [&'e DomainEvent]> {
    let mut calls = Vec::new();
    let (mut rest, mut call, mut bytes) = (events, 0, 0);
    for event in events {
        bytes += event.detail.len();
        if call == MAX_ENTRIES || (call > 0 && bytes > MAX_BYTES) {
            let (full, others) = rest.split_at(call);
            calls.push(full);
            (rest, call, bytes) = (others, 0, event.detail.len());
        }
        call += 1;
    }
    if !rest.is_empty() {
        calls.push(rest);
    }
    calls
}

fn reject(events: &[&DomainEvent], reason: &str) -> Vec<Rejected> {
    events.iter().map(|event| Rejected { id: event.id.clone(), reason: reason.to_owned() }).collect()
}

/// The error's code alone: an SDK error printed whole may quote the request.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> &str {
    match error {
        SdkError::ServiceError(refusal) => refusal.err().code().unwrap_or("no error code"),
        SdkError::TimeoutError(_) => "timeout",
        _ => "no connection",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers what each call published, and rejects what is called `bad`.
    #[derive(Default)]
    struct Calls(Mutex<Vec<Vec<String>>>);

    impl Bus for Calls {
        async fn publish(&self, events: &[&DomainEvent]) -> Vec<Rejected> {
            self.0.lock().unwrap().push(events.iter().map(|event| event.id.clone()).collect());
            let bad = events.iter().filter(|event| event.id == "bad");
            bad.map(|event| Rejected { id: event.id.clone(), reason: "bad".to_owned() }).collect()
        }
    }

    fn named(id: &str) -> DomainEvent {
        DomainEvent { id: id.to_owned(), ..event(1) }
    }

    #[tokio::test]
    async fn what_several_messages_say_at_once_is_one_call_and_each_hears_of_its_own() {
        let (bus, [a, b, bad]) = (Calls::default(), ["a", "b", "bad"].map(named));
        let together = Together::new(&bus, 3);
        let (of_one, of_another) = ([&a, &b], [&bad]);
        let (first, second) = tokio::join!(together.publish(&of_one), together.publish(&of_another));
        assert_eq!((first.len(), second.len()), (0, 1));
        assert_eq!(together.publish(&[&b]).await, []);
        assert_eq!(*bus.0.lock().unwrap(), [vec!["a", "b", "bad"], vec!["b"]]);
    }

    #[test]
    fn nobody_is_left_waiting_for_one_that_panicked() {
        let (bus, [a, b]) = (Calls::default(), ["a", "b"].map(named));
        let together = Together::new(&bus, 2);
        // Without a timer, whoever lingers panics.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (of_one, of_another) = ([&a], [&b]);
        runtime.block_on(async { tokio::join!(together.publish(&of_one), together.publish(&of_another)) });
        assert_eq!(*bus.0.lock().unwrap(), [["a"], ["b"]]);
    }

    fn event(bytes: usize) -> DomainEvent {
        DomainEvent { id: String::new(), detail_type: "invoice.paid".to_owned(), detail: "x".repeat(bytes) }
    }

    /// How many events each call holds.
    fn sizes(events: &[DomainEvent]) -> Vec<usize> {
        let events: Vec<_> = events.iter().collect();
        let calls = calls(&events);
        assert_eq!(calls.concat(), events, "every event once, in order");
        calls.into_iter().map(<[_]>::len).collect()
    }

    #[test]
    fn a_call_holds_ten_events() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![event(1); 1]), [1]);
        assert_eq!(sizes(&vec![event(1); 10]), [10]);
        assert_eq!(sizes(&vec![event(1); 23]), [10, 10, 3]);
    }

    #[test]
    fn a_call_holds_no_more_bytes_than_it_may() {
        assert_eq!(sizes(&vec![event(MAX_BYTES / 2); 5]), [2, 2, 1]);
        assert_eq!(sizes(&[event(1), event(MAX_BYTES), event(1)]), [1, 1, 1]);
        assert_eq!(sizes(&[event(MAX_BYTES + 1), event(MAX_BYTES + 1)]), [1, 1], "refused by the bus, not by us");
    }
}
