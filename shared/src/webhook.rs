//! Webhook: recognises which Xendit event a body is, and reads what it says.
//!
//! Recognition is by the exact event name; for the older webhooks, which have none, by an ordered list of tests on the
//! body's keys; and by the topic in the URL's path where neither says enough. Never by a prefix and never by a
//! status: `ewallet.capture` is sent for failures too, and a status says nothing about the product.
//!
//! To add a webhook: an event in its product's table in `products/`; for a new product, a table and a line in
//! `products::ALL`; without an event name, a line in `BY_KEYS` too.

mod catalogue;

use jiff::Timestamp;

pub use self::catalogue::{Entry, catalogue};
pub use crate::object::Unreadable;
use crate::{
    canary::CANARY,
    lifecycle::{Order, Stage, UnknownPhase},
    object::{Field, Fields, Object},
    observation::{Observation, Unknown},
    product::{Event, Product},
    products,
    topic::Topic,
};

type Predicate = fn(&Object<'_>) -> bool;

/// How bodies without an event name are recognised. The order matters: the products share most of their keys.
const BY_KEYS: &[(&str, Predicate)] = &[
    ("fva_paid", |it| it.has("callback_virtual_account_id")),
    ("fva_status", |it| it.has_all(&["is_closed", "account_number"])),
    ("ro_fpc_paid", |it| it.has("fixed_payment_code_id") || it.has("fixed_payment_code_payment_id")),
    ("batch_disbursement", |it| it.has("total_uploaded_count") || it.has_list("disbursements")),
    ("cardless_credit", |it| it.has("cardless_credit_type")),
    ("ewallet_2019", |it| it.has_all(&["callback_authentication_token", "ewallet_type"])),
    ("report", |it| it.text_starts_with("id", "report_") || it.has_all(&["filter", "format"])),
    ("ph_disbursement", |it| {
        it.has("connector_reference") || it.has_all(&["idempotency_key", "channel_code", "account_number"])
    }),
    ("disbursement", |it| {
        it.has("disbursement_description")
            || (it.has_all(&["bank_code", "account_holder_name"]) && !it.has("merchant_name"))
    }),
    ("payout_link", |it| it.has_all(&["merchant_name", "expiration_timestamp"]) && !it.has("user_id")),
    ("invoice", |it| it.has_all(&["external_id", "user_id", "merchant_name"])),
];

/// How the topic decides where the keys do not. An invoice and a disbursement that lack their usual keys differ in this only:
/// an invoice states what was paid, and names a bank only then.
const BY_TOPIC: &[(&str, Predicate)] = &[
    ("invoice", |it| {
        it.has_all(&["id", "external_id", "user_id", "amount", "status"])
            && it.has("bank_code") == it.has("paid_amount")
    }),
    ("fva_status", |it| it.has_all(&["id", "account_number", "status"])),
    ("disbursement", |it| {
        it.has_all(&["id", "external_id", "bank_code", "amount", "status"]) && !it.has("paid_amount")
    }),
    ("ph_disbursement", |it| it.has_all(&["id", "reference_id", "channel_code", "amount", "status"])),
];

/// A webhook's body, with the event that it was recognised as.
#[derive(Debug)]
pub struct Webhook<'a> {
    body: Object<'a>,
    event: Result<Recognised<'a>, Unknown>,
}

/// What a body was recognised as.
struct Recognised<'a> {
    product: &'static Product,
    event: &'static Event,
    /// The object inside the body. `None`: the body is the object.
    inside: Option<Object<'a>>,
}

impl std::fmt::Debug for Recognised<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.event.name)
    }
}

impl<'a> Webhook<'a> {
    /// Recognises a body.
    ///
    /// Total over JSON objects: what is not recognised is kept as unknown, with the reason. An error means that the
    /// bytes are not one JSON object in UTF-8. A retry cannot help: park the message.
    pub fn parse(bytes: &'a [u8], topic: Option<&Topic>) -> Result<Self, Unreadable> {
        let body = Object::read(bytes)?;
        let event = recognise(&body, topic);
        Ok(Self { body, event })
    }

