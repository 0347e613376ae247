//! Account holders: their verification, and what they may do, channel by channel.

use super::prelude::*;
use AccountHolderPhase::{Failed, InProgress, Passed, ResubmissionRequired};
use CapabilitiesPhase::Updated;

/// An account holder who is being verified.
const VERIFICATIONS: Resource = Resource {
    status: &["kyc.status"],
    statuses: &[
        ("VERIFICATION_IN_PROGRESS", AccountHolder(InProgress)),
        ("RESUBMISSION_REQUIRED", AccountHolder(ResubmissionRequired)),
        ("FAILED", AccountHolder(Failed)),
        ("PASSED", AccountHolder(Passed)),
    ],
    // Documents may be requested again for another reason.
    marked_by: MarkedBy::Updated,
    ..COMMON
};

pub(super) const VERIFICATION: Product = Product {
    name: "xenPlatform (account holder, KYC)",
    url: Url::Dashboard("account_holder"),
    form: Form::Enveloped,
    resource: &VERIFICATIONS,
    events: &[Event::by_status("account_holder.kyc.status")],
};

/// What an account holder may do. Nothing but its content distinguishes one list of capabilities from the next.
const CAPABILITY_LISTS: Resource = Resource { marked_by: MarkedBy::Content("capabilities"), ..COMMON };

pub(super) const CAPABILITIES: Product = Product {
    name: "xenPlatform (account holder, capabilities)",
    url: Url::Dashboard("capabilities"),
    form: Form::Enveloped,
    resource: &CAPABILITY_LISTS,
    events: &[Event::by_rule("account_holder.capabilities.status", &[Capabilities(Updated)], stage_of_list)],
};

/// Without the list, the event says nothing.
fn stage_of_list(fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    fields.has("capabilities").then_some(Capabilities(Updated)).ok_or(Unknown::Missing("capabilities"))
}
