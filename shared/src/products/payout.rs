//! Payouts v2, money sent to a bank account or wallet, and payout links, money that the recipient collects. A payout that
//! succeeded may still be reversed.

use super::prelude::*;
use PayoutPhase::{Canceled, Expired, Failed, Locked, Pending, Refunded, Reversed, Succeeded};

/// A payout.
const PAYOUTS: Resource = Resource {
    statuses: &[
        ("ACCEPTED", Payout(Pending)),
        ("REQUESTED", Payout(Pending)),
        ("LOCKED", Payout(Locked)),
        ("CANCELLED", Payout(Canceled)),
        ("EXPIRED", Payout(Expired)),
        ("FAILED", Payout(Failed)),
        ("SUCCEEDED", Payout(Succeeded)),
        ("REFUNDED", Payout(Refunded)),
        ("REVERSED", Payout(Reversed)),
    ],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYOUT: Product = Product {
    name: "Payouts v2",
    url: Url::Api("payout"),
    form: Form::Enveloped,
    resource: &PAYOUTS,
    events: &[
        Event::new("payout.succeeded", &[Payout(Succeeded)]),
        Event::new("payout.failed", &[Payout(Failed), Payout(Canceled)]),
        // The money came back after a success.
        Event::new("payout.reversed", &[Payout(Reversed)]),
        // The last two are known from third-party code only.
        Event::new("payout.expired", &[Payout(Expired)]),
        Event::new("payout.refunded", &[Payout(Refunded)]),
    ],
};

/// A payout link. The webhook's body is undocumented; this assumes the API's object. Links exist in several countries.
const LINKS: Resource = Resource {
    statuses: &[
        ("PENDING", Payout(Pending)),
        ("VOIDED", Payout(Canceled)),
        ("EXPIRED", Payout(Expired)),
        ("FAILED", Payout(Failed)),
        ("COMPLETED", Payout(Succeeded)),
    ],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const LINK: Product = Product {
    name: "Payout link",
    url: Url::Dashboard("payout_link"),
    form: Form::Unnamed,
    resource: &LINKS,
    events: &[Event::by_status("payout_link")],
};
