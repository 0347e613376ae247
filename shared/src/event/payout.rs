//! Payouts v2: money sent to a bank account or wallet. A payout that succeeded may still be reversed.

use serde::Deserialize;

use super::{Digits, Enveloped, Field, Named, Text};
use crate::{
    lifecycle::{PayoutPhase, Stage},
    observation::{Drift, Observation, Unknown},
};

/// The events whose `data` is the payout.
pub const EVENTS: &[Named<PayoutPhase>] = &[
    Named {
        name: "payout.succeeded",
        phase: Some(PayoutPhase::Succeeded),
        statuses: &[("SUCCEEDED", PayoutPhase::Succeeded)],
    },
    Named {
        name: "payout.failed",
        phase: Some(PayoutPhase::Failed),
        statuses: &[("FAILED", PayoutPhase::Failed), ("CANCELLED", PayoutPhase::Canceled)],
    },
    // The money came back after a success.
    Named {
        name: "payout.reversed",
        phase: Some(PayoutPhase::Reversed),
        statuses: &[("REVERSED", PayoutPhase::Reversed)],
    },
    // The last two are known from others' code only, not from Xendit's pages.
    Named { name: "payout.expired", phase: Some(PayoutPhase::Expired), statuses: &[("EXPIRED", PayoutPhase::Expired)] },
    Named {
        name: "payout.refunded",
        phase: Some(PayoutPhase::Refunded),
        statuses: &[("REFUNDED", PayoutPhase::Refunded)],
    },
];

/// A payout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Payout {
    pub id: Field<Text>,
    pub amount: Field<Digits>,
}

impl Enveloped<Payout> {
    pub(super) fn observe(&self, event: &Named<PayoutPhase>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = self.data.id.id("data.id", drift)?;
        let phase = self.phase(event, drift)?;
        let mut observation = self.observation(event.name, Stage::Payout(phase), id, drift);
        observation.paid = self.money(&self.data.amount, "data.amount", drift);
        Ok(observation)
    }
}
