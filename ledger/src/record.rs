//! Record: applies each update exactly once, across crashes.
//!
//! Three phases for all updates together:
//!
//! 1. **Write.** Put each subject's item on the condition that there is none. If there is one, the refusal returns it: merge,
//!    and replace it on the condition that its version is unchanged; after a lost race, merge again. The write stores what
//!    there is to publish.
//! 2. **Publish** the events of all, ten to a call. One that the bus refuses permanently is published without its body.
//! 3. **Clear** the published events from each item.
//!
//! A crash before a write leaves nothing. One after it leaves events in the outbox, under the id of the delivery that made
//! the change. When that message is redelivered, it publishes them with the same ids and bytes. Other deliveries leave them
//! alone while that message may live (`item`), so that a duplicate waits for nothing. A lost reply needs no special case:
//! the next try finds the change and its events.
//!
//! A fresh fact costs two writes and a publish; a duplicate or an older fact one refused write.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use jiff::{SignedDuration, Timestamp};
use shared::domain_event::DomainEvent;

use crate::{
    bus::{Bus, PublishError},
    detail::{self, Body},
    item::{Item, NotApplied, Step},
    key::Key,
    store::{Ledger, StoreError, Write},
    update::Update,
};

/// How many writes a subject may take. Each further one means that another writer made progress in between.
pub const MAX_WRITES: u32 = 4;

/// The most calls, one after the other, that recording takes: a read, the writes, two publications, a clearing. A publication
/// that is refused as a whole is tried once more, event by event.
pub const MAX_CALLS: u32 = 1 + MAX_WRITES + 2 * 2 + 1;

/// The largest batch that Lambda hands over without a waiting time, so that each of its subjects is written at once. In a larger
/// batch, more connections at a time would cost more CPU time than they save.
const CALLS_AT_A_TIME: usize = 10;

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is stored, and everything it has to say is published.
    Applied {
        /// How many events were published.
        events: usize,
        /// How many of them without their body, because the bus refused it.
        without_body: usize,
        /// Whether it contradicts what was known.
        conflict: bool,
    },
    /// The same fact again.
    Duplicate,
    /// An older fact.
    Stale,
}

/// How long the phases took, for all updates together.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// To write.
    pub apply: SignedDuration,
    /// To publish.
    pub publish: SignedDuration,
}

/// The update was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The update may not be applied, or not now.
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
    /// Some events may not have been published. They wait in the outbox for the message's redelivery.
    #[error("{0} of the domain events could not be published: {1}")]
    Unpublished(usize, PublishError),
    /// Other writers were faster each time.
    #[error("too many concurrent writers")]
    Contended,
    /// A bug: the code panicked.
    #[error("a bug: the code panicked on this message")]
    Panicked,
}

/// An update after its write.
struct Written {
    /// The item, as it is stored.
    item: Arc<Item>,
    /// What the write did, as far as it is known.
    recorded: Recorded,
}

/// An event to publish, with its result.
struct Outgoing {
    update_index: usize,
    event: DomainEvent,
    body: Body,
    result: Result<(), NotPublished>,
}

/// An event may not have been published.
#[derive(Clone, Debug)]
enum NotPublished {
    NotTried,
    Refused(PublishError),
    Panicked,
}

/// Applies updates. One result for each, in their order; one that fails, or panics, affects no other.
pub async fn record<L: Ledger, B: Bus>(
    ledger: &L,
    bus: &B,
    updates: &[Update],
    clock: impl Fn() -> Timestamp,
) -> (Vec<Result<Recorded, NotRecorded>>, Took) {
    let began = clock();
    let mut written = write_all(ledger, updates).await;
    let wrote = clock();
    let mut outgoing = events_of_all(updates, &mut written);
    publish_all(bus, updates, &written, &mut outgoing).await;
    let took = Took { apply: wrote.duration_since(began), publish: clock().duration_since(wrote) };
    let cleared = clear_all(ledger, &written, &outgoing).await;
    let results = written.into_iter().zip(updates).enumerate();
    let results = results
        .map(|(index, (written, update))| {
            let written = written?;
            let conflict = written.item.is_conflict_of(&update.delivery.id);
            // One delivery may be in several messages. None of them is done before its events are published and cleared,
            // whichever of them did it.
            let pending = written.item.pending_of(&update.delivery);
            let own = outgoing.iter().filter(|it| pending.iter().any(|(id, _)| *id == it.event.id));
            for it in own.clone() {
                cleared.get(it.update_index).cloned().unwrap_or(Ok(()))?;
            }
            conclude(written.recorded, conflict, index, own)
        })
        .collect();
    (results, took)
}

