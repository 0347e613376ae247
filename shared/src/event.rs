//! Event: what a body is taken for. Read from an opened envelope by the processor, observed right after.
//!
//! Recognition is by the exact event name; for the older webhooks, which have none, by an ordered list of tests on
//! the body's keys; and by the topic in the path where neither says enough. Never by a prefix and never by a status:
//! both have cost others money.
//!
//! To add a webhook: an event in its family's file; or, for a thing of another form, a struct that is a `Thing`, a
//! line in `webhooks!`, and a line in `BY_KEYS` if it has no event name.

#![expect(clippy::struct_field_names, reason = "the fields are Xendit's, and named as Xendit names them")]

mod body;
mod catalogue;
mod product;
mod wire;

mod account;
mod account_holder;
mod bill_payment;
mod card;
mod direct_debit;
mod disbursement;
mod dispute;
mod ewallet;
mod ewallet_2019;
mod invoice;
mod paylater;
mod payment;
mod payment_request;
mod payment_session;
mod payment_token;
mod payment_v2;
mod payout;
mod payout_link;
mod payout_v3;
mod qr;
mod recurring;
mod refund;
mod remittance_payout;
mod report;
mod retail_outlet;
mod split;
mod virtual_account;

pub use self::{body::Unreadable, catalogue::Entry};
use self::{
    body::{Body, Field, Text},
    product::Head,
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{Stage, UnknownPhase},
    observation::{Drift, Observation, Unknown},
    topic::Topic,
};

/// A webhook's body with what it is taken for.
#[derive(Debug)]
pub struct Event<'a> {
    body: Body<'a>,
    webhook: Webhook,
}

