//! Xendit: generates webhooks, and says what the ledger must hold once they have arrived. It shares no code with what it
//! tests: the order of the phases is written down here a second time.
//!
//! Like the real Xendit, it omits fields at times: the account, the currency, the reference, an amount that it stated
//! before.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use ledger::{state::State, stated::Stated};
use shared::money::Money;

/// The kind of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `pending`, `expired`, `paid`, `settled`: the later phase wins, whatever the order of arrival.
    Invoice,
    /// Captures that add up.
    Payment,
    /// `failed`, `succeeded`, `reversed`.
    Payout,
    /// Goes back and forth: the phase with the latest time wins.
    Plan,
    /// An unknown event.
    Unknown,
    /// Not JSON.
    Unreadable,
}

/// The content of one webhook.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a body")]
pub(crate) struct Fact {
    /// The subject, as an index.
    pub(crate) subject: usize,
    /// The subject's key in the ledger. `None`: it depends on the body.
    pub(crate) key: Option<String>,
    kind: Kind,
    /// Of two facts about one subject, the greater one decides the stage.
    order: i64,
    stage: &'static str,
    paid: Option<u32>,
    captures: BTreeMap<String, u32>,
    id: String,
    happened_at: Timestamp,
    large: bool,
    /// The account as JSON. Empty: the key is missing.
    account: &'static str,
    names_currency: bool,
    names_reference: bool,
    /// Whether the bus permanently refuses events with this body.
    refused: bool,
}

/// The expected state of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    order: i64,
    stage: String,
    paid: BTreeSet<String>,
    captures: BTreeMap<String, BTreeSet<String>>,
}

/// The size from which a body does not fit into a message. Far below SQS's limit, which keeps simulations fast.
pub(crate) const TOO_LARGE: usize = 2_000;

/// A text in every body that the bus refuses.
pub(crate) const REFUSED_BY_THE_BUS: &str = "the bus refuses this";

/// Draws all facts of a run. All of them happened before the start.
pub(crate) fn facts(rng: &mut Rng, subjects: usize, start: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    for subject in 0..subjects {
        let kinds =
            [Kind::Invoice, Kind::Invoice, Kind::Payment, Kind::Payout, Kind::Plan, Kind::Unknown, Kind::Unreadable];
        let kind = *rng.choice(&kinds).unwrap();
        let id_prefix = match (kind, rng.u32(..12)) {
            (Kind::Invoice, 0) => "poison",
            (Kind::Invoice, 1) => "killer",
            _ => "id",
        };
        let id = format!("{id_prefix}-{subject}");
        let (large, refused) = (rng.u32(..8) == 0, rng.u32(..8) == 0);
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
                captures.insert(format!("cap-{rank}"), rng.u32(1..100));
                if rng.u32(..10) == 0 {
                    captures.insert("cap-0".to_owned(), rng.u32(1..100));
                }
            }
            let states_amount = match (kind, stage) {
                (Kind::Invoice, "paid") => true,
                // Xendit's settled invoices may omit the paid amount.
                (Kind::Invoice, "settled") => rng.bool(),
                _ => false,
            };
            // Some facts come with two conflicting amounts.
            for amount in [1000, 1001].into_iter().take(1 + usize::from(states_amount && rng.u32(..10) == 0)) {
                facts.push(Fact {
                    subject,
                    key: kind.key(&id),
                    kind,
                    order: match kind {
                        Kind::Plan => happened_at.as_second(),
                        // All captures of a payment are in the same stage.
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
                    account: rng.choice(&[r#""acc-1""#, r#""acc-1""#, "null", r#""null""#, ""]).unwrap(),
                    names_currency: rng.u32(..4) > 0,
                    names_reference: rng.u32(..4) > 0,
                    refused,
                });
            }
            if kind == Kind::Payment && rng.bool() {
                break;
            }
        }
    }
    // A lifecycle may start anywhere, and some webhooks are never sent.
    facts.retain(|_| rng.u32(..5) > 0);
    facts
}

/// Draws the facts of an ordinary day, in order: invoices and payments that are paid, and payouts that succeed.
pub(crate) fn day(rng: &mut Rng, subjects: usize, happened_at: Timestamp) -> Vec<Fact> {
    let fact = |subject| {
        let (kind, stage) =
            *rng.choice(&[(Kind::Invoice, "paid"), (Kind::Payment, "succeeded"), (Kind::Payout, "succeeded")]).unwrap();
        let id = format!("id-{subject}");
        Fact {
            subject,
            key: kind.key(&id),
            kind,
            order: match kind {
                Kind::Invoice => 2,
                Kind::Payout => 1,
                _ => 0,
            },
            stage,
            paid: match kind {
                Kind::Invoice => Some(1000),
                Kind::Payout => Some(10_000),
                _ => None,
            },
            captures: (kind == Kind::Payment).then(|| ("cap-0".to_owned(), rng.u32(1..100))).into_iter().collect(),
            id,
            happened_at,
            large: false,
            account: r#""acc-1""#,
            names_currency: true,
            names_reference: true,
            refused: false,
        }
    };
    (0..subjects).map(fact).collect()
}

impl Fact {
    /// The same fact in a format that this version does not know, or cannot read.
    pub(crate) fn in_another_format(&mut self, readable: bool) {
        self.kind = if readable { Kind::Unknown } else { Kind::Unreadable };
        (self.key, self.stage, self.order, self.paid) = (None, "received", 0, None);
        self.captures.clear();
    }

    /// The same fact with an id that kills each processor.
    pub(crate) fn as_killer(&mut self) {
        self.id = format!("killer-{}", self.subject);
        self.key = self.kind.key(&self.id);
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::Payment => "payment",
            Self::Payout => "payout",
            Self::Plan => "recurring_plan",
            Self::Unknown | Self::Unreadable => "unknown",
        }
    }

    fn key(self, id: &str) -> Option<String> {
        // An unknown subject has a digest of its body as id.
        let has_own_id = !matches!(self, Self::Unknown | Self::Unreadable);
        has_own_id.then(|| format!("test#{}#{id}", self.name()))
    }
}

