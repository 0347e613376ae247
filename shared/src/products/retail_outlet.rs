//! Retail outlets: cash paid at a counter against a code. The Indonesian body has no event name, the regional one of the
//! Philippines has.

use super::prelude::*;
use PaymentPhase::Succeeded;

/// A payment at an Indonesian outlet.
const INDONESIAN: Resource = Resource {
    // Not `payment_id`, a time in milliseconds; and not the code's id, since a code may be paid many times.
    id: &["fixed_payment_code_payment_id"],
    statuses: &[("COMPLETED", Payment(Succeeded))],
    channel: &["retail_outlet_name"],
    times: &["transaction_timestamp", "updated", "created"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const INDONESIA: Product = Product {
    name: "Retail outlets (paid)",
    url: Url::Api("ro_fpc_paid"),
    form: Form::Unnamed,
    resource: &INDONESIAN,
    events: &[Event::by_status("ro_fpc_paid")],
};

/// A payment at a Philippine outlet.
const PHILIPPINE: Resource = Resource {
    statuses: &[("COMPLETED", Payment(Succeeded))],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("PHP"),
    ..COMMON
};

pub(super) const PHILIPPINES: Product = Product {
    name: "Regional retail outlets (paid)",
    url: Url::Api("regional_ro_paid"),
    form: Form::Flat,
    resource: &PHILIPPINE,
    events: &[Event::by_status("payment_code.payment")],
};
