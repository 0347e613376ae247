//! Disbursements, the legacy payouts: Indonesian ones, Philippine ones, and batches of the former. None of the bodies has
//! an event name.

use super::prelude::*;
use PayoutPhase::{Failed, Pending, Succeeded};

const STATUSES: &[(&str, Stage)] =
    &[("PENDING", Payout(Pending)), ("COMPLETED", Payout(Succeeded)), ("FAILED", Payout(Failed))];

pub(super) const INDONESIA: Product = Product {
    name: "Disbursement (Indonesia)",
    url: Url::Api("disbursement"),
    form: Form::Unnamed,
    resource: &Resource {
        statuses: STATUSES,
        amounts: &[(Role::PaidOrRequested, "amount")],
        only_currency: Some("IDR"),
        ..COMMON
    },
    events: &[Event::by_status("disbursement")],
};

pub(super) const PHILIPPINES: Product = Product {
    name: "Disbursement (Philippines)",
    url: Url::Api("ph_disbursement"),
    form: Form::Unnamed,
    resource: &Resource {
        statuses: STATUSES,
        amounts: &[(Role::PaidOrRequested, "amount")],
        only_currency: Some("PHP"),
        ..COMMON
    },
    events: &[Event::by_status("ph_disbursement")],
};

/// A batch of Indonesian disbursements. Which of its lines failed is in the body.
const BATCHES: Resource = Resource {
    statuses: &[
        ("PENDING", PayoutBatch(PayoutBatchPhase::Pending)),
        ("COMPLETED", PayoutBatch(PayoutBatchPhase::Completed)),
        ("FAILED", PayoutBatch(PayoutBatchPhase::Failed)),
    ],
    reference: &["reference"],
    amounts: &[(Role::Outcome, "total_disbursed_amount"), (Role::Requested, "total_uploaded_amount")],
    only_currency: Some("IDR"),
    ..COMMON
};

pub(super) const BATCH: Product = Product {
    name: "Batch disbursement (Indonesia)",
    url: Url::Api("batch_disbursement"),
    form: Form::Unnamed,
    resource: &BATCHES,
    events: &[Event::by_status("batch_disbursement")],
};
