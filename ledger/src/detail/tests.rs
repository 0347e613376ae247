use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{step, update};

/// The events of the last of some bodies that come one after the other.
fn events(bodies: &[&str]) -> Vec<DomainEvent> {
    let (mut known, mut events) = (None, Vec::new());
    for (n, body) in bodies.iter().enumerate() {
        let update = update(&format!("d-{n}"), body);
        let item = step(known.as_ref(), &update);
        let pending = item.pending_of(&update.delivery);
        events = pending.into_iter().map(|(id, it)| event(&item, id, it, &update, Body::Included)).collect();
        known = Some(item);
    }
    events
}

fn only(bodies: &[&str]) -> (DomainEvent, Value) {
    let event = events(bodies).pop().unwrap();
    let detail = serde_json::from_str(&event.detail).unwrap();
    (event, detail)
}

fn invoice(status: &str, paid: &str) -> String {
    format!(
        r#"{{"id":"inv-1","user_id":"acc-1","external_id":"order-1","merchant_name":"M","status":"{status}","amount":1000,"paid_amount":{paid},"currency":"IDR","payment_channel":"BCA","updated":"2026-01-02T03:00:00Z"}}"#
    )
}

fn payment(captures: &[(&str, &str)]) -> String {
    let captures: Vec<_> =
        captures.iter().map(|(id, amount)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#)).collect();
    format!(
        r#"{{"event":"payment.capture","business_id":"acc-1","data":{{"payment_id":"py-1","currency":"PHP","status":"SUCCEEDED","captures":[{}]}}}}"#,
        captures.join(",")
    )
}

#[test]
fn the_detail_is_what_consumers_are_promised() {
    let (expired, paid) = (invoice("EXPIRED", "null"), invoice("PAID", "1000.10"));
    let (event, detail) = only(&[&expired, &paid]);
    assert_eq!(event.detail_type, "invoice.paid");
    let expected = json!({
        "schema_version": 1,
        "id": event.id,
        "environment": "test",
        "source": "webhook",
        "account": "acc-1",
        "subject": { "kind": "invoice", "id": "inv-1" },
        "reference": "order-1",
        "phase": "paid",
        "previous_phase": "expired",
        "update": false,
        "event": "invoice",
        "status": "PAID",
        "channel": "BCA",
        "paid": { "amount": "1000.10", "currency": "IDR" },
        "requested": { "amount": "1000", "currency": "IDR" },
        "paid_late": true,
        "amount_mismatch": true,
        "occurred_at": "2026-01-02T03:00:00Z",
        "received_at": "2026-01-02T03:04:05.678Z",
        "delivery_id": "d-1",
        "token_label": "test",
        "version": 2,
        "body": serde_json::from_str::<Value>(&paid).unwrap(),
    });
    assert_eq!(detail, expected);
    let read = Detail::read(&event.detail).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), event.detail, "it is read as it was written");
    assert!(Detail::read(&event.detail.replace(r#""schema_version":1"#, r#""schema_version":2"#)).is_none());
}

#[test]
fn an_event_is_built_again_to_the_byte_after_the_item_has_moved_on() {
    let (first, second) = (update("d-1", &payment(&[("c1", "200")])), update("d-2", &payment(&[("c2", "300")])));
    let item = step(None, &first);
    let (id, pending) = item.pending_of(&first.delivery)[0];
    let before = event(&item, id, pending, &first, Body::Included);
    let stored: Item = serde_json::from_str(&serde_json::to_string(&step(Some(&item), &second)).unwrap()).unwrap();
    let (id, pending) = stored.pending_of(&first.delivery)[0];
    assert_eq!(event(&stored, id, pending, &first, Body::Included), before);
}

#[test]
fn amounts_are_published_digit_for_digit() {
    for amount in ["1000.10", "10000.01", "0.1", "1234567890123456.12345678", "0.00"] {
        let (event, _) = only(&[&invoice("PAID", amount)]);
        let expected = format!(r#""paid":{{"amount":"{amount}","currency":"IDR"}}"#);
        assert!(event.detail.contains(&expected), "{amount}: {}", event.detail);
        assert!(event.detail.contains(&format!(r#""paid_amount":{amount},"#)), "and in the body as they came");
    }
    let (_, detail) = only(&[&payment(&[("c0", "0.1"), ("c1", "0.2")])]);
    assert_eq!(detail["paid"], json!({ "amount": "0.3", "currency": "PHP" }));
    let captures = json!([
        { "id": "c0", "amount": "0.1", "currency": "PHP" },
        { "id": "c1", "amount": "0.2", "currency": "PHP" }
    ]);
    assert_eq!(detail["captures"], captures);
}

#[test]
fn a_conflict_lists_what_contradicts_the_first_that_was_known_first() {
    let amounts = |detail: &Value| -> Vec<String> {
        let amounts = detail["conflicting_amounts"].as_array().unwrap();
        amounts.iter().map(|it| it["amount"].as_str().unwrap().to_owned()).collect()
    };
    let (event, detail) = only(&[&invoice("PAID", "1000"), &invoice("PAID", "999")]);
    assert_eq!((event.detail_type.as_str(), amounts(&detail)), ("webhook.conflict", vec!["1000".into(), "999".into()]));
    assert_eq!((&detail["paid"], &detail["phase"]), (&Value::Null, &json!("paid")));
    assert_eq!((&detail["paid_late"], &detail["amount_mismatch"]), (&json!(false), &json!(false)));
    let total = r#"{"event":"payment.succeeded","business_id":"acc-1","data":{"id":"py-1","currency":"PHP","status":"SUCCEEDED","amount":100}}"#;
    let (_, detail) = only(&[total, &payment(&[("c1", "60")])]);
    assert_eq!(amounts(&detail), ["100", "60"], "a total that is not the sum of its captures");
}

#[test]
fn what_is_added_to_a_payment_by_its_void_keeps_that_the_money_was_late() {
    let wallet = |event: &str, status: &str, more: &str| {
        format!(
            r#"{{"event":"{event}","business_id":"acc-1","data":{{"id":"ewc_1","reference_id":"r","status":"{status}","currency":"IDR","charge_amount":1000,"channel_code":"ID_DANA"{more}}}}}"#
        )
    };
    let failed = wallet("ewallet.capture", "FAILED", r#","updated":"2026-01-02T03:00:00Z""#);
    let paid = wallet("ewallet.capture", "SUCCEEDED", r#","updated":"2026-01-02T04:00:00Z""#);
    let late = |event: &DomainEvent| serde_json::from_str::<Value>(&event.detail).unwrap()["paid_late"].clone();
    assert_eq!(events(&[&failed, &paid]).iter().map(late).collect::<Vec<_>>(), [json!(true)]);
    let more = r#","capture_amount":900,"void_status":"SUCCEEDED","voided_at":"2026-01-02T05:00:00Z","updated":"2026-01-02T05:00:00Z""#;
    let voided = events(&[&failed, &paid, &wallet("ewallet.void", "VOIDED", more)]);
    let mismatch =
        |event: &DomainEvent| serde_json::from_str::<Value>(&event.detail).unwrap()["amount_mismatch"].clone();
    let flags: Vec<_> = voided.iter().map(|it| (it.detail_type.as_str(), late(it), mismatch(it))).collect();
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(flags, [("payment.succeeded", yes.clone(), yes), ("payment.voided", no.clone(), no)]);
}

#[test]
fn a_detail_that_does_not_fit_with_its_body_leaves_it_out() {
    // As many captures as are kept, each with an id that JSON makes twice as long.
    let ids: Vec<_> = (0..214).map(|n| format!("{n}{}", r"\\".repeat(237))).collect();
    let captures: Vec<_> = ids.iter().map(|id| (id.as_str(), "1")).collect();
    let more = |bytes: usize| payment(&captures[..1]).replace("PHP", &format!(r#"PHP","note":"{}"#, "x".repeat(bytes)));
    for (bytes, omitted) in [(50 * 1024, false), (96_500, true)] {
        let all = [&payment(&captures[..107]), &payment(&captures[107..]), &more(bytes)];
        let (known, updates) = (step(None, &update("d-0", all[0])), [update("d-1", all[1]), update("d-2", all[2])]);
        let known = step(Some(&known), &updates[0]);
        let (id, pending) = known.pending_of(&updates[0].delivery)[0];
        let pending = Pending { delivery: "d-2".to_owned(), ..pending.clone() };
        let event = event(&known, id, &pending, &updates[1], Body::Included);
        assert_eq!(event.detail.contains("body_omitted"), omitted, "{bytes}: {}", event.detail.len());
        assert!(event.detail.len() <= MAX_DETAIL_BYTES, "{bytes}: {}", event.detail.len());
    }
}

#[test]
fn only_an_event_about_money_says_that_it_was_late() {
    let late = |bodies: &[&str]| only(bodies).1["paid_late"].clone();
    let (expired, paid, other) = (invoice("EXPIRED", "null"), invoice("PAID", "1000"), invoice("PAID", "1"));
    assert_eq!(late(&[&expired]), json!(false));
    assert_eq!(late(&[&expired, &paid]), json!(true));
    let (conflict, detail) = only(&[&expired, &paid, &other]);
    assert_eq!((conflict.detail_type.as_str(), &detail["paid_late"]), ("webhook.conflict", &json!(false)));
}

#[test]
fn money_that_is_announced_with_what_came_after_it_has_its_own_time() {
    let settled = invoice("SETTLED", "1000").replace('}', r#","paid_at":"2026-01-01T00:00:00Z"}"#);
    let times: Vec<_> = events(&[&settled])
        .iter()
        .map(|it| (it.detail_type.clone(), serde_json::from_str::<Value>(&it.detail).unwrap()["occurred_at"].clone()))
        .collect();
    let expected = [("invoice.paid", "2026-01-01T00:00:00Z"), ("invoice.settled", "2026-01-02T03:00:00Z")];
    assert_eq!(times, expected.map(|(event, time)| (event.to_owned(), json!(time))));
}

#[test]
fn a_delivery_that_publishes_another_ones_event_leaves_the_body_out() {
    let (first, mut second) = (update("d-1", &invoice("PAID", "1")), update("d-2", &invoice("PAID", "1")));
    let item = step(None, &first);
    second.delivery.received_at += SignedDuration::from_hours(30 * 24);
    let (id, pending) = item.pending_of(&second.delivery)[0];
    let detail: Value = serde_json::from_str(&event(&item, id, pending, &second, Body::Included).detail).unwrap();
    assert_eq!((&detail["body_omitted"], &detail["body"]), (&json!(true), &Value::Null));
    assert_eq!((&detail["delivery_id"], &detail["received_at"]), (&json!("d-1"), &json!(first.delivery.received_at)));
}

#[test]
fn a_body_that_does_not_fit_or_is_refused_is_left_out_and_marked() {
    let unknown = |bytes: usize| format!(r#"{{"event":"moon.landed","data":"{}"}}"#, "x".repeat(bytes));
    for (bytes, omitted) in [(90 * 1024, false), (96 * 1024, true)] {
        let (_, detail) = only(&[&unknown(bytes)]);
        assert_eq!((detail["body_omitted"] == true, detail["body"].is_null()), (omitted, omitted));
        assert_eq!(detail["event"], "moon.landed", "the rest is published all the same");
    }
    let update = update("d-1", &invoice("PAID", "1000"));
    let item = step(None, &update);
    let (id, pending) = item.pending_of(&update.delivery)[0];
    let refused = event(&item, id, pending, &update, Body::Refused);
    assert!(refused.detail.ends_with(r#""body_omitted":true}"#) && !refused.detail.contains(r#""body":"#));
    assert_eq!(refused.id, event(&item, id, pending, &update, Body::Included).id);
}

#[test]
fn more_captures_than_fit_are_left_out_and_marked() {
    let captures = |n: usize| -> Vec<(String, &str)> { (0..n).map(|n| (format!("cap-{n:0>500}"), "1")).collect() };
    let published = |n: usize| {
        let captures = captures(n);
        let parts: Vec<_> = captures.iter().map(|(id, amount)| (id.as_str(), *amount)).collect();
        only(&[&payment(&parts)])
    };
    let (_, few) = published(100);
    assert_eq!((few["captures"].as_array().unwrap().len(), &few["captures_omitted"]), (100, &Value::Null));
    let (event, many) = published(200);
    assert_eq!(many["captures_omitted"], true);
    let (_, unread) = only(&[&payment(&[("c0", "1"), ("c1", "null")])]);
    assert_eq!((unread["captures"].as_array().unwrap().len(), &unread["captures_omitted"]), (1, &Value::Bool(true)));
    assert_eq!((&unread["paid"], &unread["conflicting_amounts"]), (&Value::Null, &Value::Null));
    assert!(event.detail.len() <= MAX_DETAIL_BYTES);
}

#[test]
fn an_unrecognised_webhook_says_why() {
    let (event, detail) =
        only(&[r#"{"event":"payout.succeeded","business_id":"acc-1","data":{"status":"SUCCEEDED"}}"#]);
    assert_eq!(
        (event.detail_type.as_str(), &detail["unknown_reason"]),
        ("webhook.unknown", &json!("missing or malformed id"))
    );
    assert_eq!((&detail["subject"]["kind"], &detail["account"]), (&json!("unknown"), &json!("acc-1")));
}
