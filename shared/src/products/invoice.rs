//! Invoices and payment links: one flat body without an event name, sent when an invoice is paid or expires.

use super::prelude::*;
use InvoicePhase::{Expired, Paid, Pending, Settled};

/// A body without `id` has been published. No other field names the invoice, so such a body is kept as unknown.
const RESOURCE: Resource = Resource {
    statuses: &[
        ("PENDING", Invoice(Pending)),
        ("EXPIRED", Invoice(Expired)),
        ("PAID", Invoice(Paid)),
        // What PAID was called until 2017.
        ("COMPLETED", Invoice(Paid)),
        ("SETTLED", Invoice(Settled)),
    ],
    channel: &["payment_channel", "bank_code", "ewallet_type", "retail_outlet_name"],
    moments: &[(Invoice(Paid), "paid_at")],
    amounts: &[(Role::Paid, "paid_amount"), (Role::Requested, "amount")],
    ..COMMON
};

pub(super) const INVOICE: Product = Product {
    name: "Invoices (paid, expired)",
    url: Url::Api("invoice"),
    form: Form::Unnamed,
    resource: &RESOURCE,
    events: &[Event::by_status("invoice")],
};
