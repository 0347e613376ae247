//! Payouts v2: money sent to a bank account or wallet. A payout that succeeded may still be reversed.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PayoutPhase,
    observation::{Drift, Observation, Unknown},
};

/// A payout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payout {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Payout {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Payouts v2",
        url: Url::Api("payout"),
        form: Form::ENVELOPED,
        events: &[
            Named::new("payout.succeeded", PayoutPhase::Succeeded, &[("SUCCEEDED", PayoutPhase::Succeeded)]),
            Named::new(
                "payout.failed",
                PayoutPhase::Failed,
                &[("FAILED", PayoutPhase::Failed), ("CANCELLED", PayoutPhase::Canceled)],
            ),
            // The money came back after a success.
            Named::new("payout.reversed", PayoutPhase::Reversed, &[("REVERSED", PayoutPhase::Reversed)]),
            // The last two are known from others' code only, not from Xendit's pages.
            Named::new("payout.expired", PayoutPhase::Expired, &[("EXPIRED", PayoutPhase::Expired)]),
            Named::new("payout.refunded", PayoutPhase::Refunded, &[("REFUNDED", PayoutPhase::Refunded)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}
