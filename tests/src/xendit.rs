//! Xendit: what its webhooks say, how often, and what must be known once they arrived. Written down a second time, without
//! the code under test: the order of the phases here is this file's own.
//!
//! Like the real one it leaves things out: the account, the currency, the reference, an amount that it stated before.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use ledger::{state::State, stated::Stated};
use shared::money::Money;

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `pending`, `expired`, `paid`, `settled`: the later one wins, whenever it arrives.
    Invoice,
    /// Captures that add up.
    Payment,
    /// `failed`, `succeeded`, `reversed`.
    Payout,
    /// Goes back and forth: what happened last wins.
    Plan,
    /// An event that is not known.
    Unknown,
    /// Not JSON.
    Unreadable,
}

/// What one webhook says.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// Which subject it is about.
    pub(crate) subject: usize,
    /// The subject's key in the ledger, where it can be said beforehand.
    pub(crate) key: Option<String>,
    kind: Kind,
    /// Of two facts about one subject the greater is what counts.
    order: i64,
    stage: &'static str,
    paid: Option<u32>,
    captures: BTreeMap<String, u32>,
    id: String,
    happened_at: Timestamp,
    large: bool,
    /// How the account is written: its key and value, or nothing.
    account: &'static str,
    names_currency: bool,
    names_reference: bool,
    /// The bus refuses an event with this body, now and for ever.
    refused: bool,
}

/// What must be known about a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    order: i64,
    stage: String,
    paid: BTreeSet<String>,
    captures: BTreeMap<String, BTreeSet<String>>,
}

/// A body that one message cannot hold. Far below SQS's limit, because seeds are many.
pub(crate) const TOO_LARGE: usize = 2_000;

/// What is in a body that the bus refuses.
pub(crate) const REFUSED_BY_THE_BUS: &str = "the bus refuses this";

