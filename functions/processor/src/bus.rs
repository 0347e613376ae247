//! Bus: where domain events are published. The port, and its adapter for EventBridge.

use std::future::Future;

use aws_sdk_eventbridge::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::PutEventsRequestEntry,
};

use crate::domain_event::{DomainEvent, SOURCE};

/// The most entries that one `PutEvents` takes.
const MAX_ENTRIES: usize = 10;

/// The most bytes that one `PutEvents` takes are 256 KB, with the names of source and type in them.
const MAX_BYTES: usize = 250 * 1024;

/// Where domain events are published.
pub trait Bus {
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
        let mut call: Vec<&DomainEvent> = Vec::new();
        let mut bytes = 0;
        for event in events {
            if call.len() == MAX_ENTRIES || (bytes + event.detail.len() > MAX_BYTES && !call.is_empty()) {
                rejected.extend(self.put(&call).await);
                call.clear();
                bytes = 0;
            }
            bytes += event.detail.len();
            call.push(event);
        }
        if !call.is_empty() {
            rejected.extend(self.put(&call).await);
        }
        rejected
    }
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
