//! Verdict: what must be true when all is over.
//!
//! 1. What was acknowledged is known: in its subject's item, or, if nobody can read it, in a dead letter.
//! 2. Nothing else is known: each item is what its webhooks say, and each change came with one of their deliveries.
//! 3. Every change was told, nothing waits to be told, and nothing was told that did not happen.
//! 4. What was told twice was told under one id, in the same words, and no two changes share an id.

use std::collections::{BTreeMap, BTreeSet};

use ledger::item::{Entry, Item};
use processor::inbox;
use serde_json::Value;
use shared::{envelope::Envelope, lifecycle::Kind};

use crate::xendit::{Fact, Truth};

/// All that is left of a run.
pub(super) struct Evidence {
    /// What Xendit has told, and had to tell.
    pub(super) facts: Vec<Fact>,
    /// Which fact each attempt told.
    pub(super) deliveries: BTreeMap<String, usize>,
    /// The attempts that were answered 200.
    pub(super) acknowledged: Vec<String>,
    /// The ledger.
    pub(super) items: Vec<Item>,
    /// What was on the bus.
    pub(super) published: Vec<Published>,
    /// What nobody can read.
    pub(super) letters: Vec<Letter>,
}

/// A domain event, as it was on the bus.
pub(super) struct Published {
    /// Its id.
    pub(super) id: String,
    detail_type: String,
    delivery: String,
    detail: Value,
}

/// A dead letter.
pub(super) struct Letter {
    /// The delivery that it brings.
    pub(super) delivery: String,
}

impl Published {
    /// Reads an event as a rule hands it to a queue.
    pub(super) fn read(message: &str) -> Self {
        let mut event: Value = serde_json::from_str(message).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let detail = event["detail"].take();
        let (id, delivery) = (text(&detail["id"]), text(&detail["delivery_id"]));
        Self { id, detail_type: text(&event["detail-type"]), delivery, detail }
    }

    /// What happened, without how it became known.
    fn change(&self) -> String {
        let mut detail = self.detail.clone();
        for how in [
            "id",
            "delivery_id",
            "received_at",
            "version",
            "body",
            "body_omitted",
            "previous_phase",
            "paid_late",
            "update",
            "token_label",
            "account",
        ] {
            detail.as_object_mut().unwrap().remove(how);
        }
        format!("{} {detail}", self.detail_type)
    }
}

impl Letter {
    /// Reads a message: an envelope, or S3's notification of one.
    pub(super) fn open(message: &str) -> Self {
        let delivery = match inbox::Letter::read(message) {
            Ok(inbox::Letter::Claim(claim)) => claim.key.rsplit('/').next().unwrap().to_owned(),
            _ => Envelope::open(message).map_or_else(|_| message.to_owned(), |envelope| envelope.delivery.id),
        };
        Self { delivery }
    }
}

/// Everything that is not as it must be.
pub(super) fn violations(evidence: &Evidence) -> Vec<String> {
    let mut violations = Vec::new();
    let subjects = evidence.subjects();
    let acknowledged: BTreeSet<usize> = evidence.acknowledged.iter().map(|id| evidence.deliveries[id]).collect();
    let letters: BTreeSet<&str> = evidence.letters.iter().map(|letter| &*letter.delivery).collect();

    for delivery in &evidence.acknowledged {
        let fact = &evidence.facts[evidence.deliveries[delivery]];
        let item = subjects.get(&fact.subject);
        let known = item.is_some_and(|item| fact.read(&item.state).covers(fact));
        if fact.is_unreadable() && !letters.contains(&**delivery) {
            violations.push(format!("{delivery} was acknowledged, nobody can read it, and it is no dead letter"));
        } else if !fact.is_unreadable() && !known {
            violations.push(format!("{delivery} was acknowledged and is lost: {fact:?} is not in {item:?}"));
        }
    }
    for letter in letters {
        if !evidence.fact(letter).is_some_and(Fact::is_unreadable) {
            violations.push(format!("a dead letter that Xendit never sent: {letter}"));
        }
    }
    for item in &evidence.items {
        let known = item.history.first().and_then(|entry| evidence.fact(&entry.delivery));
        let Some(subject) = known.map(|fact| fact.subject) else {
            violations.push(format!("{} is in the ledger, and Xendit never told of it", item.key));
            continue;
        };
        let heard = acknowledged.iter().map(|fact| &evidence.facts[*fact]).filter(|fact| fact.subject == subject);
        let (truth, fact) = (Truth::of(heard.clone()), known.unwrap());
        if fact.read(&item.state) != truth {
            violations.push(format!("{} is {:?} and should be {truth:?}", item.key, fact.read(&item.state)));
        }
        if !item.outbox.is_empty() {
            violations.push(format!("{} still has to publish something", item.key));
        }
    }
    let told = evidence.acknowledged.iter().map(|id| evidence.fact(id).unwrap()).filter(|fact| !fact.is_unreadable());
    let told = told.map(|fact| fact.subject).collect::<BTreeSet<_>>().len();
    if evidence.items.len() != told {
        violations.push(format!("there are {} items of {told} subjects", evidence.items.len()));
    }
    violations.extend(evidence.untold());
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

    /// What was not told, was told without having happened, or was told in two ways.
    fn untold(&self) -> Vec<String> {
        let mut violations = Vec::new();
        let (mut changes, mut texts, mut ids) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for event in &self.published {
            changes.entry(&*event.delivery).or_insert_with(Vec::new).push(event);
            texts.entry(&*event.id).or_insert_with(BTreeSet::new).insert(event.detail.to_string());
            ids.entry(event.change()).or_insert_with(BTreeSet::new).insert(&*event.id);
        }
        violations.extend(
            texts.iter().filter(|(_, texts)| texts.len() > 1).map(|(id, texts)| format!("{id} says {texts:?}")),
        );
        violations
            .extend(ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(change, ids)| format!("{change} is {ids:?}")));
        let history: Vec<(&Item, &Entry)> =
            self.items.iter().flat_map(|item| item.history.iter().map(move |entry| (item, entry))).collect();
        for (item, entry) in history.iter().filter(|(_, entry)| !entry.quiet) {
            let topic = if entry.stage.kind() == Kind::Unknown { "webhook.unknown" } else { entry.stage.as_str() };
            let told = changes.get(&*entry.delivery).map(Vec::as_slice).unwrap_or_default();
            let has = |topic: &str| told.iter().any(|event| event.detail_type == topic);
            // An older fact may add what was not known about the stage that the subject is in.
            let has_update = told.iter().any(|event| event.detail["update"] == true);
            if !has(topic) && !has_update && !has("webhook.conflict") || entry.conflict && !has("webhook.conflict") {
                violations.push(format!("{} became {topic} with {}, and nobody was told", item.key, entry.delivery));
            }
        }
        let happened: BTreeSet<&str> = history.iter().map(|(_, entry)| &*entry.delivery).collect();
        for (delivery, _) in changes.iter().filter(|(delivery, _)| !happened.contains(**delivery)) {
            violations.push(format!("something was told with {delivery}, and nothing happened with it"));
        }
        violations
    }
}
