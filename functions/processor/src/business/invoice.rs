//! Invoices and payment links: paid, settled, or expired, and paid all the same.

use shared::lifecycle::{InvoicePhase, Stage};

use super::{Announcement, Topic, paid_differs};
use crate::ledger::state::Transition;

pub(super) fn announce(transition: &Transition) -> Announcement {
    let expired = Stage::Invoice(InvoicePhase::Expired);
    let paid = matches!(transition.after.stage, Stage::Invoice(InvoicePhase::Paid | InvoicePhase::Settled));
    Announcement {
        topic: Topic::Stage,
        late: paid && transition.before.as_ref().is_some_and(|before| before.stage == expired),
        paid_differs: paid && paid_differs(transition),
    }
}
