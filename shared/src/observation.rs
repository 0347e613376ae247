//! Observation: what one event says about one subject. Made by `Webhook::observe`, merged into the ledger.
//!
//! **Invariant:** everything in here comes from the body. Not the time of delivery, which differs between two
//! deliveries of one event, and not `webhook-id`, which changes when a provider sends a payment again.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    lifecycle::{Kind, Stage},
    money::Money,
};

/// What makes a second event in the same stage news. Of two marks in one stage, the greater is the newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A count of attempts.
    Count(u64),
    /// When the resource was updated.
    At(Timestamp),
    /// The same, with the reason.
    AtBecause(Timestamp, String),
    /// What it says. Which of two texts is the newer is for the time to say.
    Text(String),
}

/// A value in the body that was not of the type it has always had, or not among the values that are known.
///
/// Names and types only: the value itself may be personal data and is never kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// The field's path in the object, such as `status`: in `data` where there is an envelope, else in the body.
    pub field: &'static str,
    /// What was found there, such as `an object` or `an unknown value`.
    pub found: &'static str,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.found)
    }
}

/// What one event says about one subject: a payment, a payout, a refund and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// What kind of subject, and which of its phases it was seen in.
    pub stage: Stage,
    /// The subject's id at Xendit.
    pub id: String,
    /// What the id is unique within, where it is not unique by itself.
    pub within: Option<String>,
    /// The Xendit account (business) that the subject belongs to, when the body says.
    pub account: Option<String>,
    /// The merchant's own reference, when there is one.
    pub reference: Option<String>,
    /// Xendit's own word for the phase, such as `SUCCEEDED`.
    pub status: Option<String>,
    /// Xendit's name of the event; for the older webhooks, which have none, the webhook's name, such as `invoice`.
    pub event: String,
    /// The bank, wallet, outlet or network, such as `BCA` or `PH_GCASH`.
    pub channel: Option<String>,
    /// Why it failed, in Xendit's word, such as `INSUFFICIENT_BALANCE`.
    pub failure_code: Option<String>,
    /// When it happened, in Xendit's words about the subject itself.
    pub occurred_at: Option<Timestamp>,
    /// What makes this news although the phase is the same.
    pub mark: Option<Mark>,
    /// What was paid, collected, refunded or sent. Never set before money has moved.
    pub paid: Option<Money>,
    /// What was requested, where Xendit says so separately, and wherever nothing was paid.
    pub requested: Option<Money>,
    /// The captures of a payment that is collected in parts, by capture id.
    pub captures: BTreeMap<String, Money>,
    /// Why an event is kept without being acted on. Set for `Kind::Unknown` only.
    pub unknown: Option<Unknown>,
    /// Where the body differed from what has been seen so far.
    pub drift: Vec<Drift>,
}

impl Observation {
    /// An observation that knows nothing yet but what it is about.
    pub(crate) fn new(event: &str, stage: Stage, id: String) -> Self {
        Self {
            stage,
            id,
            within: None,
            account: None,
            reference: None,
            status: None,
            event: event.to_owned(),
            channel: None,
            failure_code: None,
            occurred_at: None,
            mark: None,
            paid: None,
            requested: None,
            captures: BTreeMap::new(),
            unknown: None,
            drift: Vec::new(),
        }
    }

    /// The subject's kind.
    pub fn kind(&self) -> Kind {
        self.stage.kind()
    }
}

/// Why an event is kept but not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The body's event name is not one that is known here.
    Event,
    /// The body has no event name and none of the keys that tell the older webhooks apart.
    Shape,
    /// The body names its event under `event_type`, as the platform's old webhooks did. None of them is known.
    EventType,
    /// The event is known, but a field that identifies its subject is missing or unusable.
    Missing(&'static str),
    /// The event is known, but the field that says what happened holds a value that is not.
    Value(&'static str),
    /// A key occurs twice in the body, so that it can be read in two ways.
    Ambiguous,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => f.write_str("unknown event name"),
            Self::Shape => f.write_str("no event name, and no known shape"),
            Self::EventType => f.write_str("an event_type, as only the platform's old webhooks have"),
            Self::Missing(field) => write!(f, "no usable {field}"),
            Self::Value(field) => write!(f, "unknown value of {field}"),
            Self::Ambiguous => f.write_str("a key occurs twice in the body"),
        }
    }
}
