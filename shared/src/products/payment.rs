//! Payments v3: authorized, captured, failed or expired. The event's name says which; a contradicting status makes the
//! webhook unknown.

use super::prelude::*;
use CardPhase::Verified;
use PaymentPhase::{Authorized, Canceled, Expired, Failed, Pending, Succeeded};

/// A payment.
const PAYMENTS: Resource = Resource {
    id: &["payment_id"],
    statuses: &[
        ("PENDING", Payment(Pending)),
        ("AUTHORIZED", Payment(Authorized)),
        ("FAILED", Payment(Failed)),
        ("CANCELED", Payment(Canceled)),
        ("EXPIRED", Payment(Expired)),
        ("SUCCEEDED", Payment(Succeeded)),
    ],
    // Not what was paid: that is the sum of the captures, and for a reusable code there may be no such amount.
    amounts: &[(Role::Requested, "request_amount")],
    captures: Captures::List { list: "captures", id: "capture_id", amount: "capture_amount" },
    ..COMMON
};

pub(super) const PAYMENT: Product = Product {
    name: "Payment requests v3 (payment status)",
    url: Url::Dashboard("payment"),
    form: Form::Enveloped,
    resource: &PAYMENTS,
    events: &[
        // Money was captured, in full or in part.
        Event::new("payment.capture", &[Payment(Succeeded)]),
        // Money is reserved, to be captured later.
        Event::new("payment.authorization", &[Payment(Authorized)]),
        Event::new("payment.failure", &[Payment(Failed), Payment(Canceled)]),
        // An authorization lapsed.
        Event::new("payment.expiry", &[Payment(Expired), Payment(Canceled)]),
    ],
};

/// A card that was verified without a payment. One third-party source only: `data` is the payment request, keyed `id`. It is
/// not a payment.
const VERIFICATIONS: Resource = Resource { statuses: &[("SUCCEEDED", Card(Verified))], ..COMMON };

pub(super) const VERIFICATION: Product = Product {
    name: "Payment requests v3 (payment status)",
    url: Url::Dashboard("payment"),
    form: Form::Enveloped,
    resource: &VERIFICATIONS,
    events: &[Event::by_status("payment.verified")],
};
