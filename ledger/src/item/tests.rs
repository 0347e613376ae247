use super::*;
use crate::fixture::{delivery, step as write, update};

fn invoice(status: &str) -> String {
    format!(
        r#"{{"id":"inv-1","user_id":"acc-1","external_id":"order-1","merchant_name":"M","status":"{status}",
            "amount":1000,"paid_amount":1000,"currency":"IDR"}}"#
    )
}

/// A virtual account that was updated in some minute of 2025.
fn account(minute: usize) -> String {
    format!(
        r#"{{"id":"va-1","is_closed":true,"account_number":"1","status":"ACTIVE","updated":"2025-01-02T{:02}:{:02}:00Z"}}"#,
        minute / 60,
        minute % 60
    )
}

#[test]
fn a_fresh_fact_makes_an_item_with_its_event_inside() {
    let item = write(None, &update("d-1", &invoice("PAID")));
    assert_eq!((item.key.as_str(), item.version, item.format), ("test#invoice#inv-1", 1, FORMAT));
    assert_eq!((item.reference.as_deref(), item.state.account.as_deref()), (Some("order-1"), Some("acc-1")));
    let pending = item.pending_of(&delivery("d-1"));
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].1.detail_type.as_str(), pending[0].1.version), ("invoice.paid", 1));
    assert!(item.pending_of(&delivery("d-2")).is_empty(), "it is another delivery's");
    let [entry] = &item.history[..] else { panic!("{:?}", item.history) };
    assert_eq!((entry.stage.as_str(), &*entry.delivery, &*entry.token), ("invoice.paid", "d-1", "test"));
}

#[test]
fn a_duplicate_and_the_past_write_nothing() {
    let known = write(None, &update("d-1", &invoice("PAID")));
    let step = |status| Item::step(Some(&known), &update("d-2", &invoice(status)));
    assert_eq!(step("PAID"), Ok(Step::Duplicate));
    assert_eq!(step("PENDING"), Ok(Step::Stale));
}

