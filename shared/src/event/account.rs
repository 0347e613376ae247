//! Sub-accounts of a platform: their making, their suspension, their verification.
//!
//! An account's events belong to the account itself: the envelope names it, or its master, or nobody.

use serde::Deserialize;

use super::{
    body::{Field, Text},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{AccountPhase, AccountVerificationPhase},
    observation::{Drift, Mark, Observation, Unknown},
};

/// A sub-account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    id: Field<Text>,
    user_id: Field<Text>,
}

impl Thing for Account {
    type Phase = AccountPhase;

    const PRODUCT: Product<AccountPhase> = Product {
        name: "xenPlatform (owned account, managed account, account suspension)",
        url: Url::Dashboard("account"),
        form: Form::ENVELOPED,
        events: &[
            // The status of an account that was made is of another lifecycle, from INVITED to LIVE.
            Named::by_name("account.registered", AccountPhase::Registered),
            Named::by_name("account.created", AccountPhase::Created),
            Named::by_name("account.activated", AccountPhase::Activated),
            Named::new("account.suspected", AccountPhase::Suspected, &[("SUSPECTED", AccountPhase::Suspected)]),
            Named::new("account.suspended", AccountPhase::Suspended, &[("SUSPENDED", AccountPhase::Suspended)]),
            Named::new("account.cleared", AccountPhase::Cleared, &[("CLEARED", AccountPhase::Cleared)]),
        ],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        // The webhooks of managed accounts have `user_id`.
        let id = wire.thing.id.id_or("id", &wire.thing.user_id, "user_id", drift)?;
        let mut observation = wire.observation(id.clone(), wire.phase(drift)?, drift);
        observation.account = Some(id);
        // An account that is suspended once more may be so for another reason.
        let updated = wire.updated(drift);
        observation.mark = updated.map(Mark::At);
        // The envelope's time is the event's here. It has to do where the thing has no time of its own, or only the
        // one at which the account was made, which would put its activation before its registration.
        observation.occurred_at =
            updated.or_else(|| wire.around.created.time("created", drift)).or(observation.occurred_at);
        Ok(observation)
    }
}

/// The verification of a sub-account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Verification {
    id: Field<Text>,
    kyc: Field<Kyc>,
}

/// How far a verification is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kyc {
    pub(super) status: Field<Text>,
}

impl Thing for Verification {
    type Phase = AccountVerificationPhase;

    const PRODUCT: Product<AccountVerificationPhase> = Product {
        name: "xenPlatform (account verification status)",
        url: Url::Dashboard("account_verification"),
        form: Form::ENVELOPED,
        events: &[Named::by_status(
            "account.verification",
            &[
                ("VERIFICATION_IN_PROGRESS", AccountVerificationPhase::InProgress),
                ("AWAITING_RESUBMISSION", AccountVerificationPhase::ResubmissionRequired),
                ("FAILED", AccountVerificationPhase::Failed),
                ("PASSED", AccountVerificationPhase::Passed),
            ],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let kyc = wire.thing.kyc.seen("kyc", drift).ok_or(Unknown::Missing("kyc"))?;
        let phase = wire.phase_of(&kyc.status, "kyc.status", drift)?;
        let mut observation = wire.observation(id.clone(), phase, drift);
        observation.account = Some(id);
        observation.status = kyc.status.text("kyc.status", drift);
        // Papers may be asked for once more, for another reason.
        observation.mark = wire.updated(drift).map(Mark::At);
        Ok(observation)
    }
}

#[cfg(test)]
mod tests {
    use crate::{event::Event, observation::Observation};

    fn observe(body: &str) -> Observation {
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    #[test]
    fn one_account_is_one_subject_whoever_the_envelope_names() {
        let registered = observe(
            r#"{"event":"account.registered","created":"2021-01-01T10:00:00Z","business_id":"master",
                "data":{"user_id":"sub"}}"#,
        );
        let suspended = observe(r#"{"event":"account.suspended","data":{"id":"sub","status":"SUSPENDED"}}"#);
        assert_eq!((&registered.id, &registered.account), (&suspended.id, &suspended.account));
    }

    #[test]
    fn an_activation_is_no_older_than_the_registration_before_it() {
        let registered =
            observe(r#"{"event":"account.registered","created":"2021-01-01T10:00:05Z","data":{"user_id":"sub"}}"#);
        let activated = observe(
            r#"{"event":"account.activated","created":"2021-01-02T00:00:00Z",
                "data":{"user_id":"sub","created":"2021-01-01T10:00:00Z"}}"#,
        );
        assert!(activated.occurred_at > registered.occurred_at);
    }

    #[test]
    fn the_status_of_an_account_that_was_created_does_not_matter() {
        let created = observe(r#"{"event":"account.created","data":{"id":"sub","status":"SOMETHING_NEW"}}"#);
        assert_eq!(created.stage.as_str(), "account.created");
    }

    #[test]
    fn a_suspension_of_another_status_is_unknown() {
        let suspended = observe(r#"{"event":"account.suspended","data":{"id":"sub","status":"CLEARED"}}"#);
        assert_eq!(suspended.unknown.unwrap().to_string(), "unknown value of status");
    }
}
