//! Record: applies updates, each once, whatever happens in between.
//!
//! Three phases for all updates together:
//!
//! 1. **Write.** Put each subject's item as if nothing were known, on the condition that there is none; a fresh fact is done
//!    with that. Otherwise the refusal brings the item along: merge, and replace it on the condition that its version is
//!    the one that was merged with. After a lost race, merge with the winner's. The write stores what there is to publish.
//! 2. **Publish** the events of all, ten to a call. One that the bus refuses for good goes out without its body.
//! 3. **Clear** from each item what is out.
//!
//! A crash before a write leaves nothing. One after it leaves events in the item's outbox, each in the name of the delivery
//! that made the change: when that delivery comes back, it publishes them under the same ids, to the byte. Nobody else
//! does, so nobody waits. A reply that was lost is no case of its own: the next try finds the change made, and its events
//! in the outbox.
//!
//! A fresh fact costs two writes and a publish; a duplicate or an older fact one refused write.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures_util::{FutureExt as _, future::join_all};
use shared::domain_event::DomainEvent;

use crate::{
    bus::{Bus, Refusal},
    detail::{self, Body},
    item::{Item, NotApplied, Step},
    key::Key,
    store::{Ledger, StoreError, Write},
    update::Update,
};

/// How many writes a subject may take. Each further one means that another writer made progress in between.
pub const MAX_WRITES: u32 = 5;

/// The most calls, one after the other, that recording takes: a read, the writes, two publications, a clearing.
pub const MAX_CALLS: u32 = 1 + MAX_WRITES + 2 + 1;

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

