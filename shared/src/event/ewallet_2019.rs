//! The e-wallets of 2019, retired but still resent: DANA and `LinkAja` without an event name and without an id, OVO
//! with both.

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

/// A payment by DANA or `LinkAja`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Charge {
    ewallet_type: Field<Text>,
    external_id: Field<Text>,
    payment_status: Field<Text>,
    amount: Field<Digits>,
    transaction_date: Field<Timestamp>,
}

impl Thing for Charge {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "E-wallets of 2019 (DANA, LinkAja)",
        url: Url::Request("ewallet_2019"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "ewallet_2019",
            &[
                ("PAID", PaymentPhase::Succeeded),
                ("SUCCESS_COMPLETED", PaymentPhase::Succeeded),
                ("EXPIRED", PaymentPhase::Expired),
            ],
        )],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let charge = &wire.thing;
        // Nothing else names the payment. The reference had to be unique within a wallet.
        let wallet = charge.ewallet_type.id("ewallet_type", drift)?;
        let reference = charge.external_id.id("external_id", drift)?;
        // DANA's word and LinkAja's.
        let phase = match &charge.payment_status {
            Field::Absent => wire.phase(drift)?,
            status => wire.phase_of(status, "payment_status", drift)?,
        };
        let mut observation = wire.observation(format!("{wallet}/{reference}"), phase, drift);
        observation.status = charge.payment_status.text("payment_status", drift).or(observation.status);
        observation.channel = Some(wallet);
        observation.occurred_at = charge.transaction_date.time("transaction_date", drift);
        observation.amount(wire.money(&charge.amount, "amount", drift));
        Ok(observation)
    }
}

/// A payment by OVO.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ovo {
    id: Field<Text>,
    ewallet_type: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Ovo {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "E-wallets of 2019 (OVO)",
        url: Url::Request("ovo_paid"),
        form: Form::Flat,
        events: &[Named::by_status(
            "ewallet.payment",
            &[("COMPLETED", PaymentPhase::Succeeded), ("FAILED", PaymentPhase::Failed)],
        )],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = wire.thing.ewallet_type.text("ewallet_type", drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}
