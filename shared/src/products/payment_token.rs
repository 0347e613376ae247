//! Payment tokens v3: a card or wallet saved for later payments.

use super::prelude::*;
use PaymentTokenPhase::{Active, Canceled, Expired, Failed, Pending};

/// A payment token.
const TOKENS: Resource = Resource {
    id: &["payment_token_id"],
    statuses: &[
        ("PENDING", PaymentToken(Pending)),
        ("FAILED", PaymentToken(Failed)),
        ("ACTIVE", PaymentToken(Active)),
        ("EXPIRED", PaymentToken(Expired)),
        ("CANCELED", PaymentToken(Canceled)),
    ],
    ..COMMON
};

pub(super) const PAYMENT_TOKEN: Product = Product {
    name: "Payment tokens v3 (token status)",
    url: Url::Dashboard("payment_token"),
    form: Form::Enveloped,
    resource: &TOKENS,
    events: &[
        Event::new("payment_token.activation", &[PaymentToken(Active)]),
        // How some of Xendit's pages write it.
        Event::new("payment_token.activated", &[PaymentToken(Active)]),
        Event::new("payment_token.failure", &[PaymentToken(Failed)]),
        Event::new("payment_token.expiry", &[PaymentToken(Expired), PaymentToken(Canceled)]),
    ],
};
