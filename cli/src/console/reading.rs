//! Reading: what a body was recognised as, and why.
//!
//! The reasons are found by asking the processor's own code again with one value of the body changed: what then becomes
//! something else depends on that value. So the page cannot tell another story than the code.

use ledger::{key::Key, state::State, update::Update};
use serde::Serialize;
use shared::{
    envelope::{Delivery as Metadata, Environment},
    lifecycle::{Kind, Stage},
    observation::Unknown,
    webhook::{self, Entry, Webhook},
};

use super::{
    facts::{Fact, facts},
    json::{Inside, Json},
    mask::Masks,
};
use crate::{logs::Line, samples};

/// The largest body of which each value is changed once. Others are read, but not explained value by value.
const MAX_EXPLAINED_BYTES: usize = 32 * 1024;

/// What the functions log instead of an id that may be personal data.
const REDACTED: &str = "[redacted]";

/// The event of a webhook that the processor has not read, or cannot read.
const NOT_READ: &str = "not read";

/// The most values that are changed.
const MAX_EXPLAINED_VALUES: usize = 400;

/// What the list shows of a webhook.
#[derive(Clone, Debug)]
pub(super) struct Gist {
    /// The event's name, or what there is instead.
    pub(super) event: String,
    /// `None`: the body cannot be read.
    pub(super) key: Option<Key>,
    pub(super) kind: Option<&'static str>,
    pub(super) phase: Option<&'static str>,
    pub(super) subject: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) amount: Option<String>,
    pub(super) currency: Option<String>,
    /// Why it was not recognised.
    pub(super) unknown: Option<String>,
    /// Why it cannot be read at all.
    pub(super) problem: Option<String>,
}

/// What a body was recognised as, and why.
#[derive(Debug, Serialize)]
pub(super) struct Reading {
    /// The product, as Xendit's dashboard calls it.
    pub(super) product: Option<&'static str>,
    /// The name of the event; of the webhook, if the body names no event.
    pub(super) event: String,
    pub(super) recognised_by: RecognisedBy,
    /// The stage that was reported, such as `invoice.paid`.
    pub(super) stage: &'static str,
    /// What each status means for this event.
    pub(super) statuses: Vec<Status>,
    /// The stage without a status.
    pub(super) without_status: Option<&'static str>,
    /// What was read, each with the values of the body that it depends on.
    pub(super) read: Vec<ReadFact>,
    /// Values with an unexpected type or content.
    pub(super) drift: Vec<String>,
    /// Whether the body is too large to say what depends on which value.
    pub(super) too_large: bool,
}

/// What a body was recognised by.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub(super) enum RecognisedBy {
    /// The name in `event`.
    Name,
    /// Its keys. Without one of these it would be something else; if there are none, several others would do.
    Keys { needed: Vec<String> },
    /// The topic in the URL, and these keys.
    Topic { topic: String, needed: Vec<String> },
    /// It was not recognised.
    Nothing { reason: String, nearest: Option<&'static str> },
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    pub(super) word: &'static str,
    pub(super) stage: &'static str,
    pub(super) is_this: bool,
}

/// Something that was read.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ReadFact {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// The paths of the values that it depends on.
    pub(super) from: Vec<String>,
}

/// What a delivery contributes to the ledger. `None`: its body cannot be read.
pub(super) fn update_of(body: &[u8], metadata: &Metadata) -> Option<Update> {
    let webhook = Webhook::parse(body, metadata.topic.as_ref()).ok()?;
    Some(Update::new(&webhook, metadata.clone()))
}

impl Gist {
    pub(super) fn of(body: &[u8], metadata: &Metadata, masks: &Masks) -> Self {
        let webhook = match Webhook::parse(body, metadata.topic.as_ref()) {
            Ok(webhook) => webhook,
            Err(unreadable) => return Self::unreadable(&unreadable.to_string()),
        };
        let update = Update::new(&webhook, metadata.clone());
        let (key, seen) = (update.key(), update.observation);
        let money = State::from(&seen).paid_in_all().or(seen.requested);
        Self {
            event: masks.text(&seen.event),
            key: Some(key),
            kind: Some(seen.stage.kind().as_str()),
            phase: Some(seen.stage.phase()),
            subject: Some(masks.text(&seen.id)),
            reference: seen.reference.map(|reference| masks.text(&reference)),
            amount: money.as_ref().map(|money| money.amount.to_string()),
            currency: money.map(|money| money.currency.to_string()),
            unknown: seen.unknown.map(|reason| reason.to_string()),
            problem: None,
        }
    }