    /// The body as text, without a byte order mark.
    pub fn text(&self) -> &'a str {
        self.body.text()
    }

    /// What the catalogue says about the event. `None`: it is not recognised.
    pub fn entry(&self) -> Option<Entry> {
        let Recognised { product, event, .. } = self.event.as_ref().ok()?;
        Some(Entry::of(product, event))
    }

    /// A text field of the object in the body, such as the id of another object that it belongs to.
    pub fn text_at(&self, path: &'static str) -> Option<String> {
        let Recognised { inside, .. } = self.event.as_ref().ok()?;
        Fields::of(inside.as_ref().unwrap_or(&self.body), Timestamp::MAX).text(path)
    }

    /// What the webhook says, and about which subject.
    pub fn observe(&self) -> Observation {
        self.observe_by(Timestamp::MAX)
    }

    /// The same, where a time after `latest` is drift: later webhooks would look older.
    ///
    /// Total: an event that is recognised but lacks what identifies the fact becomes an observation of
    /// `Kind::Unknown`, with the reason.
    pub fn observe_by(&self, latest: Timestamp) -> Observation {
        let object = match &self.event {
            Ok(Recognised { inside: Some(inside), .. }) => inside,
            _ => &self.body,
        };
        let mut fields = Fields::of(object, latest);
        let seen =
            self.event.as_ref().map_err(|reason| *reason).and_then(|event| event.observe(&self.body, &mut fields));
        let mut seen = seen.unwrap_or_else(|reason| self.unknown(reason));
        seen.drift = fields.into_drift();
        seen
    }

    fn unknown(&self, reason: Unknown) -> Observation {
        let stage = Stage::Unknown(UnknownPhase::Received);
        let mut seen = Observation::new(&self.body.event_name(), stage, self.body.fingerprint());
        seen.account = Fields::of(&self.body, Timestamp::MAX).text("business_id");
        seen.unknown = Some(reason);
        seen
    }
}

impl Recognised<'_> {
    fn observe(&self, body: &Object<'_>, fields: &mut Fields<'_, '_>) -> Result<Observation, Unknown> {
        let resource = self.product.resource;
        let stage = self.event.stage(resource, fields)?;
        let mut seen = resource.observe(fields, self.event.name, stage)?;
        if self.inside.is_some() {
            let mut wrapper = fields.of_another(body);
            // Where both name an account, the wrapper's is the owner.
            seen.account = wrapper.text("business_id").or(seen.account);
            // In most products this is the time of the delivery attempt.
            if resource.timed_by_wrapper && seen.mark.is_none() {
                seen.changed_at = wrapper.first_time(&["created"]).or(seen.changed_at);
                seen.occurred_at = seen.changed_at.or(seen.occurred_at);
            }
            fields.add_drift(wrapper.into_drift());
        }
        if resource.is_account {
            seen.account = Some(seen.id.clone());
        }
        if seen.kind().order() == Order::ByTime && seen.occurred_at.is_none() {
            return Err(Unknown::Missing("updated"));
        }
        Ok(seen)
    }
}

fn recognise<'a>(body: &Object<'a>, topic: Option<&Topic>) -> Result<Recognised<'a>, Unknown> {
    if body.is_ambiguous() {
        return Err(Unknown::Ambiguous);
    }
    let (name, is_named) = match body.event() {
        Field::Value(name) => (name, true),
        Field::Malformed(_) => return Err(Unknown::Event),
        Field::Absent if body.has("event_type") => return Err(Unknown::EventType),
        Field::Absent => {
            let name = by_keys(body).or_else(|| by_topic(body, topic?)).ok_or(Unknown::Shape)?;
            (name.to_owned(), false)
        }
    };
    let mut reason = Unknown::Event;
    for product in products::ALL.iter().chain([&&CANARY]) {
        let Some(event) = product.event(&name, is_named) else { continue };
        match product.object(body) {
            Ok(inside) => return Ok(Recognised { product, event, inside }),
            // Two products may share a name: the next one's form may fit.
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

fn by_keys(body: &Object<'_>) -> Option<&'static str> {
    BY_KEYS.iter().find(|(_, fits)| fits(body)).map(|(name, _)| *name)
}

fn by_topic(body: &Object<'_>, topic: &Topic) -> Option<&'static str> {
    BY_TOPIC.iter().find(|(name, fits)| *name == topic.as_str() && fits(body)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests;
