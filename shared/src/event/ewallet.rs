//! E-wallet charges and their refunds. `ewallet.capture` is sent for success and for failure alike, and again by
//! Xendit's reconciliation, so that the status decides and not the name.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Digits, Enveloped, Field, Named, Text};
use crate::{
    lifecycle::{PaymentPhase, RefundPhase, Stage},
    observation::{Drift, Observation, Unknown},
};

const VOID: &str = "ewallet.void";

/// The events whose `data` is the charge.
pub const CHARGE_EVENTS: &[Named<PaymentPhase>] = &[
    Named {
        name: "ewallet.capture",
        phase: None,
        statuses: &[
            ("PENDING", PaymentPhase::Pending),
            ("SUCCEEDED", PaymentPhase::Succeeded),
            ("FAILED", PaymentPhase::Failed),
            ("VOIDED", PaymentPhase::Voided),
        ],
    },
    // `status` may go on saying SUCCEEDED, as the charge was: `void_status` tells of the void.
    Named { name: VOID, phase: None, statuses: &[("SUCCEEDED", PaymentPhase::Voided)] },
];

/// The event whose `data` is a refund made through the charge, and not through the unified refunds.
pub const REFUND_EVENTS: &[Named<RefundPhase>] = &[Named {
    name: "ewallet.refund",
    phase: None,
    statuses: &[
        ("PENDING", RefundPhase::Pending),
        ("SUCCEEDED", RefundPhase::Succeeded),
        ("FAILED", RefundPhase::Failed),
    ],
}];

/// An e-wallet charge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Charge {
    pub id: Field<Text>,
    pub void_status: Field<Text>,
    pub charge_amount: Field<Digits>,
    pub capture_amount: Field<Digits>,
    pub voided_at: Field<Timestamp>,
}

impl Enveloped<Charge> {
    pub(super) fn observe(&self, event: &Named<PaymentPhase>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let data = &self.data;
        let id = data.id.id("data.id", drift)?;
        let phase = if event.name == VOID { self.voided(event, drift)? } else { self.phase(event, drift)? };
        let mut observation = self.observation(event.name, Stage::Payment(phase), id, drift);
        if phase == PaymentPhase::Voided {
            observation.occurred_at = data.voided_at.time("data.voided_at", drift).or(observation.occurred_at);
        }
        observation.paid = self.money(&data.capture_amount, "data.capture_amount", drift);
        observation.asked = self.money(&data.charge_amount, "data.charge_amount", drift);
        Ok(observation)
    }

    /// No body of this event has been published: only a void that is said to have been made is taken for one.
    fn voided(&self, event: &Named<PaymentPhase>, drift: &mut Vec<Drift>) -> Result<PaymentPhase, Unknown> {
        let status = self.common.status.seen("data.status", drift).map(Text::as_str);
        if matches!((&self.data.void_status, status), (Field::Absent, Some("VOIDED"))) {
            return Ok(PaymentPhase::Voided);
        }
        event.phase(&self.data.void_status, "data.void_status", drift)
    }
}

/// A refund of an e-wallet charge.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Refund {
    pub id: Field<Text>,
    pub refund_amount: Field<Digits>,
}

impl Enveloped<Refund> {
    pub(super) fn observe(&self, event: &Named<RefundPhase>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = self.data.id.id("data.id", drift)?;
        let phase = self.phase(event, drift)?;
        let mut observation = self.observation(event.name, Stage::Refund(phase), id, drift);
        observation.paid = self.money(&self.data.refund_amount, "data.refund_amount", drift);
        Ok(observation)
    }
}
