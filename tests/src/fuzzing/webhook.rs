//! Any body: reading it never panics and does not depend on how it is spaced; what it says is news once; and several of
//! them say the same in any order.
//!
//! An input is one body or several. A first line may be the topic in the path.

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

/// A key of DynamoDB.
const MAX_KEY_BYTES: usize = 2048;

/// An item of DynamoDB.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// An entry of EventBridge.
const MAX_DETAIL_BYTES: usize = 256 * 1024;

/// The products whose bodies the topic helps to recognise.
const TOPICS: [&str; 5] = ["invoice", "fva_paid", "fva_status", "disbursement", "ph_disbursement"];

pub(super) fn check(bytes: &[u8]) {
    let seen: Vec<_> = bytes.split(|byte| *byte == SEPARATOR).filter_map(read).collect();
    for kind in seen.iter().map(Observation::kind) {
        let states: Vec<_> = seen.iter().filter(|seen| seen.kind() == kind).map(State::from).collect();
        any_order(&states);
    }
}

/// One body. `None`: it is no JSON object.
fn read(bytes: &[u8]) -> Option<Observation> {
    let (topic, body) = addressed(bytes);
    let observe = |body: &[u8]| Webhook::parse(body, topic.as_ref()).map(|webhook| webhook.observe());
    let webhook = Webhook::parse(body, topic.as_ref()).ok()?;
    let (text, seen) = (webhook.text(), webhook.observe());
    assert_eq!(observe(text.as_bytes()).as_ref(), Ok(&seen), "without what surrounds it");
    assert_eq!(observe(&text.as_bytes()[..text.len() - 1]).ok(), None, "cut short");

    let mut compact = observe(&without_spaces(text)).expect("spaces between tokens are nothing");
    match seen.kind() {
        // Both are told apart by how they are written.
        Kind::Unknown => compact.id.clone_from(&seen.id),
        Kind::Capabilities => compact.mark.clone_from(&seen.mark),
        _ => {}
    }
    assert_eq!(compact, seen, "without spaces");

    let mut delivery = envelope::of(&[]).delivery;
    delivery.topic = topic;
    news_once(&seen, &delivery, text);
    Some(seen)
}

/// The topic, if the first line is one, and the body.
fn addressed(bytes: &[u8]) -> (Option<Topic>, &[u8]) {
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

/// The first time it makes an item that can be stored, with events that can be published; after that it is a duplicate.
fn news_once(seen: &Observation, delivery: &Delivery, body: &str) {
    let update = Update::new(seen.clone(), delivery.clone(), body);
    let Ok(Step::Write(item)) = Item::step(None, &update) else { panic!("the first fact of a subject is news") };
    assert!(item.key.as_str().len() <= MAX_KEY_BYTES);
    assert!(serde_json::to_string(&item).unwrap().len() <= MAX_ITEM_BYTES);
    let pending = item.pending_of(&delivery.id);
    assert!(!pending.is_empty(), "nothing is published about it");
    for (id, pending) in pending {
        let event = |body| detail::event(&item, id, pending, &update, body);
        assert!(event(Body::Included).detail.len() <= MAX_DETAIL_BYTES);
        for body in [Body::Included, Body::Refused] {
            assert!(Detail::read(&event(body).detail).is_some(), "a detail is read again");
        }
    }
    let stored: Item = serde_json::from_str(&serde_json::to_string(&item).unwrap()).expect("an item is read again");
    assert_eq!(stored, *item, "as it was written");
    assert_eq!(Item::step(Some(&stored), &update), Ok(Step::Duplicate));
}

/// States of one kind are merged to the same in any order, and however often.
fn any_order(states: &[State]) {
    let merged = |states: &mut dyn Iterator<Item = &State>| {
        states.cloned().reduce(State::merge).map(|state| without_order(&state))
    };
    let all = merged(&mut states.iter());
    assert_eq!(merged(&mut states.iter().rev()), all);
    assert_eq!(merged(&mut states.iter().chain(states)), all);
}

/// A state without what arrived first: which of several answers, and which account.
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

/// Each body; those without an event name with topics as well; and each with the one beside it, which often is of its
/// family.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies: Vec<_> = fixture::webhooks().into_iter().map(|(_, body)| body).collect();
    let unnamed: Vec<_> = bodies.iter().filter(|body| !body.contains(r#""event""#)).collect();
    let with_topic = unnamed.iter().flat_map(|body| TOPICS.map(|topic| format!("{topic}\n{body}")));
    let pairs = bodies.windows(2).map(|pair| pair.join(std::str::from_utf8(&[SEPARATOR]).unwrap()));
    bodies.iter().cloned().chain(with_topic).chain(pairs).map(String::into_bytes).collect()
}
