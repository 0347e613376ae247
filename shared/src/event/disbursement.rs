//! Disbursements, the payouts of old: Indonesian ones, Philippine ones, and batches of the former. None of the bodies
//! has an event name.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{PayoutBatchPhase, PayoutPhase},
    money::Currency,
    observation::{Drift, Observation, Unknown},
};

const STATUSES: &[(&str, PayoutPhase)] =
    &[("PENDING", PayoutPhase::Pending), ("COMPLETED", PayoutPhase::Succeeded), ("FAILED", PayoutPhase::Failed)];

/// An Indonesian disbursement.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Disbursement {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Disbursement {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Disbursement (Indonesia)",
        url: Url::Api("disbursement"),
        form: Form::Unnamed,
        events: &[Named::by_status("disbursement", STATUSES)],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}

/// A Philippine disbursement.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PhDisbursement {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for PhDisbursement {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Disbursement (Philippines)",
        url: Url::Api("ph_disbursement"),
        form: Form::Unnamed,
        events: &[Named::by_status("ph_disbursement", STATUSES)],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::php);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}

/// A batch of Indonesian disbursements. Which of its lines failed is in the body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BatchDisbursement {
    id: Field<Text>,
    reference: Field<Text>,
    total_uploaded_amount: Field<Digits>,
    total_disbursed_amount: Field<Digits>,
}

impl Thing for BatchDisbursement {
    type Phase = PayoutBatchPhase;

    const PRODUCT: Product<PayoutBatchPhase> = Product {
        name: "Batch disbursement (Indonesia)",
        url: Url::Api("batch_disbursement"),
        form: Form::Unnamed,
        events: &[Named::by_status(
            "batch_disbursement",
            &[("COMPLETED", PayoutBatchPhase::Completed), ("FAILED", PayoutBatchPhase::Failed)],
        )],
    };

    const CURRENCY: Option<fn() -> Currency> = Some(Currency::idr);

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let batch = &wire.thing;
        let id = batch.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.reference = batch.reference.text("reference", drift);
        observation.paid = wire.money(&batch.total_disbursed_amount, "total_disbursed_amount", drift);
        observation.asked = wire.money(&batch.total_uploaded_amount, "total_uploaded_amount", drift);
        Ok(observation)
    }
}
