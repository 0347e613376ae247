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

/// The version of the detail's form. A field may be added under the same version; nothing else may change.
const SCHEMA_VERSION: u32 = 1;

/// An EventBridge entry holds 256 KB, and an item of the ledger may have to hold three.
const MAX_BODY_BYTES: usize = 96 * 1024;

/// A body that is nested deeper than this stays out of the event: parsers differ in what they bear.
const MAX_BODY_DEPTH: usize = 50;

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

/// The detail of a domain event.
#[derive(Serialize)]
struct Detail<'a> {
    schema_version: u32,
    id: &'a str,
    environment: Environment,
    account: Option<&'a str>,
    subject: Subject<'a>,
    reference: Option<&'a str>,
    phase: &'a str,
    previous_phase: Option<&'a str>,
    /// Xendit's own words.
    event: &'a str,
    status: Option<&'a str>,
    failure_code: Option<&'a str>,
    channel: Option<&'a str>,
    /// Why a webhook is not understood.
    unknown_because: Option<String>,
    paid: Option<Money>,
    asked: Option<Money>,
    captures: Vec<Capture<'a>>,
    /// All amounts that were told of this fact, where they contradict each other.
    contradicting: Vec<&'a Money>,
    late: bool,
    paid_differs: bool,
    occurred_at: Option<jiff::Timestamp>,
    received_at: jiff::Timestamp,
    delivery: &'a str,
    /// The item's version: of two events of one subject the one with the greater version is the newer.
    version: u64,
    body: Option<&'a RawValue>,
    /// The body is not in here because it is too large or too deep. It is at Xendit.
    body_omitted: bool,
}

#[derive(Serialize)]
struct Subject<'a> {
    kind: Kind,
    id: &'a str,
}

#[derive(Serialize)]
struct Capture<'a> {
    id: &'a str,
    #[serde(flatten)]
    money: &'a Money,
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
    let fits = news.body.len() <= MAX_BODY_BYTES.min(room) && depth(news.body) <= MAX_BODY_DEPTH;
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
