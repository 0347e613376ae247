//! QR codes: `qr.payment` in two forms, the enveloped one of 2022 and the flat one before it. Nothing is known about the
//! refunds that are said to be sent to the same URL.

use super::prelude::*;
use PaymentPhase::Succeeded;

/// A payment of a QR code.
const PAYMENTS: Resource = Resource {
    statuses: &[("SUCCEEDED", Payment(Succeeded))],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYMENT: Product = Product {
    name: "QR codes (paid and refunded)",
    url: Url::Api("qr_code"),
    form: Form::Enveloped,
    resource: &PAYMENTS,
    events: &[Event::by_status("qr.payment")],
};

/// A payment of a QR code before 2022, when all were Indonesian.
const LEGACY_PAYMENTS: Resource = Resource {
    statuses: &[("COMPLETED", Payment(Succeeded))],
    reference: &["qr_code.external_id"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const LEGACY_PAYMENT: Product = Product {
    name: "QR codes before 2022",
    url: Url::Request("qr_code_legacy"),
    form: Form::FlatWith("qr_code"),
    resource: &LEGACY_PAYMENTS,
    events: &[Event::by_status("qr.payment")],
};
