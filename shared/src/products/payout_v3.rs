//! Payouts v3, across borders or not. The only product whose amounts are whole numbers of minor units.

use super::prelude::*;
use PayoutPhase::{Canceled, Expired, Failed, Locked, Pending, Ready, Rejected, Reversed, Succeeded};

/// A payout. Its amount is what the recipient gets.
const PAYOUTS: Resource = Resource {
    id: &["payout_id"],
    statuses: &[
        ("ACCEPTED", Payout(Pending)),
        ("PENDING_COMPLIANCE_REVIEW", Payout(Pending)),
        ("ROUTING", Payout(Pending)),
        ("REQUESTED", Payout(Pending)),
        ("READY", Payout(Ready)),
        ("LOCKED", Payout(Locked)),
        ("REJECTED", Payout(Rejected)),
        ("CANCELLED", Payout(Canceled)),
        ("EXPIRED", Payout(Expired)),
        ("FAILED", Payout(Failed)),
        ("SUCCEEDED", Payout(Succeeded)),
        ("REVERSED", Payout(Reversed)),
    ],
    amounts: &[(Role::PaidOrRequested, "destination_amount")],
    currency: "destination_currency",
    in_minor_units: true,
    ..COMMON
};

pub(super) const PAYOUT: Product = Product {
    name: "Payouts v3",
    url: Url::Dashboard("v3_payout"),
    form: Form::Enveloped,
    resource: &PAYOUTS,
    events: &[
        Event::new("v3_payout.succeeded", &[Payout(Succeeded)]),
        Event::new("v3_payout.failed", &[Payout(Failed), Payout(Canceled), Payout(Expired)]),
        Event::new("v3_payout.reversed", &[Payout(Reversed)]),
        Event::new("v3_payout.rejected", &[Payout(Rejected)]),
        Event::new("v3_payout.pending_compliance", &[Payout(Pending)]),
    ],
};
