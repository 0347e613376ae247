//! Judge: checks the invariants at every step.
//!
//! 1. An acknowledged webhook is applied, or is in a queue, in the inbox, or in the dead-letter queue.
//! 2. Only authentic webhooks are stored, byte for byte, and none of them is refused. Each is answered within 6 s.
//! 3. No write loses a stage, an amount, a capture, or an unpublished event.
//! 4. A transition has one event id and one text. It is published after it is written, and cleared after it is published.
//! 5. A delivery whose messages are all deleted has nothing left to publish.
//! 6. At the end, each subject whose money has arrived has had its money event, once and with the stated amount, whatever
//!    the order of its webhooks.
//! 7. A consumer reads the event's own id, and the body as it was sent. The body is missing only where the bus refuses it.
//! 8. Without faults, the processor parks what it cannot process before SQS moves it.

use std::collections::{BTreeMap, BTreeSet};

use ledger::item::Item;
use shared::{
    domain_event::{Detail, DomainEvent},
    envelope::Envelope,
};

use crate::xendit::{Fact, REFUSED_BY_THE_BUS, Truth};

/// What has happened so far, and the first violation.
#[derive(Default)]
pub(super) struct Judge {
    /// All facts that Xendit sends.
    pub(super) facts: Vec<Fact>,
    origins: BTreeMap<String, Origin>,
    keys: BTreeMap<usize, String>,
    events: BTreeMap<String, EventRecord>,
    /// The facts that were stored at least once.
    pub(super) stored: BTreeSet<usize>,
    /// The first violation.
    pub(super) violation: Option<String>,
}

struct Origin {
    fact: Option<usize>,
    body: Vec<u8>,
    stored: bool,
}

struct EventRecord {
    key: String,
    detail_type: String,
    /// Its first publication, and what a consumer reads in it.
    first: Option<(DomainEvent, Detail)>,
    publications: u32,
}

impl Judge {
    /// Starts before anything was sent.
    pub(super) fn new(facts: Vec<Fact>) -> Self {
        Self { facts, ..Self::default() }
    }

    /// Records a violation, if it is the first.
    pub(super) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A request has reached the receiver. `fact`: its content, if it is authentic.
    pub(super) fn arrives(&mut self, delivery: &str, fact: Option<usize>, body: &[u8]) {
        self.origins.insert(delivery.to_owned(), Origin { fact, body: body.to_vec(), stored: false });
    }

    /// The receiver has answered.
    pub(super) fn answered(&mut self, delivery: &str, status: u16, body: &str) {
        let Some(origin) = self.origins.get(delivery) else { return };
        let (authentic, stored) = (origin.fact.is_some(), origin.stored);
        match status {
            200 if !authentic => self.violated(format!("{delivery} was acknowledged without an accepted token")),
            200 if !stored => self.violated(format!("{delivery} was acknowledged but not stored")),
            200 if !body.contains(delivery) => self.violated(format!("{delivery} was acknowledged as {body}")),
            401 if authentic => self.violated(format!("{delivery} was refused despite an accepted token")),
            200 | 401 => {}
            503 if authentic => {}
            other => self.violated(format!("{delivery} was answered {other}")),
        }
    }

    /// A store has stored a sealed envelope.
    pub(super) fn is_stored(&mut self, delivery: &str, sealed: &str) {
        match self.origins.get_mut(delivery) {
            Some(Origin { body, .. }) if Envelope::open(sealed).is_ok_and(|it| it.body != *body) => {
                self.violated(format!("{delivery} was stored with another body"));
            }
            Some(Origin { fact: Some(fact), stored, .. }) => {
                *stored = true;
                self.stored.insert(*fact);
            }
            _ => self.violated(format!("{delivery} was stored but is not authentic")),
        }
    }

    /// The content of a delivery, if it is authentic.
    pub(super) fn fact_of(&self, delivery: &str) -> Option<&Fact> {
        self.facts.get(self.origins.get(delivery)?.fact?)
    }

