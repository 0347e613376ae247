//! Payout links: money that its receiver comes to collect. Nobody has published the webhook's body; this is the
//! object of the API, and nothing that matters rests on it.

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

/// A payout link.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PayoutLink {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for PayoutLink {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Payout link",
        url: Url::Dashboard("payout_link"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "payout_link",
            &[
                ("PENDING", PayoutPhase::Pending),
                ("VOIDED", PayoutPhase::Canceled),
                ("EXPIRED", PayoutPhase::Expired),
                ("FAILED", PayoutPhase::Failed),
                ("COMPLETED", PayoutPhase::Succeeded),
            ],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // Links are sold in more than one country: without a currency, there is no amount.
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}
