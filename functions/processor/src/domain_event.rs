//! Domain event: what the merchant gets, one for each piece of news. Made from a transition, stored in the outbox,
//! published on the bus.
//!
//! The id is derived from the subject and the state it reached. States only grow, so that one transition has one id
//! however often its message is delivered, and no two transitions share one.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use shared::{envelope::Environment, lifecycle::Kind, money::Money};

use crate::{
    business::{Announcement, Topic},
    ledger::{
        item::News,
        state::{State, Transition},
    },
};

/// The `source` of all domain events.
pub const SOURCE: &str = "xendit-hooks";

/// The version of the detail's form. An optional field may be added under the same version; nothing else may change.
pub const SCHEMA_VERSION: u32 = 1;

/// An EventBridge entry holds 256 KB, and an item of the ledger may have to hold three.
const MAX_BODY_BYTES: usize = 96 * 1024;

/// A body that is nested deeper than this stays out of the event: parsers differ in what they bear.
const MAX_BODY_DEPTH: usize = 50;

/// The webhooks of 2019 carry the callback token in the body. Whoever may read the bus may not have it.
const TOKEN_KEY: &str = "callback_authentication_token";

/// A domain event, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainEvent {
    /// Stable: the same for every time this event is published.
    pub id: String,
    /// `payment.succeeded`, `webhook.unknown`, …
    pub detail_type: String,
    /// The detail, as JSON.
    pub detail: String,
}

/// What happened to one thing, as the `detail` of an event on the bus.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Detail<'a> {
    /// The version of this form.
    #[cfg_attr(feature = "schema", schemars(extend("const" = SCHEMA_VERSION)))]
    schema_version: u32,
    /// The same each time this event is published: a consumer that has seen it has nothing to do.
    id: &'a str,
    /// Which of Xendit's two worlds it is from.
    environment: Environment,
    /// The Xendit account that the thing belongs to, where the webhook says so.
    account: Option<&'a str>,
    /// What it is about.
    subject: Subject<'a>,
    /// Your own reference, such as an order's number.
    reference: Option<&'a str>,
    /// How far the thing is.
    phase: &'a str,
    /// How far it was before. Null, when this is the first that is heard of it.
    previous_phase: Option<&'a str>,
    /// Xendit's name of the event; for the older webhooks, which have none, the name in docs/webhooks.md.
    event: &'a str,
    /// Xendit's own word for the phase.
    status: Option<&'a str>,
    /// Why it failed, in Xendit's word.
    failure_code: Option<&'a str>,
    /// The bank, wallet, outlet or network.
    channel: Option<&'a str>,
    /// Why a webhook is not understood.
    unknown_because: Option<String>,
    /// What was paid, collected, refunded or sent, in all. Null before money has moved, and while it is in doubt.
    paid: Option<Money>,
    /// What was asked for.
    asked: Option<Money>,
    /// The parts in which a payment was collected, when it was. `paid` is their sum.
    captures: Vec<Capture<'a>>,
    /// All amounts that were told of this fact, where they contradict each other.
    contradicting: Vec<&'a Money>,
    /// The money came after the thing had expired, failed or been canceled: the goods may be gone.
    late: bool,
    /// What was paid is not what was asked for.
    paid_differs: bool,
    /// When it happened, in Xendit's words.
    occurred_at: Option<jiff::Timestamp>,
    /// When the webhook came.
    received_at: jiff::Timestamp,
    /// The delivery's id: the same in the logs, in the ledger, and in the answer that Xendit got.
    delivery: &'a str,
    /// The item's version: of two events of one subject the one with the greater version is the newer.
    version: u64,
    /// The webhook's body.
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    body: Option<&'a RawValue>,
    /// The body is not in here because it is too large, too deep, or holds the callback token. It is at Xendit.
    body_omitted: bool,
}

/// One thing that Xendit tells about.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Subject<'a> {
    /// What kind of thing it is.
    // Not the list of those that there are: that may grow under one version.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    kind: Kind,
    /// Its id at Xendit.
    id: &'a str,
}

