use std::collections::BTreeSet;

use proptest::{collection::btree_map, option, prelude::*, sample::select};
use shared::{lifecycle::Kind, webhook::Webhook};

use super::*;

fn seen(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
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
    let captures: Vec<_> =
        captures.iter().map(|(id, amount)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#)).collect();
    format!(
        r#"{{"event":"{event}","business_id":"a","data":{{"payment_id":"py-1","reference_id":"o","currency":"IDR",
            "request_amount":500,"status":"{status}","captures":[{}],"updated":"2026-01-02T03:00:00Z"}}}}"#,
        captures.join(",")
    )
}

// --- The laws, over states that nobody thought of ---

/// A state without what arrived first: which of several answers is the first, and which account.
#[derive(Debug, PartialEq)]
struct Unordered {
    fact: (Stage, Option<Mark>, Option<Timestamp>, Option<String>, String, Option<String>),
    amounts: [(BTreeSet<Money>, usize); 2],
    captures: BTreeMap<String, (BTreeSet<Money>, usize)>,
    references: BTreeSet<String>,
    channel: Option<String>,
    times: (Option<Timestamp>, Option<GivenUp>),
}

impl From<&State> for Unordered {
    fn from(state: &State) -> Self {
        let of = |stated: &Stated<Money>| (stated.answers().cloned().collect(), stated.contradictions());
        let it = state.clone();
        Self {
            fact: (it.stage, it.mark, it.occurred_at, it.status, it.event, it.failure_code),
            amounts: [of(&state.paid), of(&state.requested)],
            captures: state.captures.iter().map(|(id, stated)| (id.clone(), of(stated))).collect(),
            references: state.reference.answers().cloned().collect(),
            channel: it.channel,
            times: (it.money_at, it.given_up),
        }
    }
}

/// A minute of one hour: few enough for two states to share one.
fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_u32).prop_map(|minute| format!("2026-01-02T03:{minute:02}:00Z").parse().unwrap())
}

fn word() -> impl Strategy<Value = Option<String>> {
    option::of(select(&["A", "B", "C"][..]).prop_map(str::to_owned))
}

/// Up to four amounts: three states together have at most as many as are kept.
fn amount() -> impl Strategy<Value = Option<Money>> {
    option::of((0..4_u32).prop_map(|n| money(&n.to_string())))
}

fn mark() -> impl Strategy<Value = Mark> {
    let text = select(&["a", "b"][..]).prop_map(|text| Mark::Text(text.to_owned()));
    let because = (time(), select(&["a", "b"][..])).prop_map(|(at, why)| Mark::AtBecause(at, why.to_owned()));
    prop_oneof![(0..3_u64).prop_map(Mark::Count), time().prop_map(Mark::At), text, because]
}

fn observation_of(kind: Kind) -> impl Strategy<Value = Observation> {
    let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == kind).collect();
    let fact = (select(stages), option::of(mark()), option::of(time()), word(), select(&["e", "f"][..]), word());
    let captures = btree_map(
        select(&["c1", "c2", "c3"][..]).prop_map(str::to_owned),
        (0..4_u32).prop_map(|n| money(&n.to_string())),
        0..=3,
    );
    let template = seen(r#"{"event":"moon.landed"}"#);
    (fact, amount(), amount(), captures, word(), word(), option::of(time())).prop_map(
        move |(
            (stage, mark, occurred_at, status, event, failure_code),
            paid,
            requested,
            captures,
            reference,
            channel,
            money_at,
        )| {
            let mut seen = template.clone();
            (seen.stage, seen.mark, seen.occurred_at, seen.status) = (stage, mark, occurred_at, status);
            (seen.event, seen.failure_code) = (event.to_owned(), failure_code);
            (seen.paid, seen.requested, seen.captures) = (paid, requested, captures);
            (seen.reference, seen.channel, seen.money_at) = (reference, channel, money_at);
            seen
        },
    )
}

