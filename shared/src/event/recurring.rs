//! Subscriptions: plans, and their cycles, in both API versions, which differ in fields that nothing here acts on.
//!
//! What a cycle collects is told as a payment as well. The amounts here are what is asked for.

use serde::Deserialize;

use super::{
    body::{Count, Digits, Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{RecurringCyclePhase, RecurringPlanPhase},
    observation::{Drift, Mark, Observation, Unknown},
};

/// A plan.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Plan {
    id: Field<Text>,
    amount: Field<Digits>,
}

impl Thing for Plan {
    type Phase = RecurringPlanPhase;

    const PRODUCT: Product<RecurringPlanPhase> = Product {
        name: "Recurring (plan)",
        url: Url::Api("recurring"),
        form: Form::ENVELOPED,
        events: &[
            Named::new(
                "recurring.plan.activated",
                RecurringPlanPhase::Active,
                &[("ACTIVE", RecurringPlanPhase::Active)],
            ),
            Named::new(
                "recurring.plan.inactivated",
                RecurringPlanPhase::Inactive,
                &[("INACTIVE", RecurringPlanPhase::Inactive)],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // A plan that is activated again may have been given another amount or another schedule.
        observation.mark = wire.updated(drift).map(Mark::At);
        observation.amount(wire.money(&wire.thing.amount, "amount", drift));
        Ok(observation)
    }
}

/// A cycle of a plan.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cycle {
    id: Field<Text>,
    attempt_count: Field<Count>,
    forced_attempt_count: Field<Count>,
    amount: Field<Digits>,
}

impl Thing for Cycle {
    type Phase = RecurringCyclePhase;

    const PRODUCT: Product<RecurringCyclePhase> = Product {
        name: "Recurring (cycle)",
        url: Url::Api("recurring"),
        form: Form::ENVELOPED,
        events: &[
            Named::new(
                "recurring.cycle.created",
                RecurringCyclePhase::Scheduled,
                &[("SCHEDULED", RecurringCyclePhase::Scheduled), ("PENDING", RecurringCyclePhase::Scheduled)],
            ),
            Named::new(
                "recurring.cycle.retrying",
                RecurringCyclePhase::Retrying,
                &[("RETRYING", RecurringCyclePhase::Retrying)],
            ),
            Named::new(
                "recurring.cycle.succeeded",
                RecurringCyclePhase::Succeeded,
                &[("SUCCEEDED", RecurringCyclePhase::Succeeded)],
            ),
            // All attempts are used up.
            Named::new(
                "recurring.cycle.failed",
                RecurringCyclePhase::Failed,
                &[("FAILED", RecurringCyclePhase::Failed), ("CANCELLED", RecurringCyclePhase::Canceled)],
            ),
            // One attempt out of turn failed. The cycle is where it was, and the status says where.
            Named::by_status(
                "recurring.cycle.force_attempt_failed",
                &[
                    ("SCHEDULED", RecurringCyclePhase::Scheduled),
                    ("PENDING", RecurringCyclePhase::Scheduled),
                    ("RETRYING", RecurringCyclePhase::Retrying),
                    ("FAILED", RecurringCyclePhase::Failed),
                ],
            ),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let cycle = &wire.thing;
        let id = cycle.id.id("id", drift)?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // Each attempt is news, though the cycle stays where it was. Either count only grows, and so does their sum.
        let counts = [(&cycle.attempt_count, "attempt_count"), (&cycle.forced_attempt_count, "forced_attempt_count")];
        let counts = counts.into_iter().filter_map(|(count, path)| Some(count.seen(path, drift)?.0));
        observation.mark = counts.reduce(u64::saturating_add).map(Mark::Count);
        observation.amount(wire.money(&cycle.amount, "amount", drift));
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        event::Event,
        observation::{Mark, Observation},
    };

    fn cycle(event: &str, status: &str, attempts: &str) -> Observation {
        let body = format!(r#"{{"event":"{event}","data":{{"id":"recy_1","status":"{status}",{attempts}}}}}"#);
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn a_forced_attempt_is_news_in_the_same_phase() {
        let retrying = cycle("recurring.cycle.retrying", "RETRYING", r#""attempt_count":1,"forced_attempt_count":0"#);
        let forced = cycle(
            "recurring.cycle.force_attempt_failed",
            "RETRYING",
            r#""attempt_count":"1","forced_attempt_count":1"#,
        );
        assert_eq!(retrying.stage, forced.stage);
        assert_eq!((retrying.mark, forced.mark), (Some(Mark::Count(1)), Some(Mark::Count(2))));
    }

    #[test]
    fn a_cycle_that_collected_its_money_does_not_count_it_a_second_time() {
        let succeeded = cycle("recurring.cycle.succeeded", "SUCCEEDED", r#""amount":9,"currency":"IDR""#);
        assert_eq!(succeeded.paid, None);
        assert_eq!(succeeded.asked.unwrap().to_string(), "IDR 9");
    }
}
