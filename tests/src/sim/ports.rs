//! Ports: the functions' ports to the simulated AWS. A call may be lost, take effect late, be refused, or lose its reply,
//! and its caller may die. Calls are retried as the SDK retries them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    bus::{Bus, PublishError},
    item::Item,
    key::Key,
    store::{Ledger, StoreError, Write},
};
use processor::{
    failure::CALL_LIMITS,
    inbox::{NotFetched, ObjectRef},
    message::Message,
    source::{Source, SourceError},
};
use receiver::{
    inbox::KEEP_BUDGET,
    queue::{NotStored, Queue, SEND_BUDGET},
};
use shared::{domain_event::DomainEvent, envelope::Envelope};
use tokio::sync::Notify;

use super::{
    plan::{Fault, Service},
    world::{State, World},
};
use crate::xendit::{REFUSED_BY_THE_BUS, TOO_LARGE};

/// One sandbox of a function.
pub(super) struct Sandbox {
    name: String,
    death: Notify,
    /// How far its clock is off, in nanoseconds. No two sandboxes read the same time.
    skew: AtomicI64,
    has_dead_connection: AtomicBool,
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Sandbox {
    /// Creates a sandbox.
    pub(super) fn new(world: &World, function: &str) -> Arc<Self> {
        let (id, skew) = world.with(|state| (state.next_id(), skew(state)));
        Arc::new(Self {
            name: format!("{function}-{id}"),
            death: Notify::new(),
            skew: AtomicI64::new(skew + i64::from(id)),
            has_dead_connection: AtomicBool::new(false),
        })
    }

    /// Reads its clock.
    pub(super) fn clock(&self, world: &World) -> Timestamp {
        world.now() + SignedDuration::from_nanos(self.skew.load(Ordering::Relaxed))
    }

    /// Thaws it. Its connections may have died while it was frozen.
    pub(super) fn thaw(&self, world: &World) {
        let dead = world.draws(Fault::ConnectionDead, self);
        self.has_dead_connection.store(dead, Ordering::Relaxed);
    }

    /// Waits until it dies.
    pub(super) async fn death(&self) {
        self.death.notified().await;
    }

    fn kill(&self) {
        self.death.notify_one();
    }
}

fn skew(state: &mut State) -> i64 {
    let ms = if state.plan.skewed { state.rng.i64(-5 * 60_000..=5 * 60_000) } else { 0 };
    ms * 1_000_000
}

/// The SDK's limits as the functions set them: attempts, milliseconds for each, and the time for all.
struct Limits(u32, u64, Duration);

impl Service {
    fn limits(self) -> Limits {
        match self {
            Self::Queue => Limits(3, 1_000, SEND_BUDGET),
            Self::Bucket => Limits(2, 1_200, KEEP_BUDGET),
            Self::Table | Self::Bus | Self::Source => {
                let attempt = u64::try_from(CALL_LIMITS.attempt.as_millis()).unwrap();
                Limits(CALL_LIMITS.attempts, attempt, CALL_LIMITS.total)
            }
        }
    }
}

/// The ports of one sandbox.
#[derive(Clone)]
pub(super) struct Ports {
    /// The world.
    pub(super) world: World,
    /// The sandbox.
    pub(super) sandbox: Arc<Sandbox>,
}

/// There was no reply. The call may have taken effect, or still may.
struct NoReply;

/// The fate of one attempt.
enum Fate {
    Answered,
    Refused,
    RequestLost,
    ReplyLost,
    Late,
}

impl Ports {
    /// A point at which the sandbox may die, or its clock step.
    async fn step(&self) {
        let killed = self.world.with(|state| {
            if state.draws(Fault::ClockStepped, &self.sandbox) {
                let offset = skew(state) + self.sandbox.skew.load(Ordering::Relaxed) % 1000;
                self.sandbox.skew.store(offset, Ordering::Relaxed);
            }
            // An invocation has many steps.
            state.rng.u32(..4) == 0 && state.draws(Fault::Killed, &self.sandbox)
        });
        if killed {
            self.die().await;
        }
    }

    /// Kills the sandbox. Code after this never runs.
    async fn die(&self) {
        self.sandbox.kill();
        std::future::pending::<()>().await;
    }

