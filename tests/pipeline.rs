//! Stories through both functions, from the HTTP request to what the merchant hears: post, pump, look.

#![expect(clippy::unwrap_used, reason = "test code: a surprise has to end the test")]

use std::collections::BTreeSet;

use jiff::SignedDuration;
use lambda_http::http::Request;
use ledger::item::Item;
use receiver::verify::TOKEN_HEADER;
use serde_json::{Value, json};
use shared::envelope::{Envelope, Environment, MAX_QUEUED_BYTES};
use tests::{
    fixture::{self, LOCAL_TOKEN},
    memory::Parked,
    story::{Posting, Story},
    trouble::{BusMood, InboxMood, LedgerMood, QueueMood, SourceMood},
};

/// An invoice over 1000 rupiah.
fn invoice(id: &str, status: &str) -> String {
    paid_invoice(id, status, "1000")
}

fn paid_invoice(id: &str, status: &str, paid_amount: &str) -> String {
    format!(
        r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-of-{id}","merchant_name":"M","status":"{status}",
            "amount":1000,"paid_amount":{paid_amount},"currency":"IDR","updated":"2026-01-02T03:00:00Z"}}"#
    )
}

/// A payment of 500 pesos with captures, each an id and an amount.
fn payment(captures: &[(&str, &str)]) -> String {
    let capture = |(id, amount): &(&str, &str)| format!(r#"{{"capture_id":"{id}","capture_amount":{amount}}}"#);
    let captures: Vec<_> = captures.iter().map(capture).collect();
    format!(
        r#"{{"event":"payment.capture","business_id":"acc-1","created":"2026-01-02T03:00:00Z","data":{{
            "payment_id":"py-1","reference_id":"order-1","currency":"PHP","request_amount":500,"status":"SUCCEEDED",
            "captures":[{}],"updated":"2026-01-02T03:00:00Z"}}}}"#,
        captures.join(",")
    )
}

fn payout(event: &str, status: &str) -> String {
    format!(
        r#"{{"event":"{event}","business_id":"acc-1","created":"2026-01-02T03:00:00Z","data":{{
            "id":"disb-1","reference_id":"salary-1","amount":10000,"currency":"IDR","status":"{status}",
            "updated":"2026-01-02T03:00:00Z"}}}}"#
    )
}

/// A sealed envelope of another stack.
fn envelope_of(environment: Environment, body: &str) -> String {
    let delivery = serde_json::from_value(json!({
        "id": "d-other", "received_at": "2026-01-02T03:04:05Z", "environment": environment, "token": "live"
    }));
    Envelope { delivery: delivery.unwrap(), body: body.as_bytes().to_vec() }.seal()
}

fn distinct(ids: impl IntoIterator<Item = String>) -> usize {
    ids.into_iter().collect::<BTreeSet<_>>().len()
}

/// Everything but what tells one delivery from another.
fn facts(items: Vec<Item>) -> Vec<Value> {
    let fact = |item: Item| {
        assert!(item.outbox.is_empty(), "{} still has to publish something", item.key);
        json!({ "key": item.key, "state": item.state })
    };
    items.into_iter().map(fact).collect()
}

// --- What happens every day ---

#[tokio::test(start_paused = true)]
async fn an_invoice_that_is_paid_is_told_once() {
    let story = Story::new();
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    story.pump().await;
    let event = story.only_event();
    assert_eq!(event.detail_type, "invoice.paid");
    assert_eq!(event.detail["paid"], json!({"amount": "1000", "currency": "IDR"}));
    assert_eq!(event.detail["reference"], "order-of-inv-1");
    assert_eq!(event.detail["previous_phase"], Value::Null);
    assert_eq!(event.detail["paid_late"], false);
    let item = story.item();
    assert_eq!(item.key.as_str(), "test#invoice#inv-1");
    assert!(item.outbox.is_empty());
    assert_eq!(item.history.len(), 1);
    assert_eq!(story.queue.depth(), 0);
    assert_eq!(story.ledger.calls(), ["insert", "clear"], "a fresh fact costs two writes");
}

