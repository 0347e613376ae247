//! Bill payments: a bill paid for a customer. The API's page and the guide name the events differently, and put the
//! object in different places.

use super::prelude::*;
use BillPaymentPhase::{Failed, Succeeded};

/// A bill payment.
const PAYMENTS: Resource = Resource {
    id: &["payment_id", "id"],
    statuses: &[
        // The API page's misspelling, and the intended word.
        ("SUCCEEDDED", BillPayment(Succeeded)),
        ("SUCCEEDED", BillPayment(Succeeded)),
        ("FAILED", BillPayment(Failed)),
    ],
    amounts: &[(Role::PaidOrRequested, "total_amount")],
    // Sold in Indonesia only: the bills are in rupiah wherever a page prints one.
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const BILL_PAYMENT: Product = Product {
    name: "Bill payments",
    url: Url::Dashboard("bill_payment"),
    form: Form::Under(&[
        // The API's page.
        Place { path: &["data", "data"], rest: None },
        // The guide: `id` is in `data`, the rest in its `properties`; or all of it is in `data`.
        Place { path: &["data"], rest: Some("properties") },
        Place { path: &["data"], rest: None },
    ]),
    resource: &PAYMENTS,
    events: &[
        Event::new("bill_payment.succeeded", &[BillPayment(Succeeded)]),
        Event::new("bill_payment.failed", &[BillPayment(Failed)]),
        Event::new("bill_payments.succeeded", &[BillPayment(Succeeded)]),
        Event::new("bill_payments.failed", &[BillPayment(Failed)]),
    ],
};
