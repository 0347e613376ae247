//! Event: what a body is taken for. Read from an opened envelope by the processor, observed right after.
//!
//! Recognition is by the exact event name; for the older webhooks, which have none, by an ordered list of tests on
//! the body's keys; and by the topic in the path where neither says enough. Never by a prefix and never by a status:
//! both have cost others money.
//!
//! To add a webhook: a struct in its family's file, a variant in `Webhook`, and the lines the compiler then asks for.

mod body;
pub mod ewallet;
pub mod invoice;
pub mod payment;
pub mod payout;
pub mod refund;
pub mod virtual_account;

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use self::body::Body;
pub use self::body::{Count, Digits, Field, Text, Unreadable};
use crate::{
    lifecycle::{PaymentPhase, PayoutPhase, RefundPhase, Stage, UnknownPhase},
    money::{Currency, Money},
    observation::{Drift, Observation, Unknown},
    topic::Topic,
};

/// A webhook's body with what it is taken for.
#[derive(Debug)]
pub struct Event<'a> {
    body: Body<'a>,
    /// Which of Xendit's webhooks this is.
    pub webhook: Webhook,
}

/// Every webhook that is known, and the one variant for all others.
///
/// A field is typed where something acts on it. Everything else stays in the body, which travels whole.
#[derive(Debug)]
pub enum Webhook {
    /// Invoice or payment link, paid or expired.
    Invoice(invoice::Invoice),
    /// Fixed virtual account paid.
    VirtualAccountPaid(virtual_account::Paid),
    /// Fixed virtual account created or updated.
    VirtualAccountStatus(virtual_account::Status),
    /// `ewallet.capture` and `ewallet.void`.
    EwalletCharge(&'static Named<PaymentPhase>, Enveloped<ewallet::Charge>),
    /// `ewallet.refund`.
    EwalletRefund(&'static Named<RefundPhase>, Enveloped<ewallet::Refund>),
    /// Payments v3: `payment.capture`, `payment.authorization`, `payment.failure`, `payment.expiry`.
    Payment(&'static Named<PaymentPhase>, Enveloped<payment::Payment>),
    /// Payouts v2: `payout.*`.
    Payout(&'static Named<PayoutPhase>, Enveloped<payout::Payout>),
    /// Unified refunds: `refund.succeeded`, `refund.failed`.
    Refund(&'static Named<RefundPhase>, Enveloped<refund::Refund>),
    /// Anything else: kept, counted and published, never refused.
    Unknown(Unknown),
}

/// One event: its name, and which phase it says its subject has reached.
#[derive(Debug)]
pub struct Named<P: 'static> {
    /// The exact value of `event`; for the older webhooks, which have none, Xendit's name of the webhook.
    pub name: &'static str,
    /// The phase that the name alone stands for. `None`: the status decides.
    pub phase: Option<P>,
    /// What each status means. A status that is not in here contradicts the name, or is new.
    pub statuses: &'static [(&'static str, P)],
}

impl<P: Copy> Named<P> {
    /// The phase. Never a guess: without a usable status, and without a name that stands for a phase, it is unknown.
    fn phase(&self, status: &Field<Text>, path: &'static str, drift: &mut Vec<Drift>) -> Result<P, Unknown> {
        if matches!(status, Field::Absent) {
            return self.phase.ok_or(Unknown::Missing(path));
        }
        let status = status.seen(path, drift).ok_or(Unknown::Missing(path))?.as_str();
        let known = self.statuses.iter().find(|(word, _)| *word == status);
        known.map(|(_, phase)| *phase).ok_or_else(|| {
            drift.push(Drift { field: path, found: "an unknown value" });
            Unknown::Value(path)
        })
    }
}

fn named<P>(events: &'static [Named<P>], name: &str) -> Option<&'static Named<P>> {
    events.iter().find(|event| event.name == name)
}

/// The newer form of a webhook: `{event, business_id, created, data}`.
///
/// The envelope's `created` is left out on purpose: it is the time of the delivery attempt.
#[derive(Debug)]
pub struct Enveloped<T> {
    /// The account that the event belongs to. `data` may name another; this one is Xendit's answer to "whose".
    pub business_id: Field<Text>,
    /// What nearly every `data` has.
    pub common: Common,
    /// What this one has besides.
    pub data: T,
}

/// The keys of `data` that are the same in all newer products.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Common {
    pub business_id: Field<Text>,
    pub reference_id: Field<Text>,
    pub status: Field<Text>,
    pub channel_code: Field<Text>,
    pub failure_code: Field<Text>,
    pub currency: Field<Currency>,
    pub created: Field<Timestamp>,
    pub updated: Field<Timestamp>,
}

impl<T> Enveloped<T> {
    fn phase<P: Copy>(&self, event: &Named<P>, drift: &mut Vec<Drift>) -> Result<P, Unknown> {
        event.phase(&self.common.status, "data.status", drift)
    }

    /// The observation, but for the money.
    fn observation(&self, event: &str, stage: Stage, id: String, drift: &mut Vec<Drift>) -> Observation {
        let common = &self.common;
        let mut observation = Observation::new(event, stage, id);
        let inner = common.business_id.text("data.business_id", drift);
        observation.account = self.business_id.text("business_id", drift).or(inner);
        observation.reference = common.reference_id.text("data.reference_id", drift);
        observation.status = common.status.text("data.status", drift);
        observation.channel = common.channel_code.text("data.channel_code", drift);
        observation.failure_code = common.failure_code.text("data.failure_code", drift);
        let created = common.created.time("data.created", drift);
        observation.occurred_at = common.updated.time("data.updated", drift).or(created);
        observation
    }

    fn money(&self, amount: &Field<Digits>, path: &'static str, drift: &mut Vec<Drift>) -> Option<Money> {
        let currency = self.common.currency.seen("data.currency", drift)?.clone();
        Some(Money { amount: amount.seen(path, drift)?.0, currency })
    }
}

impl<'a> Event<'a> {
    /// Reads a body.
    ///
    /// Total over JSON objects: what is not recognised is `Webhook::Unknown` with the reason. An error means that the
    /// bytes are not one JSON object in UTF-8; trying again cannot help, so keep them for a person.
    pub fn parse(bytes: &'a [u8], topic: Option<&Topic>) -> Result<Self, Unreadable> {
        let body = Body::read(bytes)?;
        let webhook = recognise(&body, topic).unwrap_or_else(Webhook::Unknown);
        Ok(Self { body, webhook })
    }

    /// The body as text, without a byte order mark.
    pub fn text(&self) -> &'a str {
        self.body.text()
    }

    /// What the event says, and about which thing.
    ///
    /// Total: an event that is recognised but lacks what identifies the fact becomes an observation of
    /// `Kind::Unknown`, with the reason.
    pub fn observe(&self) -> Observation {
        let mut drift = Vec::new();
        let observed = match &self.webhook {
            Webhook::Invoice(invoice) => invoice.observe(&mut drift),
            Webhook::VirtualAccountPaid(paid) => paid.observe(&mut drift),
            Webhook::VirtualAccountStatus(status) => status.observe(&mut drift),
            Webhook::EwalletCharge(event, charge) => charge.observe(event, &mut drift),
            Webhook::EwalletRefund(event, refund) => refund.observe(event, &mut drift),
            Webhook::Payment(event, payment) => payment.observe(event, &mut drift),
            Webhook::Payout(event, payout) => payout.observe(event, &mut drift),
            Webhook::Refund(event, refund) => refund.observe(event, &mut drift),
            Webhook::Unknown(reason) => Err(*reason),
        };
        let mut observation = observed.unwrap_or_else(|reason| self.unknown(reason));
        observation.drift = drift;
        observation
    }

    fn unknown(&self, reason: Unknown) -> Observation {
        let stage = Stage::Unknown(UnknownPhase::Received);
        let mut observation = Observation::new(self.body.event_name(), stage, self.body.fingerprint());
        observation.account = self.body.field::<Text>("business_id").into_value().map(Text::into_string);
        observation.unknown = Some(reason);
        observation
    }
}

fn recognise(body: &Body<'_>, topic: Option<&Topic>) -> Result<Webhook, Unknown> {
    if body.is_ambiguous() {
        return Err(Unknown::Ambiguous);
    }
    match body.field::<Text>("event") {
        Field::Value(name) => by_name(name.as_str(), body),
        Field::Odd(_) => Err(Unknown::Event),
        Field::Absent => by_keys(body).or_else(|| by_topic(body, topic)).unwrap_or(Err(Unknown::Shape)),
    }
}

fn by_name(name: &str, body: &Body<'_>) -> Result<Webhook, Unknown> {
    if let Some(event) = named(ewallet::CHARGE_EVENTS, name) {
        Ok(Webhook::EwalletCharge(event, enveloped(body)?))
    } else if let Some(event) = named(ewallet::REFUND_EVENTS, name) {
        Ok(Webhook::EwalletRefund(event, enveloped(body)?))
    } else if let Some(event) = named(payment::EVENTS, name) {
        Ok(Webhook::Payment(event, enveloped(body)?))
    } else if let Some(event) = named(payout::EVENTS, name) {
        Ok(Webhook::Payout(event, enveloped(body)?))
    } else if let Some(event) = named(refund::EVENTS, name) {
        Ok(Webhook::Refund(event, enveloped_twice(body)?))
    } else {
        Err(Unknown::Event)
    }
}

/// The tests of bodies without an event name. The order matters: the products share most of their keys.
fn by_keys(body: &Body<'_>) -> Option<Result<Webhook, Unknown>> {
    let has = |keys: &[&str]| keys.iter().all(|key| body.has(key));
    if has(&["callback_virtual_account_id"]) {
        Some(flat(body).map(Webhook::VirtualAccountPaid))
    } else if has(&["is_closed", "account_number"]) {
        Some(flat(body).map(Webhook::VirtualAccountStatus))
    } else if has(&["external_id", "user_id", "merchant_name"]) {
        Some(flat(body).map(Webhook::Invoice))
    } else {
        None
    }
}

/// The topic decides only where the body has the keys that the topic's webhook cannot do without.
fn by_topic(body: &Body<'_>, topic: Option<&Topic>) -> Option<Result<Webhook, Unknown>> {
    let has = |keys: &[&str]| keys.iter().all(|key| body.has(key));
    match topic?.as_str() {
        "invoice" if has(&["id", "external_id", "status"]) => Some(flat(body).map(Webhook::Invoice)),
        "fva_paid" if has(&["payment_id", "account_number", "amount"]) => {
            Some(flat(body).map(Webhook::VirtualAccountPaid))
        }
        "fva_status" if has(&["id", "account_number", "status"]) => Some(flat(body).map(Webhook::VirtualAccountStatus)),
        _ => None,
    }
}

fn flat<T: DeserializeOwned>(body: &Body<'_>) -> Result<T, Unknown> {
    body.object()
}

fn enveloped<T: DeserializeOwned>(body: &Body<'_>) -> Result<Enveloped<T>, Unknown> {
    envelope_around(body, &body.object_at("data").ok_or(Unknown::Missing("data"))?)
}

/// An envelope whose `data` may hold the thing under one more `data`, as some of Xendit's pages print it.
fn enveloped_twice<T: DeserializeOwned>(body: &Body<'_>) -> Result<Enveloped<T>, Unknown> {
    let outer = body.object_at("data").ok_or(Unknown::Missing("data"))?;
    let inner = outer.object_at("data");
    envelope_around(body, inner.as_ref().unwrap_or(&outer))
}

fn envelope_around<T: DeserializeOwned>(body: &Body<'_>, data: &Body<'_>) -> Result<Enveloped<T>, Unknown> {
    Ok(Enveloped { business_id: body.field("business_id"), common: data.object()?, data: data.object()? })
}
