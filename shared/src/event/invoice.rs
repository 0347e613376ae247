//! Invoices and payment links: one flat body without an event name, sent when an invoice is paid or expires.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Digits, Field, Named, Text};
use crate::{
    lifecycle::{InvoicePhase, Stage},
    money::{Currency, Money},
    observation::{Drift, Observation, Unknown},
};

/// The one webhook of this family.
pub const INVOICE: Named<InvoicePhase> = Named {
    name: "invoice",
    phase: None,
    statuses: &[
        ("PENDING", InvoicePhase::Pending),
        ("EXPIRED", InvoicePhase::Expired),
        ("PAID", InvoicePhase::Paid),
        // What PAID was called until 2017.
        ("COMPLETED", InvoicePhase::Paid),
        ("SETTLED", InvoicePhase::Settled),
    ],
};

/// The invoice, as far as it is acted on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Invoice {
    pub id: Field<Text>,
    pub payment_id: Field<Text>,
    pub user_id: Field<Text>,
    pub external_id: Field<Text>,
    pub status: Field<Text>,
    pub amount: Field<Digits>,
    pub paid_amount: Field<Digits>,
    pub currency: Field<Currency>,
    pub payment_channel: Field<Text>,
    pub paid_at: Field<Timestamp>,
    pub updated: Field<Timestamp>,
}

impl Invoice {
    pub(super) fn observe(&self, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        // A body without `id` has been published; the payment is then the only thing that names the fact.
        let id =
            self.id.id("id", drift).or_else(|missing| self.payment_id.id("payment_id", drift).map_err(|_| missing))?;
        let phase = INVOICE.phase(&self.status, "status", drift)?;
        let mut observation = Observation::new(INVOICE.name, Stage::Invoice(phase), id);
        observation.account = self.user_id.text("user_id", drift);
        observation.reference = self.external_id.text("external_id", drift);
        observation.status = self.status.text("status", drift);
        observation.channel = self.payment_channel.text("payment_channel", drift);
        let paid_at = self.paid_at.time("paid_at", drift);
        let updated = self.updated.time("updated", drift);
        observation.occurred_at = if phase == InvoicePhase::Paid { paid_at.or(updated) } else { updated };
        observation.paid = self.money(&self.paid_amount, "paid_amount", drift);
        observation.asked = self.money(&self.amount, "amount", drift);
        Ok(observation)
    }

    fn money(&self, amount: &Field<Digits>, path: &'static str, drift: &mut Vec<Drift>) -> Option<Money> {
        // Invoices named no currency before 2019, when all were in rupiah.
        let currency = self.currency.or_implied(Currency::idr, "currency", drift)?;
        Some(Money { amount: amount.seen(path, drift)?.0, currency })
    }
}
