//! Payment sessions: a checkout page that was completed or left. What was paid on it is told as a payment, so that
//! the session's amount is what it asked for.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PaymentSessionPhase,
    observation::{Drift, Observation, Unknown},
};

/// A payment session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PaymentSession {
    payment_session_id: Field<Text>,
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for PaymentSession {
    type Phase = PaymentSessionPhase;

    const PRODUCT: Product<PaymentSessionPhase> = Product {
        name: "Payment session (completed, expired)",
        url: Url::Dashboard("payment_session"),
        form: Form::ENVELOPED,
        events: &[
            Named::new(
                "payment_session.completed",
                PaymentSessionPhase::Completed,
                &[("COMPLETED", PaymentSessionPhase::Completed)],
            ),
            Named::new(
                "payment_session.expired",
                PaymentSessionPhase::Expired,
                &[("EXPIRED", PaymentSessionPhase::Expired), ("CANCELED", PaymentSessionPhase::Canceled)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let session = &wire.thing;
        // The dashboard's test bodies have `id`.
        let id = session.payment_session_id.id_or("payment_session_id", &session.id, "id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&session.amount, "amount", drift));
        Ok(observation)
    }
}