    fn unreadable(problem: &str) -> Self {
        Self { event: "unreadable".to_owned(), problem: Some(problem.to_owned()), ..Self::not_read() }
    }

    pub(super) fn not_read() -> Self {
        Self {
            event: NOT_READ.to_owned(),
            key: None,
            kind: None,
            phase: None,
            subject: None,
            reference: None,
            amount: None,
            currency: None,
            unknown: None,
            problem: None,
        }
    }

    /// Takes over what the processor logged about a body.
    pub(super) fn learn(&mut self, line: &Line, environment: Environment, masks: &Masks) {
        let masked = |text: &String| masks.text(text);
        let stage = line.stage().map(|stage| stage.as_str().to_owned());
        self.event = line.event.as_ref().map(masked).or(stage).unwrap_or_else(|| NOT_READ.to_owned());
        self.kind = line.stage().map(|stage| stage.kind().as_str());
        self.phase = line.stage().map(Stage::phase);
        self.unknown = line.unknown.as_ref().map(masked);
        if let (Some(kind), Some(id)) = (self.kind, line.id.as_ref().filter(|id| *id != REDACTED)) {
            self.subject = Some(masked(id));
            self.key = Some(Key::from(format!("{environment}#{kind}#{id}")));
        }
    }
}

impl Reading {
    /// `None`: the body cannot be read.
    pub(super) fn of(body: &[u8], metadata: &Metadata, masks: &Masks) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let webhook = Webhook::parse(body, metadata.topic.as_ref()).ok()?;
        let (entry, update) = (webhook.entry(), Update::new(&webhook, metadata.clone()));
        let seen = &update.observation;
        let json = Json::parse(webhook.text()).filter(|_| text.len() <= MAX_EXPLAINED_BYTES);
        let again = Again { metadata, text: webhook.text(), entry: entry.as_ref() };
        let mut read: Vec<_> = facts_of(&update).into_iter().map(ReadFact::new).collect();
        if let Some(json) = &json
            && seen.kind() != Kind::Unknown
        {
            again.explain(json, &mut read);
        }
        for text in read.iter_mut().flat_map(|fact| fact.from.iter_mut().chain([&mut fact.value])) {
            *text = masks.text(text);
        }
        let statuses = entry.as_ref().and_then(|entry| entry.statuses.as_ref()).into_iter().flatten();
        Some(Self {
            product: entry.as_ref().map(|entry| entry.product),
            event: masks.text(&seen.event),
            recognised_by: again.recognised_by(json.as_ref(), seen.unknown, &seen.event, masks),
            stage: seen.stage.as_str(),
            statuses: statuses
                .map(|(status, stage)| Status {
                    word: status,
                    stage: stage.as_str(),
                    is_this: seen.status.as_deref() == Some(status),
                })
                .collect(),
            without_status: entry.as_ref().and_then(|entry| entry.without_status).map(Stage::as_str),
            read,
            drift: seen.drift.iter().map(ToString::to_string).collect(),
            too_large: json.is_none(),
        })
    }
}

impl ReadFact {
    fn new(Fact { name, value }: Fact) -> Self {
        Self { name, value, from: Vec::new() }
    }
}

fn facts_of(update: &Update) -> Vec<Fact> {
    let seen = &update.observation;
    let id = [Fact { name: "id", value: seen.id.clone() }];
    let scope = seen.scope.iter().map(|scope| Fact { name: "scope", value: scope.clone() });
    id.into_iter().chain(scope).chain(facts(&State::from(seen))).collect()
}

/// Reads the body again, with one value changed.
struct Again<'a> {
    metadata: &'a Metadata,
    text: &'a str,
    entry: Option<&'a Entry>,
}

