//! Payments v3: money reserved, collected, refused or lapsed. The event's name says which; a status that says otherwise
//! makes the webhook one that nobody should act on.

use crate::{
    lifecycle::{
        CardPhase::Verified,
        PaymentPhase::{Authorized, Canceled, Expired, Failed, Pending, Succeeded},
        Stage::{Card, Payment},
    },
    resource::{COMMON, Captures, Resource, Role},
    webhook::{Event, Form, Product, Url},
};

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
        // Money collected, all of it or a part.
        Event::new("payment.capture", &[Payment(Succeeded)]),
        // Money reserved, to be captured later.
        Event::new("payment.authorization", &[Payment(Authorized)]),
        Event::new("payment.failure", &[Payment(Failed), Payment(Canceled)]),
        // An authorization lapsed.
        Event::new("payment.expiry", &[Payment(Expired), Payment(Canceled)]),
    ],
    adjust: None,
};

/// A card that was verified without a payment. No more is known than that `data` is the payment request, under `id`: it
/// must not be mistaken for money.
const VERIFICATIONS: Resource = Resource { statuses: &[("SUCCEEDED", Card(Verified))], ..COMMON };

pub(super) const VERIFICATION: Product = Product {
    name: "Payment requests v3 (payment status)",
    url: Url::Dashboard("payment"),
    form: Form::Enveloped,
    resource: &VERIFICATIONS,
    events: &[Event::by_status("payment.verified")],
    adjust: None,
};
