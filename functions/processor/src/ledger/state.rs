//! State: all that has been observed of one subject, merged. The heart of "nothing twice".
//!
//! `merge` is a join: associative, commutative and idempotent. So any order of deliveries, any number of duplicates
//! and a resend after a year end in the same state, and nothing depends on a window or a clock of ours. The parts:
//!
//! - the **fact** (stage and mark, and for kinds that go back and forth the time): the greater one wins, and brings
//!   its status, event and amounts along;
//! - the **amounts** of one fact: a set. One amount is the rule; a second one is a conflict, kept beside the first;
//! - the **captures**: a grow-only map of sets;
//! - everything else: the greater value.
//!
//! **Invariant:** a state only ever grows. Whatever is compared here comes from the body, never from the delivery.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    lifecycle::{Order, Stage},
    money::Money,
    observation::{Mark, Observation},
};

/// How many differing amounts of one fact are kept. Two are a conflict already; more tell a person nothing new.
const MAX_AMOUNTS: usize = 8;

/// All that has been observed of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far the subject is.
    pub stage: Stage,
    /// What sets this apart from an earlier time in the same stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// When that happened, in Xendit's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Xendit's word for the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Xendit's name of the event that told it.
    pub event: String,
    /// Why it failed, in Xendit's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_code: Option<String>,
    /// What was paid, collected, refunded or sent: one amount, or several that contradict each other.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paid: BTreeSet<Money>,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub asked: BTreeSet<Money>,
    /// What was collected by each capture of a payment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, BTreeSet<Money>>,
    /// The merchant's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The bank, wallet, outlet or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl From<&Observation> for State {
    fn from(seen: &Observation) -> Self {
        Self {
            stage: seen.stage,
            mark: seen.mark.clone(),
            occurred_at: seen.occurred_at,
            status: seen.status.clone(),
            event: seen.event.clone(),
            failure_code: seen.failure_code.clone(),
            paid: seen.paid.iter().cloned().collect(),
            asked: seen.asked.iter().cloned().collect(),
            captures: seen.captures.iter().map(|(id, money)| (id.clone(), BTreeSet::from([money.clone()]))).collect(),
            reference: seen.reference.clone(),
            channel: seen.channel.clone(),
        }
    }
}

impl State {
    /// The join of two states of one subject.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let (mut winner, loser) = match self.compare(&other) {
            Ordering::Greater | Ordering::Equal => (self, other),
            Ordering::Less => (other, self),
        };
        if winner.compare(&loser) == Ordering::Equal {
            // The earlier of two times that are given: a repeat must not look younger than the fact.
            winner.occurred_at = match (winner.occurred_at, loser.occurred_at) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            };
            winner.status = winner.status.max(loser.status);
            winner.event = winner.event.max(loser.event);
            winner.failure_code = winner.failure_code.max(loser.failure_code);
            join(&mut winner.paid, loser.paid);
            join(&mut winner.asked, loser.asked);
        }
        for (id, amounts) in loser.captures {
            join(winner.captures.entry(id).or_default(), amounts);
        }
        winner.reference = winner.reference.max(loser.reference);
        winner.channel = winner.channel.max(loser.channel);
        winner
    }

    /// Which of two states tells the newer fact.
    pub fn compare(&self, other: &Self) -> Ordering {
        let time = match self.stage.kind().order() {
            Order::ByRank => Ordering::Equal,
            Order::ByTime => self.occurred_at.cmp(&other.occurred_at),
        };
        time.then_with(|| self.stage.cmp(&other.stage)).then_with(|| self.mark.cmp(&other.mark))
    }

    /// Whether one fact has been told with different amounts.
    pub fn is_conflicting(&self) -> bool {
        self.contradictions() > 0
    }

    /// How many amounts there are beyond one for each fact.
    pub fn contradictions(&self) -> usize {
        beyond_one(&self.paid) + beyond_one(&self.asked) + self.contradicting_captures()
    }

    fn contradicting_captures(&self) -> usize {
        self.captures.values().map(beyond_one).sum()
    }

    /// What was paid in all: the sum of the captures, or else the one amount that was told.
    ///
    /// `None` when nothing was told, when amounts contradict each other, or when captures are in several currencies.
    pub fn paid_in_all(&self) -> Option<Money> {
        if self.captures.is_empty() {
            return only(&self.paid);
        }
        let mut amounts = self.captures.values().map(only);
        let first = amounts.next()??;
        amounts.try_fold(first, |sum, money| {
            let money = money.filter(|money| money.currency == sum.currency)?;
            Some(Money { amount: sum.amount.checked_add(money.amount)?, currency: sum.currency })
        })
    }

    /// What was asked for, unless amounts contradict each other.
    pub fn asked_once(&self) -> Option<Money> {
        only(&self.asked)
    }
}