impl Again<'_> {
    /// Adds to each fact the values that it depends on.
    fn explain(&self, json: &Json<'_>, read: &mut [ReadFact]) {
        let mut values = Vec::new();
        json.visit(String::new(), &mut |path, node| {
            values.push((path, node.range_in(self.text), other_than(node.text)));
        });
        for (path, range, other) in values.into_iter().take(MAX_EXPLAINED_VALUES) {
            let Some(other) = other else { continue };
            let mut changed = self.text.to_owned();
            changed.replace_range(range, &other);
            let Some(update) = update_of(changed.as_bytes(), self.metadata) else { continue };
            let is_unknown = update.observation.kind() == Kind::Unknown;
            let now = facts_of(&update);
            for fact in &mut *read {
                let is_same = now.iter().any(|other| other.name == fact.name && other.value == fact.value);
                let depends = if is_unknown { fact.name == made_unknown_by(&update) } else { !is_same };
                if depends {
                    fact.from.push(path.clone());
                }
            }
        }
    }

    fn recognised_by(
        &self,
        json: Option<&Json<'_>>,
        unknown: Option<Unknown>,
        event: &str,
        masks: &Masks,
    ) -> RecognisedBy {
        if let Some(reason) = unknown {
            let names = webhook::catalogue().filter(|entry| entry.is_named).map(|entry| entry.event);
            let nearest = samples::closest(event, names).filter(|_| matches!(reason, Unknown::Event));
            return RecognisedBy::Nothing { reason: reason.to_string(), nearest };
        }
        if self.entry.is_none_or(|entry| entry.is_named) {
            return RecognisedBy::Name;
        }
        let needed = json.map(|json| self.needed_keys(json)).unwrap_or_default();
        let needed = needed.iter().map(|key| masks.text(key)).collect();
        let without_topic = Webhook::parse(self.text.as_bytes(), None).ok().and_then(|webhook| webhook.entry());
        match &self.metadata.topic {
            Some(topic) if without_topic.as_ref() != self.entry => {
                RecognisedBy::Topic { topic: topic.to_string(), needed }
            }
            _ => RecognisedBy::Keys { needed },
        }
    }

    /// The keys at the top without which the body would be recognised as something else.
    fn needed_keys(&self, json: &Json<'_>) -> Vec<String> {
        let Inside::Object(entries) = &json.inside else { return Vec::new() };
        let is_needed = |value: &Json<'_>| {
            let mut without = self.text.to_owned();
            // A key with null counts as absent.
            without.replace_range(value.range_in(self.text), "null");
            let entry = Webhook::parse(without.as_bytes(), self.metadata.topic.as_ref()).ok()?.entry();
            Some(entry.as_ref() != self.entry)
        };
        let entries = entries.iter().take(MAX_EXPLAINED_VALUES);
        entries.filter(|(_, value)| is_needed(value) == Some(true)).map(|(key, _)| key.clone()).collect()
    }
}

/// The fact whose value made a changed body unknown.
fn made_unknown_by(update: &Update) -> &'static str {
    match update.observation.unknown {
        Some(Unknown::Event | Unknown::EventType | Unknown::Shape) => "event",
        Some(Unknown::Missing("id")) => "id",
        _ => "stage",
    }
}

/// A value of the same type that is another one. `None`: null, or an empty list or object.
fn other_than(text: &str) -> Option<String> {
    match text.as_bytes() {
        [b'"', inside @ .., b'"'] => {
            let inside = std::str::from_utf8(inside).ok()?;
            let is_time = inside.parse::<jiff::Timestamp>().is_ok();
            match last_digit(inside) {
                // A time stays a time, and digits stay digits.
                Some(other) if is_time || inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
                    Some(format!("\"{other}\""))
                }
                _ => Some(format!("\"{inside}x\"")),
            }
        }
        b"true" => Some("false".to_owned()),
        b"false" => Some("true".to_owned()),
        [b'-' | b'0'..=b'9', ..] => last_digit(text),
        _ => None,
    }
}

