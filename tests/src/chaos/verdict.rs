//! Verdict: checks the result of a run.
//!
//! 1. Each acknowledged webhook is in its subject's item, or in a dead letter if it is unreadable.
//! 2. Each item is exactly the merge of its acknowledged webhooks, and each change was made by one of their deliveries.
//! 3. Each change was published, no outbox holds anything, and nothing was published without a change.
//! 4. All publications of an event have the same text, and no change has two event ids.

use std::collections::{BTreeMap, BTreeSet};

use ledger::item::{Entry, Item};
use processor::inbox;
use serde_json::Value;
use shared::{envelope::Envelope, lifecycle::Kind};

use crate::xendit::{Fact, Truth};

/// What a run leaves behind.
pub(super) struct Evidence {
    /// All facts, sent or not.
    pub(super) facts: Vec<Fact>,
    /// The fact of each attempt.
    pub(super) deliveries: BTreeMap<String, usize>,
    /// The attempts that were answered 200.
    pub(super) acknowledged: Vec<String>,
    /// All items of the ledger.
    pub(super) items: Vec<Item>,
    /// All publications on the bus.
    pub(super) published: Vec<Published>,
    /// The unreadable dead letters.
    pub(super) dead_letters: Vec<DeadLetter>,
}

/// A domain event from the bus.
pub(super) struct Published {
    /// Its id.
    pub(super) id: String,
    detail_type: String,
    delivery: String,
    detail: Value,
}

/// A dead letter.
pub(super) struct DeadLetter {
    /// Its delivery.
    pub(super) delivery: String,
}

impl Published {
    /// Reads an event that a rule sent to a queue.
    pub(super) fn read(message: &str) -> Self {
        let mut event: Value = serde_json::from_str(message).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let detail = event["detail"].take();
        let (id, delivery) = (text(&detail["id"]), text(&detail["delivery_id"]));
        Self { id, detail_type: text(&event["detail-type"]), delivery, detail }
    }

    /// The change that the event describes, without the fields that depend on the delivery or the order.
    fn change(&self) -> String {
        let mut detail = self.detail.clone();
        for key in [
            "id",
            "delivery_id",
            "received_at",
            "version",
            "body",
            "body_omitted",
            "previous_phase",
            "update",
            "token_label",
            "account",
        ] {
            detail.as_object_mut().unwrap().remove(key);
        }
        format!("{} {detail}", self.detail_type)
    }
}

impl DeadLetter {
    /// Reads a message: an envelope, or S3's notification of one.
    pub(super) fn read(message: &str) -> Self {
        let delivery = match inbox::Payload::read(message) {
            Ok(inbox::Payload::ObjectRef(claim)) => claim.key.rsplit('/').next().unwrap().to_owned(),
            _ => Envelope::open(message).map_or_else(|_| message.to_owned(), |envelope| envelope.delivery.id),
        };
        Self { delivery }
    }
}

/// Finds all violations.
pub(super) fn violations(evidence: &Evidence) -> Vec<String> {
    let mut violations = Vec::new();
    let subjects = evidence.subjects();
    let acknowledged: BTreeSet<usize> = evidence.acknowledged.iter().map(|id| evidence.deliveries[id]).collect();
    let dead_letters: BTreeSet<&str> = evidence.dead_letters.iter().map(|letter| &*letter.delivery).collect();

    for delivery in &evidence.acknowledged {
        let fact = &evidence.facts[evidence.deliveries[delivery]];
        let item = subjects.get(&fact.subject);
        let known = item.is_some_and(|item| fact.read(&item.state).covers(fact));
        if fact.is_unreadable() && !dead_letters.contains(&**delivery) {
            violations.push(format!("{delivery} was acknowledged and is unreadable, but is not a dead letter"));
        } else if !fact.is_unreadable() && !known {
            violations.push(format!("{delivery} was acknowledged but lost: {fact:?} is not in {item:?}"));
        }
    }
    for letter in dead_letters {
        if !evidence.fact(letter).is_some_and(Fact::is_unreadable) {
            violations.push(format!("a dead letter is not unreadable, or was never sent: {letter}"));
        }
    }
    for item in &evidence.items {
        let known = item.history.first().and_then(|entry| evidence.fact(&entry.delivery));
        let Some(subject) = known.map(|fact| fact.subject) else {
            violations.push(format!("{} is in the ledger but was never sent", item.key));
            continue;
        };
        let facts = acknowledged.iter().map(|fact| &evidence.facts[*fact]).filter(|fact| fact.subject == subject);
        let (truth, fact) = (Truth::of(facts), known.unwrap());
        if fact.read(&item.state) != truth {
            violations.push(format!("{} is {:?} and should be {truth:?}", item.key, fact.read(&item.state)));
        }
        if !item.outbox.is_empty() {
            violations.push(format!("{} still has unpublished events", item.key));
        }
    }
    let sent = evidence.acknowledged.iter().map(|id| evidence.fact(id).unwrap()).filter(|fact| !fact.is_unreadable());
    let sent = sent.map(|fact| fact.subject).collect::<BTreeSet<_>>().len();
    if evidence.items.len() != sent {
        violations.push(format!("there are {} items for {sent} subjects", evidence.items.len()));
    }
    violations.extend(evidence.publication_violations());
    violations
}

impl Evidence {
    fn fact(&self, delivery: &str) -> Option<&Fact> {
        self.deliveries.get(delivery).map(|fact| &self.facts[*fact])
    }

    /// The items by their subjects.
    fn subjects(&self) -> BTreeMap<usize, &Item> {
        let subject = |item: &Item| self.fact(&item.history.first()?.delivery).map(|fact| fact.subject);
        self.items.iter().filter_map(|item| Some((subject(item)?, item))).collect()
    }

    /// Finds changes that were not published, publications without a change, and events with two ids or texts.
    fn publication_violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let (mut changes, mut texts, mut ids) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for event in &self.published {
            changes.entry(&*event.delivery).or_insert_with(Vec::new).push(event);
            texts.entry(&*event.id).or_insert_with(BTreeSet::new).insert(event.detail.to_string());
            ids.entry(event.change()).or_insert_with(BTreeSet::new).insert(&*event.id);
        }
        violations.extend(
            texts
                .iter()
                .filter(|(_, texts)| texts.len() > 1)
                .map(|(id, texts)| format!("{id} has the texts {texts:?}")),
        );
        violations
            .extend(ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(change, ids)| format!("{change} has {ids:?}")));
        let history: Vec<(&Item, &Entry)> =
            self.items.iter().flat_map(|item| item.history.iter().map(move |entry| (item, entry))).collect();
        for (item, entry) in history.iter().filter(|(_, entry)| !entry.quiet) {
            let topic = if entry.stage.kind() == Kind::Unknown { "webhook.unknown" } else { entry.stage.as_str() };
            let events = changes.get(&*entry.delivery).map(Vec::as_slice).unwrap_or_default();
            let has = |topic: &str| events.iter().any(|event| event.detail_type == topic);
            // An older fact may add details to the subject's current stage.
            let has_update = events.iter().any(|event| event.detail["update"] == true);
            if !has(topic) && !has_update && !has("webhook.conflict") || entry.conflict && !has("webhook.conflict") {
                violations.push(format!("{} became {topic} by {}, but no event says so", item.key, entry.delivery));
            }
        }
        let effective: BTreeSet<&str> = history.iter().map(|(_, entry)| &*entry.delivery).collect();
        for (delivery, _) in changes.iter().filter(|(delivery, _)| !effective.contains(**delivery)) {
            violations.push(format!("{delivery} published an event without a change"));
        }
        violations
    }
}
