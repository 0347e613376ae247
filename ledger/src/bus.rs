//! Bus: the port to where domain events are published.

use std::future::Future;

use shared::domain_event::DomainEvent;

/// Where domain events are published.
pub trait Bus {
    /// Publishes events. One result for each, in their order.
    fn publish(&self, events: &[&DomainEvent]) -> impl Future<Output = Vec<Result<(), PublishError>>> + Send;
}

/// The event may not have been published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Retry later.
    #[error("{0}")]
    Transient(String),
    /// The bus will never accept this event as it is.
    #[error("{0}")]
    Permanent(String),
}
