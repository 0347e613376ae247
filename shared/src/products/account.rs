//! Sub-accounts of a platform: creation, suspension, verification.
//!
//! An account's events belong to the account itself: the wrapper names it, or its master, or no account.

use super::prelude::*;
use AccountPhase::{Activated, Cleared, Created, Registered, Suspected, Suspended};
use AccountVerificationPhase::{Failed, InProgress, Passed, ResubmissionRequired};

/// A sub-account. Those of managed accounts have `user_id`.
const ACCOUNTS: Resource = Resource {
    id: &["id", "user_id"],
    statuses: &[("SUSPECTED", Account(Suspected)), ("SUSPENDED", Account(Suspended)), ("CLEARED", Account(Cleared))],
    // An account may be suspended again for another reason.
    marked_by: MarkedBy::Updated,
    is_account: true,
    // An account may have no time of its own, or only that of its creation.
    timed_by_wrapper: true,
    ..COMMON
};

pub(super) const ACCOUNT: Product = Product {
    name: "xenPlatform (owned account, managed account, account suspension)",
    url: Url::Dashboard("account"),
    form: Form::Enveloped,
    resource: &ACCOUNTS,
    events: &[
        // A created account's status belongs to another lifecycle, from INVITED to LIVE.
        Event::by_name_only("account.registered", Account(Registered)),
        Event::by_name_only("account.created", Account(Created)),
        Event::by_name_only("account.activated", Account(Activated)),
        Event::new("account.suspected", &[Account(Suspected)]),
        Event::new("account.suspended", &[Account(Suspended)]),
        Event::new("account.cleared", &[Account(Cleared)]),
    ],
};

/// The verification of a sub-account.
const VERIFICATIONS: Resource = Resource {
    status: &["kyc.status"],
    statuses: &[
        ("VERIFICATION_IN_PROGRESS", AccountVerification(InProgress)),
        ("AWAITING_RESUBMISSION", AccountVerification(ResubmissionRequired)),
        ("FAILED", AccountVerification(Failed)),
        ("PASSED", AccountVerification(Passed)),
    ],
    // Documents may be requested again for another reason.
    marked_by: MarkedBy::Updated,
    is_account: true,
    ..COMMON
};

pub(super) const VERIFICATION: Product = Product {
    name: "xenPlatform (account verification status)",
    url: Url::Dashboard("account_verification"),
    form: Form::Enveloped,
    resource: &VERIFICATIONS,
    events: &[Event::by_status("account.verification")],
};
