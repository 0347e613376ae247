//! Disputes: a payer who asks the bank for the money back, and what becomes of it.

use serde::Deserialize;

use super::{
    body::{Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::DisputePhase,
    observation::{Drift, Mark, Observation, Unknown},
};

/// A dispute.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dispute {
    id: Field<Text>,
    status_reason: Field<Text>,
    amount: Field<Amounts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Amounts {
    initial: Field<Digits>,
    terminal: Field<Digits>,
}

impl Thing for Dispute {
    type Phase = DisputePhase;

    const PRODUCT: Product<DisputePhase> = Product {
        name: "Disputes",
        url: Url::Dashboard("dispute"),
        form: Form::Flat,
        events: &[
            Named::new(
                "dispute.action_required",
                DisputePhase::ActionRequired,
                &[("ACTION_REQUIRED", DisputePhase::ActionRequired)],
            ),
            // The dispute is where it was.
            Named::new(
                "dispute.due_date_approaching",
                DisputePhase::DueDateApproaching,
                &[("ACTION_REQUIRED", DisputePhase::DueDateApproaching)],
            ),
            Named::new(
                "dispute.under_review",
                DisputePhase::UnderReview,
                &[("UNDER_REVIEW", DisputePhase::UnderReview)],
            ),
            Named::new("dispute.won", DisputePhase::Won, &[("WON", DisputePhase::Won)]),
            Named::new("dispute.lost", DisputePhase::Lost, &[("LOST", DisputePhase::Lost)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let dispute = &wire.thing;
        let id = dispute.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // Action is required again when the bank wants to know more.
        observation.mark = match (dispute.status_reason.text("status_reason", drift), wire.updated(drift)) {
            (Some(reason), Some(updated)) => Some(Mark::from(format!("{updated} {reason}"))),
            (Some(reason), None) => Some(Mark::from(reason)),
            (None, updated) => updated.map(Mark::At),
        };
        if let Some(amount) = dispute.amount.seen("amount", drift) {
            observation.asked = wire.money(&amount.initial, "amount.initial", drift);
            // What it came to in the end, whoever won.
            observation.paid = wire.money(&amount.terminal, "amount.terminal", drift);
        }
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn action_required(rest: &str) -> Observation {
        let body = format!(
            r#"{{"event":"dispute.action_required","id":"mi-dspt-1","status":"ACTION_REQUIRED","currency":"USD"{rest}}}"#
        );
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn a_second_request_for_evidence_is_news() {
        let first = action_required(r#","updated_at":"2026-03-01T19:50:51Z""#);
        let again = action_required(r#","updated_at":"2026-03-02T00:00:00Z","status_reason":"NEED_MORE_INFORMATION""#);
        assert_eq!(first.stage, again.stage);
        assert!(again.mark > first.mark && again.occurred_at > first.occurred_at);
        assert_ne!(action_required(r#","status_reason":"ARBITRATION""#).mark, action_required("").mark);
    }

    #[test]
    fn what_was_disputed_and_what_it_came_to_are_kept_apart() {
        let dispute = action_required(r#","amount":{"initial":"1000.00","terminal":"10.50"}"#);
        assert_eq!(dispute.asked.unwrap().to_string(), "USD 1000.00");
        assert_eq!(dispute.paid.unwrap().to_string(), "USD 10.50");
    }
}