/// Draws everything that Xendit will have to say. All of it has happened by the start.
pub(crate) fn facts(dice: &mut Rng, subjects: usize, start: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    for subject in 0..subjects {
        let kinds =
            [Kind::Invoice, Kind::Invoice, Kind::Payment, Kind::Payout, Kind::Plan, Kind::Unknown, Kind::Unreadable];
        let kind = *dice.choice(&kinds).unwrap();
        let nature = match (kind, dice.u32(..12)) {
            (Kind::Invoice, 0) => "poison",
            (Kind::Invoice, 1) => "killer",
            _ => "id",
        };
        let id = format!("{nature}-{subject}");
        let (large, refused) = (dice.u32(..8) == 0, dice.u32(..8) == 0);
        let stages: &[&'static str] = match kind {
            Kind::Invoice => &["pending", "expired", "paid", "settled"],
            Kind::Payment => &["succeeded"; 4],
            Kind::Payout => &["failed", "succeeded", "reversed"],
            Kind::Plan => &["active", "inactive", "active", "inactive"],
            Kind::Unknown | Kind::Unreadable => &["received"],
        };
        let mut captures = BTreeMap::new();
        for (rank, &stage) in stages.iter().enumerate() {
            let happened_at = start + SignedDuration::from_mins(10 * i64::try_from(rank).unwrap() - 60);
            if kind == Kind::Payment {
                captures.insert(format!("cap-{rank}"), dice.u32(1..100));
                if dice.u32(..10) == 0 {
                    captures.insert("cap-0".to_owned(), dice.u32(1..100));
                }
            }
            let states_amount = match (kind, stage) {
                (Kind::Invoice, "paid") => true,
                // Xendit's settled invoices need not say again what was paid.
                (Kind::Invoice, "settled") => dice.bool(),
                _ => false,
            };
            // Now and then one fact has two amounts.
            for amount in [1000, 1001].into_iter().take(1 + usize::from(states_amount && dice.u32(..10) == 0)) {
                facts.push(Fact {
                    subject,
                    key: kind.key(&id),
                    kind,
                    order: match kind {
                        Kind::Plan => happened_at.as_second(),
                        // Captures of one payment are all in one stage.
                        Kind::Payment => 0,
                        _ => i64::try_from(rank).unwrap(),
                    },
                    stage,
                    paid: match kind {
                        Kind::Invoice => states_amount.then_some(amount),
                        Kind::Payout => (stage != "failed").then_some(10_000),
                        _ => None,
                    },
                    captures: captures.clone(),
                    id: id.clone(),
                    happened_at,
                    large,
                    account: dice.choice(&[r#""acc-1""#, r#""acc-1""#, "null", r#""null""#, ""]).unwrap(),
                    names_currency: dice.u32(..4) > 0,
                    names_reference: dice.u32(..4) > 0,
                    refused,
                });
            }
            if kind == Kind::Payment && dice.bool() {
                break;
            }
        }
    }
    // A story may begin anywhere, and some parts of it are never sent.
    facts.retain(|_| dice.u32(..5) > 0);
    facts
}

impl Kind {
    fn key(self, id: &str) -> Option<String> {
        let kind = match self {
            Self::Invoice => "invoice",
            Self::Payment => "payment",
            Self::Payout => "payout",
            Self::Plan => "recurring_plan",
            // The id is a digest of the body: the judge learns it.
            Self::Unknown | Self::Unreadable => return None,
        };
        Some(format!("test#{kind}#{id}"))
    }
}

impl Fact {
    /// The body, as it is sent at a moment. The newer products set `created` anew for each attempt.
    pub(crate) fn body(&self, sent_at: Timestamp) -> String {
        let Self { id, happened_at, .. } = self;
        let filler = if self.large { "x".repeat(TOO_LARGE) } else { String::new() };
        let said = if self.refused { REFUSED_BY_THE_BUS } else { "" };
        let status = self.stage.to_uppercase();
        let account = |key: &str| match self.account {
            "" => String::new(),
            value => format!(r#""{key}":{value},"#),
        };
        let currency = |code: &str| self.names_currency.then(|| format!(r#""currency":"{code}","#)).unwrap_or_default();
        let reference =
            |key: &str| self.names_reference.then(|| format!(r#""{key}":"order-{id}","#)).unwrap_or_default();
        let envelope = |event: &str, data: &str| {
            format!(
                r#"{{"event":"{event}",{}"created":"{sent_at}","data":{{{}{data},"updated":"{happened_at}",
                    "description":"{said}{filler}"}}}}"#,
                account("business_id"),
                reference("reference_id"),
            )
        };
        match self.kind {
            Kind::Invoice => {
                let paid = self.paid.map(|amount| format!(r#""paid_amount":{amount},"#)).unwrap_or_default();
                // Nothing but these keys says that a body is an invoice.
                format!(
                    r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-{id}","merchant_name":"M","status":"{status}",
                        "amount":1000,{paid}{}"payment_channel":"BCA","updated":"{happened_at}",
                        "description":"{said}{filler}"}}"#,
                    currency("IDR"),
                )
            }
            Kind::Payment => {
                let capture = |(id, amount)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#);
                let captures: Vec<_> = self.captures.iter().map(capture).collect();
                let data = format!(
                    r#""payment_id":"{id}",{}"channel_code":"GCASH","request_amount":500,"status":"{status}",
                        "captures":[{}]"#,
                    currency("PHP"),
                    captures.join(",")
                );
                envelope("payment.capture", &data)
            }
            Kind::Payout => {
                let currency = currency("IDR");
                let data =
                    format!(r#""id":"{id}","amount":10000,{currency}"channel_code":"ID_BCA","status":"{status}""#);
                envelope(&format!("payout.{}", self.stage), &data)
            }
            Kind::Plan => {
                let data = format!(r#""id":"{id}","amount":99000,"currency":"IDR","status":"{status}""#);
                envelope(&format!("recurring.plan.{}ated", self.stage.trim_end_matches('e')), &data)
            }
            Kind::Unknown => envelope("shop.opened", &format!(r#""id":"{id}""#)),
            Kind::Unreadable => format!("{id} {filler} \u{FFFF}"),
        }
    }

    /// What is known when only this arrived.
    fn alone(&self) -> Truth {
        let kind = match self.kind {
            Kind::Invoice => "invoice",
            Kind::Payment => "payment",
            Kind::Payout => "payout",
            Kind::Plan => "recurring_plan",
            Kind::Unknown | Kind::Unreadable => "unknown",
        };
        Truth {
            order: self.order,
            stage: format!("{kind}.{}", self.stage),
            paid: self.paid.iter().map(|amount| format!("IDR {amount}")).collect(),
            captures: self
                .captures
                .iter()
                .map(|(id, amount)| (id.clone(), BTreeSet::from([format!("PHP {amount}")])))
                .collect(),
        }
    }

    /// How far a state of this fact's subject is.
    fn order_of(&self, state: &State) -> i64 {
        let ranks: &[&str] = match self.kind {
            Kind::Invoice => &["pending", "expired", "paid", "settled"],
            Kind::Payout => &["failed", "succeeded", "reversed"],
            Kind::Plan => return state.occurred_at.map_or(i64::MIN, Timestamp::as_second),
            Kind::Payment | Kind::Unknown | Kind::Unreadable => &[],
        };
        ranks.iter().position(|phase| *phase == state.stage.phase()).map_or(0, |rank| i64::try_from(rank).unwrap())
    }

    /// A state of this fact's subject, in the words of this file.
    pub(crate) fn read(&self, state: &State) -> Truth {
        let amounts = |stated: &Stated<Money>| stated.answers().map(ToString::to_string).collect();
        let paid = amounts(&state.paid);
        Truth {
            order: self.order_of(state),
            stage: state.stage.to_string(),
            paid,
            captures: state.captures.iter().map(|(id, set)| (id.clone(), amounts(set))).collect(),
        }
    }

    /// Whether there is nothing in it that a ledger could keep.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.kind == Kind::Unreadable
    }

    /// The event that says that this fact's money is here.
    pub(crate) fn money_event(&self) -> Option<&'static str> {
        match (self.kind, self.stage) {
            (Kind::Invoice, "paid" | "settled") => Some("invoice.paid"),
            (Kind::Payment, _) => Some("payment.succeeded"),
            (Kind::Payout, "succeeded") => Some("payout.succeeded"),
            _ => None,
        }
    }

    /// Whether the code trips over this subject as long as it has its bug.
    pub(crate) fn nature(key: &str) -> Option<&'static str> {
        ["poison", "killer"].into_iter().find(|nature| key.contains(nature))
    }
}

impl Truth {
    /// What is known when several facts about one subject arrived, in whatever order.
    pub(crate) fn of<'a>(facts: impl Iterator<Item = &'a Fact> + Clone) -> Self {
        let mut truth = Self { order: i64::MIN, ..Self::default() };
        for alone in facts.map(Fact::alone) {
            if alone.order > truth.order {
                (truth.order, truth.stage) = (alone.order, alone.stage);
            }
            // What was stated once is not taken back by a later fact that does not state it.
            truth.paid.extend(alone.paid);
            for (id, amounts) in alone.captures {
                truth.captures.entry(id).or_default().extend(amounts);
            }
        }
        truth
    }

    /// Whether this knows what a fact says, or something newer.
    pub(crate) fn covers(&self, fact: &Fact) -> bool {
        let alone = fact.alone();
        let newer = self.order > alone.order;
        (newer || (self.order == alone.order && self.stage == alone.stage)) && self.holds_amounts_of(&alone)
    }

    /// Whether this is at least as far as an earlier state, which is all that a state may become.
    pub(crate) fn is_no_step_back_from(&self, earlier: &Self) -> bool {
        self.order >= earlier.order && self.holds_amounts_of(earlier)
    }

    fn holds_amounts_of(&self, other: &Self) -> bool {
        let holds = |(id, amounts): (&String, &BTreeSet<String>)| {
            self.captures.get(id).is_some_and(|known| known.is_superset(amounts))
        };
        self.paid.is_superset(&other.paid) && other.captures.iter().all(holds)
    }

    /// Whether amounts contradict each other.
    pub(crate) fn is_conflicting(&self) -> bool {
        self.paid.len() > 1 || self.captures.values().any(|amounts| amounts.len() > 1)
    }

    /// Kind and phase.
    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }
}