/// Three states of one subject, of any kind.
fn three() -> impl Strategy<Value = (State, State, State)> {
    let state = |kind| observation_of(kind).prop_map(|seen| State::from(&seen));
    select(Kind::ALL).prop_flat_map(move |kind| (state(kind), state(kind), state(kind)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn merging_does_not_depend_on_grouping((a, b, c) in three()) {
        let one = a.clone().merge(b.clone()).merge(c.clone());
        prop_assert_eq!(Unordered::from(&one), Unordered::from(&a.merge(b.merge(c))));
    }

    #[test]
    fn merging_does_not_depend_on_order((a, b, _) in three()) {
        prop_assert_eq!(Unordered::from(&a.clone().merge(b.clone())), Unordered::from(&b.merge(a)));
    }

    #[test]
    fn merging_the_same_again_changes_nothing((a, b, _) in three()) {
        prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
        let both = a.clone().merge(b.clone());
        prop_assert_eq!(both.clone().merge(a), both.clone());
        prop_assert_eq!(both.clone().merge(b), both);
    }

    #[test]
    fn a_merged_state_is_never_older_than_its_parts((a, b, _) in three()) {
        let both = a.clone().merge(b.clone());
        prop_assert!(both.compare(&a) != Ordering::Less && both.compare(&b) != Ordering::Less);
    }

    #[test]
    fn an_amount_that_was_stated_is_still_there((a, b, _) in three()) {
        let both = a.clone().merge(b.clone());
        if a.stage.kind().order() == Order::ByRank {
            for stated in a.paid.answers().chain(b.paid.answers()) {
                prop_assert!(both.paid.answers().any(|kept| kept == stated));
            }
        }
        prop_assert!(both.paid.is_empty() == (a.paid.is_empty() && b.paid.is_empty()));
        prop_assert_eq!(both.captures.len(), a.captures.keys().chain(b.captures.keys()).collect::<BTreeSet<_>>().len());
    }

    #[test]
    fn a_state_survives_being_stored((a, b, _) in three()) {
        let both = a.merge(b);
        let text = serde_json::to_string(&both).unwrap();
        prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), both);
    }
}

// --- Lifecycles as Xendit sends them ---

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, n - 1);
        order
    };
    permutations(n - 1).iter().flat_map(|order| (0..n).map(move |at| insert(order, at))).collect()
}

/// What is known after observations came in some order.
fn after<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> State {
    observations.into_iter().map(State::from).reduce(State::merge).unwrap()
}

#[test]
fn every_order_of_six_facts_of_any_kind_with_every_fact_twice_ends_in_one_state() {
    let template = seen(&invoice("PENDING", "1", 0));
    for kind in Kind::ALL {
        let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == *kind).collect();
        // The kind's phases, and again from the first one with a later mark, time and amount, until there are six.
        let facts: Vec<State> = (0..6_u32)
            .map(|n| {
                let mut seen = template.clone();
                seen.stage = stages[n as usize % stages.len()];
                seen.mark = Some(Mark::Count(u64::from(n) / stages.len() as u64));
                seen.occurred_at = Some(format!("2026-01-02T03:{n:02}:00Z").parse().unwrap());
                seen.paid = Some(money(&n.to_string()));
                seen.captures = [(format!("c{}", n % 2), money(&n.to_string()))].into();
                State::from(&seen)
            })
            .collect();
        let merged = |order: &mut dyn Iterator<Item = usize>| {
            Unordered::from(&order.map(|n| facts[n].clone()).reduce(State::merge).unwrap())
        };
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
            invoice("PENDING", "null", 1),
            invoice("EXPIRED", "null", 2),
            invoice("PAID", "1000", 3),
            invoice("PAID", "1000", 4),
            invoice("PAID", "999.50", 5),
            invoice("SETTLED", "null", 6),
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
            account("INACTIVE", "null", 3),
            account("ACTIVE", "1", 4),
            account("ACTIVE", "2", 5),
            account("ACTIVE", "3", 5),
        ],
    ];
    for lifecycle in lifecycles {
        let lifecycle: Vec<_> = lifecycle.iter().map(|body| seen(body)).collect();
        assert!(lifecycle.iter().all(|seen| seen.id == lifecycle[0].id && seen.unknown.is_none()));
        let expected = Unordered::from(&after(&lifecycle));
        for order in permutations(lifecycle.len()) {
            let once = order.iter().map(|index| &lifecycle[*index]);
            assert_eq!(Unordered::from(&after(once.clone())), expected, "{order:?}");
            let back = once.clone().chain(once.clone().rev());
            assert_eq!(Unordered::from(&after(back)), expected, "{order:?} and back");
            assert_eq!(Unordered::from(&after(once.flat_map(|seen| [seen, seen]))), expected, "{order:?}, each twice");
        }
    }
}

#[test]
fn what_goes_back_and_forth_is_where_xendit_last_said_it_is() {
    let known = after(&[seen(&account("INACTIVE", "1", 9)), seen(&account("ACTIVE", "2", 5))]);
    assert_eq!((known.stage.phase(), known.requested.only()), ("inactive", Some(&money("1"))));
    let known = after(&[seen(&account("INACTIVE", "1", 5)), seen(&account("ACTIVE", "2", 9))]);
    assert_eq!((known.stage.phase(), known.requested.only()), ("active", Some(&money("2"))));
    let known = after(&[seen(&account("INACTIVE", "1", 5)), seen(&account("ACTIVE", "null", 9))]);
    assert_eq!(known.requested.only(), Some(&money("1")), "what was stated last is known until something else is");
}

