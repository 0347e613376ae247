//! Fixed virtual accounts: two flat bodies without an event name. One tells of a payment into an account, the other
//! of the account itself.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Digits, Field, Named, Text};
use crate::{
    lifecycle::{PaymentPhase, Stage, VirtualAccountPhase},
    money::{Currency, Money},
    observation::{Drift, Mark, Observation, Unknown},
};

/// A payment arrived. The body has no status: its arrival says that the money is there.
pub const PAID: Named<PaymentPhase> = Named { name: "fva_paid", phase: Some(PaymentPhase::Succeeded), statuses: &[] };

/// The account was created or updated.
pub const STATUS: Named<VirtualAccountPhase> = Named {
    name: "fva_status",
    phase: None,
    statuses: &[
        ("PENDING", VirtualAccountPhase::Pending),
        ("ACTIVE", VirtualAccountPhase::Active),
        ("INACTIVE", VirtualAccountPhase::Inactive),
    ],
};

/// A payment into a virtual account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Paid {
    pub payment_id: Field<Text>,
    pub owner_id: Field<Text>,
    pub external_id: Field<Text>,
    pub bank_code: Field<Text>,
    pub status: Field<Text>,
    pub amount: Field<Digits>,
    pub currency: Field<Currency>,
    pub transaction_timestamp: Field<Timestamp>,
}

impl Paid {
    pub(super) fn observe(&self, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        // Not `id`, which is the payment record's, and not the account's, which may be paid many times.
        let id = self.payment_id.id("payment_id", drift)?;
        let phase = PAID.phase(&self.status, "status", drift)?;
        let mut observation = Observation::new(PAID.name, Stage::Payment(phase), id);
        observation.account = self.owner_id.text("owner_id", drift);
        observation.reference = self.external_id.text("external_id", drift);
        observation.channel = self.bank_code.text("bank_code", drift);
        observation.occurred_at = self.transaction_timestamp.time("transaction_timestamp", drift);
        observation.paid = money(&self.amount, "amount", &self.currency, drift);
        Ok(observation)
    }
}

/// A virtual account that was created or updated.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Status {
    pub id: Field<Text>,
    pub owner_id: Field<Text>,
    pub external_id: Field<Text>,
    pub bank_code: Field<Text>,
    pub status: Field<Text>,
    pub expected_amount: Field<Digits>,
    pub currency: Field<Currency>,
    pub created: Field<Timestamp>,
    pub updated: Field<Timestamp>,
}

impl Status {
    pub(super) fn observe(&self, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = self.id.id("id", drift)?;
        let phase = STATUS.phase(&self.status, "status", drift)?;
        let mut observation = Observation::new(STATUS.name, Stage::VirtualAccount(phase), id);
        observation.account = self.owner_id.text("owner_id", drift);
        observation.reference = self.external_id.text("external_id", drift);
        observation.channel = self.bank_code.text("bank_code", drift);
        observation.status = self.status.text("status", drift);
        let created = self.created.time("created", drift);
        observation.occurred_at = self.updated.time("updated", drift).or(created);
        // An account that stays active may still have been given another amount or another expiry.
        observation.mark = observation.occurred_at.map(Mark::At);
        observation.asked = money(&self.expected_amount, "expected_amount", &self.currency, drift);
        Ok(observation)
    }
}

fn money(
    amount: &Field<Digits>,
    path: &'static str,
    currency: &Field<Currency>,
    drift: &mut Vec<Drift>,
) -> Option<Money> {
    // Bodies without a currency are from the years when virtual accounts were Indonesian only.
    let currency = currency.or_implied(Currency::idr, "currency", drift)?;
    Some(Money { amount: amount.seen(path, drift)?.0, currency })
}
