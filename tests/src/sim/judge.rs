//! Judge: what must always be true, asked at every step.
//!
//! 1. Acknowledged ⇒ applied, or in a queue, in the inbox, or in the dead-letter queue.
//! 2. Stored ⇒ it was authentic; authentic ⇒ never refused; answered within 6 s.
//! 3. A write takes nothing back: no stage, no amount, no capture, no event that is not published.
//! 4. One transition has one id and one text. It is published after it is written, and cleared after it is published.
//! 5. A delivery that is over has nothing left to publish.
//! 6. In the end each subject whose money is here has had its money event, once, whatever the order of its webhooks, and
//!    the event says the amount that was stated.
//! 7. What the bus refuses for good goes out without its body.

use std::collections::{BTreeMap, BTreeSet};

use ledger::item::Item;
use shared::domain_event::{Detail, DomainEvent};

use crate::xendit::{Fact, Truth};

/// Everything that has to add up.
#[derive(Default)]
pub(super) struct Judge {
    /// What Xendit has to tell.
    pub(super) facts: Vec<Fact>,
    origins: BTreeMap<String, Origin>,
    keys: BTreeMap<usize, String>,
    events: BTreeMap<String, Told>,
    /// Which facts are in our hands: stored at least once.
    pub(super) stored: BTreeSet<usize>,
    /// The first thing that was not true.
    pub(super) violation: Option<String>,
}

struct Origin {
    fact: Option<usize>,
    stored: bool,
}

struct Told {
    key: String,
    detail_type: String,
    /// As it was published first.
    event: Option<DomainEvent>,
    times: u32,
}

impl Told {
    fn detail(&self) -> Option<Detail> {
        Detail::read(&self.event.as_ref()?.detail)
    }
}

impl Judge {
    /// Nothing has been said yet of what Xendit has to tell.
    pub(super) fn new(facts: Vec<Fact>) -> Self {
        Self { facts, ..Self::default() }
    }

    /// Something is not true. The first such thing counts.
    pub(super) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A request has reached the receiver. `fact`: it is authentic, and says this.
    pub(super) fn arrives(&mut self, delivery: &str, fact: Option<usize>) {
        self.origins.insert(delivery.to_owned(), Origin { fact, stored: false });
    }

    /// The receiver has answered.
    pub(super) fn answered(&mut self, delivery: &str, status: u16, body: &str) {
        let Some(origin) = self.origins.get(delivery) else { return };
        let (authentic, stored) = (origin.fact.is_some(), origin.stored);
        match status {
            200 if !authentic => self.violated(format!("{delivery} has no accepted token, and was acknowledged")),
            200 if !stored => self.violated(format!("{delivery} was acknowledged, and is stored nowhere")),
            200 if !body.contains(delivery) => self.violated(format!("{delivery} was acknowledged as {body}")),
            401 if authentic => self.violated(format!("{delivery} has an accepted token, and was refused")),
            200 | 401 => {}
            503 if authentic => {}
            other => self.violated(format!("{delivery} was answered {other}")),
        }
    }

    /// A store has taken an envelope.
    pub(super) fn is_stored(&mut self, delivery: &str) {
        match self.origins.get_mut(delivery) {
            Some(Origin { fact: Some(fact), stored }) => {
                *stored = true;
                self.stored.insert(*fact);
            }
            _ => self.violated(format!("{delivery} is not authentic, and was stored")),
        }
    }

    /// What a delivery says, if it is authentic.
    pub(super) fn fact_of(&self, delivery: &str) -> Option<&Fact> {
        self.facts.get(self.origins.get(delivery)?.fact?)
    }

    /// The ledger's key of a fact's subject, once it is known.
    pub(super) fn key_of(&self, fact: &Fact) -> Option<String> {
        fact.key.clone().or_else(|| self.keys.get(&fact.subject).cloned())
    }

    /// The last copy of a delivery has gone.
    pub(super) fn is_over(&mut self, delivery: &str, item: Option<&Item>) {
        let Some(fact) = self.fact_of(delivery) else { return };
        let stage = fact.clone();
        match item {
            _ if fact.is_unreadable() => self.violated(format!("{delivery} is unreadable, and nowhere to be found")),
            Some(item) if !fact.read(&item.state).covers(fact) => {
                self.violated(format!("{delivery} is gone, and not applied: {stage:?} is not in {:?}", item.state));
            }
            Some(item) if !item.pending_of(delivery).is_empty() => {
                self.violated(format!("{delivery} is gone, and what it had to publish waits in {}", item.key));
            }
            Some(_) => {}
            None => self.violated(format!("{delivery} is gone, and was never applied")),
        }
    }