#[test]
fn of_two_times_for_the_same_fact_the_earlier_is_kept() {
    let paid = |minute| seen(&invoice("PAID", "1000", minute));
    for order in [[3, 1, 9], [1, 9, 3]] {
        let known = after(&order.map(paid));
        assert_eq!(known.occurred_at, Some("2026-01-02T03:01:00Z".parse().unwrap()));
    }
}

#[test]
fn an_expiry_received_after_the_money_is_kept_and_decides_whether_the_money_was_late() {
    for (expired, is_late) in [(2, true), (4, false)] {
        let known = after(&[seen(&invoice("PAID", "1000", 3)), seen(&invoice("EXPIRED", "null", expired))]);
        assert_eq!((known.stage.phase(), known.is_paid_late()), ("paid", is_late));
    }
}

#[test]
fn a_settlement_does_not_make_money_late() {
    let paid = |status: &str, minute: u32| {
        seen(&invoice(status, "1000", minute).replace('}', r#","paid_at":"2026-01-02T03:01:00Z"}"#))
    };
    let all = [seen(&invoice("EXPIRED", "null", 2)), paid("PAID", 3), paid("SETTLED", 4)];
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let state = after(order.map(|n| &all[n]));
        assert!(!state.is_paid_late(), "{order:?}");
        assert_eq!(state.money_at, Some("2026-01-02T03:01:00Z".parse().unwrap()));
    }
}

#[test]
fn money_is_late_by_xendits_times() {
    let late = |expired: u32, paid: u32| {
        let known = [seen(&invoice("EXPIRED", "null", expired)), seen(&invoice("PAID", "1000", paid))];
        let backward = after(known.iter().rev()).is_paid_late();
        let forward = after(&known).is_paid_late();
        assert_eq!(forward, backward, "in any order");
        forward
    };
    assert!(late(5, 6) && late(5, 5) && !late(5, 4));
    let mut timeless = seen(&invoice("PAID", "1000", 1));
    (timeless.occurred_at, timeless.money_at) = (None, None);
    assert!(after(&[seen(&invoice("EXPIRED", "null", 5)), timeless]).is_paid_late(), "when is not known");
    assert!(!state(&invoice("PAID", "1000", 1)).is_paid_late());
    assert!(!state(&invoice("EXPIRED", "null", 1)).is_paid_late(), "nothing was paid");
}

/// Whether each of some observations, one after the other, adds a contradiction.
fn contradicts(observations: &[Observation]) -> Vec<bool> {
    let mut known: Option<State> = None;
    let mut added = Vec::new();
    for seen in observations {
        let after = known.clone().map_or_else(|| State::from(seen), |known| known.merge(State::from(seen)));
        added.push(after.contradicts_more_than(known.as_ref()));
        known = Some(after);
    }
    added
}

#[test]
fn an_answer_that_differs_from_the_first_is_a_contradiction_once() {
    let of = |bodies: &[String]| contradicts(&bodies.iter().map(|body| seen(body)).collect::<Vec<_>>());
    let (paid, settled) = (invoice("PAID", "1000", 1), invoice("SETTLED", "1000", 2));
    assert_eq!(of(&[paid.clone(), settled]), [false, false]);
    let other = invoice("SETTLED", "1", 2);
    assert_eq!(of(&[paid, other.clone(), other]), [false, true, false]);
    let captured = |captures: &[(&str, &str)]| payment("payment.capture", "SUCCEEDED", captures);
    assert_eq!(of(&[captured(&[("c1", "1")]), captured(&[("c1", "2")])]), [false, true]);
    let other_reference = captured(&[]).replace(r#""reference_id":"o""#, r#""reference_id":"p""#);
    assert_eq!(of(&[captured(&[]), other_reference]), [false, true]);
}

#[test]
fn a_total_that_is_not_the_sum_is_a_contradiction_and_so_is_each_further_amount() {
    let total = |paid: &str| {
        let mut seen = seen(&payment("payment.capture", "SUCCEEDED", &[]));
        seen.paid = Some(money(paid));
        seen
    };
    let part = |id: &str, amount: &str| seen(&payment("payment.capture", "SUCCEEDED", &[(id, amount)]));
    assert_eq!(contradicts(&[total("100"), part("c1", "60"), total("200")]), [false, true, true]);
    assert_eq!(contradicts(&[total("100"), part("c1", "60"), part("c1", "61")]), [false, true, true]);
    assert_eq!(contradicts(&[total("100"), part("c1", "60"), part("c2", "40")]), [false, true, false]);
    let whole = State::from(&total("100")).merge(State::from(&part("c1", "60"))).merge(State::from(&part("c2", "40")));
    assert_eq!(whole.paid_in_all(), Some(money("100")));
    let mut foreign = part("c2", "1");
    foreign.captures.insert("c2".to_owned(), "PHP 1".parse().unwrap());
    assert_eq!(contradicts(&[part("c1", "1"), foreign]), [false, true]);
}

#[test]
fn captures_are_summed_unless_they_are_in_doubt_or_differ_in_currency() {
    let captured = |captures: &[(&str, &str)]| state(&payment("payment.capture", "SUCCEEDED", captures));
    assert_eq!(captured(&[("c1", "0.1"), ("c2", "0.2")]).paid_in_all(), Some(money("0.3")));
    assert_eq!(captured(&[("c1", "1")]).merge(captured(&[("c1", "2")])).paid_in_all(), None);
    assert_eq!(captured(&[]).paid_in_all(), None);
    let unread = captured(&[("c1", "1"), ("c2", "null")]);
    assert_eq!((unread.captures.len(), unread.paid_in_all(), unread.has_conflicting_captures()), (2, None, false));
    assert_eq!(unread.clone().merge(captured(&[("c2", "2")])).paid_in_all(), Some(money("3")), "read at last");
    let total = State { paid: Stated::from(money("3")), ..unread };
    assert_eq!(total.paid_in_all(), Some(money("3")), "nothing contradicts it");
    let mut foreign = captured(&[("c1", "1"), ("c2", "2")]);
    foreign.captures.insert("c3".to_owned(), Stated::from("PHP 3".parse::<Money>().unwrap()));
    assert_eq!(foreign.paid_in_all(), None);
}

#[test]
fn more_captures_than_are_kept_leave_a_mark_and_put_the_sum_in_doubt() {
    let many: Vec<_> = (0..600).map(|n| (format!("cap-{n:0>60}"), "1")).collect();
    let parts: Vec<_> = many.iter().map(|(id, amount)| (id.as_str(), *amount)).collect();
    let fits = MAX_CAPTURE_BYTES / (64 + BYTES_PER_AMOUNT);
    let full = state(&payment("payment.capture", "SUCCEEDED", &parts[..fits]));
    assert_eq!((full.captures.len(), full.captures_overflow), (fits, false));
    assert_eq!(full.paid_in_all(), Some(money(&fits.to_string())));
    let over = state(&payment("payment.capture", "SUCCEEDED", &parts[..=fits]));
    assert_eq!((over.captures.len(), over.captures_overflow, over.paid_in_all()), (fits, true, None));
    assert!(over.contradicts_more_than(Some(&full)), "somebody has to look");
    let known = full.merge(over.clone());
    assert!(known.captures_overflow);
    assert_eq!(known.clone().merge(over), known, "and it stays like that");
    let capture = |id: &str, amount: &str| state(&payment("payment.capture", "SUCCEEDED", &[(id, amount)]));
    let known_to_lack_some = State { captures_overflow: true, ..capture("c1", "1") };
    assert_eq!(
        known_to_lack_some.clone().merge(capture("c2", "1")).captures.len(),
        1,
        "so that it does not matter which"
    );
    assert_eq!(known_to_lack_some.merge(capture("c1", "2")).captures["c1"].contradictions(), 1);
    let in_doubt = parts.iter().take(fits).map(|(id, _)| (*id, "2")).collect::<Vec<_>>();
    let doubted = known.merge(state(&payment("payment.capture", "SUCCEEDED", &in_doubt)));
    assert_eq!(
        doubted.captures.values().map(|it| it.answers().count()).sum::<usize>(),
        fits,
        "contradicting amounts count"
    );
}

#[test]
fn a_contradiction_is_not_hidden_by_one_that_ends() {
    let dispute = |minute: u32, amount: &str, reference: &str| {
        seen(&format!(
            r#"{{"event":"dispute.action_required","id":"d","status":"ACTION_REQUIRED","currency":"IDR","reference_id":"{reference}",
                "amount":{{"initial":"{amount}"}},"updated_at":"2026-01-02T03:{minute:02}:00Z"}}"#
        ))
    };
    let story = [dispute(1, "100", "o"), dispute(1, "101", "o"), dispute(2, "100", "p")];
    assert_eq!(contradicts(&story), [false, true, true], "a later amount, and another reference");
}

#[test]
fn another_amount_requested_is_a_contradiction() {
    let asked = |amount: &str| state(&invoice("PENDING", "null", 1).replace("1000", amount));
    let both = asked("1000").merge(asked("1001"));
    assert!(both.contradicts_more_than(Some(&asked("1000"))) && !both.contradicts_more_than(Some(&both)));
}

#[test]
fn a_mismatch_is_one_only_where_both_amounts_are_known_and_money_is_here() {
    let mismatch = |status, paid| {
        let state = state(&invoice(status, paid, 1));
        state.has_money() && state.differs_from_requested()
    };
    assert!(mismatch("PAID", "999.99") && mismatch("SETTLED", "1001"));
    assert!(!mismatch("PAID", "1000.00") && !mismatch("PAID", "null") && !mismatch("PENDING", "0"));
}
