//! Payouts v3, across borders or not. The only product whose amounts are whole numbers of minor units.

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

/// A payout.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payout {
    payout_id: Field<Text>,
    destination_currency: Field<Currency>,
    destination_amount: Field<Digits>,
}

impl Thing for Payout {
    type Phase = PayoutPhase;

    const PRODUCT: Product<PayoutPhase> = Product {
        name: "Payouts v3",
        url: Url::Dashboard("v3_payout"),
        form: Form::ENVELOPED,
        events: &[
            Named::new("v3_payout.succeeded", PayoutPhase::Succeeded, &[("SUCCEEDED", PayoutPhase::Succeeded)]),
            Named::new(
                "v3_payout.failed",
                PayoutPhase::Failed,
                &[
                    ("FAILED", PayoutPhase::Failed),
                    ("CANCELLED", PayoutPhase::Canceled),
                    ("EXPIRED", PayoutPhase::Expired),
                ],
            ),
            Named::new("v3_payout.reversed", PayoutPhase::Reversed, &[("REVERSED", PayoutPhase::Reversed)]),
            Named::new("v3_payout.rejected", PayoutPhase::Rejected, &[("REJECTED", PayoutPhase::Rejected)]),
            Named::new(
                "v3_payout.pending_compliance",
                PayoutPhase::Pending,
                &[("PENDING_COMPLIANCE_REVIEW", PayoutPhase::Pending)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let payout = &wire.thing;
        let id = payout.payout_id.id("payout_id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        observation.amount(payout.destination(drift));
        Ok(observation)
    }
}

impl Payout {
    /// What the receiver gets, in major units. None, where nobody knows what the minor unit is.
    fn destination(&self, drift: &mut Vec<Drift>) -> Option<Money> {
        let amount = self.destination_amount.seen("destination_amount", drift)?.0;
        let currency = self.destination_currency.seen("destination_currency", drift)?.clone();
        let Some(digits) = currency.minor_digits() else {
            drift.push(Drift { field: "destination_currency", found: "a currency that is not in ISO 4217" });
            return None;
        };
        let Some(amount) = amount.from_minor_units(digits) else {
            drift.push(Drift { field: "destination_amount", found: "a part of a minor unit" });
            return None;
        };
        Some(Money { amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn observe(amount: &str, currency: &str) -> Observation {
        let body = format!(
            r#"{{"event":"v3_payout.succeeded","data":{{"payout_id":"po-1","destination_amount":{amount},
               "destination_currency":"{currency}"}}}}"#
        );
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn an_amount_is_a_number_of_minor_units() {
        assert_eq!(observe("50000", "PHP").paid.unwrap().to_string(), "PHP 500.00");
        assert_eq!(observe("10", "IDR").paid.unwrap().to_string(), "IDR 10");
        assert_eq!(observe("10", "VND").paid.unwrap().to_string(), "VND 10");
    }

    #[test]
    fn an_amount_whose_unit_is_not_known_is_no_amount() {
        for (amount, currency) in [("10", "QQQ"), ("10.5", "PHP"), ("10", "peso")] {
            let observation = observe(amount, currency);
            assert_eq!(observation.paid, None, "{amount} {currency}");
            assert_eq!(observation.drift.len(), 1, "{amount} {currency}");
        }
    }
}