/// The text with another last digit.
fn last_digit(text: &str) -> Option<String> {
    let at = text.rfind(|c: char| c.is_ascii_digit())?;
    let (start, digit, end) = (text.get(..at)?, text.get(at..=at)?, text.get(at + 1..)?);
    // Not nine: a time's offset or second must stay one.
    let other = match digit {
        "0" => "1",
        _ => "0",
    };
    Some(format!("{start}{other}{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, topic: Option<&str>) -> Reading {
        let metadata = Metadata {
            id: "d-1".to_owned(),
            received_at: "2030-01-02T03:00:00Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: topic.map(|topic| topic.parse().unwrap()),
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        Reading::of(body.as_bytes(), &metadata, &Masks::new([])).unwrap()
    }

    fn sample(name: &str) -> Reading {
        read(samples::find(name).unwrap().body, None)
    }

    fn from<'r>(reading: &'r Reading, name: &str) -> Vec<&'r str> {
        let fact = reading.read.iter().find(|fact| fact.name == name).unwrap_or_else(|| panic!("{name}: {reading:?}"));
        fact.from.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_body_with_an_event_name_is_recognised_by_it() {
        let reading = sample("payment.capture");
        assert_eq!(reading.recognised_by, RecognisedBy::Name);
        assert_eq!(reading.stage, "payment.succeeded");
        assert!(reading.statuses.iter().any(|it| it.word == "SUCCEEDED" && it.is_this), "{reading:?}");
    }

    #[test]
    fn each_fact_names_the_values_that_it_depends_on() {
        let reading = sample("payment.capture");
        assert_eq!(from(&reading, "event"), ["event"]);
        assert_eq!(from(&reading, "id"), ["data.payment_id"]);
        assert_eq!(from(&reading, "stage"), ["data.status"]);
        assert_eq!(from(&reading, "reference"), ["data.reference_id"]);
        assert_eq!(from(&reading, "account"), ["business_id"]);
        assert_eq!(from(&reading, "requested"), ["data.currency", "data.request_amount"]);
        let captures = ["data.currency", "data.captures[0].capture_id", "data.captures[0].capture_amount"];
        assert_eq!(from(&reading, "captures"), captures);
    }

    #[test]
    fn a_body_without_an_event_name_is_recognised_by_its_keys() {
        let reading = sample("invoice.paid");
        let needed = ["external_id", "user_id", "merchant_name"].map(str::to_owned);
        let RecognisedBy::Keys { needed: found } = &reading.recognised_by else { panic!("{reading:?}") };
        assert!(found.len() == 3 && needed.iter().all(|key| found.contains(key)), "{found:?}");
        assert_eq!(from(&reading, "stage"), ["status"]);
        assert!(from(&reading, "paid").contains(&"paid_amount"), "{reading:?}");
    }

    #[test]
    fn a_body_that_only_the_topic_explains_is_recognised_by_it() {
        let body = r#"{"id":"i","external_id":"e","user_id":"u","amount":1,"status":"EXPIRED"}"#;
        let reading = read(body, Some("invoice"));
        let RecognisedBy::Topic { topic, needed } = &reading.recognised_by else { panic!("{reading:?}") };
        assert!(topic == "invoice" && needed.contains(&"amount".to_owned()), "{reading:?}");
        assert!(matches!(read(body, None).recognised_by, RecognisedBy::Nothing { nearest: None, .. }));
    }

    #[test]
    fn an_unknown_name_is_compared_with_the_known_ones() {
        let reading = read(r#"{"event":"payment.suceeded","data":{"id":"p"}}"#, None);
        let nearest = Some("payment.succeeded");
        assert_eq!(reading.recognised_by, RecognisedBy::Nothing { reason: "unknown event name".to_owned(), nearest });
    }

    #[test]
    fn every_sample_names_where_its_id_and_stage_came_from() {
        for sample in samples::all() {
            let reading = read(sample.body, None);
            if !matches!(reading.recognised_by, RecognisedBy::Nothing { .. }) {
                assert!(!from(&reading, "id").is_empty(), "{}: {reading:?}", sample.name);
                let depends = from(&reading, "stage").len() + from(&reading, "event").len();
                let by_keys = !matches!(reading.recognised_by, RecognisedBy::Name);
                assert!(depends > 0 || by_keys, "{}: {reading:?}", sample.name);
            }
        }
    }
}