macro_rules! webhooks {
    ($( $(#[doc = $doc:literal])+ $webhook:ident($thing:ty), )+) => {
        /// Every webhook that is known, and the one variant for all others.
        #[derive(Debug)]
        enum Webhook {
            $( $(#[doc = $doc])+ $webhook(Wire<$thing>), )+
            /// Anything else: kept, counted and published, never refused.
            Unknown(Unknown),
        }

        impl Webhook {
            fn read(head: Head<'_>, body: &Body<'_>) -> Result<Self, Unknown> {
                let mut reason = Unknown::Event;
                $(
                    match Wire::<$thing>::read(head, body) {
                        Some(Ok(wire)) => return Ok(Self::$webhook(wire)),
                        // Two products share a name, and tell their bodies apart by where the thing stands.
                        Some(Err(why)) => reason = why,
                        None => {}
                    }
                )+
                Err(reason)
            }

            fn observe(&self, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
                match self {
                    $( Self::$webhook(wire) => Thing::observe(wire, drift), )+
                    Self::Unknown(reason) => Err(*reason),
                }
            }

            fn entry(&self) -> Option<Entry> {
                match self {
                    $( Self::$webhook(wire) => Some(wire.entry()), )+
                    Self::Unknown(_) => None,
                }
            }
        }

        /// Every webhook that is known, family by family.
        pub fn catalogue() -> impl Iterator<Item = Entry> {
            std::iter::empty()$( .chain(catalogue::entries::<$thing>()) )+
        }
    };
}

webhooks! {
    /// Invoice or payment link, paid or expired.
    Invoice(invoice::Invoice),
    /// Fixed virtual account paid.
    VirtualAccountPaid(virtual_account::Paid),
    /// Fixed virtual account created or updated.
    VirtualAccountStatus(virtual_account::Status),
    /// Indonesian retail outlet paid.
    RetailOutletPaid(retail_outlet::Paid),
    /// Philippine retail outlet paid.
    PaymentCodePaid(retail_outlet::PaymentCodePaid),
    /// `ewallet.capture` and `ewallet.void`.
    EwalletCharge(ewallet::Charge),
    /// `ewallet.refund`.
    EwalletRefund(ewallet::Refund),
    /// DANA and `LinkAja` in 2019.
    Ewallet2019(ewallet_2019::Charge),
    /// OVO in 2019.
    Ovo2019(ewallet_2019::Ovo),
    /// `qr.payment`.
    Qr(qr::Payment),
    /// `qr.payment` of the first QR codes.
    QrLegacy(qr::LegacyPayment),
    /// `direct_debit.payment`.
    DirectDebit(direct_debit::Payment),
    /// `payment_method.expiry.*` of direct debit.
    DirectDebitExpiry(direct_debit::Expiry),
    /// `linked_account_token.*`.
    LinkedAccount(direct_debit::LinkedAccount),
    /// `paylater.payment`.
    PayLater(paylater::Payment),
    /// Cardless credit, the older `PayLater`.
    CardlessCredit(paylater::CardlessCredit),
    /// `credit_card.*`.
    Card(card::Check),
    /// Payments v2: `payment.succeeded` and its like.
    PaymentV2(payment_v2::Payment),
    /// Payments v2: `capture.succeeded`.
    CaptureV2(payment_v2::Capture),
    /// Payments v2: `capture.failed`.
    FailedCaptureV2(payment_v2::FailedCapture),
    /// Payments v2: `payment_method.*`.
    PaymentMethod(payment_v2::PaymentMethod),
    /// Payments v3: `payment.capture` and its like.
    Payment(payment::Payment),
    /// Payments v3: `payment.verified`.
    Verification(payment::Verification),
    /// Payments v3: `payment_request.*`.
    PaymentRequest(payment_request::PaymentRequest),
    /// Payments v3: `payment_token.*`.
    PaymentToken(payment_token::PaymentToken),
    /// `payment_session.*`.
    PaymentSession(payment_session::PaymentSession),
    /// Unified refunds: `refund.*`.
    Refund(refund::Refund),
    /// `recurring.plan.*`.
    RecurringPlan(recurring::Plan),
    /// `recurring.cycle.*`.
    RecurringCycle(recurring::Cycle),
    /// Indonesian disbursement.
    Disbursement(disbursement::Disbursement),
    /// Philippine disbursement.
    PhDisbursement(disbursement::PhDisbursement),
    /// Batch of Indonesian disbursements.
    BatchDisbursement(disbursement::BatchDisbursement),
    /// Payouts v2: `payout.*`.
    Payout(payout::Payout),
    /// Payouts v3: `v3_payout.*`.
    PayoutV3(payout_v3::Payout),
    /// Payout link.
    PayoutLink(payout_link::PayoutLink),
    /// Cross-border payouts: `remittance_payout.*`.
    RemittancePayout(remittance_payout::RemittancePayout),
    /// Report.
    Report(report::Report),
    /// Sub-accounts: `account.*`.
    Account(account::Account),
    /// Sub-accounts: `account.verification`.
    AccountVerification(account::Verification),
    /// `account_holder.kyc.status`.
    AccountHolder(account_holder::AccountHolder),
    /// `account_holder.capabilities.status`.
    Capabilities(account_holder::Capabilities),
    /// `split.payment`.
    Split(split::Split),
    /// `dispute.*`.
    Dispute(dispute::Dispute),
    /// `bill_payment.*` and `bill_payments.*`.
    BillPayment(bill_payment::BillPayment),
}

type Test = fn(&Body<'_>) -> bool;

/// The tests of bodies without an event name. The order matters: the products share most of their keys.
const BY_KEYS: &[(&str, Test)] = &[
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

/// The keys that a webhook without an event name cannot do without. With them, the topic may decide.
const BY_TOPIC: &[(&str, &[&str])] = &[
    ("invoice", &["id", "external_id", "user_id", "amount", "status"]),
    ("fva_paid", &["payment_id", "account_number", "amount"]),
    ("fva_status", &["id", "account_number", "status"]),
    ("disbursement", &["id", "external_id", "bank_code", "amount", "status"]),
    ("ph_disbursement", &["id", "reference_id", "channel_code", "amount", "status"]),
];

impl<'a> Event<'a> {
    /// Reads a body.
    ///
    /// Total over JSON objects: what is not recognised is kept as unknown, with the reason. An error means that the
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

    /// What the catalogue says of it. `None`: it is not recognised.
    pub fn entry(&self) -> Option<Entry> {
        self.webhook.entry()
    }

    /// What the event says, and about which thing.
    ///
    /// Total: an event that is recognised but lacks what identifies the fact becomes an observation of
    /// `Kind::Unknown`, with the reason.
    pub fn observe(&self) -> Observation {
        let mut drift = Vec::new();
        let observed = self.webhook.observe(&mut drift);
        let mut observation = observed.unwrap_or_else(|reason| self.unknown(reason));
        // A field that is looked at twice is odd once.
        drift.sort_unstable();
        drift.dedup();
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
        Field::Value(name) => Webhook::read(Head::Told(name.as_str()), body),
        Field::Odd(_) => Err(Unknown::Event),
        Field::Absent if body.has("event_type") => Err(Unknown::EventType),
        Field::Absent => {
            let name = by_keys(body).or_else(|| by_topic(body, topic?)).ok_or(Unknown::Shape)?;
            Webhook::read(Head::Inferred(name), body)
        }
    }
}

fn by_keys(body: &Body<'_>) -> Option<&'static str> {
    BY_KEYS.iter().find(|(_, fits)| fits(body)).map(|(name, _)| *name)
}

fn by_topic(body: &Body<'_>, topic: &Topic) -> Option<&'static str> {
    let (name, keys) = BY_TOPIC.iter().find(|(name, _)| *name == topic.as_str())?;
    body.has_all(keys).then_some(*name)
}
