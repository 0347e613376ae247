//! Split payments: the share of a payment that one route of a split rule passes on to another account.

use super::prelude::*;
use SplitPhase::{Completed, Failed};

/// One share of a payment. It carries no time.
const SPLITS: Resource = Resource {
    statuses: &[("COMPLETED", Split(Completed)), ("FAILED", Split(Failed))],
    // The payment's, by which the merchant looks; `reference_id` names a route of the split rule.
    reference: &["payment_reference_id", "reference_id"],
    amounts: &[(Role::PaidOrRequested, "amount")],
    ..COMMON
};

pub(super) const SPLIT: Product = Product {
    name: "xenPlatform (split payment status)",
    url: Url::Dashboard("split_payment"),
    form: Form::Enveloped,
    resource: &SPLITS,
    events: &[Event::by_status("split.payment")],
};
