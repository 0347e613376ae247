//! Fixed virtual accounts: two flat bodies without an event name. One is about a payment into an account, the other about
//! the account itself.

use super::prelude::*;
use PaymentPhase::Succeeded;
use VirtualAccountPhase::{Active, Inactive, Pending};

/// A payment into a virtual account.
const PAYMENT: Resource = Resource {
    // Not `id`, which is the payment record's: the same payment can be looked up by `payment_id` only.
    id: &["payment_id"],
    // In older payments that is a time in milliseconds, which two accounts can share.
    scope: Some("callback_virtual_account_id"),
    times: &["transaction_timestamp", "updated", "created"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAID: Product = Product {
    name: "Fixed virtual accounts (paid)",
    url: Url::Api("fva_paid"),
    form: Form::Unnamed,
    resource: &PAYMENT,
    // The body has no status: its arrival says that the money is there.
    events: &[Event::by_name_only("fva_paid", Payment(Succeeded))],
};

/// A virtual account.
const ACCOUNT: Resource = Resource {
    statuses: &[
        ("PENDING", VirtualAccount(Pending)),
        ("ACTIVE", VirtualAccount(Active)),
        ("INACTIVE", VirtualAccount(Inactive)),
    ],
    // An account that stays active may still have been given another amount or another expiry.
    marked_by: MarkedBy::Time,
    amounts: &[(Role::Requested, "expected_amount")],
    ..COMMON
};

pub(super) const STATUS: Product = Product {
    name: "Fixed virtual accounts (created)",
    url: Url::Api("fva_status"),
    form: Form::Unnamed,
    resource: &ACCOUNT,
    events: &[Event::by_status("fva_status")],
};