    /// Calls a service, with the SDK's retries.
    async fn call<T: Send + 'static>(
        &self,
        service: Service,
        name: &str,
        effect: impl Fn(&mut State) -> T + Send + Sync + 'static,
    ) -> Result<T, NoReply> {
        let Limits(tries, timeout, total) = service.limits();
        let effect = Arc::new(effect);
        let work = async {
            for n in 0..tries {
                self.step().await;
                match self.fate(service, name) {
                    Fate::Answered => {
                        self.world.pause(1, 15).await;
                        let result = self.world.with(|state| effect(state));
                        self.step().await;
                        self.world.pause(1, 15).await;
                        self.step().await;
                        return Ok(result);
                    }
                    Fate::Refused => self.world.pause(5, 50).await,
                    Fate::RequestLost => self.world.pause(timeout, timeout).await,
                    Fate::ReplyLost => {
                        self.world.pause(1, 15).await;
                        self.world.with(|state| drop(effect(state)));
                        // The connection is reset, or stays silent until the timeout.
                        self.world.pause(10, timeout).await;
                    }
                    Fate::Late => {
                        let (world, effect) = (self.world.clone(), Arc::clone(&effect));
                        let (name, sandbox) = (name.to_owned(), Arc::clone(&self.sandbox));
                        tokio::spawn(async move {
                            world.pause(timeout, 4 * timeout).await;
                            world.note(&sandbox, || format!("{name} takes effect late"));
                            world.with(|state| drop(effect(state)));
                        });
                        self.world.pause(timeout, timeout).await;
                    }
                }
                self.world.pause(20, 100 << n).await;
            }
            Err(NoReply)
        };
        let result = tokio::time::timeout(total, work).await.unwrap_or(Err(NoReply));
        if result.is_err() {
            self.world.note(&self.sandbox, || format!("gives up {name}"));
        }
        result
    }

    fn fate(&self, service: Service, name: &str) -> Fate {
        self.world.with(|state| {
            state.note(&self.sandbox, || name.to_owned());
            if self.sandbox.has_dead_connection.swap(false, Ordering::Relaxed) {
                return Fate::Refused;
            }
            if state.is_down(service) {
                state.count(Fault::Outage, &self.sandbox);
                return if state.rng.bool() { Fate::Refused } else { Fate::RequestLost };
            }
            let fates = [
                (Fault::Refused, Fate::Refused),
                (Fault::RequestLost, Fate::RequestLost),
                (Fault::ReplyLost, Fate::ReplyLost),
                (Fault::TakesEffectLate, Fate::Late),
            ];
            fates
                .into_iter()
                .find_map(|(fault, fate)| state.draws(fault, &self.sandbox).then_some(fate))
                .unwrap_or(Fate::Answered)
        })
    }

    /// Triggers the simulated bug of a subject, if it has one.
    async fn trigger_bug(&self, key: &str) {
        let (poison, killer) = self.world.with(|state| (state.triggers(key, "poison"), state.triggers(key, "killer")));
        if poison {
            self.world.with(|state| state.count(Fault::Panicked, &self.sandbox));
            // A panic that prints nothing.
            std::panic::resume_unwind(Box::new("the code panicked on this message"));
        }
        if killer {
            self.world.with(|state| state.count(Fault::KilledByMessage, &self.sandbox));
            self.die().await;
        }
    }
}

impl Queue for Ports {
    async fn enqueue(&self, envelope: &Envelope) -> Result<(), NotStored> {
        let (body, delivery): (Arc<str>, _) = (envelope.seal().into(), envelope.delivery.id.clone());
        if body.len() > TOO_LARGE {
            return Err(NotStored::TooLarge { bytes: body.len() });
        }
        let name = format!("SendMessage {delivery}");
        self.call(Service::Queue, &name, move |state| {
            state.judge.is_stored(&delivery, &body);
            state.send(Arc::clone(&body), &delivery);
        })
        .await
        .map_err(|NoReply| NotStored::Unreachable("timeout"))
    }
}

impl receiver::inbox::Inbox for Ports {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        let (text, delivery): (Arc<str>, _) = (envelope.seal().into(), envelope.delivery.id.clone());
        let (name, world) = (format!("PutObject {delivery}"), self.world.clone());
        self.call(Service::Bucket, &name, move |state| {
            state.judge.is_stored(&delivery, &text);
            let notification = state.bucket.put(&format!("webhooks/{delivery}"), Arc::clone(&text));
            for _ in 0..=u32::from(state.draws(Fault::OddNotification, &"s3")) {
                state.pending_notifications.push(delivery.clone());
                tokio::spawn(notify(world.clone(), Arc::clone(&notification), delivery.clone()));
            }
        })
        .await
        .map_err(|NoReply| NotStored::Unreachable("timeout"))
    }
}

/// S3 notifies the queue of an object, and retries until the queue stores the notification.
async fn notify(world: World, notification: Arc<str>, delivery: String) {
    let late = world.draws(Fault::OddNotification, &"s3");
    world.pause(100, if late { 600_000 } else { 3_000 }).await;
    while world.with(|state| state.is_down(Service::Queue)) {
        world.pause(60_000, 60_000).await;
    }
    world.with(|state| {
        state.send(notification, &delivery);
        let sent = state.pending_notifications.iter().position(|other| *other == delivery).unwrap();
        state.pending_notifications.remove(sent);
    });
}

