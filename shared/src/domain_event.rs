//! Domain event: what the merchant gets, one for each business fact. The public contract: written by the ledger, read by
//! the command line and by consumers in Rust, described by the schemas in `docs/schemas`.
//!
//! **Invariant:** under one `SCHEMA_VERSION` an optional field may be added; nothing else may change.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    envelope::{Environment, Source},
    lifecycle::Stage,
    money::Money,
};

/// The `source` of all domain events on the bus.
pub const SOURCE: &str = "xendit-hooks";

/// The version of the detail's form.
pub const SCHEMA_VERSION: u32 = 1;

/// The type of an event about a webhook that was not recognised.
pub const UNKNOWN: &str = "webhook.unknown";

/// The type of an event about facts that contradict each other.
pub const CONFLICT: &str = "webhook.conflict";

/// The detail type of a stage.
pub const fn type_of(stage: Stage) -> &'static str {
    match stage {
        Stage::Unknown(_) => UNKNOWN,
        stage => stage.as_str(),
    }
}

/// A domain event, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEvent {
    /// Stable: the same each time this event is published.
    pub id: String,
    /// `payment.succeeded`, `webhook.unknown`, …
    pub detail_type: String,
    /// The detail, as JSON.
    pub detail: String,
}

/// What happened to one subject, as the `detail` of an event on the bus. A field without a value is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question that a consumer asks")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Detail {
    /// The version of this form.
    #[cfg_attr(feature = "schema", schemars(extend("const" = SCHEMA_VERSION)))]
    pub schema_version: u32,
    /// The same each time this event is published. Skip an event whose id you have handled.
    pub id: String,
    /// Which of Xendit's two environments it is from.
    pub environment: Environment,
    /// How this became known: `webhook`.
    // In the schema any text: sources may be added under one version.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub source: Source,
    /// The Xendit account that the subject belongs to, where Xendit says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What the event is about.
    pub subject: Subject,
    /// Your own reference, such as an order's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The phase that the subject has reached.
    pub phase: String,
    /// The phase before; the same in an update. Absent if nothing was known before, and in a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_phase: Option<String>,
    /// An event of this type was published before. This one adds what was not known then: an amount, a capture, your
    /// reference, or that the money was late. It announces no additional money: `paid` is always the total.
    pub update: bool,
    /// Xendit's name of the event; where the body has none, the name in docs/webhooks.md.
    pub event: String,
    /// Xendit's own word for what it reported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why it failed, in Xendit's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// The bank, wallet, outlet or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Why the webhook was not recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_reason: Option<String>,
    /// What was paid, collected, refunded or sent, in all; for a batch or a dispute, what it came to. Absent before
    /// money has moved, and while it is in doubt. It stays when the money goes back: the type of the event says so, as in
    /// `payment.voided` and `payout.reversed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<Money>,
    /// What was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Money>,
    /// The parts in which a payment was collected, when it was. `paid` is their sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<Capture>,
    /// There are captures that are not listed: more than are kept, or some whose amounts could not be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub captures_omitted: bool,
    /// Amounts that contradict each other, of what was paid, of what was requested, or of one capture: the first that was
    /// stated, then the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicting_amounts: Vec<Money>,
    /// References that contradict each other: the first that was stated, then the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicting_references: Vec<String>,
    /// The money came after the subject had expired, failed or been canceled: you may have released the stock.
    pub paid_late: bool,
    /// What was paid is not what was requested.
    pub amount_mismatch: bool,
    /// When it happened, according to Xendit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// When the webhook was received.
    pub received_at: Timestamp,
    /// The delivery's id: the same in the logs, in the ledger, and in the answer that Xendit got.
    pub delivery_id: String,
    /// The label of the callback token that the webhook carried.
    pub token_label: String,
    /// The version of the ledger's item: of two events of one subject, the one with the greater version is the newer.
    pub version: u64,
    /// The webhook's body.
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Map<String, serde_json::Value>>"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// The body was left out: it is too large or too deep, holds a number that EventBridge does not accept, holds the callback
    /// token, EventBridge refused it, or another delivery publishes the event. Xendit's dashboard shows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub body_omitted: bool,
}

/// What an event is about: a payment, a payout, a refund and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subject {
    /// What kind of subject it is, such as `payment`.
    pub kind: String,
    /// The scope of the id, if it is not globally unique: for a payment to a virtual account, that account's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its id at Xendit.
    pub id: String,
}

/// One part in which a payment was collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Capture {
    /// Its id at Xendit.
    pub id: String,
    /// How much, in major units.
    pub amount: crate::money::Amount,
    /// Of what.
    pub currency: crate::money::Currency,
}

impl Detail {
    /// Reads the `detail` of an event from the bus. `None`: it is of another version, or not one of ours.
    pub fn read(json: &str) -> Option<Self> {
        serde_json::from_str::<Self>(json).ok().filter(|detail| detail.schema_version == SCHEMA_VERSION)
    }
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
    settings.into_generator().into_root_schema_for::<Detail>().to_value()
}
