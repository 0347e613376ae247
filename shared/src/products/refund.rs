//! Unified refunds: money back to a payer, whatever the payment method. A refund is a subject of its own.

use super::prelude::*;
use RefundPhase::{Canceled, Failed, Pending, Succeeded};

/// A refund.
const REFUNDS: Resource = Resource {
    statuses: &[
        ("PENDING", Refund(Pending)),
        ("SUCCEEDED", Refund(Succeeded)),
        ("FAILED", Refund(Failed)),
        ("CANCELLED", Refund(Canceled)),
    ],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const REFUND: Product = Product {
    name: "Unified refunds (succeeded, failed)",
    url: Url::Dashboard("refund"),
    // One of Xendit's pages prints the refund under one more `data`.
    form: Form::Under(&[Place { path: &["data", "data"], rest: None }, Place { path: &["data"], rest: None }]),
    resource: &REFUNDS,
    events: &[
        Event::new("refund.succeeded", &[Refund(Succeeded)]),
        Event::new("refund.failed", &[Refund(Failed), Refund(Canceled)]),
    ],
};