// --- Write ---

/// Writes subjects concurrently, each once for all its updates.
async fn write_all<L: Ledger>(ledger: &L, updates: &[Update]) -> Vec<Result<Written, NotRecorded>> {
    let mut subjects: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (index, update) in updates.iter().enumerate() {
        subjects.entry(update.key()).or_default().push(index);
    }
    let written = stream::iter(subjects.iter().map(async |(key, indexes)| {
        let updates: Vec<_> = indexes.iter().filter_map(|index| updates.get(*index)).collect();
        let written = AssertUnwindSafe(write(ledger, key, &updates)).catch_unwind().await;
        written.unwrap_or_else(|_| all(&updates, &NotRecorded::Panicked))
    }));
    let written: Vec<_> = written.buffered(CALLS_AT_A_TIME).collect().await;
    let mut results: Vec<_> = subjects.into_values().flatten().zip(written.into_iter().flatten()).collect();
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Writes the updates of one subject.
async fn write<L: Ledger>(ledger: &L, key: &Key, updates: &[&Update]) -> Vec<Result<Written, NotRecorded>> {
    // A further stage most likely finds its subject. Reading costs less than a write that is refused.
    let mut known = None;
    if updates.iter().any(|update| update.observation.stage.usually_has_predecessor()) {
        known = match ledger.get(key).await {
            Ok(found) => found,
            Err(error) => return all(updates, &error.into()),
        };
    }
    for _ in 0..MAX_WRITES {
        let (next, results) = merge(known.as_ref(), updates);
        let write = match (&known, &next) {
            (_, None) => return finish(known, results),
            (None, Some(next)) => ledger.insert(next).await,
            (Some(item), Some(next)) if item.version == next.version => return finish(known, results),
            (Some(item), Some(next)) => ledger.replace(next, item.version).await,
        };
        known = match write {
            Ok(Write::Stored) => return finish(next, results),
            Ok(Write::Found(item)) => Some(*item),
            Ok(Write::Gone) => None,
            Err(error) => return all(updates, &error.into()),
        };
    }
    all(updates, &NotRecorded::Contended)
}

/// Applies updates in order, and says what each did.
fn merge(known: Option<&Item>, updates: &[&Update]) -> (Option<Item>, Vec<Result<Recorded, NotRecorded>>) {
    let mut item = known.cloned();
    let mut results = Vec::new();
    for update in updates {
        let step = catch_unwind(AssertUnwindSafe(|| Item::step(item.as_ref(), update)));
        results.push(match step {
            Ok(Ok(Step::Write(next))) => {
                item = Some(*next);
                Ok(Recorded::Applied { events: 0, without_body: 0, conflict: false })
            }
            Ok(Ok(Step::Duplicate)) => Ok(Recorded::Duplicate),
            Ok(Ok(Step::Stale)) => Ok(Recorded::Stale),
            Ok(Err(reason)) => Err(reason.into()),
            Err(_) => Err(NotRecorded::Panicked),
        });
    }
    (item, results)
}

fn finish(item: Option<Item>, results: Vec<Result<Recorded, NotRecorded>>) -> Vec<Result<Written, NotRecorded>> {
    let item = item.map(Arc::new);
    let written = |recorded| item.clone().map(|item| Written { item, recorded }).ok_or(NotRecorded::Contended);
    results.into_iter().map(|result| result.and_then(written)).collect()
}

fn all(updates: &[&Update], reason: &NotRecorded) -> Vec<Result<Written, NotRecorded>> {
    updates.iter().map(|_| Err(reason.clone())).collect()
}

// --- Publish ---

/// The events of all updates, each once: one delivery may be in two messages.
fn events_of_all(updates: &[Update], written: &mut [Result<Written, NotRecorded>]) -> Vec<Outgoing> {
    let mut outgoing: Vec<Outgoing> = Vec::new();
    for (index, (update, written)) in updates.iter().zip(written).enumerate() {
        let Ok(Written { item, .. }) = written else { continue };
        match catch_unwind(AssertUnwindSafe(|| events_of(item, update))) {
            Ok(events) => {
                for event in events {
                    if outgoing.iter().all(|it| it.event.id != event.id) {
                        outgoing.push(Outgoing {
                            update_index: index,
                            event,
                            body: Body::Included,
                            result: Err(NotPublished::NotTried),
                        });
                    }
                }
            }
            Err(_) => *written = Err(NotRecorded::Panicked),
        }
    }
    outgoing
}

fn events_of(item: &Item, update: &Update) -> Vec<DomainEvent> {
    let pending = item.pending_of(&update.delivery);
    pending.into_iter().map(|(id, pending)| detail::event(item, id, pending, update, Body::Included)).collect()
}

async fn publish_all<B: Bus>(
    bus: &B,
    updates: &[Update],
    written: &[Result<Written, NotRecorded>],
    outgoing: &mut [Outgoing],
) {
    publish(bus, &mut outgoing.iter_mut().collect::<Vec<_>>()).await;
    let is_refused = |it: &&mut Outgoing| matches!(it.result, Err(NotPublished::Refused(PublishError::Permanent(_))));
    let mut refused: Vec<_> = outgoing.iter_mut().filter(is_refused).collect();
    for it in &mut refused {
        let Some((update, Ok(Written { item, .. }))) = updates.get(it.update_index).zip(written.get(it.update_index))
        else {
            continue;
        };
        let Some(pending) = item.outbox.get(&it.event.id) else { continue };
        it.event = detail::event(item, &it.event.id, pending, update, Body::Refused);
        it.body = Body::Refused;
    }
    publish(bus, &mut refused).await;
}

/// Publishes events together; if that panics, one by one, to find the one it panics on.
async fn publish<B: Bus>(bus: &B, outgoing: &mut [&mut Outgoing]) {
    if outgoing.is_empty() {
        return;
    }
    let events: Vec<_> = outgoing.iter().map(|it| &it.event).collect();
    let results = if let Some(results) = try_to_publish(bus, &events).await {
        results
    } else {
        let alone = join_all(events.iter().map(async |event| try_to_publish(bus, &[event]).await)).await;
        alone.into_iter().flat_map(|it| it.unwrap_or(vec![Err(NotPublished::Panicked)])).collect()
    };
    for (it, result) in outgoing.iter_mut().zip(results) {
        it.result = result;
    }
}

/// One result for each event. `None`: the code panicked.
async fn try_to_publish<B: Bus>(bus: &B, events: &[&DomainEvent]) -> Option<Vec<Result<(), NotPublished>>> {
    let mut results = AssertUnwindSafe(bus.publish(events)).catch_unwind().await.ok()?;
    results.resize(events.len(), Err(PublishError::Transient("no result".to_owned())));
    Some(results.into_iter().map(|result| result.map_err(NotPublished::Refused)).collect())
}

// --- Clear ---

/// Removes published events from each item's outbox. `Ok` if there were none.
async fn clear_all<L: Ledger>(
    ledger: &L,
    written: &[Result<Written, NotRecorded>],
    outgoing: &[Outgoing],
) -> Vec<Result<(), NotRecorded>> {
    stream::iter(written.iter().enumerate().map(async |(index, written)| {
        let Ok(Written { item, .. }) = written else { return Ok(()) };
        let out = outgoing.iter().filter(|it| it.update_index == index && it.result.is_ok());
        let out: Vec<_> = out.map(|it| it.event.id.clone()).collect();
        if out.is_empty() {
            return Ok(());
        }
        let clearing = AssertUnwindSafe(ledger.clear(&item.key, &out)).catch_unwind().await;
        clearing.map_err(|_| NotRecorded::Panicked)?.map_err(NotRecorded::from)
    }))
    .buffered(CALLS_AT_A_TIME)
    .collect()
    .await
}

/// What became of one update. Events that another message of the same delivery published are not counted here.
fn conclude<'a>(
    recorded: Recorded,
    conflict: bool,
    index: usize,
    outgoing: impl Iterator<Item = &'a Outgoing>,
) -> Result<Recorded, NotRecorded> {
    let (mut events, mut without_body, mut waiting) = (0, 0, Vec::new());
    for it in outgoing {
        match &it.result {
            Ok(()) => events += usize::from(it.update_index == index),
            Err(NotPublished::Refused(refusal)) => waiting.push(refusal.clone()),
            Err(NotPublished::Panicked | NotPublished::NotTried) => return Err(NotRecorded::Panicked),
        }
        without_body += usize::from(it.update_index == index && it.body == Body::Refused && it.result.is_ok());
    }
    // One transient refusal is reason enough to retry: the message is parked only if all are permanent.
    let transient = waiting.iter().find(|refusal| matches!(refusal, PublishError::Transient(_)));
    match (transient.or(waiting.first()), recorded) {
        (Some(reason), _) => Err(NotRecorded::Unpublished(waiting.len(), reason.clone())),
        (None, Recorded::Duplicate | Recorded::Stale) if events == 0 && !conflict => Ok(recorded),
        // Applied now, or by an earlier try whose reply was lost or whose function died.
        (None, _) => Ok(Recorded::Applied { events, without_body, conflict }),
    }
}

#[cfg(test)]
mod tests;
