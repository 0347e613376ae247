//! Direct debit before the payments API: payments, payment methods that expire, and accounts that were linked. All flat,
//! with an event name, and with the time under `timestamp`.

use super::prelude::*;
use LinkedAccountPhase::Linked;
use PaymentMethodPhase::{Expired, Expiring};
use PaymentPhase::{Failed, Pending, Succeeded};

/// A payment.
const PAYMENTS: Resource = Resource {
    statuses: &[("PENDING", Payment(Pending)), ("COMPLETED", Payment(Succeeded)), ("FAILED", Payment(Failed))],
    times: &["timestamp", "updated", "created"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const PAYMENT: Product = Product {
    name: "Direct debit (payment completed)",
    url: Url::Api("direct_debit"),
    form: Form::Flat,
    resource: &PAYMENTS,
    events: &[Event::by_status("direct_debit.payment")],
};

/// A payment method or a linked account, of which little but the id is known.
const BY_ID: Resource = Resource { times: &["timestamp", "updated", "created"], ..COMMON };

/// Not checked against bodies that Xendit sent.
pub(super) const EXPIRY: Product = Product {
    name: "Direct debit (expiring or expired payment method)",
    url: Url::Api("payment_method"),
    form: Form::Flat,
    resource: &BY_ID,
    events: &[
        Event::by_name_only("payment_method.expiry.expiring", PaymentMethod(Expiring)),
        Event::by_name_only("payment_method.expiry.expired", PaymentMethod(Expired)),
    ],
};

/// The events of a failure and of a choice of account are not documented, and not read.
pub(super) const LINKED_ACCOUNT: Product = Product {
    name: "Direct debit (account linked)",
    url: Url::Dashboard("linked_account"),
    form: Form::Flat,
    resource: &BY_ID,
    events: &[Event::by_name_only("linked_account_token.successful", LinkedAccount(Linked))],
};