/// One part in which a payment was collected.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Capture<'a> {
    /// Its id at Xendit.
    id: &'a str,
    #[serde(flatten)]
    money: &'a Money,
}

/// The JSON Schema of the detail, whatever the event's type.
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Value {
    use schemars::{Schema, generate::SchemaSettings, transform::RecursiveTransform};

    // `uint64` and its like are Rust's formats, not JSON Schema's.
    let without_rust = RecursiveTransform(|schema: &mut Schema| {
        if schema.get("format").and_then(serde_json::Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
    });
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(without_rust);
    settings.into_generator().into_root_schema_for::<Detail<'_>>().to_value()
}

/// Writes the domain event of an announcement. `room` is how many bytes the outbox has left.
pub fn write(
    announcement: &Announcement,
    transition: &Transition,
    news: &News<'_>,
    version: u64,
    room: usize,
) -> DomainEvent {
    let (after, observation) = (&transition.after, news.observation);
    let detail_type = match announcement.topic {
        Topic::Stage => after.stage.as_str(),
        Topic::Unknown => "webhook.unknown",
        Topic::Conflict => "webhook.conflict",
    };
    let id = id(&news.key(), detail_type, after);
    let fits = news.body.len() <= MAX_BODY_BYTES.min(room)
        && depth(news.body) <= MAX_BODY_DEPTH
        && !news.body.contains(TOKEN_KEY);
    let body: Option<&RawValue> = fits.then(|| serde_json::from_str(news.body).ok()).flatten();
    let captures =
        after.captures.iter().flat_map(|(id, amounts)| amounts.iter().map(move |money| Capture { id, money }));
    let detail = Detail {
        schema_version: SCHEMA_VERSION,
        id: &id,
        environment: news.delivery.environment,
        account: observation.account.as_deref(),
        subject: Subject { kind: after.stage.kind(), id: &observation.id },
        reference: after.reference.as_deref(),
        phase: after.stage.phase(),
        previous_phase: transition.before.as_ref().map(|before| before.stage.phase()),
        event: &after.event,
        status: after.status.as_deref(),
        failure_code: after.failure_code.as_deref(),
        channel: after.channel.as_deref(),
        unknown_because: observation.unknown.map(|reason| reason.to_string()),
        paid: after.paid_in_all(),
        asked: after.asked_once(),
        captures: captures.collect(),
        contradicting: contradicting(after),
        late: announcement.late,
        paid_differs: announcement.paid_differs,
        occurred_at: after.occurred_at,
        received_at: news.delivery.received_at,
        delivery: &news.delivery.id,
        version,
        body,
        body_omitted: body.is_none(),
    };
    #[expect(clippy::expect_used, reason = "strings, integers and JSON under string keys: serde_json refuses none")]
    let json = serde_json::to_string(&detail).expect("a detail is always JSON");
    DomainEvent { id, detail_type: detail_type.to_owned(), detail: json }
}

fn contradicting(state: &State) -> Vec<&Money> {
    let sets = [&state.paid, &state.asked].into_iter().chain(state.captures.values());
    sets.filter(|amounts| amounts.len() > 1).flatten().collect()
}

fn id(key: &str, detail_type: &str, state: &State) -> String {
    let mut hasher = Sha256::new();
    for part in [key, detail_type] {
        hasher.update(part);
        hasher.update([0]);
    }
    #[expect(clippy::expect_used, reason = "strings under string keys: serde_json refuses none")]
    hasher.update(serde_json::to_vec(state).expect("a state is always JSON"));
    hasher.finalize().iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// How deep a JSON text is nested, by its brackets outside strings.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::{envelope::Delivery, event::Event, observation::Observation};

    use super::*;
    use crate::{business, ledger::state::Change};

    const NO_LIMIT: usize = usize::MAX;

    fn delivery(id: &str) -> Delivery {
        Delivery {
            id: id.to_owned(),
            received_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: Some("wh-1".to_owned()),
            api_version: None,
            content_type: None,
        }
    }

    fn transition(known: Option<&State>, observation: &Observation) -> Transition {
        match Change::of(known, observation) {
            Change::News(transition) => *transition,
            other => panic!("{other:?}"),
        }
    }

    /// The events of bodies that came one after the other, those of the last one.
    fn written_by(delivery_id: &str, bodies: &[&str], room: usize) -> Vec<DomainEvent> {
        let (mut known, mut events): (Option<State>, Vec<DomainEvent>) = (None, Vec::new());
        for (version, body) in (1..).zip(bodies) {
            let event = Event::parse(body.as_bytes(), None).unwrap();
            let (observation, delivery) = (event.observe(), delivery(delivery_id));
            let now = "2026-01-02T03:04:06Z".parse().unwrap();
            let news = News {
                observation: &observation,
                delivery: &delivery,
                body: event.text(),
                message_id: "m-1",
                receive_count: 1,
                now,
            };
            let transition = transition(known.as_ref(), &observation);
            let announcements = business::announce(&transition);
            events = announcements.iter().map(|a| write(a, &transition, &news, version, room)).collect();
            known = Some(transition.after);
        }
        events
    }

    fn only(bodies: &[&str]) -> DomainEvent {
        let mut events = written_by("d-1", bodies, NO_LIMIT);
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    fn detail(event: &DomainEvent) -> Value {
        serde_json::from_str(&event.detail).unwrap()
    }

    fn invoice(status: &str, paid: &str) -> String {
        format!(
            r#"{{"id":"inv-1","user_id":"acc-1","external_id":"order-1","merchant_name":"M","status":"{status}","amount":1000,"paid_amount":{paid},"currency":"IDR","payment_channel":"BCA","updated":"2026-01-02T03:00:00Z"}}"#
        )
    }

    fn payment(captures: &[&str]) -> String {
        let captures: Vec<_> = captures
            .iter()
            .enumerate()
            .map(|(n, amount)| format!(r#"{{"capture_id":"c{n}","capture_amount":{amount}}}"#))
            .collect();
        format!(
            r#"{{"event":"payment.capture","business_id":"acc-1","data":{{"payment_id":"py-1","currency":"PHP","status":"SUCCEEDED","captures":[{}]}}}}"#,
            captures.join(",")
        )
    }

    #[test]
    fn the_detail_is_what_consumers_are_promised() {
        let (expired, paid) = (invoice("EXPIRED", "null"), invoice("PAID", "1000.10"));
        let event = only(&[&expired, &paid]);
        assert_eq!(event.detail_type, "invoice.paid");
        let expected = json!({
            "schema_version": 1,
            "id": event.id,
            "environment": "test",
            "account": "acc-1",
            "subject": { "kind": "invoice", "id": "inv-1" },
            "reference": "order-1",
            "phase": "paid",
            "previous_phase": "expired",
            "event": "invoice",
            "status": "PAID",
            "failure_code": null,
            "channel": "BCA",
            "unknown_because": null,
            "paid": { "amount": "1000.10", "currency": "IDR" },
            "asked": { "amount": "1000", "currency": "IDR" },
            "captures": [],
            "contradicting": [],
            "late": true,
            "paid_differs": true,
            "occurred_at": "2026-01-02T03:00:00Z",
            "received_at": "2026-01-02T03:04:05.678Z",
            "delivery": "d-1",
            "version": 2,
            "body": serde_json::from_str::<Value>(&paid).unwrap(),
            "body_omitted": false,
        });
        assert_eq!(detail(&event), expected);
    }

    #[test]
    fn the_id_is_the_same_whichever_delivery_brings_the_news() {
        let body = invoice("PAID", "1000");
        let ids = |delivery: &str| written_by(delivery, &[&body], NO_LIMIT).remove(0).id;
        assert_eq!(ids("d-1"), ids("d-2"));
        assert_eq!(ids("d-1").len(), 32);
    }

    #[test]
    fn two_transitions_and_two_events_of_one_have_different_ids() {
        let bodies = [payment(&["200"]), payment(&["201", "300"])];
        let first = only(&[&bodies[0]]);
        let both = written_by("d-1", &[&bodies[0], &bodies[1]], NO_LIMIT);
        let types: Vec<_> = both.iter().map(|event| event.detail_type.as_str()).collect();
        assert_eq!(types, ["payment.succeeded", "webhook.conflict"]);
        assert!(first.id != both[0].id && both[0].id != both[1].id);
        let elsewhere = bodies[0].replace("py-1", "py-2");
        assert_ne!(only(&[&elsewhere]).id, first.id);
    }

    #[test]
    fn amounts_are_told_digit_for_digit() {
        for amount in ["1000.10", "10000.01", "0.1", "12345678901234567890", "12345678901234567890.12345678", "0.00"] {
            let event = only(&[&invoice("PAID", amount)]);
            let expected = format!(r#""paid":{{"amount":"{amount}","currency":"IDR"}}"#);
            assert!(event.detail.contains(&expected), "{amount}: {}", event.detail);
            assert!(event.detail.contains(&format!(r#""paid_amount":{amount},"#)), "and in the body as they came");
        }
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let event = only(&[&payment(&["0.1", "0.2"])]);
        assert_eq!(detail(&event)["paid"], json!({ "amount": "0.3", "currency": "PHP" }));
        let captures = json!([
            { "id": "c0", "amount": "0.1", "currency": "PHP" },
            { "id": "c1", "amount": "0.2", "currency": "PHP" }
        ]);
        assert_eq!(detail(&event)["captures"], captures);
    }

    #[test]
    fn a_body_that_is_too_large_or_too_deep_is_left_out_and_said_to_be() {
        let unknown = |data: &str| format!(r#"{{"event":"moon.landed","data":{data}}}"#);
        let nested = |depth: usize| unknown(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        let sized = |bytes: usize| unknown(&format!("\"{}\"", "x".repeat(bytes)));
        let overhead = sized(0).len();
        for (body, room, omitted) in [
            (nested(MAX_BODY_DEPTH - 1), NO_LIMIT, false),
            (nested(MAX_BODY_DEPTH), NO_LIMIT, true),
            (nested(100_000), NO_LIMIT, true),
            (unknown(r#""[[[\"{{{""#), NO_LIMIT, false),
            (sized(MAX_BODY_BYTES - overhead), NO_LIMIT, false),
            (sized(MAX_BODY_BYTES - overhead + 1), NO_LIMIT, true),
            (sized(100), overhead + 100, false),
            (sized(100), overhead + 99, true),
        ] {
            let event = written_by("d-1", &[&body], room).remove(0);
            let detail = detail(&event);
            assert_eq!(detail["body_omitted"], omitted, "{} bytes", body.len());
            assert_eq!(detail["body"].is_null(), omitted);
            assert_eq!(detail["event"], "moon.landed", "the rest is told all the same");
        }
    }

    #[test]
    fn a_webhook_that_is_not_understood_says_why() {
        let event = only(&[r#"{"event":"payout.succeeded","business_id":"acc-1","data":{"status":"SUCCEEDED"}}"#]);
        assert_eq!(event.detail_type, "webhook.unknown");
        assert!(event.detail.contains(r#""unknown_because":"no usable "#), "{}", event.detail);
        assert_eq!(detail(&event)["subject"]["kind"], "unknown");
        assert_eq!(detail(&event)["account"], "acc-1");
    }

    #[test]
    fn strings_in_a_body_do_not_count_as_depth() {
        assert_eq!(depth(r#"{"a":"[[[\"[[\\","b":[{}]}"#), 3);
        assert_eq!(depth("]]]["), 1);
    }
}
