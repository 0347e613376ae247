//! Fixed virtual accounts: two flat bodies without an event name. One tells of a payment into an account, the other
//! of the account itself.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{PaymentPhase, VirtualAccountPhase},
    money::Currency,
    observation::{Drift, Mark, Observation, Unknown},
};

/// Bodies without a currency are from the years when virtual accounts were Indonesian only.
const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

/// A payment into a virtual account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paid {
    payment_id: Field<Text>,
    amount: Field<Digits>,
    transaction_timestamp: Field<Timestamp>,
}

impl Thing for Paid {
    type Phase = PaymentPhase;

    const PRODUCT: Product<PaymentPhase> = Product {
        name: "Fixed virtual accounts (paid)",
        url: Url::Api("fva_paid"),
        form: Form::Unnamed,
        // The body has no status: its arrival says that the money is there.
        events: &[Named::new("fva_paid", PaymentPhase::Succeeded, &[])],
    };

    const CURRENCY: Option<fn() -> Currency> = CURRENCY;

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payment = &wire.thing;
        // Not `id`, which is the payment record's, and not the account's, which may be paid many times.
        let id = payment.payment_id.id("payment_id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        let transferred_at = payment.transaction_timestamp.time("transaction_timestamp", drift);
        observation.occurred_at = transferred_at.or(observation.occurred_at);
        observation.paid = wire.money(&payment.amount, "amount", drift);
        Ok(observation)
    }
}

/// A virtual account that was created or updated.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    id: Field<Text>,
    expected_amount: Field<Digits>,
}

impl Thing for Status {
    type Phase = VirtualAccountPhase;

    const PRODUCT: Product<VirtualAccountPhase> = Product {
        name: "Fixed virtual accounts (created)",
        url: Url::Api("fva_status"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "fva_status",
            &[
                ("PENDING", VirtualAccountPhase::Pending),
                ("ACTIVE", VirtualAccountPhase::Active),
                ("INACTIVE", VirtualAccountPhase::Inactive),
            ],
        )],
    };

    const CURRENCY: Option<fn() -> Currency> = CURRENCY;

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let account = &wire.thing;
        let id = account.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // An account that stays active may still have been given another amount or another expiry.
        observation.mark = observation.occurred_at.map(Mark::At);
        observation.asked = wire.money(&account.expected_amount, "expected_amount", drift);
        Ok(observation)
    }
}