impl Fact {
    /// The body as sent at a time. The newer products update `created` with each attempt.
    pub(crate) fn body(&self, sent_at: Timestamp) -> String {
        let Self { id, happened_at, .. } = self;
        let filler = if self.large { "x".repeat(TOO_LARGE) } else { String::new() };
        let refused = if self.refused { REFUSED_BY_THE_BUS } else { "" };
        let status = self.stage.to_uppercase();
        let account = |key: &str| match self.account {
            "" => String::new(),
            value => format!(r#""{key}":{value},"#),
        };
        let currency =
            |code: &str| if self.names_currency { format!(r#""currency":"{code}","#) } else { String::new() };
        let reference =
            |key: &str| if self.names_reference { format!(r#""{key}":"order-{id}","#) } else { String::new() };
        let envelope = |event: &str, data: &str| {
            format!(
                r#"{{"event":"{event}",{}"created":"{sent_at}","data":{{{}{data},"updated":"{happened_at}",
                    "description":"{refused}{filler}"}}}}"#,
                account("business_id"),
                reference("reference_id"),
            )
        };
        match self.kind {
            Kind::Invoice => {
                let paid = self.paid.map(|amount| format!(r#""paid_amount":{amount},"#)).unwrap_or_default();
                // An invoice is recognised by these keys.
                format!(
                    r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-{id}","merchant_name":"M","status":"{status}",
                        "amount":1000,{paid}{}"payment_channel":"BCA","updated":"{happened_at}",
                        "description":"{refused}{filler}"}}"#,
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

    /// The expected state after this fact only.
    fn alone(&self) -> Truth {
        Truth {
            order: self.order,
            stage: format!("{}.{}", self.kind.name(), self.stage),
            paid: self.paid.iter().map(|amount| format!("IDR {amount}")).collect(),
            captures: self
                .captures
                .iter()
                .map(|(id, amount)| (id.clone(), BTreeSet::from([format!("PHP {amount}")])))
                .collect(),
        }
    }

    /// The order of a state of this fact's subject.
    fn order_of(&self, state: &State) -> i64 {
        let ranks: &[&str] = match self.kind {
            Kind::Invoice => &["pending", "expired", "paid", "settled"],
            Kind::Payout => &["failed", "succeeded", "reversed"],
            Kind::Plan => return state.occurred_at.map_or(i64::MIN, Timestamp::as_second),
            Kind::Payment | Kind::Unknown | Kind::Unreadable => &[],
        };
        ranks.iter().position(|phase| *phase == state.stage.phase()).map_or(0, |rank| i64::try_from(rank).unwrap())
    }

    /// Translates a state of this fact's subject.
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

    /// Whether the body is unreadable, so that its message has to be parked.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.kind == Kind::Unreadable
    }

    /// The event to expect when this fact's money has arrived.
    pub(crate) fn money_event(&self) -> Option<&'static str> {
        match (self.kind, self.stage) {
            (Kind::Invoice, "paid" | "settled") => Some("invoice.paid"),
            (Kind::Payment, _) => Some("payment.succeeded"),
            (Kind::Payout, "succeeded") => Some("payout.succeeded"),
            _ => None,
        }
    }

    /// The simulated bug that a subject triggers: `poison` panics, `killer` kills the process.
    pub(crate) fn bug(key: &str) -> Option<&'static str> {
        ["poison", "killer"].into_iter().find(|bug| key.contains(bug))
    }
}

impl Truth {
    /// The expected state of a subject after these facts, in any order.
    pub(crate) fn of<'a>(facts: impl Iterator<Item = &'a Fact> + Clone) -> Self {
        let mut truth = Self { order: i64::MIN, ..Self::default() };
        for alone in facts.map(Fact::alone) {
            if alone.order > truth.order {
                (truth.order, truth.stage) = (alone.order, alone.stage);
            }
            // A later fact without an amount does not erase one that was stated.
            truth.paid.extend(alone.paid);
            for (id, amounts) in alone.captures {
                truth.captures.entry(id).or_default().extend(amounts);
            }
        }
        truth
    }

    /// Whether this state includes a fact, or a newer one.
    pub(crate) fn covers(&self, fact: &Fact) -> bool {
        let alone = fact.alone();
        let newer = self.order > alone.order;
        (newer || (self.order == alone.order && self.stage == alone.stage)) && self.holds_amounts_of(&alone)
    }

    /// Whether nothing of an earlier state was lost.
    pub(crate) fn extends(&self, earlier: &Self) -> bool {
        self.order >= earlier.order && self.holds_amounts_of(earlier)
    }

    fn holds_amounts_of(&self, other: &Self) -> bool {
        let holds = |(id, amounts): (&String, &BTreeSet<String>)| {
            self.captures.get(id).is_some_and(|known| known.is_superset(amounts))
        };
        self.paid.is_superset(&other.paid) && other.captures.iter().all(holds)
    }

    /// Whether amounts conflict.
    pub(crate) fn is_conflicting(&self) -> bool {
        self.paid.len() > 1 || self.captures.values().any(|amounts| amounts.len() > 1)
    }

    /// The kind and phase.
    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }
}
