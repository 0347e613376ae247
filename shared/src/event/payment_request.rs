//! Payment requests v3 that expired. What was paid for a request, even after its expiry, is told as a payment.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PaymentRequestPhase,
    observation::{Drift, Observation, Unknown},
};

const STATUSES: &[(&str, PaymentRequestPhase)] = &[("EXPIRED", PaymentRequestPhase::Expired)];

/// A payment request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PaymentRequest {
    payment_request_id: Field<Text>,
    request_amount: Field<Digits>,
}

impl Thing for PaymentRequest {
    type Phase = PaymentRequestPhase;

    const PRODUCT: Product<PaymentRequestPhase> = Product {
        name: "Payment requests v3 (payment request status)",
        url: Url::Dashboard("payment_request"),
        form: Form::ENVELOPED,
        events: &[
            Named::new("payment_request.expiry", PaymentRequestPhase::Expired, STATUSES),
            // Not in Xendit's pages, but said to be what is sent.
            Named::new("payment_request.expired", PaymentRequestPhase::Expired, STATUSES),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let request = &wire.thing;
        let id = request.payment_request_id.id("payment_request_id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&request.request_amount, "request_amount", drift));
        Ok(observation)
    }
}
