//! Payment tokens v3: a card or wallet saved for later payments.

use serde::Deserialize;

use super::{
    body::{Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PaymentTokenPhase,
    observation::{Drift, Observation, Unknown},
};

const ACTIVE: &[(&str, PaymentTokenPhase)] = &[("ACTIVE", PaymentTokenPhase::Active)];

/// A payment token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PaymentToken {
    payment_token_id: Field<Text>,
}

impl Thing for PaymentToken {
    type Phase = PaymentTokenPhase;

    const PRODUCT: Product<PaymentTokenPhase> = Product {
        name: "Payment tokens v3 (token status)",
        url: Url::Dashboard("payment_token"),
        form: Form::ENVELOPED,
        events: &[
            Named::new("payment_token.activation", PaymentTokenPhase::Active, ACTIVE),
            // How some of Xendit's pages write it.
            Named::new("payment_token.activated", PaymentTokenPhase::Active, ACTIVE),
            Named::new("payment_token.failure", PaymentTokenPhase::Failed, &[("FAILED", PaymentTokenPhase::Failed)]),
            Named::new(
                "payment_token.expiry",
                PaymentTokenPhase::Expired,
                &[("EXPIRED", PaymentTokenPhase::Expired), ("CANCELED", PaymentTokenPhase::Canceled)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.payment_token_id.id("payment_token_id", drift)?;
        Ok(wire.observation(id, wire.phase(drift)?, drift))
    }
}
