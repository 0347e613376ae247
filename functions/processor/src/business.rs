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

#[cfg(test)]
mod tests {
    use shared::{event::Event, observation::Observation};

    use super::*;
    use crate::ledger::state::{Change, State};

    fn seen(body: &str) -> Observation {
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    /// What is announced when one body follows another.
    fn announced(before: &str, after: &str) -> Vec<Announcement> {
        match Change::of(Some(&State::from(&seen(before))), &seen(after)) {
            Change::News(transition) => announce(&transition),
            other => panic!("{other:?}"),
        }
    }

    fn first(body: &str) -> Vec<Announcement> {
        match Change::of(None, &seen(body)) {
            Change::News(transition) => announce(&transition),
            other => panic!("{other:?}"),
        }
    }

    fn invoice(status: &str, paid: &str) -> String {
        format!(
            r#"{{"id":"i","user_id":"a","external_id":"o","merchant_name":"M","status":"{status}","amount":1000,
                "paid_amount":{paid},"currency":"IDR"}}"#
        )
    }

    fn charge(status: &str, captured: &str, currency: &str) -> String {
        format!(
            r#"{{"event":"ewallet.capture","data":{{"id":"ewc","status":"{status}","charge_amount":500,
                "capture_amount":{captured},"currency":"{currency}"}}}}"#
        )
    }

    fn stage(late: bool, paid_differs: bool) -> Vec<Announcement> {
        vec![Announcement { topic: Topic::Stage, late, paid_differs }]
    }

    #[test]
    fn an_invoice_that_is_paid_in_full_and_in_time_needs_no_remark() {
        assert_eq!(first(&invoice("PAID", "1000")), stage(false, false));
        assert_eq!(announced(&invoice("PENDING", "null"), &invoice("PAID", "1000.00")), stage(false, false));
    }

    #[test]
    fn money_after_an_expiry_is_late() {
        assert_eq!(announced(&invoice("EXPIRED", "null"), &invoice("PAID", "1000")), stage(true, false));
        assert_eq!(announced(&invoice("EXPIRED", "null"), &invoice("SETTLED", "1000")), stage(true, false));
        assert_eq!(announced(&invoice("PAID", "1000"), &invoice("SETTLED", "1000")), stage(false, false));
        assert_eq!(announced(&charge("FAILED", "null", "PHP"), &charge("SUCCEEDED", "500", "PHP")), stage(true, false));
        assert_eq!(
            announced(&charge("PENDING", "null", "PHP"), &charge("SUCCEEDED", "500", "PHP")),
            stage(false, false)
        );
    }

    #[test]
    fn what_was_paid_differs_only_where_both_amounts_are_known_and_money_came() {
        assert_eq!(first(&invoice("PAID", "999.99")), stage(false, true));
        assert_eq!(first(&invoice("PAID", "null")), stage(false, false));
        assert_eq!(first(&invoice("PENDING", "0")), stage(false, false));
        assert_eq!(first(&charge("SUCCEEDED", "499", "PHP")), stage(false, true));
        assert_eq!(first(&charge("SUCCEEDED", "500", "PHP")), stage(false, false));
        assert_eq!(first(&charge("FAILED", "0", "PHP")), stage(false, false));
    }

    #[test]
    fn another_amount_is_announced_as_a_conflict_and_nothing_else() {
        let conflict = Announcement::of(Topic::Conflict);
        assert_eq!(announced(&invoice("PAID", "1000"), &invoice("PAID", "999")), std::slice::from_ref(&conflict));
        let other_currency = announced(&charge("SUCCEEDED", "500", "PHP"), &charge("SUCCEEDED", "500", "IDR"));
        assert_eq!(other_currency, [conflict]);
    }

    #[test]
    fn what_is_not_understood_is_announced_as_unknown() {
        assert_eq!(first(r#"{"event":"moon.landed"}"#), [Announcement::of(Topic::Unknown)]);
    }
}
