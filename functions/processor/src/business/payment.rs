//! Payments: money from a payer that arrived, is reserved, or did not come.

use shared::lifecycle::{PaymentPhase, Stage};

use super::{Announcement, Topic, paid_differs};
use crate::ledger::state::Transition;

pub(super) fn announce(transition: &Transition) -> Announcement {
    let given_up =
        |stage| matches!(stage, Stage::Payment(PaymentPhase::Failed | PaymentPhase::Canceled | PaymentPhase::Expired));
    let succeeded = transition.after.stage == Stage::Payment(PaymentPhase::Succeeded);
    Announcement {
        topic: Topic::Stage,
        late: succeeded && transition.before.as_ref().is_some_and(|before| given_up(before.stage)),
        paid_differs: succeeded && paid_differs(transition),
    }
}
