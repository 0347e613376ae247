//! Sub-accounts of a platform: their making, their suspension, their verification.
//!
//! An account's events belong to the account itself: the envelope names it, or its master, or nobody.

use crate::{
    lifecycle::{
        AccountPhase::{Activated, Cleared, Created, Registered, Suspected, Suspended},
        AccountVerificationPhase::{Failed, InProgress, Passed, ResubmissionRequired},
        Stage::{Account, AccountVerification},
    },
    observation::{Mark, Observation},
    resource::{COMMON, MarkedBy, Resource},
    webhook::{Envelope, Event, Form, Product, Url},
};

/// A sub-account. Those of managed accounts have `user_id`.
const ACCOUNTS: Resource = Resource {
    id: &["id", "user_id"],
    statuses: &[("SUSPECTED", Account(Suspected)), ("SUSPENDED", Account(Suspended)), ("CLEARED", Account(Cleared))],
    // An account that is suspended once more may be so for another reason.
    marked_by: MarkedBy::Updated,
    ..COMMON
};

pub(super) const ACCOUNT: Product = Product {
    name: "xenPlatform (owned account, managed account, account suspension)",
    url: Url::Dashboard("account"),
    form: Form::Enveloped,
    resource: &ACCOUNTS,
    events: &[
        // The status of an account that was made is one of another lifecycle, from INVITED to LIVE.
        Event::regardless("account.registered", Account(Registered)),
        Event::regardless("account.created", Account(Created)),
        Event::regardless("account.activated", Account(Activated)),
        Event::new("account.suspected", &[Account(Suspected)]),
        Event::new("account.suspended", &[Account(Suspended)]),
        Event::new("account.cleared", &[Account(Cleared)]),
    ],
    adjust: Some(|seen, envelope| {
        own_account(seen, envelope);
        // The envelope's time is the event's here. It has to do where the object has no time of its own, or only the one
        // at which the account was made, which would put its activation before its registration.
        if !matches!(seen.mark, Some(Mark::At(_))) {
            seen.occurred_at = envelope.created.or(seen.occurred_at);
        }
    }),
};

/// The account that an event about an account belongs to.
fn own_account(seen: &mut Observation, _: &Envelope) {
    seen.account = Some(seen.id.clone());
}

/// The verification of a sub-account.
const VERIFICATIONS: Resource = Resource {
    status: &["kyc.status"],
    statuses: &[
        ("VERIFICATION_IN_PROGRESS", AccountVerification(InProgress)),
        ("AWAITING_RESUBMISSION", AccountVerification(ResubmissionRequired)),
        ("FAILED", AccountVerification(Failed)),
        ("PASSED", AccountVerification(Passed)),
    ],
    // Papers may be asked for once more, for another reason.
    marked_by: MarkedBy::Updated,
    ..COMMON
};

pub(super) const VERIFICATION: Product = Product {
    name: "xenPlatform (account verification status)",
    url: Url::Dashboard("account_verification"),
    form: Form::Enveloped,
    resource: &VERIFICATIONS,
    events: &[Event::by_status("account.verification")],
    adjust: Some(own_account),
};
