//! Flaw: bugs that the functions could have, as their ports would see them. They test the judge, which has to notice each.

use std::{borrow::Cow, time::Duration};

use jiff::SignedDuration;
use ledger::{
    bus::{Bus, PublishError},
    item::Item,
    key::Key,
    store::{Ledger, StoreError, Write},
};
use processor::{
    message::Message,
    source::{Source, SourceError},
};
use receiver::queue::{NotStored, Queue};
use serde_json::Value;
use shared::{domain_event::DomainEvent, envelope::Envelope};

use super::ports::Ports;

/// A bug of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The receiver accepts every token.
    TokenNotChecked,
    /// The receiver parses a body and writes it anew.
    BodyRewritten,
    /// The receiver acknowledges what the queue did not store.
    EnqueueErrorIgnored,
    /// A subject's key contains the delivery, so that nothing is merged.
    KeyOfTheDelivery,
    /// The last writer wins.
    VersionIgnored,
    /// The processor publishes without waiting for the write.
    WriteNotAwaited,
    /// The outbox is cleared as soon as it is written.
    ClearedBeforePublished,
    /// Items expire, so that an old webhook is news.
    ForgottenAfterAMonth,
    /// Money that a later stage implies has no event.
    ImpliedMoneyNotPublished,
    /// Events that the bus rejects or refuses count as published.
    RejectionIgnored,
    /// A consumer reads another id in each publication.
    IdPerPublication,
    /// A message counts as parked although the dead-letter queue does not have it.
    ParkingErrorIgnored,
    /// What cannot be processed is dropped.
    NotParked,
    /// What cannot be processed is retried without an end.
    NeverParked,
    /// The response names no message to retry.
    WholeBatchSucceeds,
}

/// The ports of functions that may have a flaw.
#[derive(Clone)]
pub(super) struct Flawed {
    /// The ports without it.
    pub(super) ports: Ports,
    /// The flaw.
    pub(super) flaw: Option<Flaw>,
}

impl Flawed {
    /// The item to write.
    fn flawed<'a>(&self, item: &'a Item) -> Cow<'a, Item> {
        let mut item = Cow::Borrowed(item);
        match self.flaw {
            Some(Flaw::KeyOfTheDelivery) => {
                let key = format!("{}-{}", item.key, item.history[0].delivery);
                item.to_mut().key = key.into();
            }
            Some(Flaw::ImpliedMoneyNotPublished) => item.to_mut().outbox.retain(|_, it| it.stage.is_none()),
            Some(Flaw::ForgottenAfterAMonth) => self.ports.world.with(|state| {
                let month = SignedDuration::from_hours(30 * 24);
                let is_young = |item: &Item| state.now.duration_since(item.history[0].received_at) < month;
                state.table.items.retain(|_, item| is_young(item));
            }),
            _ => {}
        }
        item
    }

    async fn written(&self, item: &Item, write: Result<Write, StoreError>) -> Result<Write, StoreError> {
        if self.flaw == Some(Flaw::ClearedBeforePublished) && matches!(write, Ok(Write::Stored)) {
            let events: Vec<_> = item.outbox.keys().cloned().collect();
            self.ports.clear(&item.key, &events).await?;
        }
        write
    }
}

impl Queue for Flawed {
    async fn enqueue(&self, envelope: &Envelope) -> Result<(), NotStored> {
        match self.flaw {
            Some(Flaw::BodyRewritten) => {
                let body = serde_json::from_slice(&envelope.body).map(|body: Value| body.to_string().into_bytes());
                let body = body.unwrap_or_else(|_| envelope.body.clone());
                self.ports.enqueue(&Envelope { body, ..envelope.clone() }).await
            }
            Some(Flaw::EnqueueErrorIgnored) => self.ports.enqueue(envelope).await.or(Ok(())),
            _ => self.ports.enqueue(envelope).await,
        }
    }
}

impl Ledger for Flawed {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.ports.get(key).await
    }

    async fn insert(&self, item: &Item) -> Result<Write, StoreError> {
        let item = self.flawed(item);
        if self.flaw == Some(Flaw::WriteNotAwaited) {
            let (ports, item) = (self.ports.clone(), item.into_owned());
            tokio::spawn(async move { ports.insert(&item).await });
            return Ok(Write::Stored);
        }
        self.written(&item, self.ports.insert(&item).await).await
    }

    async fn replace(&self, item: &Item, mut version: u64) -> Result<Write, StoreError> {
        let item = self.flawed(item);
        if self.flaw == Some(Flaw::VersionIgnored) {
            version = self.ports.get(&item.key).await?.map_or(version, |found| found.version);
        }
        self.written(&item, self.ports.replace(&item, version).await).await
    }

    async fn clear(&self, key: &Key, events: &[String]) -> Result<(), StoreError> {
        self.ports.clear(key, events).await
    }
}

impl Bus for Flawed {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        let Self { ports, flaw } = self;
        match flaw {
            Some(Flaw::RejectionIgnored) => ports.publish(events).await.into_iter().map(|_| Ok(())).collect(),
            Some(Flaw::IdPerPublication) => {
                let now = ports.world.now().as_nanosecond();
                let detail = |event: &DomainEvent| event.detail.replace(&event.id, &format!("{}-{now}", event.id));
                let events: Vec<_> =
                    events.iter().map(|event| DomainEvent { detail: detail(event), ..(*event).clone() }).collect();
                ports.publish(&events.iter().collect::<Vec<_>>()).await
            }
            Some(Flaw::ImpliedMoneyNotPublished) => {
                let mut results = Vec::new();
                for event in events {
                    let is_written = |item: &Item| item.outbox.contains_key(&event.id);
                    if ports.world.with(|state| state.table.items.values().any(is_written)) {
                        results.extend(ports.publish(&[event]).await);
                    } else {
                        results.push(Ok(()));
                    }
                }
                results
            }
            _ => ports.publish(events).await,
        }
    }
}

impl Source for Flawed {
    async fn postpone(&self, message: &Message, delay: Duration) -> Result<(), SourceError> {
        self.ports.postpone(message, delay).await
    }

    async fn park(&self, message: &Message, reason: &str) -> Result<(), SourceError> {
        match self.flaw {
            Some(Flaw::NotParked) => Ok(()),
            Some(Flaw::NeverParked) => Err(SourceError(String::new())),
            Some(Flaw::ParkingErrorIgnored) => self.ports.park(message, reason).await.or(Ok(())),
            _ => self.ports.park(message, reason).await,
        }
    }
}
