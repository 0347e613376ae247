//! QR codes: `qr.payment` in two forms, the enveloped one of 2022 and the flat one before it. Nothing is known of the
//! refunds that are said to be told under the same URL.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PaymentPhase,
    money::Currency,
    observation::{Drift, Observation, Unknown},
};

/// A payment of a QR code.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payment {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Payment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "QR codes (paid and refunded)",
        url: Url::Api("qr_code"),
        form: Form::ENVELOPED,
        events: &[Named::by_status("qr.payment", &[("SUCCEEDED", PaymentPhase::Succeeded)])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.paid = wire.money(&wire.thing.amount, "amount", drift);
        Ok(observation)
    }
}

/// A payment of a QR code before 2022.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LegacyPayment {
    id: Field<Text>,
    amount: Field<Digits>,
    qr_code: Field<LegacyCode>,
}

/// The code that was paid.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LegacyCode {
    external_id: Field<Text>,
}

impl Thing for LegacyPayment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "QR codes before 2022",
        url: Url::Request("qr_code_legacy"),
        form: Form::Flat,
        events: &[Named::by_status("qr.payment", &[("COMPLETED", PaymentPhase::Succeeded)])],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        // What tells this form from the newer one.
        let code = payment.qr_code.seen("qr_code", drift).ok_or(Unknown::Missing("qr_code"))?;
        let id = payment.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.reference = code.external_id.text("qr_code.external_id", drift);
        observation.paid = wire.money(&payment.amount, "amount", drift);
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn observe(body: &str) -> Observation {
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn the_two_forms_are_told_apart_by_where_the_payment_stands() {
        let newer = r#"{"event":"qr.payment","data":{"id":"qrpy_1","status":"SUCCEEDED","amount":1,"currency":"THB"}}"#;
        let older = r#"{"event":"qr.payment","id":"qrpy_1","status":"COMPLETED","amount":1,"qr_code":{}}"#;
        assert_eq!(observe(newer).paid.unwrap().to_string(), "THB 1");
        assert_eq!(observe(older).paid.unwrap().to_string(), "IDR 1");
    }

    #[test]
    fn the_newer_form_implies_no_currency() {
        let body = r#"{"event":"qr.payment","data":{"id":"qrpy_1","status":"SUCCEEDED","amount":1}}"#;
        assert_eq!(observe(body).paid, None);
    }

    #[test]
    fn a_body_of_neither_form_is_unknown() {
        let body = r#"{"event":"qr.payment","id":"qrpy_1","status":"COMPLETED","amount":1}"#;
        assert_eq!(observe(body).unknown.unwrap().to_string(), "no usable qr_code");
    }
}
