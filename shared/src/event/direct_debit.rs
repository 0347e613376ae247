//! Direct debit before the payments API: payments, payment methods that expire, and accounts that were linked. All
//! flat, with an event name, and with the time under `timestamp`.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{LinkedAccountPhase, PaymentMethodPhase, PaymentPhase},
    observation::{Drift, Observation, Unknown},
};

/// A payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payment {
    id: Field<Text>,
    amount: Field<Digits>,
    timestamp: Field<Timestamp>,
}

impl Thing for Payment {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Direct debit (payment completed)",
        url: Url::Api("direct_debit"),
        form: Form::Flat,
        events: &[Named::by_status(
            "direct_debit.payment",
            &[("COMPLETED", PaymentPhase::Succeeded), ("FAILED", PaymentPhase::Failed)],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        let id = payment.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.occurred_at = payment.timestamp.time("timestamp", drift);
        observation.amount(wire.money(&payment.amount, "amount", drift));
        Ok(observation)
    }
}

/// A payment method that expires. Its body is known from memory only, but says little besides its id.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Expiry {
    id: Field<Text>,
    timestamp: Field<Timestamp>,
}

impl Thing for Expiry {
    type Phase = PaymentMethodPhase;

    const PRODUCT: Product<PaymentMethodPhase> = Product {
        name: "Direct debit (expiring or expired payment method)",
        url: Url::Api("payment_method"),
        form: Form::Flat,
        events: &[
            Named::new("payment_method.expiry.expiring", PaymentMethodPhase::Expiring, &[]),
            Named::new("payment_method.expiry.expired", PaymentMethodPhase::Expired, &[]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.occurred_at = wire.thing.timestamp.time("timestamp", drift);
        Ok(observation)
    }
}

/// An account that was linked. The events of a failure and of a choice of account are known by hearsay only.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LinkedAccount {
    id: Field<Text>,
    timestamp: Field<Timestamp>,
}

impl Thing for LinkedAccount {
    type Phase = LinkedAccountPhase;

    const PRODUCT: Product<LinkedAccountPhase> = Product {
        name: "Direct debit (account linked)",
        url: Url::Dashboard("linked_account"),
        form: Form::Flat,
        events: &[Named::new("linked_account_token.successful", LinkedAccountPhase::Linked, &[])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.occurred_at = wire.thing.timestamp.time("timestamp", drift);
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Event;

    #[test]
    fn an_offset_without_a_colon_is_a_time_and_the_text_null_is_nothing() {
        let body = r#"{"event":"direct_debit.payment","timestamp":"2020-03-26T05:44:26+0800","id":"ddpy-1",
            "status":"COMPLETED","failure_code":"null","currency":"PHP","amount":"1.50"}"#;
        let observation = Event::parse(body.as_bytes(), None).unwrap().observe();
        assert_eq!(observation.occurred_at.unwrap().to_string(), "2020-03-25T21:44:26Z");
        assert_eq!(observation.failure_code, None);
        assert_eq!(observation.drift, []);
    }
}
