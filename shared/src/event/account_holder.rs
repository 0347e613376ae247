//! Account holders: their verification, and what they may do, channel by channel.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    account::Kyc,
    body::{Field, Text, fingerprint},
    product::{Form, Named, Product, Url},
    wire::{Thing, Wire},
};
use crate::{
    lifecycle::{AccountHolderPhase, CapabilitiesPhase},
    observation::{Drift, Mark, Observation, Unknown},
};

/// An account holder who is being verified.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AccountHolder {
    id: Field<Text>,
    kyc: Field<Kyc>,
}

impl Thing for AccountHolder {
    type Phase = AccountHolderPhase;

    const PRODUCT: Product<AccountHolderPhase> = Product {
        name: "xenPlatform (account holder, KYC)",
        url: Url::Dashboard("account_holder"),
        form: Form::ENVELOPED,
        events: &[Named::by_status(
            "account_holder.kyc.status",
            &[
                ("VERIFICATION_IN_PROGRESS", AccountHolderPhase::InProgress),
                ("RESUBMISSION_REQUIRED", AccountHolderPhase::ResubmissionRequired),
                ("FAILED", AccountHolderPhase::Failed),
                ("PASSED", AccountHolderPhase::Passed),
            ],
        )],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let kyc = wire.thing.kyc.seen("kyc", drift).ok_or(Unknown::Missing("kyc"))?;
        let phase = wire.phase_of(&kyc.status, "kyc.status", drift)?;
        let mut observation = wire.observation(id, phase, drift);
        observation.status = kyc.status.text("kyc.status", drift);
        // Papers may be asked for once more, for another reason.
        observation.mark = wire.updated(drift).map(Mark::At);
        Ok(observation)
    }
}

/// What an account holder may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Capabilities {
    id: Field<Text>,
    capabilities: Field<Box<RawValue>>,
}

impl Thing for Capabilities {
    type Phase = CapabilitiesPhase;

    const PRODUCT: Product<CapabilitiesPhase> = Product {
        name: "xenPlatform (account holder, capabilities)",
        url: Url::Dashboard("capabilities"),
        form: Form::ENVELOPED,
        events: &[Named::new("account_holder.capabilities.status", CapabilitiesPhase::Updated, &[])],
    };

    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown> {
        let id = wire.thing.id.id("id", drift)?;
        let list = wire.thing.capabilities.seen("capabilities", drift).ok_or(Unknown::Missing("capabilities"))?;
        let mut observation = wire.observation(id, wire.phase(drift)?, drift);
        // Nothing else tells one list of capabilities from the next.
        observation.mark = Some(Mark::Text(fingerprint(list)));
        Ok(observation)
    }
}
