//! Bill payments: a bill paid for a customer. The API's page and the guide name the events differently, and put the
//! thing in different places.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::BillPaymentPhase,
    money::Currency,
    observation::{Drift, Observation, Unknown},
};

const SUCCEEDED: &[(&str, BillPaymentPhase)] = &[
    // The spelling of the API's page, and the one that it means.
    ("SUCCEEDDED", BillPaymentPhase::Succeeded),
    ("SUCCEEDED", BillPaymentPhase::Succeeded),
];
const FAILED: &[(&str, BillPaymentPhase)] = &[("FAILED", BillPaymentPhase::Failed)];

/// A bill payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BillPayment {
    payment_id: Field<Text>,
    id: Field<Text>,
    total_amount: Field<Digits>,
}

impl Thing for BillPayment {
    type Phase = BillPaymentPhase;

    const PRODUCT: Product<BillPaymentPhase> = Product {
        name: "Bill payments",
        url: Url::Dashboard("bill_payment"),
        // The API's page; the guide, twice.
        form: Form::Under(&[&["data", "data"], &["data", "properties"], &["data"]]),
        events: &[
            Named::new("bill_payment.succeeded", BillPaymentPhase::Succeeded, SUCCEEDED),
            Named::new("bill_payment.failed", BillPaymentPhase::Failed, FAILED),
            Named::new("bill_payments.succeeded", BillPaymentPhase::Succeeded, SUCCEEDED),
            Named::new("bill_payments.failed", BillPaymentPhase::Failed, FAILED),
        ],
    };

    /// The body has no place for a currency, and writes rupiah where it prints amounts.
    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        let id = payment.payment_id.id_or("payment_id", &payment.id, "id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&payment.total_amount, "total_amount", drift));
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;

    #[test]
    fn a_bill_payment_is_found_wherever_it_stands() {
        let payment = r#"{"payment_id":"p","status":"SUCCEEDED","total_amount":53200}"#;
        for (event, data) in [
            ("bill_payment.succeeded", format!(r#"{{"business_id":"b","data":{payment}}}"#)),
            ("bill_payments.succeeded", format!(r#"{{"properties":{payment}}}"#)),
            ("bill_payments.succeeded", payment.to_owned()),
        ] {
            let body = format!(r#"{{"event":"{event}","data":{data}}}"#);
            let observation = Event::parse(body.as_bytes(), None).unwrap().observe();
            assert_eq!((observation.stage.as_str(), &*observation.id), ("bill_payment.succeeded", "p"), "{data}");
            assert_eq!(observation.paid.unwrap().to_string(), "IDR 53200");
        }
    }
}
