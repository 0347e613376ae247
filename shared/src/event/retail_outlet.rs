//! Retail outlets: cash paid at a counter against a code. The Indonesian body has no event name, the regional one of
//! the Philippines has.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PaymentPhase,
    money::Currency,
    observation::{Drift, Observation, Unknown},
};

/// A payment at an Indonesian outlet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paid {
    fixed_payment_code_payment_id: Field<Text>,
    retail_outlet_name: Field<Text>,
    amount: Field<Digits>,
    transaction_timestamp: Field<Timestamp>,
}

impl Thing for Paid {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Retail outlets (paid)",
        url: Url::Api("ro_fpc_paid"),
        form: Form::Unnamed,
        events: &[Named::by_status("ro_fpc_paid", &[("COMPLETED", PaymentPhase::Succeeded)])],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        // Not `payment_id`, a time in milliseconds that a payment into a virtual account may have as well; and not the
        // code's id, since a code may be paid many times.
        let id = payment.fixed_payment_code_payment_id.id("fixed_payment_code_payment_id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = payment.retail_outlet_name.text("retail_outlet_name", drift);
        let paid_at = payment.transaction_timestamp.time("transaction_timestamp", drift);
        observation.occurred_at = paid_at.or(observation.occurred_at);
        observation.paid = wire.money(&payment.amount, "amount", drift);
        Ok(observation)
    }
}

/// A payment at a Philippine outlet.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PaymentCodePaid {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for PaymentCodePaid {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Regional retail outlets (paid)",
        url: Url::Api("regional_ro_paid"),
        form: Form::Flat,
        events: &[Named::by_status("payment_code.payment", &[("COMPLETED", PaymentPhase::Succeeded)])],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::php);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.paid = wire.money(&wire.thing.amount, "amount", drift);
        Ok(observation)
    }
}