#[test]
fn a_change_that_adds_only_a_detail_is_kept_and_publishes_nothing() {
    let at = |minute| invoice("PAID").replace('}', &format!(r#","updated":"2026-01-02T03:{minute:02}:00Z"}}"#));
    let known = write(None, &update("d-1", &at(3)));
    let next = write(Some(&known), &update("d-2", &at(1)));
    assert_eq!((next.history[1].quiet, next.pending_of(&delivery("d-2")).len()), (true, 0));
}

#[test]
fn a_change_keeps_what_still_has_to_be_published_with_the_state_that_it_is_about() {
    let known = write(None, &update("d-1", &invoice("PENDING")));
    let next = write(Some(&known), &update("d-2", &invoice("PAID")));
    assert_eq!((next.version, next.outbox.len()), (2, 2));
    let (_, pending) = next.pending_of(&delivery("d-1"))[0];
    assert_eq!(pending.state.as_deref(), Some(&known.state));
    assert_eq!(next.pending_of(&delivery("d-2"))[0].1.state, None, "this one is about the state of now");
    let third = write(Some(&next), &update("d-3", &invoice("SETTLED")));
    assert_eq!(third.pending_of(&delivery("d-1"))[0].1.state.as_deref(), Some(&known.state), "and stays as it is");
}

#[test]
fn what_happened_first_is_published_first_and_a_conflict_last() {
    let paid = write(None, &update("d-1", &invoice("EXPIRED")));
    let settled = update("d-2", &invoice("SETTLED").replace(r#""external_id":"order-1""#, r#""external_id":"other""#));
    let next = write(Some(&paid), &settled);
    let types: Vec<_> = next.pending_of(&delivery("d-2")).into_iter().map(|(_, it)| it.detail_type.clone()).collect();
    assert_eq!(types, ["invoice.paid", "invoice.settled", "webhook.conflict"]);
    assert!(next.is_conflict_of("d-2") && !next.is_conflict_of("d-1"));
    assert_eq!(next.reference.as_deref(), Some("order-1"), "the index stays where it is");
}

#[test]
fn a_subject_is_in_the_index_of_open_ones_while_it_is() {
    let pending = write(None, &update("d-1", &invoice("PENDING")));
    assert_eq!((pending.open.as_deref(), pending.since), (Some("invoice"), Some(pending.history[0].received_at)));
    let stored = serde_json::to_value(&pending).unwrap();
    assert_eq!(stored["since"], "2026-01-02T03:04:05.678000Z", "the index sorts it as text");
    let mut more = update("d-2", &invoice("PENDING").replace('}', r#","payment_channel":"BCA"}"#));
    more.delivery.received_at += SignedDuration::from_hours(1);
    assert_eq!(write(Some(&pending), &more).since, pending.since, "since its first webhook");
    let paid = write(Some(&pending), &update("d-2", &invoice("PAID")));
    assert_eq!((paid.open, paid.since), (None, None));
}

#[test]
fn an_id_belongs_to_one_transition_whichever_delivery_brings_it() {
    let ids = |item: &Item| item.outbox.keys().cloned().collect::<Vec<_>>();
    let (one, other) = (write(None, &update("d-1", &invoice("PAID"))), write(None, &update("d-2", &invoice("PAID"))));
    assert_eq!(ids(&one), ids(&other));
    assert_eq!(ids(&one)[0].len(), 32);
    let settled = write(Some(&one), &update("d-3", &invoice("SETTLED")));
    let expired = write(None, &update("d-1", &invoice("EXPIRED")));
    let elsewhere = write(None, &update("d-1", &invoice("PAID").replace("inv-1", "inv-2")));
    let all: std::collections::BTreeSet<_> = [&one, &settled, &expired, &elsewhere].into_iter().flat_map(ids).collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn only_the_latest_changes_are_remembered_and_the_others_are_counted() {
    let mut item = write(None, &update("d-0", &account(0)));
    for minute in 1..=MAX_HISTORY + 5 {
        item = write(Some(&item), &update(&format!("d-{minute}"), &account(minute)));
        item.outbox.clear();
    }
    assert_eq!((item.history.len(), item.forgotten), (MAX_HISTORY, 6));
    assert_eq!(serde_json::to_value(&item).unwrap()["forgotten"], 6);
    let fresh = serde_json::to_value(write(None, &update("d-0", &account(0)))).unwrap();
    assert!(fresh.get("forgotten").is_none(), "what is zero takes no room");
    assert_eq!(item.history.first().unwrap().delivery, "d-6");
    assert_eq!(item.history.last().unwrap().delivery, format!("d-{}", MAX_HISTORY + 5));
}

#[test]
fn an_outbox_that_is_full_lets_the_queue_wait() {
    let mut item = write(None, &update("d-0", &account(0)));
    for minute in 1..MAX_PENDING {
        item = write(Some(&item), &update(&format!("d-{minute}"), &account(minute)));
    }
    assert_eq!(item.outbox.len(), MAX_PENDING);
    assert!(serde_json::to_string(&item).unwrap().len() < 400 * 1024, "an item of DynamoDB holds 400 KB");
    let next = update("d-x", &account(MAX_PENDING));
    assert_eq!(Item::step(Some(&item), &next), Err(NotApplied::OutboxFull));
    item.outbox.pop_first();
    write(Some(&item), &next);
}

#[test]
fn a_crowded_outbox_is_published_by_the_next_delivery() {
    let mut item = write(None, &update("d-0", &account(0)));
    for minute in 1..MANY_PENDING {
        item = write(Some(&item), &update(&format!("d-{minute}"), &account(minute)));
    }
    assert_eq!(
        (item.pending_of(&delivery("d-0")).len(), item.outbox.len()),
        (1, MANY_PENDING),
        "each publishes its own"
    );
    let next = write(Some(&item), &update("d-x", &account(MANY_PENDING)));
    let order: Vec<_> = next.pending_of(&delivery("d-x")).iter().map(|(_, pending)| pending.delivery.clone()).collect();
    assert_eq!((order[0].as_str(), order[1].as_str(), order.len()), ("d-0", "d-1", MANY_PENDING + 1));
    assert!(next.pending_of(&delivery("d-0")).is_empty(), "and nobody else does");
}

#[test]
fn what_no_message_can_publish_any_more_is_published_by_the_next_delivery() {
    let item = write(None, &update("d-1", &invoice("PAID")));
    let resent = |days: i64| {
        let received_at = delivery("d-2").received_at + SignedDuration::from_hours(days * 24);
        Delivery { received_at, ..delivery("d-2") }
    };
    assert!(item.pending_of(&resent(18)).is_empty(), "its own message may still be in the dead-letter queue");
    let abandoned = item.pending_of(&resent(21));
    assert_eq!(abandoned.len(), 1);
    assert_eq!((abandoned[0].1.delivery.as_str(), abandoned[0].1.received_at), ("d-1", delivery("d-1").received_at));
    let next = write(Some(&item), &Update { delivery: resent(21), ..update("d-2", &invoice("SETTLED")) });
    let types: Vec<_> = next.pending_of(&resent(21)).into_iter().map(|(_, it)| it.detail_type.clone()).collect();
    assert_eq!(types, ["invoice.paid", "invoice.settled"], "and so by a change");
}

#[test]
fn states_that_do_not_fit_beside_waiting_events_are_left_out() {
    let large = |id: usize| {
        let captures: Vec<_> =
            (0..400).map(|n| format!(r#"{{"capture_id":"cap-{id}-{n:0>60}","capture_amount":1}}"#)).collect();
        format!(
            r#"{{"event":"payment.capture","data":{{"payment_id":"p","currency":"IDR","captures":[{}]}}}}"#,
            captures.join(",")
        )
    };
    let mut item = write(None, &update("d-0", &large(0)));
    for n in 1..12 {
        let reference = format!(r#""reference_id":"r-{n}","payment_id""#);
        item = write(Some(&item), &update(&format!("d-{n}"), &large(0).replace(r#""payment_id""#, &reference)));
    }
    assert_eq!(item.outbox.len(), 10, "the captures, the reference, and conflicts until one more tells nothing new");
    assert!(item.outbox.values().any(|pending| pending.state.is_some()));
    assert!(item.outbox.values().filter(|pending| pending.state.is_none()).count() > 1);
    assert!(serde_json::to_string(&item).unwrap().len() < 300 * 1024);
}

/// What an older deployment must be able to read: a change here needs another format.
#[test]
fn the_stages_of_the_format_are_these() {
    let stages: Vec<_> = Stage::ALL.iter().map(|stage| stage.as_str()).collect();
    let digest = hex::encode(Sha256::digest(stages.join(" ")));
    assert_eq!(
        (FORMAT, stages.len(), &digest[..16]),
        (1, 89, "849c76b92cbe87e3"),
        "raise FORMAT, then write the new numbers here"
    );
}

#[test]
fn a_bound_token_changes_no_subject_of_another_account_by_leaving_the_account_out() {
    let known = write(None, &update("d-1", &invoice("PENDING")));
    let nameless = invoice("PAID").replace(r#""user_id":"acc-1","#, r#""user_id":"","#);
    let bound = |accounts: &str| update("d-2", &nameless).bound_to(Some([accounts.to_owned()].into()));
    assert_eq!(Item::step(Some(&known), &bound("acc-2")), Err(NotApplied::OtherAccount));
    assert!(matches!(Item::step(Some(&known), &bound("acc-1")), Ok(Step::Write(_))));
}

#[test]
fn an_item_survives_being_stored() {
    let known = write(None, &update("d-1", &invoice("PENDING")));
    let item = write(Some(&known), &update("d-2", &invoice("PAID")));
    assert_eq!(serde_json::from_str::<Item>(&serde_json::to_string(&item).unwrap()).unwrap(), item);
}
