//! Unified refunds: money back to a payer, whatever the payment method. A refund is a subject of its own.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::RefundPhase,
    observation::{Drift, Observation, Unknown},
};

/// A refund.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refund {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Refund {
    type Phase = RefundPhase;

    const PRODUCT: Product<RefundPhase> = Product {
        name: "Unified refunds (succeeded, failed)",
        url: Url::Dashboard("refund"),
        // One of Xendit's pages prints the refund under one more `data`.
        form: Form::Under(&[&["data", "data"], &["data"]]),
        events: &[
            Named::new("refund.succeeded", RefundPhase::Succeeded, &[("SUCCEEDED", RefundPhase::Succeeded)]),
            Named::new(
                "refund.failed",
                RefundPhase::Failed,
                &[("FAILED", RefundPhase::Failed), ("CANCELLED", RefundPhase::Canceled)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;

    #[test]
    fn a_refund_is_found_under_one_data_and_under_two() {
        let refund = r#"{"id":"rfd-1","status":"SUCCEEDED","amount":1,"currency":"PHP"}"#;
        let observe = |data: &str| {
            let body = format!(r#"{{"event":"refund.succeeded","business_id":"b","data":{data}}}"#);
            Event::parse(body.as_bytes(), None).unwrap().observe()
        };
        assert_eq!(observe(refund).id, "rfd-1");
        assert_eq!(observe(refund), observe(&format!(r#"{{"data":{refund}}}"#)));
    }
}
