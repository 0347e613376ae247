//! Payment methods of payments v2: a card, account or wallet that can be charged.

use super::prelude::*;
use PaymentMethodPhase::{Active, Expired, Failed, Inactive, Pending};

/// The channel of a payment method inside a payment. Only the object for the method's type is filled. A card has no channel.
pub(super) const CHANNEL: &[&str] = &[
    "payment_method.direct_bank_transfer.channel_code",
    "payment_method.direct_debit.channel_code",
    "payment_method.ewallet.channel_code",
    "payment_method.over_the_counter.channel_code",
    "payment_method.qr_code.channel_code",
    "payment_method.virtual_account.channel_code",
    "payment_method.type",
    "channel_code",
    "bank_code",
];

/// A payment method.
const PAYMENT_METHODS: Resource = Resource {
    statuses: &[
        ("PENDING", PaymentMethod(Pending)),
        ("ACTIVE", PaymentMethod(Active)),
        ("INACTIVE", PaymentMethod(Inactive)),
        ("EXPIRED", PaymentMethod(Expired)),
        ("FAILED", PaymentMethod(Failed)),
    ],
    channel: &[
        "direct_bank_transfer.channel_code",
        "direct_debit.channel_code",
        "ewallet.channel_code",
        "over_the_counter.channel_code",
        "qr_code.channel_code",
        "virtual_account.channel_code",
        "type",
        "channel_code",
        "bank_code",
    ],
    ..COMMON
};

pub(super) const PAYMENT_METHOD: Product = Product {
    name: "Payments v2 (payment method)",
    url: Url::Api("payment_method_v2"),
    form: Form::Enveloped,
    resource: &PAYMENT_METHODS,
    events: &[
        Event::new("payment_method.activated", &[PaymentMethod(Active)]),
        Event::new("payment_method.expired", &[PaymentMethod(Expired), PaymentMethod(Inactive)]),
        Event::new("payment_method.failed", &[PaymentMethod(Failed)]),
    ],
};
