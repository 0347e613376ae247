//! `PayLater`: payments on credit. The enveloped body of today, and the flat one without an event name of
//! cardless credit before it.

use super::prelude::*;
use PaymentPhase::{Canceled, Expired, Failed, Pending, Succeeded};

/// A charge.
const CHARGES: Resource = Resource {
    statuses: &[("PENDING", Payment(Pending)), ("SUCCEEDED", Payment(Succeeded)), ("FAILED", Payment(Failed))],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYMENT: Product = Product {
    name: "PayLater (payment status)",
    url: Url::Dashboard("paylater"),
    form: Form::Enveloped,
    resource: &CHARGES,
    events: &[Event::by_status("paylater.payment")],
};

/// A charge of cardless credit.
const CARDLESS: Resource = Resource {
    // Not `order_id`: an order that was denied can be tried again.
    id: &["transaction_id"],
    status: &["transaction_status"],
    statuses: &[
        ("pending", Payment(Pending)),
        ("settlement", Payment(Succeeded)),
        ("deny", Payment(Failed)),
        ("cancel", Payment(Canceled)),
        ("expire", Payment(Expired)),
    ],
    channel: &["cardless_credit_type"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const CARDLESS_CREDIT: Product = Product {
    name: "Cardless credit",
    url: Url::Request("cardless_credit"),
    form: Form::Unnamed,
    resource: &CARDLESS,
    events: &[Event::by_status("cardless_credit")],
};
