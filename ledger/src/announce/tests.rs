use shared::{lifecycle::Kind, observation::Observation, webhook::Webhook};

use super::*;
use crate::change::{Change, Transition};

fn seen(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
}

/// What is announced with each of some observations that come one after the other: types, and a `+` for an update.
fn announced(observations: &[Observation]) -> Vec<Vec<String>> {
    let mut known: Option<State> = None;
    let mut all = Vec::new();
    for seen in observations {
        let transition = match &known {
            None => Some(Transition::first(seen)),
            Some(state) => match Change::of(state, seen) {
                Change::Known(transition) => Some(*transition),
                Change::Duplicate | Change::Stale => None,
            },
        };
        let written = |it: &Announcement| format!("{}{}", it.topic.detail_type(), if it.update { "+" } else { "" });
        all.push(transition.iter().flat_map(|it| it.announcements.iter().map(written)).collect());
        known = transition.map(|it| it.after).or(known);
    }
    all
}

fn bodies(bodies: &[String]) -> Vec<Vec<String>> {
    announced(&bodies.iter().map(|body| seen(body)).collect::<Vec<_>>())
}

fn invoice(status: &str, paid: &str) -> String {
    format!(
        r#"{{"id":"i","user_id":"a","external_id":"o","merchant_name":"M","status":"{status}","amount":1000,
            "paid_amount":{paid},"currency":"IDR"}}"#
    )
}

fn captured(captures: &[(&str, &str)]) -> String {
    let captures: Vec<_> =
        captures.iter().map(|(id, amount)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#)).collect();
    format!(
        r#"{{"event":"payment.capture","data":{{"payment_id":"py-1","reference_id":"o","currency":"IDR",
            "request_amount":500,"captures":[{}]}}}}"#,
        captures.join(",")
    )
}

#[test]
fn each_stage_is_announced_once() {
    let pending_paid = [invoice("PENDING", "null"), invoice("PAID", "1000"), invoice("PAID", "1000")];
    assert_eq!(bodies(&pending_paid), [vec!["invoice.pending"], vec!["invoice.paid"], vec![]]);
}

#[test]
fn money_that_nobody_heard_of_comes_before_what_follows_it() {
    assert_eq!(bodies(&[invoice("SETTLED", "1000")]), [["invoice.paid", "invoice.settled"]]);
    let after_expiry = [invoice("EXPIRED", "null"), invoice("SETTLED", "1000"), invoice("PAID", "1000")];
    assert_eq!(bodies(&after_expiry), [vec!["invoice.expired"], vec!["invoice.paid", "invoice.settled"], vec![]]);
    let first = Transition::first(&seen(&invoice("SETTLED", "1000")));
    let previous: Vec<_> = first.announcements.iter().map(|it| it.previous.map(Stage::phase)).collect();
    assert_eq!(previous, [None, Some("paid")]);
}

#[test]
fn an_amount_that_becomes_known_updates_the_money_event_and_the_stage() {
    let silent = [invoice("PAID", "null"), invoice("PAID", "1000")];
    assert_eq!(bodies(&silent), [["invoice.paid"], ["invoice.paid+"]]);
    let settled = [invoice("SETTLED", "null"), invoice("PAID", "1000")];
    assert_eq!(bodies(&settled)[1], ["invoice.paid+", "invoice.settled+"]);
    let with_the_stage = [invoice("PAID", "null"), invoice("SETTLED", "1000")];
    assert_eq!(bodies(&with_the_stage)[1], ["invoice.paid+", "invoice.settled"]);
}

#[test]
fn another_amount_is_a_conflict_and_no_second_money_event() {
    assert_eq!(bodies(&[invoice("PAID", "1000"), invoice("PAID", "999")])[1], ["webhook.conflict"]);
    assert_eq!(
        bodies(&[invoice("PAID", "1000"), invoice("SETTLED", "999")])[1],
        ["invoice.settled", "webhook.conflict"]
    );
    let again = [invoice("PAID", "1000"), invoice("PAID", "999"), invoice("PAID", "1000"), invoice("SETTLED", "999")];
    assert_eq!(bodies(&again)[2..], [vec![], vec!["invoice.settled".to_owned()]], "a conflict is told once");
}

#[test]
fn one_more_capture_is_an_update_even_while_another_is_in_doubt() {
    let story = [
        captured(&[("c1", "200")]),
        captured(&[("c1", "200"), ("c2", "300")]),
        captured(&[("c1", "201")]),
        captured(&[("c3", "1")]),
    ];
    assert_eq!(
        bodies(&story),
        [["payment.succeeded"], ["payment.succeeded+"], ["webhook.conflict"], ["payment.succeeded+"]]
    );
}

