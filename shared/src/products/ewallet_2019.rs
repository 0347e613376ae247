//! The e-wallets of 2019, retired but still resent: DANA and `LinkAja` without an event name and without an id, OVO with
//! both.

use super::prelude::*;
use PaymentPhase::{Expired, Failed, Succeeded};

/// A payment by DANA or `LinkAja`.
const CHARGES: Resource = Resource {
    // The body has no id, and `LinkAja`'s no account. References had to be unique per wallet.
    id: &["external_id"],
    scope: Some("ewallet_type"),
    // DANA's word and LinkAja's.
    status: &["payment_status", "status"],
    statuses: &[("PAID", Payment(Succeeded)), ("SUCCESS_COMPLETED", Payment(Succeeded)), ("EXPIRED", Payment(Expired))],
    channel: &["ewallet_type"],
    times: &["transaction_date"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const CHARGE: Product = Product {
    name: "E-wallets of 2019 (DANA, LinkAja)",
    url: Url::Request("ewallet_2019"),
    form: Form::Unnamed,
    resource: &CHARGES,
    events: &[Event::by_status("ewallet_2019")],
};

/// A payment by OVO.
const OVO_CHARGES: Resource = Resource {
    statuses: &[("COMPLETED", Payment(Succeeded)), ("FAILED", Payment(Failed))],
    channel: &["ewallet_type"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const OVO: Product = Product {
    name: "E-wallets of 2019 (OVO)",
    url: Url::Request("ovo_paid"),
    form: Form::Flat,
    resource: &OVO_CHARGES,
    events: &[Event::by_status("ewallet.payment")],
};