    /// The ledger's key of a fact's subject, once it is known.
    pub(super) fn key_of(&self, fact: &Fact) -> Option<String> {
        fact.key.clone().or_else(|| self.keys.get(&fact.subject).cloned())
    }

    /// The last copy of a delivery is gone.
    pub(super) fn released(&mut self, delivery: &str, item: Option<&Item>) {
        let Some(fact) = self.fact_of(delivery).cloned() else { return };
        match item {
            _ if fact.is_unreadable() => self.violated(format!("{delivery} is unreadable and was lost")),
            Some(item) if !fact.read(&item.state).covers(&fact) => {
                self.violated(format!("{delivery} is gone but not applied: {fact:?} is not in {:?}", item.state));
            }
            Some(item) if item.outbox.values().any(|pending| pending.publisher() == delivery) => {
                self.violated(format!("{delivery} is gone but its events are still in the outbox of {}", item.key));
            }
            Some(_) => {}
            None => self.violated(format!("{delivery} is gone but was never applied")),
        }
    }

    /// An item has been written.
    pub(super) fn wrote(&mut self, before: Option<&Item>, after: &Item) {
        let Some(entry) = after.history.last() else {
            return self.violated(format!("{} has no history", after.key));
        };
        let Some(fact) = self.fact_of(&entry.delivery).cloned() else {
            return self.violated(format!("{} was written by {}, which is not authentic", after.key, entry.delivery));
        };
        let key =
            fact.key.clone().unwrap_or_else(|| self.keys.entry(fact.subject).or_insert(after.key.to_string()).clone());
        if key != after.key.as_str() {
            return self.violated(format!("{key} was written under the key {}", after.key));
        }
        let now = fact.read(&after.state);
        if let Some(before) = before {
            let earlier = fact.read(&before.state);
            if !now.extends(&earlier) {
                self.violated(format!("{key} went from {earlier:?} back to {now:?}"));
            }
            if let Some(lost) = before.outbox.keys().find(|id| !after.outbox.contains_key(*id)) {
                self.violated(format!("{key} was written without the unpublished event {lost}"));
            }
            if after.version <= before.version {
                self.violated(format!("{key} was written with version {} after {}", after.version, before.version));
            }
        }
        let fresh = after.outbox.iter().filter(|(id, _)| before.is_none_or(|before| !before.outbox.contains_key(*id)));
        let fresh: Vec<_> = fresh.collect();
        if fresh.is_empty() && before.is_none_or(|before| before.state.stage != after.state.stage) {
            self.violated(format!("{key} became {} without an event", now.stage()));
        }
        for (id, pending) in fresh {
            let detail_type = pending.detail_type.clone();
            let record = EventRecord { key: key.clone(), detail_type, first: None, publications: 0 };
            if self.events.insert(id.clone(), record).is_some() {
                self.violated(format!("{key}: event {id} was written a second time"));
            }
        }
    }

    /// An outbox is about to be cleared.
    pub(super) fn clears(&mut self, item: &Item, ids: &[String]) {
        let unpublished =
            |id: &&String| item.outbox.contains_key(*id) && self.events.get(*id).is_none_or(|it| it.publications == 0);
        if let Some(id) = ids.iter().find(unpublished) {
            self.violated(format!("{}: event {id} was cleared before it was published", item.key));
        }
    }

    /// An event is on the bus.
    pub(super) fn published(&mut self, event: &DomainEvent) {
        let read = self.read(event);
        match (self.events.get_mut(&event.id), read) {
            (None, _) => self.violated(format!("event {} was published before it was written", event.id)),
            (Some(EventRecord { first: Some((first, _)), .. }), _) if first != event => {
                self.violated(format!("event {} was published with two texts", event.id));
            }
            (Some(record), Some(detail)) if record.detail_type == event.detail_type => {
                record.first.get_or_insert_with(|| (event.clone(), detail));
                record.publications += 1;
            }
            _ => self.violated(format!("event {} was published with another id, type or body", event.id)),
        }
    }

