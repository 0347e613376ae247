//! Observation: what one event says about one subject. Made by `Webhook::observe`, merged into the ledger.
//!
//! **Invariant:** everything in here comes from the body. Not the time of delivery, which differs between two
//! deliveries of one event, and not `webhook-id`, which changes when a provider sends a payment again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    lifecycle::{Kind, Stage},
    money::Money,
};

/// Distinguishes a second event in the same stage from a duplicate. One subject's marks are all of one form, and the greater
/// is newer; a text has no such order, and belongs to a kind that is ordered by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A count of attempts.
    Count(u64),
    /// When the resource was updated.
    At(Timestamp),
    /// The same, with the reason.
    AtBecause(Timestamp, String),
    /// A text, such as a digest.
    Text(String),
}

/// A value with an unexpected type, or not among the known ones.
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
    /// The scope of the id, if it is not globally unique.
    pub scope: Option<String>,
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
    /// When it happened, by the subject's own time fields; when the subject was created, if they say no more.
    pub occurred_at: Option<Timestamp>,
    /// When the subject changed: the same, if it is not only its creation.
    pub changed_at: Option<Timestamp>,
    /// When the money came, if the stage says that it is here.
    pub money_at: Option<Timestamp>,
    /// Distinguishes this from an earlier event in the same stage.
    pub mark: Option<Mark>,
    /// What was paid, collected, refunded or sent, once money has moved; and what a batch or a dispute came to.
    pub paid: Option<Money>,
    /// What was requested: where stated separately, and wherever nothing was paid.
    pub requested: Option<Money>,
    /// The captures of a payment that is collected in parts, by capture id.
    pub captures: BTreeMap<String, Money>,
    /// The captures of which only the id could be read, or `?` for not even that. A sum without them would look like the
    /// amount paid.
    pub unread_captures: BTreeSet<String>,
    /// Why the webhook was not recognised. Set for `Kind::Unknown` only.
    pub unknown: Option<Unknown>,
    /// Where the body differed from what is expected.
    pub drift: Vec<Drift>,
}

impl Observation {
    /// An observation with only its subject set.
    pub(crate) fn new(event: &str, stage: Stage, id: String) -> Self {
        Self {
            stage,
            id,
            scope: None,
            account: None,
            reference: None,
            status: None,
            event: event.to_owned(),
            channel: None,
            failure_code: None,
            occurred_at: None,
            changed_at: None,
            money_at: None,
            mark: None,
            paid: None,
            requested: None,
            captures: BTreeMap::new(),
            unread_captures: BTreeSet::new(),
            unknown: None,
            drift: Vec::new(),
        }
    }

    /// The subject's kind.
    pub fn kind(&self) -> Kind {
        self.stage.kind()
    }
}

/// Why a webhook is kept but not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The body's event name is not one that is known here.
    Event,
    /// The body has no event name and none of the keys that identify the older webhooks.
    Shape,
    /// The body names its event under `event_type`, as old xenPlatform webhooks did. None is supported.
    EventType,
    /// The event is known, but a field that identifies its subject is missing or unusable.
    Missing(&'static str),
    /// The event is known, but the field that says what happened holds a value that is not.
    Value(&'static str),
    /// A key occurs twice, so the body is ambiguous.
    Ambiguous,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event => f.write_str("unknown event name"),
            Self::Shape => f.write_str("no event name, and no known combination of keys"),
            Self::EventType => {
                f.write_str("`event_type` instead of `event`, as in old xenPlatform webhooks, which are not supported")
            }
            Self::Missing(field) => write!(f, "missing or malformed {field}"),
            Self::Value(field) => write!(f, "unknown value of {field}"),
            Self::Ambiguous => f.write_str("a key occurs twice in the body"),
        }
    }
}
