//! Subscriptions: plans, and their cycles, in both API versions, which differ in fields that nothing here acts on.
//!
//! What a cycle collects is sent as a payment as well. The amounts here are what is requested.

use super::prelude::*;
use RecurringCyclePhase::{Canceled, Failed, Retrying, Scheduled, Succeeded};
use RecurringPlanPhase::{Active, Inactive, Pending};

/// A plan.
const PLANS: Resource = Resource {
    statuses: &[
        ("PENDING", RecurringPlan(Pending)),
        ("ACTIVE", RecurringPlan(Active)),
        ("INACTIVE", RecurringPlan(Inactive)),
    ],
    // A plan that is activated again may have been given another amount or another schedule.
    marked_by: MarkedBy::Updated,
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PLAN: Product = Product {
    name: "Recurring (plan)",
    url: Url::Api("recurring"),
    form: Form::Enveloped,
    resource: &PLANS,
    events: &[
        Event::new("recurring.plan.activated", &[RecurringPlan(Active)]),
        Event::new("recurring.plan.inactivated", &[RecurringPlan(Inactive)]),
    ],
};

/// A cycle of a plan.
const CYCLES: Resource = Resource {
    statuses: &[
        ("SCHEDULED", RecurringCycle(Scheduled)),
        ("PENDING", RecurringCycle(Scheduled)),
        ("RETRYING", RecurringCycle(Retrying)),
        ("CANCELLED", RecurringCycle(Canceled)),
        ("FAILED", RecurringCycle(Failed)),
        ("SUCCEEDED", RecurringCycle(Succeeded)),
    ],
    // Each attempt is news in the same phase. Both counts only grow, and so does their sum.
    marked_by: MarkedBy::Attempts(&["attempt_count", "forced_attempt_count"]),
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const CYCLE: Product = Product {
    name: "Recurring (cycle)",
    url: Url::Api("recurring"),
    form: Form::Enveloped,
    resource: &CYCLES,
    events: &[
        Event::new("recurring.cycle.created", &[RecurringCycle(Scheduled)]),
        Event::new("recurring.cycle.retrying", &[RecurringCycle(Retrying)]),
        Event::new("recurring.cycle.succeeded", &[RecurringCycle(Succeeded)]),
        // All attempts are used up.
        Event::new("recurring.cycle.failed", &[RecurringCycle(Failed), RecurringCycle(Canceled)]),
        // A forced attempt failed. The cycle keeps its status.
        Event::by_status_among(
            "recurring.cycle.force_attempt_failed",
            &[RecurringCycle(Scheduled), RecurringCycle(Retrying), RecurringCycle(Failed)],
        ),
    ],
};
