//! Business: what a change of a subject means for the merchant. Pure: a transition in, announcements out.
//!
//! This is the place for a merchant's own rules. Each family has a file; what it returns is stored in the same write
//! as the change and published after it, once. For rules that need no Rust, use an EventBridge rule on the domain
//! events instead.

mod invoice;
mod payment;

use shared::lifecycle::Kind;

use crate::ledger::state::Transition;

/// One domain event to be published about a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The event's type.
    pub topic: Topic,
    /// The money came after the subject had expired, failed or been canceled: the goods may be gone.
    pub late: bool,
    /// What was paid is not what was asked for.
    pub paid_differs: bool,
}

/// What an announcement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The subject has reached its stage: `<kind>.<phase>`.
    Stage,
    /// A webhook came that is not understood: `webhook.unknown`.
    Unknown,
    /// One fact was told with different amounts: `webhook.conflict`.
    Conflict,
}

impl Announcement {
    /// An announcement that says nothing besides the facts.
    pub fn of(topic: Topic) -> Self {
        Self { topic, late: false, paid_differs: false }
    }
}

/// What the merchant should hear about a transition.
pub fn announce(transition: &Transition) -> Vec<Announcement> {
    let stage = transition.advanced.then(|| match transition.after.stage.kind() {
        Kind::Payment => payment::announce(transition),
        Kind::Invoice => invoice::announce(transition),
        Kind::Account
        | Kind::AccountHolder
        | Kind::AccountVerification
        | Kind::BillPayment
        | Kind::Capabilities
        | Kind::Capture
        | Kind::Card
        | Kind::Dispute
        | Kind::LinkedAccount
        | Kind::PaymentMethod
        | Kind::PaymentRequest
        | Kind::PaymentSession
        | Kind::PaymentToken
        | Kind::Payout
        | Kind::PayoutBatch
        | Kind::RecurringCycle
        | Kind::RecurringPlan
        | Kind::Refund
        | Kind::Report
        | Kind::Split
        | Kind::VirtualAccount => Announcement::of(Topic::Stage),
        Kind::Unknown => Announcement::of(Topic::Unknown),
    });
    let conflict = transition.conflicting.then(|| Announcement::of(Topic::Conflict));
    stage.into_iter().chain(conflict).collect()
}

/// Whether what was paid in all is known and is not what was asked for.
fn paid_differs(transition: &Transition) -> bool {
    let paid = transition.after.paid_in_all();
    let asked = transition.after.asked_once();
    matches!((paid, asked), (Some(paid), Some(asked)) if paid != asked)
}
