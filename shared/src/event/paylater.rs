//! `PayLater`: goods now, money from a lender. The enveloped body of today, and the flat one without an event name of
//! cardless credit before it.

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

/// A charge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payment {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Payment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "PayLater (payment status)",
        url: Url::Dashboard("paylater"),
        form: Form::ENVELOPED,
        events: &[Named::by_status(
            "paylater.payment",
            &[
                ("PENDING", PaymentPhase::Pending),
                ("SUCCEEDED", PaymentPhase::Succeeded),
                ("FAILED", PaymentPhase::Failed),
            ],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}

/// A charge of cardless credit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CardlessCredit {
    transaction_id: Field<Text>,
    transaction_status: Field<Text>,
    cardless_credit_type: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for CardlessCredit {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Cardless credit",
        url: Url::Request("cardless_credit"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "cardless_credit",
            &[
                ("pending", PaymentPhase::Pending),
                ("settlement", PaymentPhase::Succeeded),
                ("deny", PaymentPhase::Failed),
                ("cancel", PaymentPhase::Canceled),
                ("expire", PaymentPhase::Expired),
            ],
        )],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let charge = &wire.thing;
        // Not `order_id`: an order that was denied can be tried again.
        let id = charge.transaction_id.id("transaction_id", drift)?;
        let phase = wire.phase_of(&charge.transaction_status, "transaction_status", drift)?;
        let mut observation = wire.observation(id, phase, drift);
        observation.status = charge.transaction_status.text("transaction_status", drift);
        observation.channel = charge.cardless_credit_type.text("cardless_credit_type", drift);
        observation.amount(wire.money(&charge.amount, "amount", drift));
        Ok(observation)
    }
}