#[tokio::test(start_paused = true)]
async fn the_answer_the_ledger_and_the_event_name_one_delivery() {
    let story = Story::new();
    let answer = story.send(Posting::of(invoice("inv-1", "PAID"))).await;
    let answer: Value = serde_json::from_str(answer.body()).unwrap();
    story.pump().await;
    assert_eq!(answer["id"], story.only_event().detail["delivery_id"]);
    assert_eq!(answer["id"], story.item().history[0].delivery.as_str());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_twice_is_told_once() {
    let story = Story::new();
    for _ in 0..2 {
        story.post(invoice("inv-1", "PAID")).await;
        story.pump().await;
    }
    story.only_event();
    assert_eq!(story.item().history.len(), 1);
    assert_eq!(story.ledger.calls(), ["insert", "clear", "insert"], "a duplicate costs one refused write");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_twice_in_one_batch_is_told_once() {
    let story = Story::new();
    for _ in 0..3 {
        story.post(invoice("inv-1", "PAID")).await;
    }
    story.drain().await;
    story.only_event();
    assert_eq!(story.item().history.len(), 1);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_twice_at_the_same_time_is_told_once() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.pump_two_at_once().await;
    story.drain().await;
    story.only_event();
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_different_facts_at_the_same_time_are_both_told() {
    let story = Story::new();
    story.post(payment(&[("cap-1", "200")])).await;
    story.post(payment(&[("cap-2", "300")])).await;
    story.pump_two_at_once().await;
    story.drain().await;
    assert_eq!(story.item().state.captures.len(), 2);
    assert_eq!(distinct(story.published().into_iter().map(|event| event.id)), 2);
    assert_eq!(story.told().len(), 2, "each is told once");
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_sent_again_after_a_year_is_told_no_more() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    story.wait(366 * 24 * 3600);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn every_bundled_body_sent_twice_in_any_way_is_one_item_and_one_set_of_events() {
    for (name, body) in fixture::webhooks() {
        let once = Story::new();
        once.post(&body).await;
        once.pump().await;
        let story = Story::new();
        let ways = [
            Posting::of(&body).with("webhook-id", "wh-1"),
            Posting::of(&body).with("webhook-id", "wh-2"),
            Posting::of(&body).without(TOKEN_HEADER).with("X-CALLBACK-TOKEN", LOCAL_TOKEN),
            Posting::of(&body).without(TOKEN_HEADER).with("X-Callback-Token", LOCAL_TOKEN).with("Webhook-Id", "wh-3"),
            Posting::of(&body).to("/webhook/a_topic_of_no_product"),
        ];
        for posting in ways {
            assert_eq!(story.send(posting).await.status(), 200, "{name}");
            story.drain().await;
        }
        assert_eq!(facts(story.ledger.items()), facts(once.ledger.items()), "{name}");
        let ids = |story: &Story| story.published().into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&story), ids(&once), "{name}");
        assert_eq!(story.item().version, once.item().version, "{name}");
        assert!(story.parked().is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn news_in_the_wrong_order_end_in_the_same_state() {
    let forward = Story::new();
    let backward = Story::new();
    for status in ["PENDING", "PAID", "SETTLED"] {
        forward.post(invoice("inv-1", status)).await;
        forward.pump().await;
    }
    for status in ["SETTLED", "PAID", "PENDING"] {
        backward.post(invoice("inv-1", status)).await;
        backward.pump().await;
    }
    assert_eq!(facts(forward.ledger.items()), facts(backward.ledger.items()));
    assert_eq!(forward.told(), ["invoice.pending", "invoice.paid", "invoice.settled"]);
    assert_eq!(backward.told(), ["invoice.paid", "invoice.settled"], "an older fact is not news, but money is");
    let previous = |story: &Story| -> Vec<_> {
        story.published().iter().map(|event| event.detail["previous_phase"].clone()).collect()
    };
    assert_eq!(previous(&forward), [json!(null), json!("pending"), json!("paid")]);
    assert_eq!(previous(&backward), [json!(null), json!("paid")]);
}

#[tokio::test(start_paused = true)]
async fn an_invoice_that_is_paid_after_it_expired_is_told_as_late() {
    let story = Story::new();
    for status in ["EXPIRED", "PAID"] {
        story.post(invoice("inv-1", status)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.expired", "invoice.paid"]);
    let paid = &story.published()[1].detail;
    assert_eq!((&paid["paid_late"], &paid["previous_phase"]), (&json!(true), &json!("expired")));
    story.post(invoice("inv-1", "EXPIRED")).await;
    story.pump().await;
    assert_eq!(story.item().state.stage.as_str(), "invoice.paid", "an expiry does not take money back");
}

#[tokio::test(start_paused = true)]
async fn two_captures_of_one_payment_are_summed_up() {
    let story = Story::new();
    story.post(payment(&[("cap-1", "200.10")])).await;
    story.pump().await;
    story.post(payment(&[("cap-1", "200.10"), ("cap-2", "299.90")])).await;
    story.pump().await;
    assert_eq!(story.told(), ["payment.succeeded", "payment.succeeded"]);
    let [first, second] = &story.published()[..] else { unreachable!() };
    assert_eq!(first.detail["paid"], json!({"amount": "200.10", "currency": "PHP"}));
    assert_eq!(first.detail["amount_mismatch"], true);
    assert_eq!(second.detail["paid"], json!({"amount": "500.00", "currency": "PHP"}));
    assert_eq!(second.detail["amount_mismatch"], false);
    assert!(first.id != second.id && first.detail["version"].as_u64() < second.detail["version"].as_u64());
}

#[tokio::test(start_paused = true)]
async fn a_payout_that_succeeded_can_still_be_reversed() {
    let story = Story::new();
    for (event, status) in [("payout.succeeded", "SUCCEEDED"), ("payout.reversed", "REVERSED")] {
        story.post(payout(event, status)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["payout.succeeded", "payout.reversed"]);
    assert_eq!(story.published()[1].detail["previous_phase"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn the_same_fact_with_another_amount_is_a_conflict_that_keeps_both() {
    let story = Story::new();
    for amount in ["1000", "999"] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.paid", "webhook.conflict"]);
    let conflict = &story.published()[1].detail;
    assert_eq!(
        conflict["conflicting_amounts"],
        json!([{"amount": "1000", "currency": "IDR"}, {"amount": "999", "currency": "IDR"}]),
        "the first that was known comes first"
    );
    assert_eq!(conflict["paid"], Value::Null, "nobody knows");
    let item = story.item();
    assert_eq!(item.state.paid.answers().count(), 2);
    assert!(item.history[1].conflict);
    // Told once, however often either of the two comes again.
    for amount in ["1000", "999", "1000"] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.told().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_amount_written_otherwise_is_no_conflict() {
    let story = Story::new();
    for amount in ["1000", "1000.00", "\"1000\""] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn a_capture_that_was_in_conflict_is_not_told_again_with_the_next_stage() {
    let story = Story::new();
    for amount in ["200", "201"] {
        story.post(payment(&[("cap-1", amount)])).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["payment.succeeded", "webhook.conflict"]);
    story.post(payment(&[("cap-1", "200"), ("cap-2", "300")])).await;
    story.pump().await;
    assert_eq!(story.told(), ["payment.succeeded", "webhook.conflict", "payment.succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_nobody_knows_is_published_with_its_body() {
    let story = Story::new();
    let body = r#"{"event":"moon.landed","business_id":"acc-1","data":{"crater":1.50}}"#;
    story.post(body).await;
    story.post(body).await;
    story.drain().await;
    let event = story.only_event();
    assert_eq!(event.detail_type, "webhook.unknown");
    assert_eq!(event.detail["event"], "moon.landed");
    assert_eq!(event.detail["unknown_reason"], "unknown event name");
    assert!(story.bus.published()[0].detail.contains(&format!(r#""body":{body}"#)), "as it came");
    assert_eq!(story.item().state.stage.as_str(), "unknown.received");
}

// --- What is refused at the door ---

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_nothing_is_stored() {
    let story = Story::new();
    let body = invoice("inv-1", "PAID");
    let wrong = [
        Posting::of(&body).without(TOKEN_HEADER),
        Posting::of(&body).without(TOKEN_HEADER).with(TOKEN_HEADER, ""),
        Posting::of(&body).without(TOKEN_HEADER).with(TOKEN_HEADER, "another-token-0123456789"),
        Posting::of(&body).with(TOKEN_HEADER, LOCAL_TOKEN),
        Posting::of(&body).without(TOKEN_HEADER).with("authorization", LOCAL_TOKEN),
    ];
    for posting in wrong {
        let answer = story.send(posting).await;
        assert_eq!((answer.status().as_u16(), answer.body().as_str()), (401, ""));
    }
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_path_or_method_is_for_nobody() {
    let story = Story::new();
    for (method, path, status) in [("POST", "/", 404), ("POST", "/webhook/a/b", 404), ("GET", "/webhook", 405)] {
        let request = Request::builder().method(method).uri(path).header(TOKEN_HEADER, LOCAL_TOKEN);
        let answer = story.request(request.body(Vec::new()).unwrap()).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
    }
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_and_an_inbox_that_both_refuse_are_a_503_with_nothing_in_it() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::Refuses);
    story.inbox.mood.is(InboxMood::Down);
    let answer = story.send(Posting::of(invoice("inv-1", "PAID"))).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (503, ""));
    assert_eq!((story.queue.depth(), story.inbox.depth()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_queue_refuses_is_kept_in_the_inbox_and_told_once() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    assert_eq!(story.inbox.depth(), 1);
    story.drain().await;
    assert_eq!(story.only_event().detail_type, "invoice.paid");
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_answer_is_lost_costs_a_duplicate_and_no_second_event() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::LosesReplies);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200, "the inbox has it for certain");
    assert_eq!(story.queue.depth(), 2);
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn answers_of_both_stores_that_are_lost_cost_duplicates_and_no_second_event() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::LosesReplies);
    story.inbox.mood.is(InboxMood::LosesReplies);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 503);
    story.queue.mood.is_well();
    story.inbox.mood.is_well();
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200, "Xendit sends it again");
    assert_eq!(story.queue.depth(), 3);
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_one_message_cannot_hold_comes_through_the_inbox_byte_for_byte() {
    let story = Story::new();
    let filler = |bytes: usize| format!(r#"{{"event":"x","data":"{}"}}"#, "x".repeat(bytes));
    for bytes in [MAX_QUEUED_BYTES - 1000, MAX_QUEUED_BYTES, 5_900_000] {
        assert_eq!(story.post(filler(bytes)).await, 200, "{bytes}");
    }
    assert_eq!((story.queue.depth(), story.inbox.depth()), (3, 2), "two claims and one envelope");
    story.drain().await;
    assert_eq!(story.told(), ["webhook.unknown"; 3]);
    assert_eq!(story.ledger.items().len(), 3, "no two bodies are taken for one");
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_down_delays_a_claim_and_loses_nothing() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    story.inbox.mood.is(InboxMood::Down);
    story.pump().await;
    assert_eq!((story.queue.depth(), story.source.delays().len()), (1, 1));
    story.inbox.mood.is_well();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_claim_to_what_is_gone_is_parked_with_its_reason() {
    let story = Story::new();
    story.queue.mood.is(QueueMood::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    story.inbox.expire();
    story.pump().await;
    assert_eq!(story.parked(), ["the claim cannot be redeemed: the object is gone"]);
}

#[tokio::test(start_paused = true)]
async fn the_test_that_s3_sends_when_it_is_set_up_is_no_webhook() {
    let story = Story::new();
    story.queue.put(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}"#);
    story.pump().await;
    assert_eq!((story.queue.depth(), story.parked().len(), story.told().len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn whatever_the_body_with_the_right_token_it_is_kept() {
    let bodies: [(&[u8], &str); 6] = [
        (b"", "the body is not JSON"),
        (b"not json", "the body is not JSON"),
        (b"[1]", "the body is JSON, but not an object"),
        (b"\xff\xfe", "the body is not UTF-8 text"),
        (b"\x1f\x8b\x08", "the body is not UTF-8 text"),
        ("{\"a\":\u{FFFF}".as_bytes(), "the body is not JSON"),
    ];
    for (body, reason) in bodies {
        let story = Story::new();
        assert_eq!(story.post(body).await, 200);
        story.drain().await;
        assert_eq!(story.parked(), [reason]);
        let parked = Envelope::open(&story.queue.dead()[0].body).unwrap();
        assert_eq!(parked.body, body, "byte for byte");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_nested_a_hundred_thousand_deep_ends_nothing() {
    let story = Story::new();
    let depth = 100_000;
    story.post(format!(r#"{{"event":"deep","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    assert!(story.told().contains(&"invoice.paid".to_owned()));
    assert_eq!(story.parked().len() + story.ledger.items().len(), 2, "it is kept, in one place or the other");
}

// --- Trouble in a batch ---

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_is_parked_with_its_reason_and_its_neighbours_succeed() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.queue.put("not an envelope");
    story.post(invoice("inv-2", "PAID")).await;
    let delivery = story.queue.receive(10).unwrap();
    let answer = story.invoke(&delivery).await.unwrap();
    assert_eq!(answer, r#"{"batchItemFailures":[]}"#, "all three are dealt with");
    assert_eq!(story.ledger.items().len(), 2);
    assert_eq!(story.told(), ["invoice.paid", "invoice.paid"]);
    let reason = Some("the message is not an envelope".to_owned());
    assert_eq!(story.queue.dead(), [Parked { body: "not an envelope".to_owned(), reason }]);
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_of_the_other_environment_is_parked() {
    let story = Story::new();
    story.queue.put(&envelope_of(Environment::Live, &invoice("inv-1", "PAID")));
    story.pump().await;
    assert_eq!(story.parked(), ["the webhook is from the live environment, and this is test"]);
    assert!(story.ledger.items().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_panics_touches_no_neighbour_and_is_parked_at_the_third_receive() {
    for port in ["ledger", "bus"] {
        let story = Story::new();
        match port {
            "ledger" => story.ledger.mood.is(LedgerMood::PanicsOn("inv-2")),
            _ => story.bus.mood.is(BusMood::PanicsOn("inv-2")),
        }
        for id in ["inv-1", "inv-2", "inv-3"] {
            story.post(invoice(id, "PAID")).await;
        }
        story.pump().await;
        // What went out with the poison before the panic goes out again by itself, under its id.
        assert_eq!(distinct(story.published().into_iter().map(|event| event.id)), 2, "{port}");
        assert_eq!(story.queue.depth(), 1, "{port}");
        assert_eq!(story.source.delays().len(), 1, "{port}");
        story.drain().await;
        assert_eq!(story.parked(), ["a bug: the code panicked on this message"], "{port}");
        assert_eq!(story.source.delays().len(), 2, "{port}");
        // Once the bug is mended, a redrive completes it.
        story.ledger.mood.is_well();
        story.bus.mood.is_well();
        story.queue.redrive();
        story.drain().await;
        assert_eq!(distinct(story.published().into_iter().map(|event| event.id)), 3, "{port}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_panics_on_one_message_touches_no_neighbour() {
    let story = Story::new();
    story.source.mood.is(SourceMood::PanicsOn("poison"));
    story.post(invoice("inv-1", "PAID")).await;
    let poison = story.queue.put("poison");
    story.post(invoice("inv-2", "PAID")).await;
    let delivery = story.queue.receive(10).unwrap();
    let answer = story.invoke(&delivery).await.unwrap();
    assert_eq!(answer, format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{poison}"}}]}}"#));
    assert_eq!(story.told().len(), 2);
    story.source.mood.is_well();
    story.drain().await;
    assert_eq!(story.parked(), ["the message is not an envelope"]);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_delays_ever_longer_and_loses_nothing() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    for _ in 0..5 {
        story.clock.turn_to(story.queue.next_at().unwrap());
        story.pump().await;
    }
    let delays = story.source.delays();
    assert_eq!(delays.len(), 5);
    assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
    assert_eq!(story.queue.depth(), 1);
    assert!(story.told().is_empty() && story.parked().is_empty());
    story.ledger.mood.is_well();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn what_keeps_failing_is_parked_with_its_reason_and_a_redrive_completes_it() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    let start = story.clock.now();
    story.drain().await;
    assert_eq!(story.parked(), ["the ledger did not answer: timeout"]);
    assert_eq!(story.source.delays().len(), 7, "parked at the eighth receive");
    let minutes = story.clock.now().duration_since(start).as_mins();
    assert!((20..60).contains(&minutes), "{minutes}");
    story.ledger.mood.is_well();
    story.queue.redrive();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn what_the_ledger_can_never_take_is_parked_at_once() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::Refuses("inv-1"));
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-2", "PAID")).await;
    story.pump().await;
    assert_eq!(story.parked(), ["the ledger refuses the item: ValidationException"]);
    assert!(story.source.delays().is_empty());
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_queue_that_is_down_leaves_the_message_where_it_is() {
    let story = Story::new();
    story.source.mood.is(SourceMood::CannotPark);
    story.queue.put("not an envelope");
    story.pump().await;
    assert_eq!((story.queue.depth(), story.parked().len()), (1, 0));
    story.source.mood.is_well();
    story.drain().await;
    assert_eq!(story.parked(), ["the message is not an envelope"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_postponed_comes_again_after_its_visibility_timeout() {
    let story = Story::new();
    story.source.mood.is(SourceMood::CannotPostpone);
    story.ledger.mood.is(LedgerMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert_eq!(story.queue.depth(), 1);
    let wait = story.queue.next_at().unwrap().duration_since(story.clock.now());
    assert_eq!(wait, SignedDuration::from_secs(180));
    story.ledger.mood.is_well();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_nearly_out_of_time_is_handed_back_untouched() {
    let story = Story::new();
    for id in ["inv-1", "inv-2"] {
        story.post(invoice(id, "PAID")).await;
    }
    let delivery = story.queue.receive(10).unwrap();
    let soon = story.clock.now().checked_add(SignedDuration::from_secs(5)).unwrap();
    let answer = story.invoke_until(soon, &delivery).await.unwrap();
    story.queue.settle(&delivery, Some(&answer));
    assert_eq!(story.queue.depth(), 2);
    assert!(story.ledger.calls().is_empty(), "nothing was begun");
    assert!(story.source.delays().iter().all(|delay| delay.as_secs() <= 1), "and it comes again at once");
    story.drain().await;
    assert_eq!(story.told(), ["invoice.paid", "invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_five_hundred_drains_with_each_told_once() {
    let story = Story::new();
    for n in 0..250 {
        story.post(invoice(&format!("inv-{n}"), "PAID")).await;
        story.post(invoice(&format!("inv-{n}"), "PAID")).await;
    }
    story.drain().await;
    assert_eq!(story.ledger.items().len(), 250);
    assert_eq!(story.told().len(), 250);
}

// --- Trouble between the write and the publication ---

#[tokio::test(start_paused = true)]
async fn what_a_bus_that_is_down_did_not_take_is_published_later_under_the_same_id() {
    let story = Story::new();
    story.bus.mood.is(BusMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(story.queue.depth(), 1, "the message is not done");
    story.bus.mood.is_well();
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_entry_that_the_bus_rejects_stays_in_the_outbox_and_goes_out_later() {
    let story = Story::new();
    story.post(payment(&[("cap-1", "200")])).await;
    story.pump().await;
    story.bus.mood.is(BusMood::Rejects("webhook.conflict"));
    // One more capture, and another amount for the first: two events at once.
    story.post(payment(&[("cap-1", "201"), ("cap-2", "300")])).await;
    story.pump().await;
    assert_eq!(story.told(), ["payment.succeeded", "payment.succeeded"]);
    let waiting: Vec<_> = story.item().outbox.into_iter().collect();
    assert_eq!(waiting.len(), 1, "only what was rejected waits");
    assert_eq!(waiting[0].1.detail_type, "webhook.conflict");
    story.bus.mood.is_well();
    story.drain().await;
    assert_eq!(story.told(), ["payment.succeeded", "payment.succeeded", "webhook.conflict"]);
    assert_eq!(story.published()[2].id, waiting[0].0);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_could_not_be_cleared_is_published_again_under_the_same_id() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::CannotClear);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert_eq!(story.queue.depth(), 1);
    story.ledger.mood.is_well();
    story.drain().await;
    assert_eq!(story.told().len(), 2, "at least once");
    assert_eq!(distinct(story.published().into_iter().map(|event| event.id)), 1);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_recognised_as_ones_own() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::LosesReplies);
    for status in ["PENDING", "PAID"] {
        story.post(invoice("inv-1", status)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.pending", "invoice.paid"]);
    assert!(story.source.delays().is_empty(), "nothing had to come again");
    assert_eq!(story.item().history.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_for_nobody_and_the_delivery_that_made_the_change_publishes_it() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    let first = story.queue.receive(1).unwrap();
    story.power.cut_at_step(2);
    story.invoke(&first).await;
    assert!(story.power.restore());
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    // Another delivery of the same fact, while the first run may still be publishing.
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert!(story.told().is_empty() && story.source.delays().is_empty(), "it is a duplicate, and done");
    assert_eq!(story.queue.depth(), 1, "the first message is still away");
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_wait_for_its_own_earlier_try() {
    let story = Story::new();
    story.bus.mood.is(BusMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    let start = story.clock.now();
    story.pump().await;
    story.bus.mood.is_well();
    story.drain().await;
    story.only_event();
    assert_eq!(story.source.delays().len(), 1, "one failure, one retry");
    assert!(story.clock.now().duration_since(start) <= SignedDuration::from_secs(6), "5 s at most, and no more");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_holds_nothing_up_for_ever() {
    let story = Story::new();
    story.bus.mood.is(BusMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.clock.turn(SignedDuration::from_mins(5));
    story.pump().await;
    story.bus.mood.is_well();
    // The next machine's clock is ten minutes behind the one that wrote.
    story.clock.turn(SignedDuration::from_mins(-10));
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    story.only_event();
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_write_and_the_publication_is_completed_under_the_same_id() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    // Step by step: before the write, after it, before the publication.
    story.power.cut_at_step(2);
    let delivery = story.queue.receive(10).unwrap();
    assert_eq!(story.invoke(&delivery).await, None, "the function died");
    assert!(story.power.restore());
    assert!(story.told().is_empty());
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    assert_eq!(waiting.len(), 1, "what has to be said is written");
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_the_publication_and_the_clearing_repeats_the_same_id() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.power.cut_at_step(4);
    let delivery = story.queue.receive(10).unwrap();
    assert_eq!(story.invoke(&delivery).await, None, "the function died");
    assert!(story.power.restore());
    assert_eq!(story.told().len(), 1, "it was published");
    assert_eq!(story.item().outbox.len(), 1, "and nobody knows");
    story.drain().await;
    assert_eq!(story.told().len(), 2);
    assert_eq!(distinct(story.published().into_iter().map(|event| event.id)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_the_processor_loses_nothing_and_gives_no_fact_two_ids() {
    let lifecycle =
        || [payment(&[("cap-1", "200")]), payment(&[("cap-1", "200")]), payment(&[("cap-2", "300")])].into_iter();
    let calm = Story::new();
    for body in lifecycle() {
        calm.post(body).await;
        calm.drain().await;
    }
    let mut step = 0;
    loop {
        let story = Story::new();
        let mut was_cut = false;
        for body in lifecycle() {
            story.post(body).await;
        }
        story.power.cut_at_step(step);
        let batches: Vec<_> = std::iter::from_fn(|| story.queue.receive(1)).collect();
        for batch in &batches {
            if story.invoke(batch).await.is_none() {
                was_cut = story.power.restore();
            }
        }
        story.drain().await;
        assert_eq!(facts(story.ledger.items()), facts(calm.ledger.items()), "cut at step {step}");
        let ids = |story: &Story| story.published().into_iter().map(|event| event.id).collect::<BTreeSet<_>>();
        assert_eq!(ids(&story).len(), 2, "cut at step {step}: two facts, two ids");
        assert!(story.parked().is_empty());
        if !was_cut {
            break;
        }
        step += 1;
    }
    assert!(step >= 12, "the power was cut at {step} steps");
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_receiver_never_follows_an_answer() {
    for step in 0..2 {
        let story = Story::new();
        story.power.cut_at_step(step);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), story.post(invoice("i", "PAID"))).await;
        assert!(answer.is_err(), "there was no answer");
        assert!(story.power.restore());
        assert_eq!(story.post(invoice("i", "PAID")).await, 200, "so Xendit sends it again");
        story.drain().await;
        story.only_event();
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_are_redriven_twice_tell_nothing_new() {
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.post(payout("payout.succeeded", "SUCCEEDED")).await;
    story.queue.put("not an envelope");
    story.drain().await;
    assert_eq!(story.parked().len(), 3);
    story.ledger.mood.is_well();
    let letters = story.queue.dead();
    for _ in 0..2 {
        for letter in &letters {
            story.queue.put(&letter.body);
        }
        story.drain().await;
    }
    assert_eq!(story.told().len(), 2);
    assert_eq!(story.ledger.items().len(), 2);
    assert_eq!(story.parked().len(), 5, "what is unreadable is parked each time, and never lost");
}

// --- What one odd webhook must not do to its subject ---

/// A payment of payments v2.
fn payment_v2(amount: &str, rest: &str) -> String {
    format!(
        r#"{{"event":"payment.succeeded","business_id":"acc-1","data":{{"id":"pay-1","reference_id":"order-1",
            "currency":"PHP","status":"SUCCEEDED","amount":{amount}{rest}}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_number_that_no_bus_takes_stays_out_of_the_event_and_mutes_nothing() {
    for (amount, rest) in
        [("9".repeat(5_000), String::new()), ("500".to_owned(), format!(r#","metadata":{{"n":{}}}"#, i128::MAX))]
    {
        let story = Story::new();
        story.post(payment_v2(&amount, &rest)).await;
        story.pump().await;
        let event = story.only_event();
        assert_eq!((&event.detail["body"], &event.detail["body_omitted"]), (&Value::Null, &json!(true)));
        story
            .post(payment(&[("cap-1", "1")]).replace("py-1", "pay-1").replace("payment.capture", "payment.capture"))
            .await;
        story.drain().await;
        assert!(story.told().len() >= 2 && story.parked().is_empty(), "{:?}", story.told());
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_bus_refuses_for_good_goes_out_without_its_body_and_blocks_nobody() {
    let story = Story::new();
    story.bus.mood.is(BusMood::RefusesForGood("poison"));
    story.post(payment_v2("500", r#","description":"poison""#)).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    // What is tried a second time goes out behind the others.
    let [neighbour, poisoned] = &story.published()[..] else { panic!("{:?}", story.told()) };
    assert_eq!((&poisoned.detail["body_omitted"], &poisoned.detail["paid"]["amount"]), (&json!(true), &json!("500")));
    assert_eq!(neighbour.detail["body_omitted"], false);
    assert!(story.queue.depth() == 0 && story.parked().is_empty());
    assert!(story.ledger.items().iter().all(|item| item.outbox.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_bus_refuses_even_without_its_body_blocks_no_later_webhook() {
    let story = Story::new();
    story.bus.mood.is(BusMood::RefusesForGood("invoice.expired"));
    story.bus.mood.is(BusMood::RefusesForGood(r#""phase":"expired""#));
    story.post(invoice("inv-1", "EXPIRED")).await;
    story.drain().await;
    assert_eq!(story.parked().len(), 1);
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    assert_eq!(story.told(), ["invoice.paid"]);
    assert_eq!(story.parked().len(), 1);
    story.bus.mood.is_well();
    story.queue.redrive();
    story.drain().await;
    let [_, expired] = &story.published()[..] else { panic!("{:?}", story.told()) };
    assert_eq!(expired.detail["phase"], "expired", "a redrive publishes what was refused, as it was");
    assert_eq!((&expired.detail["status"], &expired.detail["version"]), (&json!("EXPIRED"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn captures_without_bound_degrade_with_a_mark_and_every_later_webhook_is_applied() {
    let control: Vec<_> = (0..85).map(|n| (format!("{n:03}{}", "\\u0001".repeat(509)), "1".to_owned())).collect();
    let many: Vec<_> = (0..450).map(|n| (format!("cap-{n:0>40}"), "1".to_owned())).collect();
    let endless: Vec<_> = (0..3_000).map(|n| (format!("cap-{n:0>400}"), "1".to_owned())).collect();
    for (captures, paid) in [(control, None), (many, Some("450")), (endless, None)] {
        let story = Story::new();
        let parts: Vec<_> = captures.iter().map(|(id, amount)| (id.as_str(), amount.as_str())).collect();
        story.post(payment(&parts)).await;
        story.pump().await;
        let first = &story.published()[0];
        assert_eq!(first.detail_type, "payment.succeeded");
        assert_eq!(first.detail["paid"]["amount"].as_str(), paid);
        assert!(serde_json::to_string(&story.item()).unwrap().len() < 100_000);
        assert!(story.bus.published().iter().all(|event| event.detail.len() <= 200 * 1024));
        let told = story.told().len();
        story.post(payment(&[("one-more", "5")]).replace("order-1", "another-order")).await;
        story.drain().await;
        assert!(story.told().len() > told && story.parked().is_empty(), "{:?}", story.told());
    }
}

#[tokio::test(start_paused = true)]
async fn amounts_that_were_stated_are_never_lost_and_contradictions_are_found_across_stages() {
    let told = async |bodies: &[String]| {
        let story = Story::new();
        for body in bodies {
            story.post(body).await;
            story.pump().await;
        }
        story.published()
    };
    let settled = |amount: &str| paid_invoice("inv-1", "SETTLED", amount);
    let idr = |amount: &str| json!({"amount": amount, "currency": "IDR"});

    let events = told(&[invoice("inv-1", "PAID"), settled("null")]).await;
    assert_eq!(events[1].detail["paid"], idr("1000"), "silence takes nothing back");

    let events = told(&[paid_invoice("inv-1", "PAID", "100000"), settled("1")]).await;
    let types: Vec<_> = events.iter().map(|event| event.detail_type.as_str()).collect();
    assert_eq!(types, ["invoice.paid", "invoice.settled", "webhook.conflict"]);
    assert_eq!(
        (&events[1].detail["paid"], &events[2].detail["conflicting_amounts"]),
        (&Value::Null, &json!([idr("100000"), idr("1")]))
    );

    let capture = r#"{"event":"capture.succeeded","business_id":"acc-1","data":{"id":"c-1","payment_id":"pay-1",
        "reference_id":"order-1","currency":"PHP","status":"SUCCEEDED","captured_amount":1}}"#;
    let events = told(&[payment_v2("100000", ""), capture.to_owned()]).await;
    let types: Vec<_> = events.iter().map(|event| event.detail_type.as_str()).collect();
    assert_eq!(types, ["payment.succeeded", "webhook.conflict"]);
    let events = told(&[payment_v2("1", ""), capture.to_owned()]).await;
    assert_eq!(events.len(), 1, "a capture of all of it says nothing new");
    let events = told(&[capture.to_owned(), payment_v2("1", "")]).await;
    assert_eq!(events.len(), 1, "whichever comes first");

    let events = told(&[paid_invoice("inv-1", "PAID", "-1000")]).await;
    assert_eq!(events[0].detail["paid"], Value::Null, "nobody pays less than nothing");
}

#[tokio::test(start_paused = true)]
async fn an_amount_that_becomes_known_later_is_an_update_for_everybody_who_waits_for_it() {
    let story = Story::new();
    for body in [paid_invoice("inv-1", "SETTLED", "null"), invoice("inv-1", "PAID")] {
        story.post(body).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.paid", "invoice.settled", "invoice.paid", "invoice.settled"]);
    let update: Vec<_> = story.published().iter().map(|event| event.detail["update"].clone()).collect();
    assert_eq!(update, [false, false, true, true]);
    assert_eq!(story.published()[2].detail["paid"]["amount"], "1000");
}

#[tokio::test(start_paused = true)]
async fn of_many_differing_amounts_the_first_is_kept() {
    let story = Story::new();
    for amount in [100_000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1] {
        story.post(paid_invoice("inv-1", "PAID", &amount.to_string())).await;
        story.pump().await;
    }
    let state = story.item().state;
    assert_eq!(state.paid.first().unwrap().to_string(), "IDR 100000");
    assert_eq!(state.paid.contradictions(), 8, "seven others, and the mark that there are more");
    let last = story.published().pop().unwrap();
    assert_eq!(last.detail["conflicting_amounts"][0]["amount"], "100000");
    assert_eq!(story.told().len(), 9, "each is a conflict of its own, until there is no more room for them");
}

#[tokio::test(start_paused = true)]
async fn a_reference_that_becomes_known_is_an_update_and_one_that_changes_is_a_conflict() {
    let story = Story::new();
    let with = |reference: &str| {
        payment_v2("500", "").replace(r#""reference_id":"order-1""#, &format!(r#""reference_id":{reference}"#))
    };
    for reference in ["null", r#""order-1""#, r#""order-2""#, r#""order-1""#, r#""order-2""#] {
        story.post(with(reference)).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["payment.succeeded", "payment.succeeded", "webhook.conflict"]);
    let [_, update, conflict] = &story.published()[..] else { unreachable!() };
    assert_eq!((&update.detail["update"], &update.detail["reference"]), (&json!(true), &json!("order-1")));
    assert_eq!(conflict.detail["conflicting_references"], json!(["order-1", "order-2"]));
    let item = story.item();
    assert_eq!(item.reference.as_deref(), Some("order-1"), "the index stays where it is");
    assert_eq!(item.history.len(), 3, "every write has its line");
}

#[tokio::test(start_paused = true)]
async fn a_time_or_a_count_that_runs_ahead_hides_nothing_that_comes_after_it() {
    let account = |status: &str, updated: &str| {
        format!(
            r#"{{"id":"va-1","is_closed":true,"account_number":"1","bank_code":"BNI","status":"{status}",
                "updated":"{updated}"}}"#
        )
    };
    for ahead in ["9999-01-01T00:00:00Z", "2026-01-02T10:04:05Z"] {
        let story = Story::new();
        for body in [account("ACTIVE", ahead), account("INACTIVE", "2026-01-02T03:00:00Z")] {
            story.post(body).await;
            story.pump().await;
        }
        assert_eq!(story.told(), ["virtual_account.active", "virtual_account.inactive"], "{ahead}");
    }
    let retrying = |count: u64| {
        format!(
            r#"{{"event":"recurring.cycle.retrying","data":{{"id":"r","status":"RETRYING","attempt_count":{count}}}}}"#
        )
    };
    let story = Story::new();
    for body in [retrying(1), retrying(u64::MAX), retrying(2)] {
        story.post(body).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["recurring_cycle.retrying", "recurring_cycle.retrying"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_without_its_account_is_about_the_same_subject() {
    let story = Story::new();
    let body = fixture::webhook("payout.succeeded");
    let without: Value = serde_json::from_str(&body).unwrap();
    let mut without = without;
    without["business_id"] = Value::Null;
    without["data"]["business_id"] = Value::Null;
    for body in [body, without.to_string()] {
        story.post(body).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["payout.succeeded"]);
    assert_eq!(story.ledger.items().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invoice_without_an_id_is_kept_as_unknown_and_is_no_second_payment() {
    let story = Story::new();
    let with: Value = serde_json::from_str(&fixture::webhook("invoice.paid")).unwrap();
    let mut without = with.clone();
    without.as_object_mut().unwrap().remove("id");
    for body in [with, without] {
        story.post(body.to_string()).await;
        story.pump().await;
    }
    assert_eq!(story.told(), ["invoice.paid", "webhook.unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_bound_to_accounts_speaks_for_no_other_and_its_label_is_in_history_and_event() {
    let story = Story::with_token_accounts([("local".to_owned(), ["acc-1".to_owned()].into())]);
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-2", "PAID").replace("acc-1", "acc-2")).await;
    story.drain().await;
    assert_eq!(story.parked(), ["the webhook is about an account that its token may not speak for"]);
    assert_eq!(story.only_event().detail["token_label"], "local");
    assert_eq!(story.item().history[0].token, "local");
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_deployment_wrote_is_handed_back_and_applied_once_that_is_back() {
    let story = Story::new();
    story.post(invoice("inv-1", "PENDING")).await;
    story.pump().await;
    let item = story.item();
    story.ledger.write_as_newer(&item);
    story.post(invoice("inv-1", "PAID")).await;
    for _ in 0..8 {
        story.clock.turn_to(story.queue.next_at().unwrap());
        story.pump().await;
    }
    assert!(story.parked().is_empty() && story.queue.depth() == 1, "handed back, and not parked");
    let newer = envelope_of(Environment::Test, "{}").replace(r#""v":1"#, r#""v":2"#);
    story.queue.put(&newer);
    story.pump().await;
    assert_eq!((story.parked().len(), story.queue.depth()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nearly_fills_the_queue_can_still_be_parked() {
    let story = Story::new();
    let overhead = envelope_of(Environment::Test, "").len();
    for bytes in [MAX_QUEUED_BYTES - overhead - 100, MAX_QUEUED_BYTES] {
        story.post("x".repeat(bytes)).await;
    }
    assert_eq!(story.inbox.depth(), 1, "the larger one goes to the inbox");
    story.drain().await;
    assert_eq!(story.parked().len(), 2);
    for parked in story.queue.dead() {
        assert!(parked.body.len() + 1024 <= 1024 * 1024, "there is room for its attributes");
    }
}
