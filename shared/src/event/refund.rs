//! Unified refunds: money back to a payer, whatever the payment method. A refund is a subject of its own.

use serde::Deserialize;

use super::{Digits, Enveloped, Field, Named, Text};
use crate::{
    lifecycle::{RefundPhase, Stage},
    observation::{Drift, Observation, Unknown},
};

/// The events whose `data` is the refund.
pub const EVENTS: &[Named<RefundPhase>] = &[
    Named {
        name: "refund.succeeded",
        phase: Some(RefundPhase::Succeeded),
        statuses: &[("SUCCEEDED", RefundPhase::Succeeded)],
    },
    Named {
        name: "refund.failed",
        phase: Some(RefundPhase::Failed),
        statuses: &[("FAILED", RefundPhase::Failed), ("CANCELLED", RefundPhase::Canceled)],
    },
];

/// A refund.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Refund {
    pub id: Field<Text>,
    pub amount: Field<Digits>,
}

impl Enveloped<Refund> {
    pub(super) fn observe(&self, event: &Named<RefundPhase>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = self.data.id.id("data.id", drift)?;
        let phase = self.phase(event, drift)?;
        let mut observation = self.observation(event.name, Stage::Refund(phase), id, drift);
        observation.paid = self.money(&self.data.amount, "data.amount", drift);
        Ok(observation)
    }
}
