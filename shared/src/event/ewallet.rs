//! E-wallet charges and their refunds. `ewallet.capture` is sent for success and for failure alike, and again by
//! Xendit's reconciliation, so that the status decides and not the name.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{PaymentPhase, RefundPhase},
    observation::{Drift, Observation, Unknown},
};

const VOID: &str = "ewallet.void";

/// An e-wallet charge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Charge {
    id: Field<Text>,
    void_status: Field<Text>,
    charge_amount: Field<Digits>,
    capture_amount: Field<Digits>,
    voided_at: Field<Timestamp>,
}

impl Thing for Charge {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "E-wallets (payment status, reconciliation update)",
        url: Url::Api("ewallet"),
        form: Form::ENVELOPED,
        events: &[
            Named::by_status(
                "ewallet.capture",
                &[
                    ("PENDING", PaymentPhase::Pending),
                    ("SUCCEEDED", PaymentPhase::Succeeded),
                    ("FAILED", PaymentPhase::Failed),
                    ("VOIDED", PaymentPhase::Voided),
                ],
            ),
            // `status` may go on saying SUCCEEDED, as the charge was: `void_status` tells of the void.
            Named::by_status(VOID, &[("SUCCEEDED", PaymentPhase::Voided)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let charge = &wire.thing;
        let id = charge.id.id("id", drift)?;
        let phase = if wire.event_name() == VOID { voided(wire, drift)? } else { wire.phase(drift)? };
        let mut observation = wire.observation(id, phase, drift);
        if phase == PaymentPhase::Voided {
            observation.occurred_at = charge.voided_at.time("voided_at", drift).or(observation.occurred_at);
        }
        if observation.stage.moved_money() {
            observation.paid = wire.money(&charge.capture_amount, "capture_amount", drift);
        }
        observation.asked = wire.money(&charge.charge_amount, "charge_amount", drift);
        Ok(observation)
    }
}

/// No body of this event has been published: only a void that is said to have been made is taken for one.
fn voided(wire: &Wire<Charge>, drift: &mut Vec<Drift>) -> Result<PaymentPhase, Unknown> {
    let status = wire.common.status.seen("status", drift).map(Text::as_str);
    if matches!((&wire.thing.void_status, status), (Field::Absent, Some("VOIDED"))) {
        return Ok(PaymentPhase::Voided);
    }
    wire.phase_of(&wire.thing.void_status, "void_status", drift)
}

/// A refund made through the charge, and not through the unified refunds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refund {
    id: Field<Text>,
    refund_amount: Field<Digits>,
}

impl Thing for Refund {
    type Phase = RefundPhase;

    const PRODUCT: Product<RefundPhase> = Product {
        name: "E-wallets (refund)",
        url: Url::Api("ewallet"),
        form: Form::ENVELOPED,
        events: &[Named::by_status(
            "ewallet.refund",
            &[
                ("PENDING", RefundPhase::Pending),
                ("SUCCEEDED", RefundPhase::Succeeded),
                ("FAILED", RefundPhase::Failed),
            ],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.refund_amount, "refund_amount", drift));
        Ok(observation)
    }
}
