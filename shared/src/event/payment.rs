//! Payments v3: money reserved, collected, refused or lapsed. The event's name says which; a status that says
//! otherwise makes the webhook one that nobody should act on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Digits, Enveloped, Field, Named, Text};
use crate::{
    lifecycle::{PaymentPhase, Stage},
    money::Money,
    observation::{Drift, Observation, Unknown},
};

/// The events whose `data` is the payment.
pub const EVENTS: &[Named<PaymentPhase>] = &[
    // Money collected, all of it or a part.
    Named {
        name: "payment.capture",
        phase: Some(PaymentPhase::Succeeded),
        statuses: &[("SUCCEEDED", PaymentPhase::Succeeded)],
    },
    // Money reserved, to be captured later.
    Named {
        name: "payment.authorization",
        phase: Some(PaymentPhase::Authorized),
        statuses: &[("AUTHORIZED", PaymentPhase::Authorized)],
    },
    Named {
        name: "payment.failure",
        phase: Some(PaymentPhase::Failed),
        statuses: &[("FAILED", PaymentPhase::Failed), ("CANCELED", PaymentPhase::Canceled)],
    },
    // An authorization lapsed.
    Named {
        name: "payment.expiry",
        phase: Some(PaymentPhase::Expired),
        statuses: &[("EXPIRED", PaymentPhase::Expired), ("CANCELED", PaymentPhase::Canceled)],
    },
];

/// A payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Payment {
    pub payment_id: Field<Text>,
    pub request_amount: Field<Digits>,
    pub captures: Field<Vec<Capture>>,
}

/// One collection of money under a payment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Xendit's, and named as Xendit names them")]
pub struct Capture {
    pub capture_id: Field<Text>,
    pub capture_amount: Field<Digits>,
}

impl Enveloped<Payment> {
    pub(super) fn observe(&self, event: &Named<PaymentPhase>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let data = &self.data;
        let id = data.payment_id.id("data.payment_id", drift)?;
        let phase = self.phase(event, drift)?;
        let mut observation = self.observation(event.name, Stage::Payment(phase), id, drift);
        // Not what was paid: that is the sum of the captures, and for a reusable code there may be no such amount.
        observation.asked = self.money(&data.request_amount, "data.request_amount", drift);
        if phase == PaymentPhase::Succeeded {
            observation.captures = self.captures(drift);
        }
        Ok(observation)
    }

    fn captures(&self, drift: &mut Vec<Drift>) -> BTreeMap<String, Money> {
        let captures = self.data.captures.seen("data.captures", drift).map_or(&[][..], Vec::as_slice);
        captures
            .iter()
            .filter_map(|capture| {
                let id = capture.capture_id.text("data.captures[].capture_id", drift)?;
                let money = self.money(&capture.capture_amount, "data.captures[].capture_amount", drift)?;
                Some((id, money))
            })
            .collect()
    }
}
