//! Ledger: one item for each subject, and the protocol that applies every fact once.
//!
//! 1. Write the item as if nothing were known, on the condition that there is none. A fresh fact is done with that.
//! 2. Otherwise the refusal brings the item along: merge. Nothing new means nothing to write.
//! 3. News: replace the item on the condition that its version is the one that was merged with; after a lost race,
//!    merge with the winner's.
//! 4. Publish the domain events that the write stored, then clear them from the item.
//!
//! A crash before the write leaves nothing; one after it leaves events in the outbox, which the redelivered message
//! publishes under the same ids. A reply that was lost is resolved by looking: the item says which run wrote it.
//!
//! A fresh fact costs two writes and a publish; a duplicate or older news one refused write.

pub mod dynamo;
pub mod item;
pub mod state;

use std::future::Future;

use self::item::{Item, News, Step};
use crate::{bus::Bus, domain_event::DomainEvent};

/// How often a race may be lost before the message is handed back. Each loss means that another run made progress.
const MAX_RACES: usize = 5;

/// Where items are kept.
pub trait Ledger {
    /// Stores an item if there is none under its key.
    fn insert(&self, item: &Item) -> impl Future<Output = Result<Write, LedgerTrouble>> + Send;

    /// Stores an item if the one under its key still has the version.
    fn replace(&self, item: &Item, version: u64) -> impl Future<Output = Result<Write, LedgerTrouble>> + Send;

    /// Takes events that are published out of the item's outbox, and counts its version up.
    fn clear(&self, key: &str, events: &[&DomainEvent]) -> impl Future<Output = Result<(), LedgerTrouble>> + Send;
}

/// The result of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stored.
    Stored,
    /// Not stored: this is what is there.
    Found(Box<Item>),
    /// Not stored, and there is nothing: the item was deleted in between.
    Gone,
}

/// The ledger did not do what was asked, or is not known to have done it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerTrouble {
    /// Try again later.
    #[error("the ledger did not answer: {0}")]
    Transient(String),
    /// Trying again cannot help: park the message.
    #[error("the ledger refuses the item: {0}")]
    Permanent(String),
}

/// What became of a message in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// News, stored and published.
    Applied {
        /// How many domain events were published.
        events: usize,
        /// Whether an amount contradicts one that was known.
        conflict: bool,
    },
    /// The same fact again.
    Duplicate,
    /// An older fact.
    Stale,
}

/// The message is not dealt with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerTrouble),
    /// Not every event is known to be published. They wait in the outbox.
    #[error("{0} of the domain events could not be published: {1}")]
    Unpublished(usize, String),
    /// Another run wrote the same fact and may be publishing it. Come back when it is done or dead.
    #[error("another run may still be publishing this")]
    BeingPublished,
    /// Races were lost again and again.
    #[error("too many writers at once")]
    Contended,
}

/// Applies what a message says: once, whatever happens in between.
pub async fn record<L: Ledger, B: Bus>(ledger: &L, bus: &B, news: &News<'_>) -> Result<Recorded, NotRecorded> {
    let mut known: Option<Item> = None;
    for _ in 0..MAX_RACES {
        let next = match Item::step(known.as_ref(), news) {
            Step::Write(next) => *next,
            repeat => return settle(ledger, bus, news, known.as_ref(), &repeat).await,
        };
        let written = match &known {
            None => ledger.insert(&next).await?,
            Some(item) => ledger.replace(&next, item.version).await?,
        };
        match written {
            Write::Stored => return publish(ledger, bus, news, &next).await,
            Write::Found(item) if news.wrote(&item) => return publish(ledger, bus, news, &item).await,
            Write::Found(item) => known = Some(*item),
            Write::Gone => known = None,
        }
    }
    Err(NotRecorded::Contended)
}

/// Publishes what a run has written.
async fn publish<L: Ledger, B: Bus>(
    ledger: &L,
    bus: &B,
    news: &News<'_>,
    item: &Item,
) -> Result<Recorded, NotRecorded> {
    let events = item.publishable(news);
    flush(ledger, bus, &item.key, &events).await?;
    let conflict = item.history.last().is_some_and(|entry| entry.conflict && entry.delivery == news.delivery.id);
    Ok(Recorded::Applied { events: events.len(), conflict })
}

/// Ends a message that brings no news, unless events of the fact it repeats are not out yet.
async fn settle<L: Ledger, B: Bus>(
    ledger: &L,
    bus: &B,
    news: &News<'_>,
    item: Option<&Item>,
    repeat: &Step,
) -> Result<Recorded, NotRecorded> {
    if let Some(item) = item {
        let abandoned = item.publishable(news);
        if abandoned.len() < item.outbox.len() {
            return Err(NotRecorded::BeingPublished);
        }
        flush(ledger, bus, &item.key, &abandoned).await?;
    }
    Ok(if *repeat == Step::Stale { Recorded::Stale } else { Recorded::Duplicate })
}

/// Publishes events, then clears those that are out. What is not out stays in the outbox.
async fn flush<L: Ledger, B: Bus>(ledger: &L, bus: &B, key: &str, events: &[&DomainEvent]) -> Result<(), NotRecorded> {
    if events.is_empty() {
        return Ok(());
    }
    let rejected = bus.publish(events).await;
    let (kept, out): (Vec<_>, Vec<_>) = events.iter().partition(|event| rejected.iter().any(|r| r.id == event.id));
    if !out.is_empty() {
        ledger.clear(key, &out).await?;
    }
    match rejected.into_iter().next() {
        Some(first) => Err(NotRecorded::Unpublished(kept.len(), first.reason)),
        None => Ok(()),
    }
}
