//! Payments v3: money reserved, collected, refused or lapsed. The event's name says which; a status that says
//! otherwise makes the webhook one that nobody should act on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{CardPhase, PaymentPhase},
    money::Money,
    observation::{Drift, Observation, Unknown},
};

/// A payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payment {
    payment_id: Field<Text>,
    request_amount: Field<Digits>,
    captures: Field<Vec<Capture>>,
}

/// One collection of money under a payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Capture {
    capture_id: Field<Text>,
    capture_amount: Field<Digits>,
}

impl Thing for Payment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Payment requests v3 (payment status)",
        url: Url::Dashboard("payment"),
        form: Form::ENVELOPED,
        events: &[
            // Money collected, all of it or a part.
            Named::new("payment.capture", PaymentPhase::Succeeded, &[("SUCCEEDED", PaymentPhase::Succeeded)]),
            // Money reserved, to be captured later.
            Named::new("payment.authorization", PaymentPhase::Authorized, &[("AUTHORIZED", PaymentPhase::Authorized)]),
            Named::new(
                "payment.failure",
                PaymentPhase::Failed,
                &[("FAILED", PaymentPhase::Failed), ("CANCELED", PaymentPhase::Canceled)],
            ),
            // An authorization lapsed.
            Named::new(
                "payment.expiry",
                PaymentPhase::Expired,
                &[("EXPIRED", PaymentPhase::Expired), ("CANCELED", PaymentPhase::Canceled)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        let id = payment.payment_id.id("payment_id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // Not what was paid: that is the sum of the captures, and for a reusable code there may be no such amount.
        observation.asked = wire.money(&payment.request_amount, "request_amount", drift);
        if observation.stage.moved_money() {
            observation.captures = captures(wire, drift).unwrap_or_default();
        }
        Ok(observation)
    }
}

/// The captures: all or none, since the sum of some would be taken for what was paid.
fn captures(wire: &Wire<Payment>, drift: &mut Vec<Drift>) -> Option<BTreeMap<String, Money>> {
    let mut captures = BTreeMap::new();
    for capture in wire.thing.captures.seen("captures", drift)? {
        let id = capture.capture_id.text("captures[].capture_id", drift)?;
        let money = wire.money(&capture.capture_amount, "captures[].capture_amount", drift)?;
        if captures.insert(id, money).is_some() {
            drift.push(Drift { field: "captures[].capture_id", found: "the same twice" });
            return None;
        }
    }
    Some(captures)
}

/// A card that was verified without a payment. No more is known of it than that `data` is the payment request, under
/// `id`: it must not be taken for money.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Verification {
    id: Field<Text>,
}

impl Thing for Verification {
    type Phase = CardPhase;

    const PRODUCT: Product<CardPhase> = Product {
        name: "Payment requests v3 (payment status)",
        url: Url::Dashboard("payment"),
        form: Form::ENVELOPED,
        events: &[Named::by_status("payment.verified", &[("SUCCEEDED", CardPhase::Verified)])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        Ok(wire.observation(id, wire.phase(drift)?, drift))
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn observe(captures: &str) -> Observation {
        let body = format!(
            r#"{{"event":"payment.capture","data":{{"payment_id":"py-1","currency":"PHP","captures":{captures}}}}}"#
        );
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn every_capture_is_kept() {
        let two = r#"[{"capture_id":"a","capture_amount":1.10},{"capture_id":"b","capture_amount":"2"}]"#;
        let captures = observe(two).captures;
        assert_eq!(captures.values().map(ToString::to_string).collect::<Vec<_>>(), ["PHP 1.10", "PHP 2"]);
    }

    #[test]
    fn captures_of_which_one_cannot_be_read_are_not_summed_up() {
        for second in
            [r#"{"capture_id":"b"}"#, r#"{"capture_amount":2}"#, r#"{"capture_id":"a","capture_amount":2}"#, "7"]
        {
            let observation = observe(&format!(r#"[{{"capture_id":"a","capture_amount":1}},{second}]"#));
            assert_eq!(observation.stage.as_str(), "payment.succeeded");
            assert!(observation.captures.is_empty(), "{second}");
        }
    }
}
