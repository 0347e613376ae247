//! Cross-border payouts: flat, with an event name, in major units, some of them collected in cash.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::PayoutPhase,
    money::{Currency, Money},
    observation::{Drift, Observation, Unknown},
};

/// A cross-border payout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RemittancePayout {
    id: Field<Text>,
    destination_currency: Field<Currency>,
    destination_amount: Field<Digits>,
}

impl Thing for RemittancePayout {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Cross-border payouts",
        url: Url::Dashboard("remittance_payout"),
        form: Form::Flat,
        events: &[
            Named::new(
                "remittance_payout.pending_compliance_assessment",
                PayoutPhase::Pending,
                &[("PENDING_COMPLIANCE_ASSESSMENT", PayoutPhase::Pending)],
            ),
            Named::new(
                "remittance_payout.compliance_rejected",
                PayoutPhase::Rejected,
                &[("COMPLIANCE_REJECTED", PayoutPhase::Rejected)],
            ),
            // Ready to be collected in cash.
            Named::new("remittance_payout.ready", PayoutPhase::Ready, &[("READY", PayoutPhase::Ready)]),
            // Being collected.
            Named::new("remittance_payout.locked", PayoutPhase::Locked, &[("LOCKED", PayoutPhase::Locked)]),
            Named::new(
                "remittance_payout.failed",
                PayoutPhase::Failed,
                &[("FAILED", PayoutPhase::Failed), ("CANCELLED", PayoutPhase::Canceled)],
            ),
            Named::new("remittance_payout.expired", PayoutPhase::Expired, &[("EXPIRED", PayoutPhase::Expired)]),
            Named::new("remittance_payout.succeeded", PayoutPhase::Succeeded, &[("SUCCEEDED", PayoutPhase::Succeeded)]),
            Named::new("remittance_payout.reversed", PayoutPhase::Reversed, &[("REVERSED", PayoutPhase::Reversed)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(wire.thing.destination(drift));
        Ok(observation)
    }
}

impl RemittancePayout {
    /// What the receiver gets.
    fn destination(&self, drift: &mut Vec<Drift>) -> Option<Money> {
        let amount = self.destination_amount.seen("destination_amount", drift)?.0;
        let currency = self.destination_currency.seen("destination_currency", drift)?.clone();
        Some(Money { amount, currency })
    }
}
