//! Invoices and payment links: one flat body without an event name, sent when an invoice is paid or expires.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::InvoicePhase,
    money::Currency,
    observation::{Drift, Observation, Unknown},
};

/// An invoice.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Invoice {
    id: Field<Text>,
    payment_id: Field<Text>,
    amount: Field<Digits>,
    paid_amount: Field<Digits>,
    payment_channel: Field<Text>,
    paid_at: Field<Timestamp>,
}

impl Thing for Invoice {
    type Phase = InvoicePhase;

    const PRODUCT: Product<InvoicePhase> = Product {
        name: "Invoices (paid, expired)",
        url: Url::Api("invoice"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "invoice",
            &[
                ("PENDING", InvoicePhase::Pending),
                ("EXPIRED", InvoicePhase::Expired),
                ("PAID", InvoicePhase::Paid),
                // What PAID was called until 2017.
                ("COMPLETED", InvoicePhase::Paid),
                ("SETTLED", InvoicePhase::Settled),
            ],
        )],
    };

    /// Invoices named no currency before 2019, when all were in rupiah.
    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let invoice = &wire.thing;
        // A body without `id` has been published; the payment is then the only thing that names the fact.
        let id = invoice.id.id_or("id", &invoice.payment_id, "payment_id", drift)?;
        let phase = wire.phase(drift)?;
        let mut observation = wire.observation(id, phase, drift);
        observation.channel = invoice.payment_channel.text("payment_channel", drift).or(observation.channel);
        if phase == InvoicePhase::Paid {
            observation.occurred_at = invoice.paid_at.time("paid_at", drift).or(observation.occurred_at);
        }
        if observation.stage.moved_money() {
            observation.paid = wire.money(&invoice.paid_amount, "paid_amount", drift);
        }
        observation.asked = wire.money(&invoice.amount, "amount", drift);
        Ok(observation)
    }
}
