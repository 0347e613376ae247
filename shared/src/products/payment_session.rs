//! Payment sessions: a checkout page that was completed or left. What was paid on it is sent as a payment, so the
//! session's amount is what it requested.

use super::prelude::*;
use PaymentSessionPhase::{Canceled, Completed, Expired};

/// A payment session.
const SESSIONS: Resource = Resource {
    // The dashboard's test bodies have `id`.
    id: &["payment_session_id", "id"],
    statuses: &[
        ("COMPLETED", PaymentSession(Completed)),
        ("EXPIRED", PaymentSession(Expired)),
        ("CANCELED", PaymentSession(Canceled)),
    ],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYMENT_SESSION: Product = Product {
    name: "Payment session (completed, expired)",
    url: Url::Dashboard("payment_session"),
    form: Form::Enveloped,
    resource: &SESSIONS,
    events: &[
        Event::new("payment_session.completed", &[PaymentSession(Completed)]),
        Event::new("payment_session.expired", &[PaymentSession(Expired), PaymentSession(Canceled)]),
    ],
};
