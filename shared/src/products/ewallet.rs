//! E-wallet charges and their refunds. `ewallet.capture` is sent for success and for failure alike, and again by
//! Xendit's reconciliation, so the status decides and not the name.

use super::prelude::*;
use PaymentPhase::{Failed, Pending, Succeeded, Voided};

/// A charge.
const CHARGES: Resource = Resource {
    statuses: &[
        ("PENDING", Payment(Pending)),
        ("SUCCEEDED", Payment(Succeeded)),
        ("FAILED", Payment(Failed)),
        ("VOIDED", Payment(Voided)),
    ],
    moments: &[(Payment(Voided), "voided_at")],
    amounts: &[(Role::Paid, "capture_amount"), (Role::Requested, "charge_amount")],
    ..COMMON
};

pub(super) const CHARGE: Product = Product {
    name: "E-wallets (payment status, reconciliation update)",
    url: Url::Api("ewallet"),
    form: Form::Enveloped,
    resource: &CHARGES,
    events: &[Event::by_status("ewallet.capture"), Event::by_rule("ewallet.void", &[Payment(Voided)], stage_of_void)],
};

/// No body of `ewallet.void` has been published. `status` may still be SUCCEEDED: only a confirmed void counts.
fn stage_of_void(fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    let is = |fields: &mut Fields<'_, '_>, path, word: &str| fields.text(path).is_some_and(|text| text == word);
    if fields.has("void_status") {
        return if is(fields, "void_status", "SUCCEEDED") {
            Ok(Payment(Voided))
        } else {
            Err(Unknown::Value("void_status"))
        };
    }
    if is(fields, "status", "VOIDED") { Ok(Payment(Voided)) } else { Err(Unknown::Missing("void_status")) }
}

/// A refund made through the charge, and not through the unified refunds.
const REFUNDS: Resource = Resource {
    statuses: &[
        ("PENDING", Refund(RefundPhase::Pending)),
        ("SUCCEEDED", Refund(RefundPhase::Succeeded)),
        ("FAILED", Refund(RefundPhase::Failed)),
    ],
    amounts: &[(Role::PaidOrRequested, "refund_amount")],
    ..COMMON
};

pub(super) const REFUND: Product = Product {
    name: "E-wallets (refund)",
    url: Url::Api("ewallet"),
    form: Form::Enveloped,
    resource: &REFUNDS,
    events: &[Event::by_status("ewallet.refund")],
};
