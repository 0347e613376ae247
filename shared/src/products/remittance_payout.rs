//! Cross-border payouts: flat, with an event name, in major units, some of them collected in cash.

use super::prelude::*;
use PayoutPhase::{Canceled, Expired, Failed, Locked, Pending, Ready, Refunded, Rejected, Reversed, Succeeded};

/// A cross-border payout. Its amount is what the receiver gets.
const PAYOUTS: Resource = Resource {
    statuses: &[
        ("ACCEPTED", Payout(Pending)),
        ("PENDING_COMPLIANCE_ASSESSMENT", Payout(Pending)),
        ("REQUESTED", Payout(Pending)),
        ("READY", Payout(Ready)),
        ("LOCKED", Payout(Locked)),
        ("COMPLIANCE_REJECTED", Payout(Rejected)),
        ("CANCELLED", Payout(Canceled)),
        ("EXPIRED", Payout(Expired)),
        ("FAILED", Payout(Failed)),
        ("SUCCEEDED", Payout(Succeeded)),
        ("REFUNDED", Payout(Refunded)),
        ("REVERSED", Payout(Reversed)),
    ],
    amounts: &[(Role::PaidOrRequested, "destination_amount")],
    currency: "destination_currency",
    ..COMMON
};

pub(super) const PAYOUT: Product = Product {
    name: "Cross-border payouts",
    url: Url::Dashboard("remittance_payout"),
    form: Form::Flat,
    resource: &PAYOUTS,
    events: &[
        Event::new("remittance_payout.pending_compliance_assessment", &[Payout(Pending)]),
        Event::new("remittance_payout.compliance_rejected", &[Payout(Rejected)]),
        // Ready to be collected in cash.
        Event::new("remittance_payout.ready", &[Payout(Ready)]),
        // Being collected.
        Event::new("remittance_payout.locked", &[Payout(Locked)]),
        Event::new("remittance_payout.failed", &[Payout(Failed), Payout(Canceled)]),
        Event::new("remittance_payout.expired", &[Payout(Expired)]),
        Event::new("remittance_payout.succeeded", &[Payout(Succeeded)]),
        Event::new("remittance_payout.reversed", &[Payout(Reversed)]),
    ],
};
