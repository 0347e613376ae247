//! Payment requests v3 that expired. What was paid for a request, even after its expiry, is sent as a payment.

use super::prelude::*;
use PaymentRequestPhase::{Expired, Succeeded};

/// A payment request.
const REQUESTS: Resource = Resource {
    id: &["payment_request_id"],
    statuses: &[("EXPIRED", PaymentRequest(Expired)), ("SUCCEEDED", PaymentRequest(Succeeded))],
    amounts: &[(Role::PaidOrRequested, "request_amount")],
    ..COMMON
};

pub(super) const PAYMENT_REQUEST: Product = Product {
    name: "Payment requests v3 (payment request status)",
    url: Url::Dashboard("payment_request"),
    form: Form::Enveloped,
    resource: &REQUESTS,
    events: &[
        Event::new("payment_request.expiry", &[PaymentRequest(Expired)]),
        // Not in Xendit's pages, but said to be what is sent.
        Event::new("payment_request.expired", &[PaymentRequest(Expired)]),
    ],
};