/// An update is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The update may not be applied, or not now.
    #[error(transparent)]
    NotApplied(#[from] NotApplied),
    /// Not every event is known to be published. The rest waits in the outbox for the delivery to come back.
    #[error("{0} of the domain events could not be published: {1}")]
    Unpublished(usize, Refusal),
    /// Races were lost again and again.
    #[error("too many writers at once")]
    Contended,
    /// A bug.
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

/// An event on its way.
struct Outgoing {
    /// Whose it is: a place in the list of updates.
    of: usize,
    event: DomainEvent,
    body: Body,
    result: Result<(), NotPublished>,
}

/// An event is not known to be published.
#[derive(Clone, Debug)]
enum NotPublished {
    Refused(Refusal),
    Panicked,
}

/// Applies updates. One result for each, in their order; one that fails, or panics, touches no other.
pub async fn record<L: Ledger, B: Bus>(ledger: &L, bus: &B, updates: &[Update]) -> Vec<Result<Recorded, NotRecorded>> {
    let written = write_all(ledger, updates).await;
    let outgoing = publish_all(bus, updates, &written).await;
    let cleared = clear_all(ledger, &written, &outgoing).await;
    let results = written.into_iter().zip(cleared).zip(updates).enumerate();
    results
        .map(|(of, ((written, cleared), update))| {
            let conflict = written.as_ref().is_ok_and(|written| written.item.is_conflict_of(&update.delivery.id));
            conclude(written?.recorded, conflict, cleared, outgoing.iter().filter(|it| it.of == of))
        })
        .collect()
}

// --- Write ---

/// Writes the items of different subjects at the same time, and each subject's once for all of its updates.
async fn write_all<L: Ledger>(ledger: &L, updates: &[Update]) -> Vec<Result<Written, NotRecorded>> {
    let mut subjects: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (of, update) in updates.iter().enumerate() {
        subjects.entry(update.key()).or_default().push(of);
    }
    let written = join_all(subjects.iter().map(async |(key, places)| {
        let updates: Vec<_> = places.iter().filter_map(|of| updates.get(*of)).collect();
        let written = AssertUnwindSafe(write(ledger, key, &updates)).catch_unwind().await;
        written.unwrap_or_else(|_| all(&updates, &NotRecorded::Panicked))
    }))
    .await;
    let mut results: Vec<_> = subjects.into_values().flatten().zip(written.into_iter().flatten()).collect();
    results.sort_unstable_by_key(|(of, _)| *of);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Writes the updates of one subject.
async fn write<L: Ledger>(ledger: &L, key: &Key, updates: &[&Update]) -> Vec<Result<Written, NotRecorded>> {
    // A further stage most likely finds its subject. Reading costs less than a write that is refused.
    let mut known = None;
    if updates.iter().any(|update| update.observation.stage.usually_follows()) {
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

/// What updates, one after the other, make of what is known, and what each of them did.
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

async fn publish_all<B: Bus>(bus: &B, updates: &[Update], written: &[Result<Written, NotRecorded>]) -> Vec<Outgoing> {
    let mut outgoing = Vec::new();
    for (of, (update, written)) in updates.iter().zip(written).enumerate() {
        let Ok(Written { item, .. }) = written else { continue };
        for (id, pending) in item.pending_of(&update.delivery.id) {
            // One delivery may have come in two messages at once.
            if outgoing.iter().any(|it: &Outgoing| it.event.id == id) {
                continue;
            }
            let event = detail::event(item, id, pending, update, Body::Included);
            outgoing.push(Outgoing { of, event, body: Body::Included, result: Ok(()) });
        }
    }
    publish(bus, &mut outgoing.iter_mut().collect::<Vec<_>>()).await;
    let mut refused: Vec<_> = outgoing
        .iter_mut()
        .filter(|it| matches!(it.result, Err(NotPublished::Refused(Refusal::Permanent(_)))))
        .collect();
    for it in &mut refused {
        let Some((update, Ok(Written { item, .. }))) = updates.get(it.of).zip(written.get(it.of)) else { continue };
        let Some(pending) = item.outbox.get(&it.event.id) else { continue };
        it.event = detail::event(item, &it.event.id, pending, update, Body::Refused);
        it.body = Body::Refused;
    }
    publish(bus, &mut refused).await;
    outgoing
}

/// Publishes events together, and each apart when the code panics on them: then it shows on which.
async fn publish<B: Bus>(bus: &B, outgoing: &mut [&mut Outgoing]) {
    if outgoing.is_empty() {
        return;
    }
    let events: Vec<_> = outgoing.iter().map(|it| &it.event).collect();
    let together = try_to_publish(bus, &events).await;
    let alone = events.iter().filter(|_| together.is_none()).map(async |event| try_to_publish(bus, &[event]).await);
    let alone = join_all(alone).await.into_iter().flat_map(|it| it.unwrap_or(vec![Err(NotPublished::Panicked)]));
    let results: Vec<_> = together.into_iter().flatten().chain(alone).collect();
    for (it, result) in outgoing.iter_mut().zip(results) {
        it.result = result;
    }
}

/// One result for each event. `None`: the code panicked.
async fn try_to_publish<B: Bus>(bus: &B, events: &[&DomainEvent]) -> Option<Vec<Result<(), NotPublished>>> {
    let mut results = AssertUnwindSafe(bus.publish(events)).catch_unwind().await.ok()?;
    results.resize(events.len(), Err(Refusal::Passing("no result".to_owned())));
    Some(results.into_iter().map(|result| result.map_err(NotPublished::Refused)).collect())
}

// --- Clear ---

/// Takes what is out of each item's outbox. `Ok` where there was nothing to take.
async fn clear_all<L: Ledger>(
    ledger: &L,
    written: &[Result<Written, NotRecorded>],
    outgoing: &[Outgoing],
) -> Vec<Result<(), NotRecorded>> {
    join_all(written.iter().enumerate().map(async |(of, written)| {
        let Ok(Written { item, .. }) = written else { return Ok(()) };
        let out = outgoing.iter().filter(|it| it.of == of && it.result.is_ok());
        let out: Vec<_> = out.map(|it| it.event.id.clone()).collect();
        if out.is_empty() {
            return Ok(());
        }
        let clearing = AssertUnwindSafe(ledger.clear(&item.key, &out)).catch_unwind().await;
        clearing.map_err(|_| NotRecorded::Panicked)?.map_err(NotRecorded::from)
    }))
    .await
}

/// What became of one update.
fn conclude<'a>(
    recorded: Recorded,
    conflict: bool,
    cleared: Result<(), NotRecorded>,
    outgoing: impl Iterator<Item = &'a Outgoing>,
) -> Result<Recorded, NotRecorded> {
    cleared?;
    let (mut events, mut without_body, mut waiting) = (0, 0, Vec::new());
    for it in outgoing {
        match &it.result {
            Ok(()) => events += 1,
            Err(NotPublished::Refused(refusal)) => waiting.push(refusal.clone()),
            Err(NotPublished::Panicked) => return Err(NotRecorded::Panicked),
        }
        without_body += usize::from(it.body == Body::Refused && it.result.is_ok());
    }
    match (waiting.first(), recorded) {
        (Some(first), _) => Err(NotRecorded::Unpublished(waiting.len(), first.clone())),
        (None, Recorded::Duplicate | Recorded::Stale) if events == 0 => Ok(recorded),
        // Applied now, or by an earlier try whose reply was lost or whose function died.
        (None, _) => Ok(Recorded::Applied { events, without_body, conflict }),
    }
}
