//! Webhook: reading any body does not panic and does not depend on whitespace. A body changes the ledger once, and several
//! bodies result in the same state in any order.
//!
//! An input is one or more bodies. The first line of each may be the topic in the path.

use ledger::{
    detail::{self, Body},
    item::{Item, Step},
    state::State,
    update::Update,
};
use serde_json::Value;
use shared::{
    domain_event::Detail, envelope::Delivery, lifecycle::Kind, observation::Observation, topic::Topic, webhook::Webhook,
};

use super::{SEPARATOR, envelope};
use crate::fixture;

/// DynamoDB's limit for a key.
const MAX_KEY_BYTES: usize = 2048;

/// DynamoDB's limit for an item.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// EventBridge's limit for an entry.
const MAX_DETAIL_BYTES: usize = 256 * 1024;

/// The topics that help to recognise bodies.
const TOPICS: [&str; 5] = ["invoice", "fva_paid", "fva_status", "disbursement", "ph_disbursement"];

pub(super) fn check(bytes: &[u8]) {
    let seen: Vec<_> = bytes.split(|byte| *byte == SEPARATOR).filter_map(read).collect();
    for kind in seen.iter().map(Observation::kind) {
        let states: Vec<_> = seen.iter().filter(|seen| seen.kind() == kind).map(State::from).collect();
        assert_order_does_not_matter(&states);
    }
}

/// Reads one body. `None`: it is not a JSON object.
fn read(bytes: &[u8]) -> Option<Observation> {
    let (topic, body) = split_topic(bytes);
    let observe = |body: &[u8]| Webhook::parse(body, topic.as_ref()).map(|webhook| webhook.observe());
    let webhook = Webhook::parse(body, topic.as_ref()).ok()?;
    let (text, seen) = (webhook.text(), webhook.observe());
    assert_eq!(observe(text.as_bytes()).as_ref(), Ok(&seen), "without the surrounding bytes");
    assert_eq!(observe(&text.as_bytes()[..text.len() - 1]).ok(), None, "truncated");

    let mut compact = observe(&without_spaces(text)).expect("whitespace between tokens does not matter");
    match seen.kind() {
        // Both are identified by a digest of their text.
        Kind::Unknown => compact.id.clone_from(&seen.id),
        Kind::Capabilities => compact.mark.clone_from(&seen.mark),
        _ => {}
    }
    assert_eq!(compact, seen, "without whitespace");

    let mut delivery = envelope::of(&[]).delivery;
    delivery.topic = topic;
    assert_applied_once(&webhook, &delivery);
    Some(seen)
}

/// Splits off the topic, if the first line is one.
fn split_topic(bytes: &[u8]) -> (Option<Topic>, &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let topic = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
    let body = if topic.is_some() { bytes.get(line.len() + 1..).unwrap_or_default() } else { bytes };
    (topic, body)
}

/// A JSON text without the whitespace between its tokens.
fn without_spaces(json: &str) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let mut kept = json.as_bytes().to_vec();
    kept.retain(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        quoted || !byte.is_ascii_whitespace()
    });
    kept
}

/// Asserts that a first webhook creates an item and events within AWS's limits, and that the second is a duplicate.
fn assert_applied_once(webhook: &Webhook<'_>, delivery: &Delivery) {
    let update = Update::new(webhook, delivery.clone());
    let Ok(Step::Write(item)) = Item::step(None, &update) else {
        panic!("the first fact of a subject creates its item")
    };
    assert!(item.key.as_str().len() <= MAX_KEY_BYTES);
    assert!(serde_json::to_string(&item).unwrap().len() <= MAX_ITEM_BYTES);
    let pending = item.pending_of(delivery);
    assert!(!pending.is_empty(), "a new item publishes an event");
    for (id, pending) in pending {
        let event = |body| detail::event(&item, id, pending, &update, body);
        assert!(event(Body::Included).detail.len() <= MAX_DETAIL_BYTES);
        for body in [Body::Included, Body::Refused] {
            assert!(Detail::read(&event(body).detail).is_some(), "a detail can be read");
        }
    }
    let stored: Item = serde_json::from_str(&serde_json::to_string(&item).unwrap()).expect("an item can be read");
    assert_eq!(stored, *item, "an item survives a round trip");
    assert_eq!(Item::step(Some(&stored), &update), Ok(Step::Duplicate));
}

/// Asserts that states of one kind merge to the same state in any order, and with duplicates.
fn assert_order_does_not_matter(states: &[State]) {
    let merged = |states: &mut dyn Iterator<Item = &State>| {
        states.cloned().reduce(State::merge).map(|state| without_order(&state))
    };
    let all = merged(&mut states.iter());
    assert_eq!(merged(&mut states.iter().rev()), all);
    assert_eq!(merged(&mut states.iter().chain(states)), all);
}

/// A state without what depends on the order of arrival: which answer came first, and which account.
fn without_order(state: &State) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => items.sort_by_key(Value::to_string),
            Value::Object(object) => object.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(state).unwrap();
    value.as_object_mut().unwrap().remove("account");
    sort(&mut value);
    value
}

/// Each body, those without an event name also with each topic, and each body with its neighbour, which is often of the
/// same family.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies: Vec<_> = fixture::webhooks().into_iter().map(|(_, body)| body).collect();
    let unnamed: Vec<_> = bodies.iter().filter(|body| !body.contains(r#""event""#)).collect();
    let with_topic = unnamed.iter().flat_map(|body| TOPICS.map(|topic| format!("{topic}\n{body}")));
    let pairs = bodies.windows(2).map(|pair| pair.join(std::str::from_utf8(&[SEPARATOR]).unwrap()));
    bodies.iter().cloned().chain(with_topic).chain(pairs).map(String::into_bytes).collect()
}