/// The smallest amounts of both sets: keeping the first few of a total order is a join as well.
fn join(into: &mut BTreeSet<Money>, from: BTreeSet<Money>) {
    into.extend(from);
    while into.len() > MAX_AMOUNTS {
        into.pop_last();
    }
}

fn beyond_one(amounts: &BTreeSet<Money>) -> usize {
    amounts.len().saturating_sub(1)
}

fn only(amounts: &BTreeSet<Money>) -> Option<Money> {
    match amounts.len() {
        1 => amounts.first().cloned(),
        _ => None,
    }
}

/// What merging an observation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the same fact again.
    Duplicate,
    /// Nothing: an older fact.
    Stale,
    /// Details that nobody needs to hear of, such as an earlier time for the same fact.
    Quiet(Box<State>),
    /// News.
    News(Box<Transition>),
}

/// A change of a subject's state that the merchant should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What was known before, if anything.
    pub before: Option<State>,
    /// What is known now.
    pub after: State,
    /// Whether the subject is further, has been captured once more, or an amount has become known.
    pub advanced: bool,
    /// Whether an amount contradicts one that was known.
    pub conflicting: bool,
}

impl Change {
    /// What an observation changes about what is known.
    pub fn of(known: Option<&State>, seen: &Observation) -> Self {
        let seen = State::from(seen);
        let Some(before) = known else {
            let transition = Transition { before: None, after: seen, advanced: true, conflicting: false };
            return Self::News(Box::new(transition));
        };
        let order = seen.compare(before);
        let after = before.clone().merge(seen);
        if after == *before {
            return if order == Ordering::Less { Self::Stale } else { Self::Duplicate };
        }
        let same_fact = after.stage == before.stage && after.mark == before.mark;
        let learnt = |then: &BTreeSet<Money>, now: &BTreeSet<Money>| then.is_empty() && !now.is_empty();
        let advanced = !same_fact
            || after.captures.len() > before.captures.len()
            || learnt(&before.paid, &after.paid)
            || learnt(&before.asked, &after.asked);
        // A further stage leaves the amounts of the last one behind, and with them their contradictions. Captures stay.
        let known_contradictions = if same_fact { before.contradictions() } else { before.contradicting_captures() };
        let conflicting = after.contradictions() > known_contradictions;
        if advanced || conflicting {
            Self::News(Box::new(Transition { before: Some(before.clone()), after, advanced, conflicting }))
        } else {
            Self::Quiet(Box::new(after))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::{btree_map, btree_set},
        option,
        prelude::*,
        sample::select,
    };
    use shared::{event::Event, lifecycle::Kind};

    use super::*;

    fn seen(body: &str) -> Observation {
        Event::parse(body.as_bytes(), None).unwrap().observe()
    }

    fn state(body: &str) -> State {
        State::from(&seen(body))
    }

    fn money(amount: &str) -> Money {
        Money { amount: amount.parse().unwrap(), currency: "IDR".parse().unwrap() }
    }

    fn invoice(status: &str, paid: &str, minute: u32) -> String {
        format!(
            r#"{{"id":"inv-1","user_id":"a","external_id":"o","merchant_name":"M","status":"{status}","amount":1000,
                "paid_amount":{paid},"currency":"IDR","updated":"2026-01-02T03:{minute:02}:00Z"}}"#
        )
    }

    fn account(status: &str, expected: &str, minute: u32) -> String {
        format!(
            r#"{{"id":"va-1","owner_id":"a","external_id":"o","is_closed":true,"account_number":"1","bank_code":"BNI",
                "status":"{status}","expected_amount":{expected},"updated":"2026-01-02T03:{minute:02}:00Z"}}"#
        )
    }

    fn payment(event: &str, status: &str, captures: &[(&str, &str)]) -> String {
        let captures: Vec<_> = captures
            .iter()
            .map(|(id, amount)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#))
            .collect();
        format!(
            r#"{{"event":"{event}","business_id":"a","data":{{"payment_id":"py-1","reference_id":"o","currency":"IDR",
                "request_amount":500,"status":"{status}","captures":[{}],"updated":"2026-01-02T03:00:00Z"}}}}"#,
            captures.join(",")
        )
    }

    // --- The laws, over states that nobody thought of ---

    /// A minute of one hour: few enough for two states to share one.
    fn time() -> impl Strategy<Value = Timestamp> {
        (0..4_u32).prop_map(|minute| format!("2026-01-02T03:{minute:02}:00Z").parse().unwrap())
    }

    fn word() -> impl Strategy<Value = Option<String>> {
        option::of(select(&["A", "B", "C"][..]).prop_map(str::to_owned))
    }

    /// A set that a state can hold, at times a full one.
    fn amounts(least: usize) -> impl Strategy<Value = BTreeSet<Money>> {
        btree_set((0..20_u32).prop_map(|n| money(&n.to_string())), least..=MAX_AMOUNTS)
    }

    fn mark() -> impl Strategy<Value = Mark> {
        let text = select(&["a", "b"][..]).prop_map(|text| Mark::Text(text.to_owned()));
        prop_oneof![(0..3_u64).prop_map(Mark::Count), time().prop_map(Mark::At), text]
    }

    fn state_of(kind: Kind) -> impl Strategy<Value = State> {
        let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == kind).collect();
        let told = (select(stages), option::of(mark()), option::of(time()), word(), select(&["e", "f"][..]), word());
        let captures = btree_map(select(&["c1", "c2", "c3"][..]).prop_map(str::to_owned), amounts(1), 0..=3);
        (told, amounts(0), amounts(0), captures, word(), word()).prop_map(
            |((stage, mark, occurred_at, status, event, failure_code), paid, asked, captures, reference, channel)| {
                State {
                    stage,
                    mark,
                    occurred_at,
                    status,
                    event: event.to_owned(),
                    failure_code,
                    paid,
                    asked,
                    captures,
                    reference,
                    channel,
                }
            },
        )
    }

    /// Three states of one subject, of any kind.
    fn three() -> impl Strategy<Value = (State, State, State)> {
        select(Kind::ALL).prop_flat_map(|kind| (state_of(kind), state_of(kind), state_of(kind)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn merging_does_not_depend_on_grouping((a, b, c) in three()) {
            prop_assert_eq!(a.clone().merge(b.clone()).merge(c.clone()), a.merge(b.merge(c)));
        }

        #[test]
        fn merging_does_not_depend_on_order((a, b, _) in three()) {
            prop_assert_eq!(a.clone().merge(b.clone()), b.merge(a));
        }

        #[test]
        fn merging_the_same_again_changes_nothing((a, b, _) in three()) {
            prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
            let both = a.clone().merge(b.clone());
            prop_assert_eq!(both.clone().merge(a), both.clone());
            prop_assert_eq!(both.clone().merge(b), both);
        }

        #[test]
        fn a_state_that_was_merged_into_is_never_older_than_before((a, b, _) in three()) {
            let both = a.clone().merge(b.clone());
            prop_assert!(both.compare(&a) != Ordering::Less && both.compare(&b) != Ordering::Less);
        }

        #[test]
        fn a_state_survives_being_written_down((a, _, _) in three()) {
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), a);
        }

        #[test]
        fn many_contradicting_amounts_end_in_the_same_few_in_any_order(
            order in Just((0..12_u32).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let merged = order
                .iter()
                .map(|n| state(&invoice("PAID", &n.to_string(), 0)))
                .reduce(State::merge)
                .unwrap();
            let kept: Vec<_> = merged.paid.iter().map(|money| money.amount.to_string()).collect();
            prop_assert_eq!(kept, ["0", "1", "2", "3", "4", "5", "6", "7"]);
        }
    }

    // --- Lifecycles as Xendit sends them ---

    fn permutations(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![Vec::new()];
        }
        let shorter = permutations(n - 1);
        let insert = |order: &Vec<usize>, at: usize| {
            let mut order = order.clone();
            order.insert(at, n - 1);
            order
        };
        shorter.iter().flat_map(|order| (0..n).map(move |at| insert(order, at))).collect()
    }

    /// What is known after observations came in some order.
    fn after<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> State {
        let mut known: Option<State> = None;
        for seen in observations {
            match Change::of(known.as_ref(), seen) {
                Change::Duplicate | Change::Stale => {}
                Change::Quiet(state) => known = Some(*state),
                Change::News(transition) => {
                    assert_eq!(transition.before, known);
                    known = Some(transition.after);
                }
            }
        }
        known.unwrap()
    }

    #[test]
    fn every_order_of_six_facts_of_any_kind_with_every_fact_twice_ends_in_one_state() {
        let told = state(&invoice("PENDING", "1", 0));
        for kind in Kind::ALL {
            let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == *kind).collect();
            // The kind's phases, and again from the first one with a later mark, time and amount, until there are six.
            let facts: Vec<State> = (0..6_u32)
                .map(|n| State {
                    stage: stages[n as usize % stages.len()],
                    mark: Some(Mark::Count(u64::from(n) / stages.len() as u64)),
                    occurred_at: Some(format!("2026-01-02T03:{n:02}:00Z").parse().unwrap()),
                    paid: [money(&n.to_string())].into(),
                    captures: [(format!("c{}", n % 2), [money(&n.to_string())].into())].into(),
                    ..told.clone()
                })
                .collect();
            let merged =
                |order: &mut dyn Iterator<Item = usize>| order.map(|n| facts[n].clone()).reduce(State::merge).unwrap();
            let expected = merged(&mut (0..facts.len()));
            for order in permutations(facts.len()) {
                assert_eq!(merged(&mut order.iter().copied()), expected, "{kind} {order:?}");
                let twice = &mut order.iter().chain(order.iter().rev()).copied();
                assert_eq!(merged(twice), expected, "{kind} {order:?} and back");
            }
        }
    }

    #[test]
    fn every_order_of_a_lifecycle_with_every_event_twice_ends_in_one_state() {
        let lifecycles = [
            vec![
                invoice("PENDING", "0", 1),
                invoice("EXPIRED", "0", 2),
                invoice("PAID", "1000", 3),
                invoice("PAID", "1000", 4),
                invoice("PAID", "999.50", 5),
                invoice("SETTLED", "1000", 6),
            ],
            vec![
                payment("payment.authorization", "AUTHORIZED", &[]),
                payment("payment.capture", "SUCCEEDED", &[("c1", "200")]),
                payment("payment.capture", "SUCCEEDED", &[("c1", "200"), ("c2", "300")]),
                payment("payment.capture", "SUCCEEDED", &[("c2", "301")]),
                payment("payment.failure", "FAILED", &[]),
                payment("payment.expiry", "EXPIRED", &[]),
            ],
            vec![
                account("PENDING", "1", 1),
                account("ACTIVE", "1", 2),
                account("INACTIVE", "1", 3),
                account("ACTIVE", "1", 4),
                account("ACTIVE", "2", 5),
                account("ACTIVE", "3", 5),
            ],
        ];
        for lifecycle in lifecycles {
            let lifecycle: Vec<_> = lifecycle.iter().map(|body| seen(body)).collect();
            assert!(lifecycle.iter().all(|seen| seen.id == lifecycle[0].id && seen.unknown.is_none()));
            let expected = after(&lifecycle);
            for order in permutations(lifecycle.len()) {
                let once = order.iter().map(|index| &lifecycle[*index]);
                assert_eq!(after(once.clone()), expected, "{order:?}");
                assert_eq!(after(once.clone().chain(once.clone().rev())), expected, "{order:?} and back");
                assert_eq!(after(once.flat_map(|seen| [seen, seen])), expected, "{order:?}, each twice");
            }
        }
    }

    #[test]
    fn what_goes_back_and_forth_is_where_xendit_last_said_it_is() {
        let known = after(&[seen(&account("INACTIVE", "1", 9)), seen(&account("ACTIVE", "1", 5))]);
        assert_eq!(known.stage.phase(), "inactive");
        let known = after(&[seen(&account("INACTIVE", "1", 5)), seen(&account("ACTIVE", "1", 9))]);
        assert_eq!(known.stage.phase(), "active");
    }

    fn change(known: &str, news: &str) -> Change {
        Change::of(Some(&state(known)), &seen(news))
    }

    #[test]
    fn the_same_is_a_duplicate_and_the_past_is_stale() {
        let paid = invoice("PAID", "1000", 3);
        assert_eq!(change(&paid, &paid), Change::Duplicate);
        assert_eq!(change(&paid, &invoice("PAID", "1000.00", 3)), Change::Duplicate);
        assert_eq!(change(&paid, &invoice("PENDING", "0", 9)), Change::Stale);
        assert_eq!(change(&paid, &invoice("PAID", "1000", 9)), Change::Duplicate, "the earlier time stays");
    }

    #[test]
    fn an_earlier_time_for_the_same_fact_is_kept_quietly() {
        let Change::Quiet(state) = change(&invoice("PAID", "1000", 3), &invoice("PAID", "1000", 1)) else {
            panic!("nobody has to hear of this")
        };
        assert_eq!(state.occurred_at, Some("2026-01-02T03:01:00Z".parse().unwrap()));
    }

    fn news(known: &str, body: &str) -> Transition {
        match change(known, body) {
            Change::News(transition) => *transition,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_amount_that_becomes_known_is_news_and_no_conflict() {
        let silent = invoice("PAID", "null", 3);
        let transition = news(&silent, &invoice("PAID", "1000", 3));
        assert!(transition.advanced && !transition.conflicting);
    }

    #[test]
    fn another_amount_for_the_same_fact_is_a_conflict_and_no_advance() {
        let transition = news(&invoice("PAID", "1000", 3), &invoice("PAID", "999", 3));
        assert!(transition.conflicting && !transition.advanced);
        assert_eq!(transition.after.paid, BTreeSet::from([money("999"), money("1000")]));
        assert_eq!(transition.after.paid_in_all(), None);
    }

    #[test]
    fn a_further_stage_leaves_the_contradictions_of_the_last_one_behind() {
        let known = after(&[seen(&invoice("PAID", "1000", 3)), seen(&invoice("PAID", "999", 3))]);
        assert!(known.is_conflicting());
        let Change::News(transition) = Change::of(Some(&known), &seen(&invoice("SETTLED", "1000", 4))) else {
            panic!("it is news")
        };
        assert!(transition.advanced && !transition.conflicting);
        assert!(!transition.after.is_conflicting());
    }

    #[test]
    fn a_contradiction_of_captures_is_told_once_and_not_with_every_further_stage() {
        let captured = |amount| seen(&payment("payment.capture", "SUCCEEDED", &[("c1", amount)]));
        let known = after(&[captured("200"), captured("201")]);
        assert!(known.is_conflicting());
        let mut voided = captured("200");
        voided.stage = Stage::Payment(shared::lifecycle::PaymentPhase::Voided);
        let Change::News(transition) = Change::of(Some(&known), &voided) else { panic!("it is news") };
        assert!(transition.advanced);
        assert!(!transition.conflicting, "nothing new contradicts anything");
    }

    #[test]
    fn captures_are_summed_unless_they_contradict_each_other_or_differ_in_currency() {
        let captured = |captures: &[(&str, &str)]| state(&payment("payment.capture", "SUCCEEDED", captures));
        assert_eq!(captured(&[("c1", "0.1"), ("c2", "0.2")]).paid_in_all(), Some(money("0.3")));
        assert_eq!(captured(&[("c1", "1")]).merge(captured(&[("c1", "2")])).paid_in_all(), None);
        let mut foreign = captured(&[("c1", "1"), ("c2", "2")]);
        foreign.captures.insert(
            "c3".to_owned(),
            BTreeSet::from([Money { amount: "3".parse().unwrap(), currency: "PHP".parse().unwrap() }]),
        );
        assert_eq!(foreign.paid_in_all(), None);
    }
}
