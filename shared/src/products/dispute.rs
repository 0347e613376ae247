//! Disputes: a payer who asks the bank for the money back, and what becomes of it.

use crate::{
    lifecycle::{
        DisputePhase::{ActionRequired, DueDateApproaching, Lost, UnderReview, Won},
        Stage::{self, Dispute},
    },
    object::Fields,
    observation::Unknown,
    resource::{COMMON, MarkedBy, Resource, Role},
    webhook::{Event, Form, Product, Url},
};

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
    // What was disputed, and what it came to in the end, whoever won.
    amounts: &[(Role::Requested, "amount.initial"), (Role::Result, "amount.terminal")],
    ..COMMON
};

pub(super) const DISPUTE: Product = Product {
    name: "Disputes",
    url: Url::Dashboard("dispute"),
    form: Form::Flat,
    resource: &DISPUTES,
    events: &[
        Event::new("dispute.action_required", &[Dispute(ActionRequired)]),
        Event::by("dispute.due_date_approaching", &[Dispute(DueDateApproaching)], reminded),
        Event::new("dispute.under_review", &[Dispute(UnderReview)]),
        Event::new("dispute.won", &[Dispute(Won)]),
        Event::new("dispute.lost", &[Dispute(Lost)]),
    ],
    adjust: None,
};

/// A reminder: the dispute is where it was.
fn reminded(fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    match fields.text("status").as_deref() {
        None | Some("ACTION_REQUIRED") => Ok(Dispute(DueDateApproaching)),
        Some(_) => Err(Unknown::Value("status")),
    }
}