impl processor::inbox::Inbox for Ports {
    async fn fetch(&self, claim: &ObjectRef) -> Result<String, NotFetched> {
        let key = claim.key.clone();
        let object = self
            .call(Service::Bucket, &format!("GetObject {key}"), move |state| state.bucket.objects.get(&key).cloned())
            .await
            .map_err(|NoReply| NotFetched::Transient("timeout".to_owned()))?;
        object.map(|text| text.to_string()).ok_or(NotFetched::Permanent("the object is gone"))
    }
}

impl Ports {
    async fn put(&self, item: &Item, version: Option<u64>) -> Result<Write, StoreError> {
        self.trigger_bug(item.key.as_str()).await;
        let (item, sandbox) = (item.clone(), Arc::clone(&self.sandbox));
        let name = format!("PutItem {} ({} after {version:?})", item.key, item.version);
        self.call(Service::Table, &name, move |state| {
            let (write, before) = state.table.put(&item, version);
            match &write {
                Write::Stored => {
                    state.note(&sandbox, || format!("wrote {} of {}", item.state.stage, item.key));
                    state.judge.wrote(before.as_ref(), &item);
                }
                Write::Found(found) => state.note(&sandbox, || format!("finds version {}", found.version)),
                Write::Gone => {}
            }
            write
        })
        .await
        .map_err(|NoReply| StoreError::Transient("timeout".to_owned()))
    }
}

impl Ledger for Ports {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let key = key.to_string();
        self.call(Service::Table, &format!("GetItem {key}"), move |state| state.table.items.get(&key).cloned())
            .await
            .map_err(|NoReply| StoreError::Transient("timeout".to_owned()))
    }

    async fn insert(&self, item: &Item) -> Result<Write, StoreError> {
        self.put(item, None).await
    }

    async fn replace(&self, item: &Item, version: u64) -> Result<Write, StoreError> {
        self.put(item, Some(version)).await
    }

    async fn clear(&self, key: &Key, events: &[String]) -> Result<(), StoreError> {
        let (key, ids) = (key.clone(), events.to_vec());
        let name = format!("UpdateItem {key} without {}", ids.join(", "));
        self.call(Service::Table, &name, move |state| {
            if let Some(item) = state.table.items.get(key.as_str()) {
                state.judge.clears(item, &ids);
            }
            state.table.clear(&key, &ids);
        })
        .await
        .map_err(|NoReply| StoreError::Transient("timeout".to_owned()))
    }
}

impl Bus for Ports {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        let sent: Vec<DomainEvent> = events.iter().map(|event| (*event).clone()).collect();
        let name = format!("PutEvents {}", sent.iter().map(|event| &*event.detail_type).collect::<Vec<_>>().join(", "));
        let answer = self
            .call(Service::Bus, &name, move |state| {
                let result = |event: &DomainEvent| {
                    if event.detail.contains(REFUSED_BY_THE_BUS) {
                        state.note(&"eventbridge", || format!("refuses {} {}", event.detail_type, event.id));
                        Err(PublishError::Permanent("MalformedDetail".to_owned()))
                    } else if state.draws(Fault::EntryRejected, &"eventbridge") {
                        Err(PublishError::Transient("InternalFailure".to_owned()))
                    } else {
                        state.note(&"eventbridge", || format!("has {} {}", event.detail_type, event.id));
                        state.judge.published(event);
                        Ok(())
                    }
                };
                sent.iter().map(result).collect::<Vec<_>>()
            })
            .await;
        answer.unwrap_or_else(|NoReply| {
            events.iter().map(|_| Err(PublishError::Transient("timeout".to_owned()))).collect()
        })
    }
}

impl Source for Ports {
    async fn postpone(&self, message: &Message, delay: Duration) -> Result<(), SourceError> {
        let receipt_handle = message.receipt_handle.clone();
        let name = format!("ChangeMessageVisibility {} {} s", message.id, delay.as_secs());
        self.call(Service::Source, &name, move |state| {
            state.wake_poller |= state.sqs.change_visibility(&receipt_handle, delay, state.now).is_some();
        })
        .await
        .map_err(|NoReply| SourceError("timeout".to_owned()))
    }

    async fn park(&self, message: &Message, reason: &str) -> Result<(), SourceError> {
        let (id, body): (_, Arc<str>) = (message.id.clone(), message.body.as_str().into());
        let (name, reason) = (format!("SendMessage {id} to the dead-letter queue: {reason}"), reason.to_owned());
        self.call(Service::Source, &name, move |state| {
            let letter = state.sqs.send_to_dead_letters(Arc::clone(&body), &reason, state.now);
            state.deliveries.insert(letter, state.deliveries[&id].clone());
        })
        .await
        .map_err(|NoReply| SourceError("timeout".to_owned()))
    }
}
