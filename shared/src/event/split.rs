//! Split payments: the share of a payment that one route of a split rule passes on to another account.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::SplitPhase,
    observation::{Drift, Observation, Unknown},
};

/// One share of a payment. It carries no time.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Split {
    id: Field<Text>,
    payment_reference_id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Split {
    type Phase = SplitPhase;

    const PRODUCT: Product<SplitPhase> = Product {
        name: "xenPlatform (split payment status)",
        url: Url::Dashboard("split_payment"),
        form: Form::ENVELOPED,
        events: &[Named::by_status(
            "split.payment",
            &[("COMPLETED", SplitPhase::Completed), ("FAILED", SplitPhase::Failed)],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let split = &wire.thing;
        let id = split.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // The payment's, by which the merchant looks; `reference_id` names a route of the split rule.
        observation.reference =
            split.payment_reference_id.text("payment_reference_id", drift).or(observation.reference);
        observation.amount(wire.money(&split.amount, "amount", drift));
        Ok(observation)
    }
}
