//! Payments v2: payments, and captures of reserved money.
//!
//! A payment may be captured in parts. Each capture is kept by its id, and their sum is what was paid.

use super::payment_method::CHANNEL;
use super::prelude::*;
use PaymentPhase::{Authorized, Canceled, Expired, Failed, Pending, Succeeded};

/// A payment.
const PAYMENTS: Resource = Resource {
    statuses: &[
        ("PENDING", Payment(Pending)),
        // Money is reserved, to be captured later.
        ("AWAITING_CAPTURE", Payment(Authorized)),
        ("FAILED", Payment(Failed)),
        ("CANCELED", Payment(Canceled)),
        ("EXPIRED", Payment(Expired)),
        ("SUCCEEDED", Payment(Succeeded)),
    ],
    channel: CHANNEL,
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYMENT: Product = Product {
    name: "Payments v2 (payment)",
    url: Url::ApiByEvent,
    form: Form::Enveloped,
    resource: &PAYMENTS,
    events: &[
        Event::new("payment.succeeded", &[Payment(Succeeded)]),
        Event::new("payment.failed", &[Payment(Failed), Payment(Canceled), Payment(Expired)]),
        Event::new("payment.pending", &[Payment(Pending)]),
        Event::new("payment.awaiting_capture", &[Payment(Authorized)]),
    ],
};

/// A successful capture: an observation of its payment.
const CAPTURES: Resource = Resource {
    id: &["payment_id"],
    statuses: &[("SUCCEEDED", Payment(Succeeded))],
    channel: CHANNEL,
    amounts: &[(Role::Requested, "authorized_amount")],
    captures: Captures::One { id: "id", amount: "captured_amount" },
    ..COMMON
};

pub(super) const CAPTURE: Product = Product {
    name: "Payments v2 (capture)",
    url: Url::ApiByEvent,
    form: Form::Enveloped,
    resource: &CAPTURES,
    events: &[Event::new("capture.succeeded", &[Payment(Succeeded)])],
};

/// A failed capture. The payment may have been captured in part, and can be captured again.
const FAILED_CAPTURES: Resource = Resource {
    statuses: &[("FAILED", Capture(CapturePhase::Failed))],
    channel: CHANNEL,
    amounts: &[(Role::Requested, "authorized_amount")],
    ..COMMON
};

pub(super) const FAILED_CAPTURE: Product = Product {
    name: "Payments v2 (capture)",
    url: Url::ApiByEvent,
    form: Form::Enveloped,
    resource: &FAILED_CAPTURES,
    events: &[Event::new("capture.failed", &[Capture(CapturePhase::Failed)])],
};