    /// What a consumer reads in an event, if its id and its body are the right ones.
    fn read(&self, event: &DomainEvent) -> Option<Detail> {
        let detail = Detail::read(&event.detail)?;
        let sent = str::from_utf8(&self.origins.get(&detail.delivery_id)?.body).ok()?;
        let has_right_body = match &detail.body {
            Some(body) => body.get() == sent,
            None => detail.body_omitted && sent.contains(REFUSED_BY_THE_BUS),
        };
        (detail.id == event.id && has_right_body).then_some(detail)
    }

    /// The number of events, and of their publications.
    pub(super) fn event_counts(&self) -> (usize, u32) {
        (self.events.len(), self.events.values().map(|it| it.publications).sum())
    }

    /// Checks at the end that exactly what was stored is applied, and that everything is published.
    pub(super) fn final_verdict(&mut self, table: &BTreeMap<String, Item>, calm: bool) {
        for item in table.values().filter(|item| !item.outbox.is_empty()) {
            self.violated(format!("{} still has unpublished events", item.key));
        }
        if let Some((id, it)) = self.events.iter().find(|(_, it)| it.publications == 0) {
            self.violated(format!("event {id} of {} was never published", it.key));
        }
        if let Some((id, it)) = self.events.iter().find(|(_, it)| calm && it.publications > 1) {
            self.violated(format!("event {id} of {} was published {} times without a fault", it.key, it.publications));
        }
        let mut subjects: BTreeMap<usize, Vec<Fact>> = BTreeMap::new();
        for fact in self.stored.iter().filter_map(|index| self.facts.get(*index)).filter(|fact| !fact.is_unreadable()) {
            subjects.entry(fact.subject).or_default().push(fact.clone());
        }
        if table.len() != subjects.len() {
            self.violated(format!("there are {} items for {} subjects", table.len(), subjects.len()));
        }
        for facts in subjects.values() {
            let item = facts.first().and_then(|fact| self.key_of(fact)).and_then(|key| table.get(&key));
            let Some((item, fact)) = item.zip(facts.first()) else {
                self.violated(format!("{facts:?} was stored but is not in the ledger"));
                continue;
            };
            let (known, truth) = (fact.read(&item.state), Truth::of(facts.iter()));
            if known != truth {
                self.violated(format!("{} is {known:?} and should be {truth:?}", item.key));
            }
            let events: Vec<_> = self.events.values().filter(|it| it.key == item.key.as_str()).collect();
            let has = |detail_type: &str| events.iter().any(|it| it.detail_type == detail_type);
            let mut wrong = None;
            if !has(truth.stage()) && !truth.stage().starts_with("unknown") {
                wrong = Some(format!("is {} but has no event for it", truth.stage()));
            }
            if truth.is_conflicting() && !has("webhook.conflict") {
                wrong = Some("has conflicting amounts but no conflict event".to_owned());
            }
            let money = facts.iter().find_map(Fact::money_event);
            if let Some(money) = money.filter(|_| !truth.stage().ends_with("reversed")) {
                let events = events.iter().filter(|it| it.detail_type == money);
                let details: Vec<_> = events.filter_map(|it| Some(&it.first.as_ref()?.1)).collect();
                let first = details.iter().filter(|detail| !detail.update).count();
                let paid = details.iter().filter_map(|detail| Some((detail.version, detail.paid.clone()?))).max();
                let stated = item.state.paid_in_all();
                if first != 1 {
                    wrong = Some(format!("has {first} {money} events"));
                } else if !truth.is_conflicting() && paid.map(|(_, paid)| paid) != stated {
                    wrong = Some(format!("has no {money} event with {stated:?}"));
                }
            }
            if let Some(wrong) = wrong {
                let key = item.key.clone();
                self.violated(format!("{key} {wrong}"));
            }
        }
    }
}