#[test]
fn captures_that_add_up_to_a_known_total_are_no_news() {
    let total = |paid: Option<&str>, captures: &[(&str, &str)]| {
        let mut seen = seen(&captured(captures));
        seen.paid = paid.map(|paid| paid.parse().unwrap());
        seen
    };
    let forward = announced(&[total(Some("IDR 500"), &[]), total(None, &[("c1", "500")])]);
    let backward = announced(&[total(None, &[("c1", "500")]), total(Some("IDR 500"), &[])]);
    assert_eq!((&forward[1], &backward[1]), (&vec![], &vec![]));
    let parts = announced(&[total(Some("IDR 500"), &[]), total(None, &[("c1", "1")]), total(None, &[("c2", "499")])]);
    assert_eq!(parts[1..], [["webhook.conflict"], ["payment.succeeded+"]], "in doubt, and resolved");
}

#[test]
fn a_reference_and_a_mismatch_that_become_known_are_updates() {
    let mut bare = seen(&captured(&[("c1", "1")]));
    (bare.reference, bare.requested) = (None, None);
    let mut with_reference = bare.clone();
    with_reference.reference = Some("o".to_owned());
    let mut with_request = bare.clone();
    with_request.requested = Some("IDR 500".parse().unwrap());
    assert_eq!(announced(&[bare.clone(), with_reference])[1], ["payment.succeeded+"]);
    assert_eq!(announced(&[bare.clone(), with_request.clone()])[1], ["payment.succeeded+"], "1 of 500 was paid");
    with_request.requested = Some("IDR 1".parse().unwrap());
    assert_eq!(announced(&[bare, with_request])[1], Vec::<String>::new(), "nobody has to hear of it");
}

#[test]
fn a_second_time_in_the_same_stage_is_announced_and_is_no_update() {
    let cycle = |count: u32| {
        seen(&format!(
            r#"{{"event":"recurring.cycle.retrying","data":{{"id":"r","status":"RETRYING","attempt_count":{count}}}}}"#
        ))
    };
    assert_eq!(
        announced(&[cycle(1), cycle(2), cycle(1)]),
        [vec!["recurring_cycle.retrying"], vec!["recurring_cycle.retrying"], vec![]]
    );
}

#[test]
fn what_is_not_understood_is_announced_as_unknown() {
    assert_eq!(bodies(&[r#"{"event":"moon.landed"}"#.to_owned()]), [["webhook.unknown"]]);
}

// --- Every kind, every pair, every order ---

fn in_stage(stage: Stage) -> Observation {
    let mut seen = seen(&invoice("PENDING", "null"));
    let rank = Stage::ALL.iter().filter(|other| other.kind() == stage.kind() && **other < stage).count();
    (seen.stage, seen.requested) = (stage, Some("IDR 1000".parse().unwrap()));
    seen.occurred_at = Some(format!("2026-01-02T03:{rank:02}:00Z").parse().unwrap());
    seen.paid = stage.moved_money().then(|| "IDR 1000".parse().unwrap());
    seen
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let insert = |order: &Vec<T>, at: usize| {
        let mut order = order.clone();
        order.insert(at, first.clone());
        order
    };
    permutations(rest).iter().flat_map(|order| (0..=order.len()).map(move |at| insert(order, at))).collect()
}

/// Subsets of a lifecycle of up to five phases: no subject goes through more, and all orders of ten are millions.
fn lifecycles(kind: Kind) -> Vec<Vec<Stage>> {
    let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == kind).collect();
    (1_u32..1 << stages.len())
        .filter(|set| set.count_ones() <= 5)
        .map(|set| stages.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, stage)| *stage).collect())
        .collect()
}

#[test]
fn in_whatever_order_facts_come_the_last_stage_is_announced_and_money_that_is_here_exactly_once() {
    for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Unknown) {
        for lifecycle in lifecycles(*kind) {
            let last = *lifecycle.iter().max().unwrap();
            for order in permutations(&lifecycle) {
                let told: Vec<_> =
                    announced(&order.iter().copied().map(in_stage).collect::<Vec<_>>()).into_iter().flatten().collect();
                let count = |stage: Stage| told.iter().filter(|it| *it == stage.as_str()).count();
                assert_eq!(told.last().map(String::as_str), Some(last.as_str()), "{order:?}: {told:?}");
                assert_eq!(count(last), 1, "{order:?}: {told:?}");
                if let Some(money) = last.money_stage() {
                    assert_eq!(count(money), 1, "{order:?}: {told:?}");
                }
                assert!(told.iter().all(|it| !it.ends_with('+') && it != "webhook.conflict"), "{order:?}: {told:?}");
                // Nothing that was in order is left out: a stage is not announced only if a greater one came before.
                let mut greatest = None;
                for stage in &order {
                    let is_news = greatest.is_none_or(|greatest| *stage > greatest);
                    let is_implied = lifecycle.iter().any(|it| it != stage && it.money_stage() == Some(*stage));
                    assert!(count(*stage) == 1 || !is_news && !is_implied, "{order:?}: {told:?}");
                    greatest = greatest.max(Some(*stage));
                }
            }
        }
    }
}
