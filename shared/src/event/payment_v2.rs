//! Payments v2: payments, the collection of money that was reserved, and payment methods.
//!
//! A payment may be captured in parts. Each capture is kept by its id, and their sum is what was paid; the amount in
//! `payment.succeeded` stands for it only while no capture is known, so that nothing is counted twice.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{CapturePhase, PaymentMethodPhase, PaymentPhase},
    observation::{Drift, Observation, Unknown},
};

/// A payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payment {
    id: Field<Text>,
    amount: Field<Digits>,
    payment_method: Field<PaymentMethod>,
}

impl Thing for Payment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Payments v2 (payment)",
        url: Url::ApiByEvent,
        form: Form::ENVELOPED,
        events: &[
            Named::new("payment.succeeded", PaymentPhase::Succeeded, &[("SUCCEEDED", PaymentPhase::Succeeded)]),
            Named::new(
                "payment.failed",
                PaymentPhase::Failed,
                &[
                    ("FAILED", PaymentPhase::Failed),
                    ("CANCELED", PaymentPhase::Canceled),
                    ("EXPIRED", PaymentPhase::Expired),
                ],
            ),
            Named::new("payment.pending", PaymentPhase::Pending, &[("PENDING", PaymentPhase::Pending)]),
            // Money reserved, to be captured later.
            Named::new(
                "payment.awaiting_capture",
                PaymentPhase::Authorized,
                &[("AWAITING_CAPTURE", PaymentPhase::Authorized)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        let id = payment.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = channel(&payment.payment_method, drift).or(observation.channel);
        observation.amount(wire.money(&payment.amount, "amount", drift));
        Ok(observation)
    }
}

/// A capture that succeeded: news of the payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Capture {
    id: Field<Text>,
    payment_id: Field<Text>,
    authorized_amount: Field<Digits>,
    captured_amount: Field<Digits>,
    payment_method: Field<PaymentMethod>,
}

impl Thing for Capture {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Payments v2 (capture)",
        url: Url::ApiByEvent,
        form: Form::ENVELOPED,
        events: &[Named::new("capture.succeeded", PaymentPhase::Succeeded, &[("SUCCEEDED", PaymentPhase::Succeeded)])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let capture = &wire.thing;
        let id = capture.payment_id.id("payment_id", drift)?;
        // Without it, two captures could not be told from one that is told twice.
        let capture_id = capture.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = channel(&capture.payment_method, drift).or(observation.channel);
        let captured = wire.money(&capture.captured_amount, "captured_amount", drift);
        observation.captures = captured.map(|money| BTreeMap::from([(capture_id, money)])).unwrap_or_default();
        observation.asked = wire.money(&capture.authorized_amount, "authorized_amount", drift);
        Ok(observation)
    }
}

/// A capture that failed: no news of the payment, which may have been captured in part and can be captured again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailedCapture {
    id: Field<Text>,
    authorized_amount: Field<Digits>,
    payment_method: Field<PaymentMethod>,
}

impl Thing for FailedCapture {
    type Phase = CapturePhase;

    const PRODUCT: Product<CapturePhase> = Product {
        name: "Payments v2 (capture)",
        url: Url::ApiByEvent,
        form: Form::ENVELOPED,
        events: &[Named::new("capture.failed", CapturePhase::Failed, &[("FAILED", CapturePhase::Failed)])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let capture = &wire.thing;
        let id = capture.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = channel(&capture.payment_method, drift).or(observation.channel);
        observation.asked = wire.money(&capture.authorized_amount, "authorized_amount", drift);
        Ok(observation)
    }
}

/// A payment method: what the payment methods' own webhooks tell of, and what the payments' have inside.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PaymentMethod {
    id: Field<Text>,
    r#type: Field<Text>,
    // The one that the type names is filled. A card has no channel.
    direct_bank_transfer: Field<Channel>,
    direct_debit: Field<Channel>,
    ewallet: Field<Channel>,
    over_the_counter: Field<Channel>,
    qr_code: Field<Channel>,
    virtual_account: Field<Channel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    channel_code: Field<Text>,
}

impl PaymentMethod {
    /// The bank, wallet or outlet; or else the type, such as `CARD`.
    fn channel(&self, drift: &mut Vec<Drift>) -> Option<String> {
        let channels = [
            (&self.direct_bank_transfer, "direct_bank_transfer"),
            (&self.direct_debit, "direct_debit"),
            (&self.ewallet, "ewallet"),
            (&self.over_the_counter, "over_the_counter"),
            (&self.qr_code, "qr_code"),
            (&self.virtual_account, "virtual_account"),
        ];
        let code = channels
            .into_iter()
            .find_map(|(channel, path)| channel.seen(path, drift)?.channel_code.text("channel_code", drift));
        code.or_else(|| self.r#type.text("type", drift))
    }
}

fn channel(method: &Field<PaymentMethod>, drift: &mut Vec<Drift>) -> Option<String> {
    method.seen("payment_method", drift)?.channel(drift)
}

impl Thing for PaymentMethod {
    type Phase = PaymentMethodPhase;

    const PRODUCT: Product<PaymentMethodPhase> = Product {
        name: "Payments v2 (payment method)",
        url: Url::Api("payment_method_v2"),
        form: Form::ENVELOPED,
        events: &[
            Named::new(
                "payment_method.activated",
                PaymentMethodPhase::Active,
                &[("ACTIVE", PaymentMethodPhase::Active)],
            ),
            Named::new(
                "payment_method.expired",
                PaymentMethodPhase::Expired,
                &[("EXPIRED", PaymentMethodPhase::Expired), ("INACTIVE", PaymentMethodPhase::Inactive)],
            ),
            Named::new("payment_method.failed", PaymentMethodPhase::Failed, &[("FAILED", PaymentMethodPhase::Failed)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.channel = wire.thing.channel(drift).or(observation.channel);
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn observe(event: &str, data: &str) -> Observation {
        let body = format!(r#"{{"event":"{event}","business_id":"b","data":{data}}}"#);
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn a_capture_is_news_of_its_payment() {
        let capture = observe(
            "capture.succeeded",
            r#"{"id":"cptr-1","payment_id":"card-1","status":"SUCCEEDED","currency":"IDR","captured_amount":120000}"#,
        );
        let payment =
            observe("payment.succeeded", r#"{"id":"card-1","status":"SUCCEEDED","currency":"IDR","amount":150000}"#);
        assert_eq!((capture.stage, &capture.id), (payment.stage, &payment.id));
        assert_eq!(capture.captures["cptr-1"].to_string(), "IDR 120000");
        assert_eq!(capture.paid, None);
    }

    #[test]
    fn a_capture_that_failed_is_no_news_of_its_payment() {
        let capture = observe("capture.failed", r#"{"id":"cptr-1","payment_id":"card-1","status":"FAILED"}"#);
        assert_eq!((capture.stage.as_str(), &*capture.id), ("capture.failed", "cptr-1"));
    }

    #[test]
    fn what_was_only_reserved_was_not_paid() {
        let payment = observe(
            "payment.awaiting_capture",
            r#"{"id":"card-1","status":"AWAITING_CAPTURE","currency":"IDR","amount":150000}"#,
        );
        assert_eq!(payment.paid, None);
        assert_eq!(payment.asked.unwrap().to_string(), "IDR 150000");
    }
}
