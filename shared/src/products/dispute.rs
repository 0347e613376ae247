//! Disputes (chargebacks) and their outcome.

use super::prelude::*;
use DisputePhase::{ActionRequired, DueDateApproaching, Lost, UnderReview, Won};

/// A dispute.
const DISPUTES: Resource = Resource {
    statuses: &[
        ("ACTION_REQUIRED", Dispute(ActionRequired)),
        ("UNDER_REVIEW", Dispute(UnderReview)),
        ("WON", Dispute(Won)),
        ("LOST", Dispute(Lost)),
    ],
    // Action is required again when the bank wants to know more.
    marked_by: MarkedBy::UpdatedAndReason("status_reason"),
    // The disputed amount, and the final amount.
    amounts: &[(Role::Requested, "amount.initial"), (Role::Outcome, "amount.terminal")],
    ..COMMON
};

pub(super) const DISPUTE: Product = Product {
    name: "Disputes",
    url: Url::Dashboard("dispute"),
    form: Form::Flat,
    resource: &DISPUTES,
    events: &[
        Event::new("dispute.action_required", &[Dispute(ActionRequired)]),
        Event::by_rule("dispute.due_date_approaching", &[Dispute(DueDateApproaching)], stage_of_reminder),
        Event::new("dispute.under_review", &[Dispute(UnderReview)]),
        Event::new("dispute.won", &[Dispute(Won)]),
        Event::new("dispute.lost", &[Dispute(Lost)]),
    ],
};

/// A reminder does not change the status.
fn stage_of_reminder(fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    match DISPUTES.stage(fields)? {
        None | Some(Dispute(ActionRequired)) => Ok(Dispute(DueDateApproaching)),
        Some(_) => Err(Unknown::Value("status")),
    }
}
