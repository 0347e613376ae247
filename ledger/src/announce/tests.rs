use shared::{
    canary,
    lifecycle::{InvoicePhase, Kind, Order},
    observation::Observation,
    webhook::{Webhook, catalogue},
};

use super::*;

fn seen(body: &str) -> Observation {
    Webhook::parse(body.as_bytes(), None).unwrap().observe()
}

/// What is announced with each of some observations that come one after the other: types, and a `+` for an update.
fn announced(observations: &[Observation]) -> Vec<Vec<String>> {
    let mut known: Option<State> = None;
    let mut all = Vec::new();
    for seen in observations {
        let after = known.clone().map_or_else(|| State::from(seen), |known| known.merge(State::from(seen)));
        let written = |it: &Announcement| format!("{}{}", it.about.detail_type(), if it.update { "+" } else { "" });
        all.push(announce(known.as_ref(), &after).iter().map(written).collect());
        known = Some(after);
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
fn skipped_money_is_announced_first() {
    assert_eq!(bodies(&[invoice("SETTLED", "1000")]), [["invoice.paid", "invoice.settled"]]);
    let after_expiry = [invoice("EXPIRED", "null"), invoice("SETTLED", "1000"), invoice("PAID", "1000")];
    assert_eq!(bodies(&after_expiry), [vec!["invoice.expired"], vec!["invoice.paid", "invoice.settled"], vec![]]);
    let first = announce(None, &State::from(&seen(&invoice("SETTLED", "1000"))));
    let previous: Vec<_> = first.iter().map(|it| it.previous.map(Stage::phase)).collect();
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
    assert_eq!(bodies(&again)[2..], [vec![], vec!["invoice.settled".to_owned()]], "a conflict is published once");
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
fn a_further_capture_whose_amount_cannot_be_read_is_no_duplicate() {
    let unread = [
        captured(&[("c1", "200")]),
        captured(&[("c1", "200"), ("c2", "null")]),
        captured(&[("c1", "200"), ("c2", "null")]),
        captured(&[("c2", "300")]),
    ];
    let updated = vec!["payment.succeeded+".to_owned()];
    assert_eq!(bodies(&unread)[1..], [updated.clone(), vec![], updated]);
}

#[test]
fn captures_that_add_up_to_a_known_total_publish_nothing() {
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
    assert_eq!(announced(&[bare, with_request])[1], Vec::<String>::new(), "nothing that a consumer needs");
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
fn an_unrecognised_webhook_is_announced_as_unknown() {
    assert_eq!(bodies(&[r#"{"event":"moon.landed"}"#.to_owned()]), [["webhook.unknown"]]);
}

#[test]
fn a_canary_publishes_nothing_not_even_a_contradiction() {
    let canary = |minute: u32| seen(&canary::body(format!("2026-01-02T03:{minute:02}:00Z").parse().unwrap()));
    let (mut first, mut second) = (canary(1), canary(2));
    assert_eq!(announced(&[first.clone(), second.clone(), first.clone()]), [[""; 0]; 3]);
    (first.reference, second.reference) = (Some("one".to_owned()), Some("another".to_owned()));
    assert_eq!(announced(&[first, second]), [[""; 0]; 2]);
}

// --- Every kind, every pair, every order ---

fn in_stage(stage: Stage) -> Observation {
    let mut seen = seen(&invoice("PENDING", "null"));
    let rank = Stage::ALL.iter().filter(|other| other.kind() == stage.kind() && **other < stage).count();
    (seen.stage, seen.requested) = (stage, Some("IDR 1000".parse().unwrap()));
    seen.occurred_at = Some(format!("2026-01-02T03:{rank:02}:00Z").parse().unwrap());
    seen.money_at = stage.money_stage().and(seen.occurred_at);
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

/// Subsets of a lifecycle of up to four phases: few subjects go through more, and all orders of ten are millions.
fn lifecycles(kind: Kind) -> Vec<Vec<Stage>> {
    let stages: Vec<_> = Stage::ALL.iter().copied().filter(|stage| stage.kind() == kind).collect();
    (1_u32..1 << stages.len())
        .filter(|set| set.count_ones() <= 4)
        .map(|set| stages.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, stage)| *stage).collect())
        .collect()
}

#[test]
fn in_any_order_the_last_stage_is_announced_once_and_so_is_its_money() {
    for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Unknown && kind.is_published()) {
        for lifecycle in lifecycles(*kind) {
            let last = *lifecycle.iter().max().unwrap();
            for order in permutations(&lifecycle) {
                let all = announced(&order.iter().copied().map(in_stage).collect::<Vec<_>>()).concat();
                let (updates, first_times): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.ends_with('+'));
                let count = |stage: Stage| first_times.iter().filter(|it| **it == stage.as_str()).count();
                assert_eq!(first_times.last().map(|it| it.as_str()), Some(last.as_str()), "{order:?}: {all:?}");
                assert_eq!(count(last), 1, "{order:?}: {all:?}");
                if let Some(money) = last.money_stage() {
                    assert_eq!(count(money), 1, "{order:?}: {all:?}");
                }
                assert!(first_times.iter().all(|it| *it != "webhook.conflict"), "{order:?}: {all:?}");
                // A stage goes unannounced only if a greater one came before.
                let mut greatest: Option<Stage> = None;
                let mut expected_updates = Vec::new();
                for (n, stage) in order.iter().enumerate() {
                    let is_news = greatest.is_none_or(|greatest| *stage > greatest);
                    let is_implied = lifecycle.iter().any(|it| it != stage && it.money_stage() == Some(*stage));
                    assert!(count(*stage) == 1 || !is_news && !is_implied, "{order:?}: {all:?}");
                    // An expiry that is received after the money makes it late, which updates what was announced.
                    let is_first_expiry = stage.is_given_up() && !order[..n].iter().any(|it| it.is_given_up());
                    if let Some(money) = greatest.and_then(Stage::money_stage).filter(|_| is_first_expiry) {
                        expected_updates.push(format!("{money}+"));
                        expected_updates.extend(greatest.filter(|it| *it != money).map(|it| format!("{it}+")));
                    }
                    greatest = greatest.max(Some(*stage));
                }
                assert!(updates.iter().copied().eq(&expected_updates), "{order:?}: {all:?}");
            }
        }
    }
}

#[test]
fn an_expiry_received_after_the_money_updates_the_money_event() {
    let at = |stage, time: &str| {
        let mut seen = in_stage(stage);
        seen.occurred_at = Some(time.parse().unwrap());
        seen.changed_at = seen.occurred_at;
        seen.money_at = seen.money_at.and(seen.occurred_at);
        seen
    };
    let paid = at(Stage::Invoice(InvoicePhase::Paid), "2026-01-02T10:00:00Z");
    let expired = at(Stage::Invoice(InvoicePhase::Expired), "2026-01-02T09:00:00Z");
    let expired_later = at(Stage::Invoice(InvoicePhase::Expired), "2026-01-02T11:00:00Z");
    assert_eq!(announced(&[expired.clone(), paid.clone()]), [["invoice.expired"], ["invoice.paid"]]);
    assert_eq!(
        announced(&[paid.clone(), expired.clone(), expired.clone()]),
        [vec!["invoice.paid"], vec!["invoice.paid+"], vec![]]
    );
    assert_eq!(announced(&[paid.clone(), expired_later.clone()])[1], Vec::<String>::new(), "the money was in time");
    let (mut undated, mut settled) = (paid, at(Stage::Invoice(InvoicePhase::Settled), "2026-01-03T09:00:00Z"));
    (undated.money_at, settled.money_at) = (None, expired.occurred_at);
    assert_eq!(
        announced(&[expired_later, undated, settled]),
        [vec!["invoice.expired"], vec!["invoice.paid"], vec!["invoice.paid+", "invoice.settled"]],
        "it looked late, and was not"
    );
}

// --- The page docs/order.md ---

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/order.md");

const INTRODUCTION: &str = "\
# In whatever order webhooks arrive

<!-- Written by `make docs` from the rules in ledger/src/announce.rs. -->

Xendit does not promise an order, and resends old webhooks. These tables say which domain events each pair of webhooks about
one subject publishes, in either order.

Find the row of the webhook that was received first (*none*: nothing is known yet) and the column of the one that arrives now.
The cell holds the types that are published, without their kind; **—** is a webhook that publishes nothing, because it is a
duplicate or older than what is known. Money that has arrived is announced exactly once, in any order: `invoice.settled`
alone publishes `invoice.paid` first. Once it is known to be returned (`voided`, `refunded`, `reversed`), it is not announced any
more.

A second event of the same type with `update: true`, marked `+` here, adds what was not known at first: an amount, a capture or a
reference; that the amount differs from the one requested (`amount_mismatch`); that the subject had expired, failed or been
canceled before the money came (`paid_late`). An amount or reference that contradicts the first publishes `webhook.conflict`.

Kinds that go back and forth (virtual accounts, payment methods, recurring plans, accounts, disputes and the like) are not
listed: the webhook with the later time is published, one with an earlier time is not. Kinds with a single phase, such as a
failed capture, are not listed either: the first webhook is published, and every further one is a duplicate.
";

/// What the second of two webhooks publishes, without the kind.
fn cell(first: Option<Stage>, then: Stage) -> String {
    let received: Vec<_> = first.into_iter().chain([then]).map(in_stage).collect();
    let published = announced(&received).pop().unwrap();
    let phases: Vec<_> = published.iter().map(|it| format!("`{}`", it.split_once('.').unwrap().1)).collect();
    if phases.is_empty() { "—".to_owned() } else { phases.join(", ") }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for kind in Kind::ALL {
        let is_known = |stage: &Stage| catalogue().any(|entry| entry.stages.contains(stage));
        let stages: Vec<_> =
            Stage::ALL.iter().copied().filter(|stage| stage.kind() == *kind && is_known(stage)).collect();
        if kind.order() == Order::ByTime || stages.len() < 2 {
            continue;
        }
        let row = |name: &str, cells: Vec<String>| format!("| {name} | {} |\n", cells.join(" | "));
        page.extend(["\n## ", kind.as_str(), "\n\n"]);
        page += &row("received first ↓ · arrives now →", stages.iter().map(|stage| stage.phase().to_owned()).collect());
        page.extend(["|---|", &"---|".repeat(stages.len()), "\n"]);
        for first in [None].into_iter().chain(stages.iter().copied().map(Some)) {
            let name = first.map_or("*none*", Stage::phase);
            page += &row(name, stages.iter().map(|then| cell(first, *then)).collect());
        }
    }
    page
}

#[test]
fn the_page_on_order_says_what_is_announced() {
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    assert!(std::fs::read_to_string(PAGE).unwrap_or_default() == page(), "run `make docs`");
}