    /// An item has been written.
    pub(super) fn wrote(&mut self, before: Option<&Item>, after: &Item) {
        let Some(entry) = after.history.last() else {
            return self.violated(format!("{} has no history", after.key));
        };
        let Some(fact) = self.fact_of(&entry.delivery).cloned() else {
            return self.violated(format!("{} was written by nobody: {}", after.key, entry.delivery));
        };
        let key =
            fact.key.clone().unwrap_or_else(|| self.keys.entry(fact.subject).or_insert(after.key.to_string()).clone());
        if key != after.key.as_str() {
            return self.violated(format!("{key} was written as {}", after.key));
        }
        let now = fact.read(&after.state);
        if let Some(before) = before {
            let earlier = fact.read(&before.state);
            if !now.is_no_step_back_from(&earlier) {
                self.violated(format!("{key} went from {earlier:?} back to {now:?}"));
            }
            if let Some(lost) = before.outbox.keys().find(|id| !after.outbox.contains_key(*id)) {
                self.violated(format!("{key} was written without event {lost}, which waited to be published"));
            }
            if after.version <= before.version {
                self.violated(format!("{key} was written with version {} after {}", after.version, before.version));
            }
        }
        let fresh = after.outbox.iter().filter(|(id, _)| before.is_none_or(|before| !before.outbox.contains_key(*id)));
        let fresh: Vec<_> = fresh.collect();
        if fresh.is_empty() && before.is_none_or(|before| before.state.stage != after.state.stage) {
            self.violated(format!("{key} became {}, and there is nothing to publish about it", now.stage()));
        }
        for (id, waiting) in fresh {
            let told = Told { key: key.clone(), detail_type: waiting.detail_type.clone(), event: None, times: 0 };
            if self.events.insert(id.clone(), told).is_some() {
                self.violated(format!("{key}: event {id} was written a second time"));
            }
        }
    }

    /// An outbox is about to be cleared.
    pub(super) fn clears(&mut self, item: &Item, ids: &[String]) {
        let unpublished =
            |id: &&String| item.outbox.contains_key(*id) && self.events.get(*id).is_none_or(|told| told.times == 0);
        if let Some(id) = ids.iter().find(unpublished) {
            self.violated(format!("{}: event {id} was cleared before it was published", item.key));
        }
    }

    /// An event is on the bus.
    pub(super) fn published(&mut self, event: &DomainEvent) {
        match self.events.get_mut(&event.id) {
            None => self.violated(format!("event {} was published before it was written", event.id)),
            Some(told) if told.event.as_ref().is_some_and(|first| first != event) => {
                self.violated(format!("event {} was published with two texts", event.id));
            }
            Some(told) => {
                told.event.get_or_insert_with(|| event.clone());
                told.times += 1;
            }
        }
    }

    /// How many events there are, and how often they were published in all.
    pub(super) fn told(&self) -> (usize, u32) {
        (self.events.len(), self.events.values().map(|told| told.times).sum())
    }

    /// Everything that was stored has been heard, nothing else has, and everything has been said.
    pub(super) fn final_verdict(&mut self, table: &BTreeMap<String, Item>, calm: bool) {
        for item in table.values().filter(|item| !item.outbox.is_empty()) {
            self.violated(format!("{} still has to publish something", item.key));
        }
        if let Some((id, told)) = self.events.iter().find(|(_, told)| told.times == 0) {
            self.violated(format!("event {id} of {} was never published", told.key));
        }
        if let Some((id, told)) = self.events.iter().find(|(_, told)| calm && told.times > 1) {
            self.violated(format!(
                "event {id} of {} was published {} times though nothing failed",
                told.key, told.times
            ));
        }
        let mut subjects: BTreeMap<usize, Vec<Fact>> = BTreeMap::new();
        for fact in self.stored.iter().filter_map(|index| self.facts.get(*index)).filter(|fact| !fact.is_unreadable()) {
            subjects.entry(fact.subject).or_default().push(fact.clone());
        }
        if table.len() != subjects.len() {
            self.violated(format!("there are {} items of {} subjects", table.len(), subjects.len()));
        }
        for facts in subjects.values() {
            let item = facts.first().and_then(|fact| self.key_of(fact)).and_then(|key| table.get(&key));
            let Some((item, fact)) = item.zip(facts.first()) else {
                self.violated(format!("{facts:?} was heard, and is not in the ledger"));
                continue;
            };
            let (known, truth) = (fact.read(&item.state), Truth::of(facts.iter()));
            if known != truth {
                self.violated(format!("{} is {known:?} and should be {truth:?}", item.key));
            }
            let events: Vec<_> = self.events.values().filter(|told| told.key == item.key.as_str()).collect();
            let said = |what: &str| events.iter().any(|told| told.detail_type == what);
            let mut wrong = None;
            if !said(truth.stage()) && !truth.stage().starts_with("unknown") {
                wrong = Some(format!("is {}, and no event said so", truth.stage()));
            }
            if truth.is_conflicting() && !said("webhook.conflict") {
                wrong = Some("contradicts itself, and no event said so".to_owned());
            }
            let money = facts.iter().filter_map(Fact::money_event).next();
            if let Some(money) = money.filter(|_| !truth.stage().ends_with("reversed")) {
                let details: Vec<_> =
                    events.iter().filter(|told| told.detail_type == money).filter_map(|told| told.detail()).collect();
                let first = details.iter().filter(|detail| !detail.update).count();
                let paid = details.iter().filter_map(|detail| Some((detail.version, detail.paid.clone()?))).max();
                let stated = item.state.paid_in_all();
                if first != 1 {
                    wrong = Some(format!("had {first} events {money}"));
                } else if !truth.is_conflicting() && paid.map(|(_, paid)| paid) != stated {
                    wrong = Some(format!("had no event {money} about {stated:?}"));
                }
            }
            if let Some(wrong) = wrong {
                let key = item.key.clone();
                self.violated(format!("{key} {wrong}"));
            }
        }
    }
}
