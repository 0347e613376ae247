//! Pipeline: stories through both functions, from the HTTP request to the published events.

#![expect(clippy::unwrap_used, reason = "test code: an unexpected value must fail the test")]

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Request;
use ledger::item::Item;
use processor::config::TokenAccounts;
use receiver::verify::TOKEN_HEADER;
use serde_json::{Value, json};
use shared::{
    canary,
    envelope::{Envelope, Environment, MAX_QUEUED_BYTES},
};
use tests::{
    faults::{BusMode, InboxMode, LedgerMode, QueueMode, SourceMode},
    fixture::{self, LOCAL_TOKEN},
    story::{Story, WebhookRequest},
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

/// A payment of 500 pesos with captures, each with an id and an amount.
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

/// A sealed envelope from a stack of this environment.
fn envelope_of(environment: Environment, body: &str) -> String {
    let delivery = serde_json::from_value(json!({
        "id": "d-other", "received_at": "2026-01-02T03:04:05Z", "environment": environment, "token": "live"
    }));
    Envelope { delivery: delivery.unwrap(), body: body.as_bytes().to_vec() }.seal()
}

/// How many different event ids were published.
fn distinct_ids(story: &Story) -> usize {
    story.published().into_iter().map(|event| event.id).collect::<BTreeSet<_>>().len()
}

/// The keys and states of items, which do not depend on the delivery.
fn states(items: Vec<Item>) -> Vec<Value> {
    let state = |item: Item| {
        assert!(item.outbox.is_empty(), "{} still has unpublished events", item.key);
        json!({ "key": item.key, "state": item.state })
    };
    items.into_iter().map(state).collect()
}

// --- Without faults ---

#[tokio::test(start_paused = true)]
async fn a_paid_invoice_publishes_one_event() {
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
    assert_eq!(story.ledger.calls(), ["insert", "clear"], "a new fact costs two writes");
}

#[tokio::test(start_paused = true)]
async fn answer_ledger_and_event_have_the_same_delivery_id() {
    let story = Story::new();
    let answer = story.send(WebhookRequest::of(invoice("inv-1", "PAID"))).await;
    let answer: Value = serde_json::from_str(answer.body()).unwrap();
    story.pump().await;
    assert_eq!(answer["id"], story.only_event().detail["delivery_id"]);
    assert_eq!(answer["id"], story.item().history[0].delivery.as_str());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_publishes_nothing() {
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
async fn any_number_of_canaries_is_one_bounded_item_and_no_event() {
    let story = Story::with_token_accounts(TokenAccounts::parse("local=acc-1").unwrap());
    let canary = |second: i64| canary::body(Timestamp::from_second(1_767_225_600 + second).unwrap());
    for second in 0..60 {
        let request = WebhookRequest::of(canary(second)).to("/webhook/canary");
        assert_eq!(story.send(request).await.status(), 200);
        story.pump().await;
        let last = story.item().history.last().unwrap().clone();
        assert_eq!((last.stage.as_str(), last.quiet), ("canary.seen", true));
    }
    let item = story.item();
    assert_eq!((item.key.as_str(), item.history.len(), item.forgotten), ("test#canary#xendit-hooks", 50, 10));
    assert!(item.outbox.is_empty() && item.open.is_none() && item.reference.is_none());
    // A repetition, and one that was late.
    story.post(canary(59)).await;
    story.post(canary(7)).await;
    story.drain().await;
    assert_eq!(story.item(), item);
    assert_eq!((story.published().len(), story.parked_reasons().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn duplicates_in_one_batch_publish_one_event() {
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
async fn concurrent_duplicates_publish_one_event() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.pump_two_at_once().await;
    story.drain().await;
    story.only_event();
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_updates_of_one_subject_are_both_published() {
    let story = Story::new();
    story.post(payment(&[("cap-1", "200")])).await;
    story.post(payment(&[("cap-2", "300")])).await;
    story.pump_two_at_once().await;
    story.drain().await;
    assert_eq!(story.item().state.captures.len(), 2);
    assert_eq!(distinct_ids(&story), 2);
    assert_eq!(story.event_types().len(), 2, "each is published once");
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_after_a_year_publishes_nothing() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    story.clock.advance(SignedDuration::from_hours(366 * 24));
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_any_bundled_body_changes_nothing() {
    for (name, body) in fixture::webhooks() {
        let once = Story::new();
        once.post(&body).await;
        once.pump().await;
        let story = Story::new();
        let ways = [
            WebhookRequest::of(&body).with("webhook-id", "wh-1"),
            WebhookRequest::of(&body).with("webhook-id", "wh-2"),
            WebhookRequest::of(&body).without(TOKEN_HEADER).with("X-CALLBACK-TOKEN", LOCAL_TOKEN),
            WebhookRequest::of(&body)
                .without(TOKEN_HEADER)
                .with("X-Callback-Token", LOCAL_TOKEN)
                .with("Webhook-Id", "wh-3"),
            WebhookRequest::of(&body).to("/webhook/a_topic_of_no_product"),
        ];
        for request in ways {
            assert_eq!(story.send(request).await.status(), 200, "{name}");
            story.drain().await;
        }
        assert_eq!(states(story.ledger.items()), states(once.ledger.items()), "{name}");
        let ids = |story: &Story| story.published().into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(&story), ids(&once), "{name}");
        assert_eq!(story.item().version, once.item().version, "{name}");
        assert!(story.parked_reasons().is_empty(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn webhooks_out_of_order_end_in_the_same_state() {
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
    assert_eq!(states(forward.ledger.items()), states(backward.ledger.items()));
    assert_eq!(forward.event_types(), ["invoice.pending", "invoice.paid", "invoice.settled"]);
    assert_eq!(
        backward.event_types(),
        ["invoice.paid", "invoice.settled"],
        "older facts publish nothing, but the payment is published"
    );
    let previous = |story: &Story| -> Vec<_> {
        story.published().iter().map(|event| event.detail["previous_phase"].clone()).collect()
    };
    assert_eq!(previous(&forward), [json!(null), json!("pending"), json!("paid")]);
    assert_eq!(previous(&backward), [json!(null), json!("paid")]);
}

#[tokio::test(start_paused = true)]
async fn an_invoice_paid_after_it_expired_is_marked_as_late() {
    let story = Story::new();
    for status in ["EXPIRED", "PAID"] {
        story.post(invoice("inv-1", status)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.expired", "invoice.paid"]);
    let paid = &story.published()[1].detail;
    assert_eq!((&paid["paid_late"], &paid["previous_phase"]), (&json!(true), &json!("expired")));
    story.post(invoice("inv-1", "EXPIRED")).await;
    story.pump().await;
    assert_eq!(story.item().state.stage.as_str(), "invoice.paid", "an expiry does not undo a payment");
}

#[tokio::test(start_paused = true)]
async fn captures_of_one_payment_add_up() {
    let story = Story::new();
    story.post(payment(&[("cap-1", "200.10")])).await;
    story.pump().await;
    story.post(payment(&[("cap-1", "200.10"), ("cap-2", "299.90")])).await;
    story.pump().await;
    assert_eq!(story.event_types(), ["payment.succeeded", "payment.succeeded"]);
    let [first, second] = &story.published()[..] else { unreachable!() };
    assert_eq!(first.detail["paid"], json!({"amount": "200.10", "currency": "PHP"}));
    assert_eq!(first.detail["amount_mismatch"], true);
    assert_eq!(second.detail["paid"], json!({"amount": "500.00", "currency": "PHP"}));
    assert_eq!(second.detail["amount_mismatch"], false);
    assert!(first.id != second.id && first.detail["version"].as_u64() < second.detail["version"].as_u64());
}

#[tokio::test(start_paused = true)]
async fn a_succeeded_payout_can_be_reversed() {
    let story = Story::new();
    for (event, status) in [("payout.succeeded", "SUCCEEDED"), ("payout.reversed", "REVERSED")] {
        story.post(payout(event, status)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["payout.succeeded", "payout.reversed"]);
    assert_eq!(story.published()[1].detail["previous_phase"], "succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_different_amount_is_a_conflict_and_both_are_kept() {
    let story = Story::new();
    for amount in ["1000", "999"] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.paid", "webhook.conflict"]);
    let conflict = &story.published()[1].detail;
    assert_eq!(
        conflict["conflicting_amounts"],
        json!([{"amount": "1000", "currency": "IDR"}, {"amount": "999", "currency": "IDR"}]),
        "the first known amount comes first"
    );
    assert_eq!(conflict["paid"], Value::Null, "the amount is in doubt");
    let item = story.item();
    assert_eq!(item.state.paid.answers().count(), 2);
    assert!(item.history[1].conflict);
    // Duplicates of either amount publish nothing.
    for amount in ["1000", "999", "1000"] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_amount_in_another_notation_is_not_a_conflict() {
    let story = Story::new();
    for amount in ["1000", "1000.00", "\"1000\""] {
        story.post(paid_invoice("inv-1", "PAID", amount)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_not_published_again_with_the_next_capture() {
    let story = Story::new();
    for amount in ["200", "201"] {
        story.post(payment(&[("cap-1", amount)])).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["payment.succeeded", "webhook.conflict"]);
    story.post(payment(&[("cap-1", "200"), ("cap-2", "300")])).await;
    story.pump().await;
    assert_eq!(story.event_types(), ["payment.succeeded", "webhook.conflict", "payment.succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_webhook_is_published_with_its_body() {
    let story = Story::new();
    let body = r#"{"event":"moon.landed","business_id":"acc-1","data":{"crater":1.50}}"#;
    story.post(body).await;
    story.post(body).await;
    story.drain().await;
    let event = story.only_event();
    assert_eq!(event.detail_type, "webhook.unknown");
    assert_eq!(event.detail["event"], "moon.landed");
    assert_eq!(event.detail["unknown_reason"], "unknown event name");
    assert!(story.bus.published()[0].detail.contains(&format!(r#""body":{body}"#)), "byte for byte");
    assert_eq!(story.item().state.stage.as_str(), "unknown.received");
}

// --- Receiving and storing ---

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_nothing_is_stored() {
    let story = Story::new();
    let body = invoice("inv-1", "PAID");
    let wrong = [
        WebhookRequest::of(&body).without(TOKEN_HEADER),
        WebhookRequest::of(&body).without(TOKEN_HEADER).with(TOKEN_HEADER, ""),
        WebhookRequest::of(&body).without(TOKEN_HEADER).with(TOKEN_HEADER, "another-token-0123456789"),
        WebhookRequest::of(&body).with(TOKEN_HEADER, LOCAL_TOKEN),
        WebhookRequest::of(&body).without(TOKEN_HEADER).with("authorization", LOCAL_TOKEN),
    ];
    for request in wrong {
        let answer = story.send(request).await;
        assert_eq!((answer.status().as_u16(), answer.body().as_str()), (401, ""));
    }
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_path_or_method_is_refused() {
    let story = Story::new();
    for (method, path, status) in [("POST", "/", 404), ("POST", "/webhook/a/b", 404), ("GET", "/webhook", 405)] {
        let request = Request::builder().method(method).uri(path).header(TOKEN_HEADER, LOCAL_TOKEN);
        let answer = story.request(request.body(Vec::new()).unwrap()).await;
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
    }
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn if_queue_and_inbox_both_fail_the_answer_is_an_empty_503() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::Refuses);
    story.inbox.mode.set(InboxMode::Down);
    let answer = story.send(WebhookRequest::of(invoice("inv-1", "PAID"))).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (503, ""));
    assert_eq!((story.queue.depth(), story.inbox.depth()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn if_the_queue_fails_the_inbox_stores_the_webhook() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    assert_eq!(story.inbox.depth(), 1);
    story.drain().await;
    assert_eq!(story.only_event().detail_type, "invoice.paid");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_from_the_queue_causes_no_second_event() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::LosesReplies);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200, "the inbox confirmed it");
    assert_eq!(story.queue.depth(), 2);
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn lost_replies_from_both_stores_cause_no_second_event() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::LosesReplies);
    story.inbox.mode.set(InboxMode::LosesReplies);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 503);
    story.queue.mode.reset();
    story.inbox.mode.reset();
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200, "Xendit retries");
    assert_eq!(story.queue.depth(), 3);
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_for_a_message_goes_through_the_inbox() {
    let story = Story::new();
    let filler = |bytes: usize| format!(r#"{{"event":"x","data":"{}"}}"#, "x".repeat(bytes));
    for bytes in [MAX_QUEUED_BYTES - 1000, MAX_QUEUED_BYTES, 5_900_000] {
        assert_eq!(story.post(filler(bytes)).await, 200, "{bytes}");
    }
    assert_eq!((story.queue.depth(), story.inbox.depth()), (3, 2), "two claims and one envelope");
    story.drain().await;
    assert_eq!(story.event_types(), ["webhook.unknown"; 3]);
    assert_eq!(story.ledger.items().len(), 3, "each body is its own subject");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_retried_while_the_inbox_is_down() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    story.inbox.mode.set(InboxMode::Down);
    story.pump().await;
    assert_eq!((story.queue.depth(), story.source.delays().len()), (1, 1));
    story.inbox.mode.reset();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_claim_to_a_deleted_object_is_parked_with_the_reason() {
    let story = Story::new();
    story.queue.mode.set(QueueMode::Refuses);
    assert_eq!(story.post(invoice("inv-1", "PAID")).await, 200);
    story.inbox.expire();
    story.pump().await;
    assert_eq!(story.parked_reasons(), ["the envelope cannot be fetched from the inbox: the object is gone"]);
}

#[tokio::test(start_paused = true)]
async fn the_test_event_of_s3_is_ignored() {
    let story = Story::new();
    story.queue.put(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}"#);
    story.pump().await;
    assert_eq!((story.queue.depth(), story.parked_reasons().len(), story.event_types().len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_body_with_the_right_token_is_parked() {
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
        assert_eq!(story.parked_reasons(), [reason]);
        let parked = Envelope::open(&story.queue.dead_letters()[0].body).unwrap();
        assert_eq!(parked.body, body, "byte for byte");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deeply_nested_body_is_kept_and_overflows_no_stack() {
    let story = Story::new();
    let depth = 100_000;
    story.post(format!(r#"{{"event":"deep","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    assert!(story.event_types().contains(&"invoice.paid".to_owned()));
    assert_eq!(story.parked_reasons().len() + story.ledger.items().len(), 2, "it is parked or applied");
}

// --- Faults in a batch ---

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_is_parked_and_its_neighbours_succeed() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.queue.put("not an envelope");
    story.post(invoice("inv-2", "PAID")).await;
    let batch = story.queue.receive(10).unwrap();
    let answer = story.invoke(&batch).await.unwrap();
    assert_eq!(answer, r#"{"batchItemFailures":[]}"#, "all three are done");
    assert_eq!(story.ledger.items().len(), 2);
    assert_eq!(story.event_types(), ["invoice.paid", "invoice.paid"]);
    assert_eq!(story.parked_reasons(), ["the message is not an envelope"]);
    assert_eq!(&*story.queue.dead_letters()[0].body, "not an envelope");
    assert_eq!(story.queue.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_envelope_from_the_other_environment_is_parked() {
    let story = Story::new();
    story.queue.put(&envelope_of(Environment::Live, &invoice("inv-1", "PAID")));
    story.pump().await;
    assert_eq!(story.parked_reasons(), ["the webhook is from the live environment, but this stack is test"]);
    assert!(story.ledger.items().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_retries_only_its_own_message_and_parks_it_at_the_third_receive() {
    for port in ["ledger", "bus"] {
        let story = Story::new();
        match port {
            "ledger" => story.ledger.mode.set(LedgerMode::PanicsOn("inv-2")),
            _ => story.bus.mode.set(BusMode::PanicsOn("inv-2")),
        }
        for id in ["inv-1", "inv-2", "inv-3"] {
            story.post(invoice(id, "PAID")).await;
        }
        story.pump().await;
        // Events that were published together with the poison are published again alone, with the same id.
        assert_eq!(distinct_ids(&story), 2, "{port}");
        assert_eq!(story.queue.depth(), 1, "{port}");
        assert_eq!(story.source.delays().len(), 1, "{port}");
        story.drain().await;
        assert_eq!(story.parked_reasons(), ["a bug: the code panicked on this message"], "{port}");
        assert_eq!(story.source.delays().len(), 2, "{port}");
        // Once the bug is fixed, a redrive completes it.
        story.ledger.mode.reset();
        story.bus.mode.reset();
        story.queue.redrive();
        story.drain().await;
        assert_eq!(distinct_ids(&story), 3, "{port}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_parking_retries_only_its_own_message() {
    let story = Story::new();
    story.source.mode.set(SourceMode::PanicsOn("poison"));
    story.post(invoice("inv-1", "PAID")).await;
    let poison = story.queue.put("poison");
    story.post(invoice("inv-2", "PAID")).await;
    let batch = story.queue.receive(10).unwrap();
    let answer = story.invoke(&batch).await.unwrap();
    assert_eq!(answer, format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{poison}"}}]}}"#));
    assert_eq!(story.event_types().len(), 2);
    story.source.mode.reset();
    story.drain().await;
    assert_eq!(story.parked_reasons(), ["the message is not an envelope"]);
}

#[tokio::test(start_paused = true)]
async fn retry_delays_grow_while_the_ledger_is_down() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    for _ in 0..5 {
        story.clock.advance_to(story.queue.next_visible_at().unwrap());
        story.pump().await;
    }
    let delays = story.source.delays();
    assert_eq!(delays.len(), 5);
    assert!(delays.windows(2).all(|pair| pair[0] < pair[1]), "{delays:?}");
    assert_eq!(story.queue.depth(), 1);
    assert!(story.event_types().is_empty() && story.parked_reasons().is_empty());
    story.ledger.mode.reset();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_keeps_failing_is_parked_and_a_redrive_completes_it() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    let start = story.clock.now();
    story.drain().await;
    assert_eq!(story.parked_reasons(), ["the call to the ledger failed: timeout"]);
    assert_eq!(story.source.delays().len(), 7, "parked at the eighth receive");
    let minutes = story.clock.now().duration_since(start).as_mins();
    assert!((20..60).contains(&minutes), "{minutes}");
    story.ledger.mode.reset();
    story.queue.redrive();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn an_item_that_the_ledger_permanently_refuses_is_parked_at_once() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::Refuses("inv-1"));
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-2", "PAID")).await;
    story.pump().await;
    assert_eq!(story.parked_reasons(), ["the ledger refuses the item: ValidationException"]);
    assert!(story.source.delays().is_empty());
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_in_the_queue_while_the_dead_letter_queue_is_down() {
    let story = Story::new();
    story.source.mode.set(SourceMode::CannotPark);
    story.queue.put("not an envelope");
    story.pump().await;
    assert_eq!((story.queue.depth(), story.parked_reasons().len()), (1, 0));
    story.source.mode.reset();
    story.drain().await;
    assert_eq!(story.parked_reasons(), ["the message is not an envelope"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_delayed_is_redelivered_after_the_visibility_timeout() {
    let story = Story::new();
    story.source.mode.set(SourceMode::CannotPostpone);
    story.ledger.mode.set(LedgerMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert_eq!(story.queue.depth(), 1);
    let wait = story.queue.next_visible_at().unwrap().duration_since(story.clock.now());
    assert_eq!(wait, SignedDuration::from_secs(180));
    story.ledger.mode.reset();
    story.drain().await;
    story.only_event();
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_nearly_out_of_time_is_retried_untouched() {
    let story = Story::new();
    for id in ["inv-1", "inv-2"] {
        story.post(invoice(id, "PAID")).await;
    }
    let batch = story.queue.receive(10).unwrap();
    let soon = story.clock.now().checked_add(SignedDuration::from_secs(5)).unwrap();
    let answer = story.invoke_until(soon, &batch).await.unwrap();
    story.queue.apply_response(&batch, Some(&answer));
    assert_eq!(story.queue.depth(), 2);
    assert!(story.ledger.calls().is_empty(), "no message was started");
    assert!(story.source.delays().iter().all(|delay| delay.as_secs() <= 5), "it is redelivered soon");
    story.drain().await;
    assert_eq!(story.event_types(), ["invoice.paid", "invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_500_drains_with_one_event_for_each_subject() {
    let story = Story::new();
    for n in 0..250 {
        story.post(invoice(&format!("inv-{n}"), "PAID")).await;
        story.post(invoice(&format!("inv-{n}"), "PAID")).await;
    }
    story.drain().await;
    assert_eq!(story.ledger.items().len(), 250);
    assert_eq!(story.event_types().len(), 250);
}

// --- Faults between write and publish ---

#[tokio::test(start_paused = true)]
async fn an_event_is_published_with_its_id_after_the_bus_recovers() {
    let story = Story::new();
    story.bus.mode.set(BusMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(story.queue.depth(), 1, "the message is not done");
    story.bus.mode.reset();
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_entry_stays_in_the_outbox_and_is_published_later() {
    let story = Story::new();
    story.bus.mode.set(BusMode::Rejects("invoice.settled"));
    // A settled invoice was paid as well: two events at once.
    story.post(invoice("inv-1", "SETTLED")).await;
    story.pump().await;
    assert_eq!(story.event_types(), ["invoice.paid"]);
    let waiting: Vec<_> = story.item().outbox.into_iter().collect();
    assert_eq!(waiting.len(), 1, "only the rejected event waits");
    assert_eq!(waiting[0].1.detail_type, "invoice.settled");
    story.bus.mode.reset();
    story.drain().await;
    assert_eq!(story.event_types(), ["invoice.paid", "invoice.settled"]);
    assert_eq!(story.published()[1].id, waiting[0].0);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_was_not_cleared_is_published_again_with_the_same_id() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::CannotClear);
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert_eq!(story.queue.depth(), 1);
    story.ledger.mode.reset();
    story.drain().await;
    assert_eq!(story.event_types().len(), 2, "published at least once");
    assert_eq!(distinct_ids(&story), 1);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_with_a_lost_reply_is_published_without_a_retry() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::LosesReplies);
    for status in ["PENDING", "PAID"] {
        story.post(invoice("inv-1", status)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.pending", "invoice.paid"]);
    assert!(story.source.delays().is_empty(), "no retry was needed");
    assert_eq!(story.item().history.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_the_delivery_that_made_the_change_publishes_it() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    let first = story.queue.receive(1).unwrap();
    story.power.cut_at_step(2);
    story.invoke(&first).await;
    assert!(story.power.restore());
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    // A duplicate arrives while the first delivery may still be publishing.
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    assert!(story.event_types().is_empty() && story.source.delays().is_empty(), "the duplicate is done at once");
    assert_eq!(story.queue.depth(), 1, "the first message is not visible yet");
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_retry_publishes_after_one_delay() {
    let story = Story::new();
    story.bus.mode.set(BusMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    let start = story.clock.now();
    story.pump().await;
    story.bus.mode.reset();
    story.drain().await;
    story.only_event();
    assert_eq!(story.source.delays().len(), 1, "one failure, one retry");
    assert!(story.clock.now().duration_since(start) <= SignedDuration::from_secs(6), "the first delay is at most 5 s");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_steps_back_blocks_nothing() {
    let story = Story::new();
    story.bus.mode.set(BusMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.clock.advance(SignedDuration::from_mins(5));
    story.pump().await;
    story.bus.mode.reset();
    // The next sandbox's clock is ten minutes behind the one that wrote the item.
    story.clock.advance(SignedDuration::from_mins(-10));
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    story.only_event();
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_write_and_publish_is_completed_with_the_same_id() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    // Steps: 0 before the write, 1 after it, 2 before the publish.
    story.power.cut_at_step(2);
    let batch = story.queue.receive(10).unwrap();
    assert_eq!(story.invoke(&batch).await, None, "the function died");
    assert!(story.power.restore());
    assert!(story.event_types().is_empty());
    let waiting: Vec<String> = story.item().outbox.into_keys().collect();
    assert_eq!(waiting.len(), 1, "the event is in the outbox");
    story.drain().await;
    assert_eq!(story.only_event().id, waiting[0]);
    assert!(story.item().outbox.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_publish_and_clear_publishes_the_same_id_again() {
    let story = Story::new();
    story.post(invoice("inv-1", "PAID")).await;
    story.power.cut_at_step(4);
    let batch = story.queue.receive(10).unwrap();
    assert_eq!(story.invoke(&batch).await, None, "the function died");
    assert!(story.power.restore());
    assert_eq!(story.event_types().len(), 1, "it was published");
    assert_eq!(story.item().outbox.len(), 1, "but not cleared");
    story.drain().await;
    assert_eq!(story.event_types().len(), 2);
    assert_eq!(distinct_ids(&story), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_loses_nothing_and_keeps_event_ids() {
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
        assert_eq!(states(story.ledger.items()), states(calm.ledger.items()), "cut at step {step}");
        let ids = |story: &Story| story.published().into_iter().map(|event| event.id).collect::<BTreeSet<_>>();
        assert_eq!(ids(&story).len(), 2, "cut at step {step}: two changes have two ids");
        assert!(story.parked_reasons().is_empty());
        if !was_cut {
            break;
        }
        step += 1;
    }
    assert!(step >= 12, "the power was cut at {step} steps");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_crashes_while_storing_gives_no_answer() {
    for step in 0..2 {
        let story = Story::new();
        story.power.cut_at_step(step);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), story.post(invoice("i", "PAID"))).await;
        assert!(answer.is_err(), "the receiver did not answer");
        assert!(story.power.restore());
        assert_eq!(story.post(invoice("i", "PAID")).await, 200, "Xendit retries");
        story.drain().await;
        story.only_event();
    }
}

#[tokio::test(start_paused = true)]
async fn redriving_dead_letters_twice_publishes_nothing_new() {
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::Down);
    story.post(invoice("inv-1", "PAID")).await;
    story.post(payout("payout.succeeded", "SUCCEEDED")).await;
    story.queue.put("not an envelope");
    story.drain().await;
    assert_eq!(story.parked_reasons().len(), 3);
    story.ledger.mode.reset();
    let letters = story.queue.dead_letters();
    for _ in 0..2 {
        for letter in &letters {
            story.queue.put(&letter.body);
        }
        story.drain().await;
    }
    assert_eq!(story.event_types().len(), 2);
    assert_eq!(story.ledger.items().len(), 2);
    assert_eq!(story.parked_reasons().len(), 5, "an unreadable message is parked each time");
}

// --- Odd webhooks ---

/// A payment of Payments API v2.
fn payment_v2(amount: &str, rest: &str) -> String {
    format!(
        r#"{{"event":"payment.succeeded","business_id":"acc-1","data":{{"id":"pay-1","reference_id":"order-1",
            "currency":"PHP","status":"SUCCEEDED","amount":{amount}{rest}}}}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_number_beyond_64_bits_omits_the_body_and_blocks_nothing() {
    for (amount, rest) in
        [("9".repeat(5_000), String::new()), ("500".to_owned(), format!(r#","metadata":{{"n":{}}}"#, i128::MAX))]
    {
        let story = Story::new();
        story.post(payment_v2(&amount, &rest)).await;
        story.pump().await;
        let event = story.only_event();
        assert_eq!((&event.detail["body"], &event.detail["body_omitted"]), (&Value::Null, &json!(true)));
        story.post(payment(&[("cap-1", "1")]).replace("py-1", "pay-1")).await;
        story.drain().await;
        assert!(story.event_types().len() >= 2 && story.parked_reasons().is_empty(), "{:?}", story.event_types());
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanently_refused_event_is_published_without_its_body() {
    let story = Story::new();
    story.bus.mode.set(BusMode::RefusesPermanently("poison"));
    story.post(payment_v2("500", r#","description":"poison""#)).await;
    story.post(invoice("inv-1", "PAID")).await;
    story.pump().await;
    // The event is published again without its body after the other one.
    let [neighbour, poisoned] = &story.published()[..] else { panic!("{:?}", story.event_types()) };
    assert_eq!((&poisoned.detail["body_omitted"], &poisoned.detail["paid"]["amount"]), (&json!(true), &json!("500")));
    assert_eq!(neighbour.detail["body_omitted"], Value::Null);
    assert!(story.queue.depth() == 0 && story.parked_reasons().is_empty());
    assert!(story.ledger.items().iter().all(|item| item.outbox.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn an_event_refused_even_without_its_body_blocks_no_later_webhook() {
    let story = Story::new();
    story.bus.mode.set(BusMode::RefusesPermanently(r#""phase":"expired""#));
    story.post(invoice("inv-1", "EXPIRED")).await;
    story.drain().await;
    assert_eq!(story.parked_reasons().len(), 1);
    story.post(invoice("inv-1", "PAID")).await;
    story.drain().await;
    assert_eq!(story.event_types(), ["invoice.paid"]);
    assert_eq!(story.parked_reasons().len(), 1);
    story.bus.mode.reset();
    story.queue.redrive();
    story.drain().await;
    let [_, expired] = &story.published()[..] else { panic!("{:?}", story.event_types()) };
    assert_eq!(expired.detail["phase"], "expired", "a redrive publishes the refused event");
    assert_eq!((&expired.detail["status"], &expired.detail["version"]), (&json!("EXPIRED"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn captures_over_the_limit_are_marked_and_later_webhooks_are_applied() {
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
        let events = story.event_types().len();
        story.post(payment(&[("one-more", "5")]).replace("order-1", "another-order")).await;
        story.drain().await;
        assert!(story.event_types().len() > events && story.parked_reasons().is_empty(), "{:?}", story.event_types());
    }
}

#[tokio::test(start_paused = true)]
async fn amounts_are_never_lost_and_conflicts_are_found_across_stages() {
    let publish = async |bodies: &[String]| {
        let story = Story::new();
        for body in bodies {
            story.post(body).await;
            story.pump().await;
        }
        story.published()
    };
    let settled = |amount: &str| paid_invoice("inv-1", "SETTLED", amount);
    let idr = |amount: &str| json!({"amount": amount, "currency": "IDR"});

    let events = publish(&[invoice("inv-1", "PAID"), settled("null")]).await;
    assert_eq!(events[1].detail["paid"], idr("1000"), "a missing amount erases nothing");

    let events = publish(&[paid_invoice("inv-1", "PAID", "100000"), settled("1")]).await;
    let types: Vec<_> = events.iter().map(|event| event.detail_type.as_str()).collect();
    assert_eq!(types, ["invoice.paid", "invoice.settled", "webhook.conflict"]);
    assert_eq!(
        (&events[1].detail["paid"], &events[2].detail["conflicting_amounts"]),
        (&Value::Null, &json!([idr("100000"), idr("1")]))
    );

    let capture = r#"{"event":"capture.succeeded","business_id":"acc-1","data":{"id":"c-1","payment_id":"pay-1",
        "reference_id":"order-1","currency":"PHP","status":"SUCCEEDED","captured_amount":1}}"#;
    let events = publish(&[payment_v2("100000", ""), capture.to_owned()]).await;
    let types: Vec<_> = events.iter().map(|event| event.detail_type.as_str()).collect();
    assert_eq!(types, ["payment.succeeded", "webhook.conflict"]);
    let events = publish(&[payment_v2("1", ""), capture.to_owned()]).await;
    assert_eq!(events.len(), 1, "a capture of the full amount publishes nothing");
    let events = publish(&[capture.to_owned(), payment_v2("1", "")]).await;
    assert_eq!(events.len(), 1, "in either order");

    let events = publish(&[paid_invoice("inv-1", "PAID", "-1000")]).await;
    assert_eq!(events[0].detail["paid"], Value::Null, "a negative amount is not money");
}

#[tokio::test(start_paused = true)]
async fn an_amount_that_is_stated_later_is_published_as_an_update() {
    let story = Story::new();
    for body in [paid_invoice("inv-1", "SETTLED", "null"), invoice("inv-1", "PAID")] {
        story.post(body).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.paid", "invoice.settled", "invoice.paid", "invoice.settled"]);
    let update: Vec<_> = story.published().iter().map(|event| event.detail["update"].clone()).collect();
    assert_eq!(update, [false, false, true, true]);
    assert_eq!(story.published()[2].detail["paid"]["amount"], "1000");
}

#[tokio::test(start_paused = true)]
async fn the_first_of_many_conflicting_amounts_is_kept() {
    let story = Story::new();
    for amount in [100_000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1] {
        story.post(paid_invoice("inv-1", "PAID", &amount.to_string())).await;
        story.pump().await;
    }
    let state = story.item().state;
    assert_eq!(state.paid.first().unwrap().to_string(), "IDR 100000");
    assert_eq!(state.paid.contradictions(), 8, "seven others, and the overflow mark");
    let last = story.published().pop().unwrap();
    assert_eq!(last.detail["conflicting_amounts"][0]["amount"], "100000");
    assert_eq!(story.event_types().len(), 9, "each is a conflict until the limit is reached");
}

#[tokio::test(start_paused = true)]
async fn a_late_reference_is_an_update_and_a_different_one_is_a_conflict() {
    let story = Story::new();
    let with = |reference: &str| {
        payment_v2("500", "").replace(r#""reference_id":"order-1""#, &format!(r#""reference_id":{reference}"#))
    };
    for reference in ["null", r#""order-1""#, r#""order-2""#, r#""order-1""#, r#""order-2""#] {
        story.post(with(reference)).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["payment.succeeded", "payment.succeeded", "webhook.conflict"]);
    let [_, update, conflict] = &story.published()[..] else { unreachable!() };
    assert_eq!((&update.detail["update"], &update.detail["reference"]), (&json!(true), &json!("order-1")));
    assert_eq!(conflict.detail["conflicting_references"], json!(["order-1", "order-2"]));
    let item = story.item();
    assert_eq!(item.reference.as_deref(), Some("order-1"), "the index entry does not change");
    assert_eq!(item.history.len(), 3, "each write has a history entry");
}

#[tokio::test(start_paused = true)]
async fn a_time_or_count_far_ahead_hides_no_later_webhook() {
    let account = |status: &str, updated: &str| {
        format!(
            r#"{{"id":"va-1","is_closed":true,"account_number":"1","bank_code":"BNI","status":"{status}",
                "updated":"{updated}"}}"#
        )
    };
    for ahead in ["9999-01-01T00:00:00Z", "2030-01-02T10:04:05Z"] {
        let story = Story::new();
        for body in [account("ACTIVE", ahead), account("INACTIVE", "2030-01-02T03:00:00Z")] {
            story.post(body).await;
            story.pump().await;
        }
        // Without a usable time, the order of a virtual account's webhooks is unknown.
        assert_eq!(story.event_types(), ["webhook.unknown", "virtual_account.inactive"], "{ahead}");
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
    assert_eq!(story.event_types(), ["recurring_cycle.retrying", "recurring_cycle.retrying"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_without_its_account_is_about_the_same_subject() {
    let story = Story::new();
    let body = fixture::webhook("payout.succeeded");
    let mut without: Value = serde_json::from_str(&body).unwrap();
    without["business_id"] = Value::Null;
    without["data"]["business_id"] = Value::Null;
    for body in [body, without.to_string()] {
        story.post(body).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["payout.succeeded"]);
    assert_eq!(story.ledger.items().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invoice_without_an_id_is_unknown_and_not_a_second_payment() {
    let story = Story::new();
    let with: Value = serde_json::from_str(&fixture::webhook("invoice.paid")).unwrap();
    let mut without = with.clone();
    without.as_object_mut().unwrap().remove("id");
    for body in [with, without] {
        story.post(body.to_string()).await;
        story.pump().await;
    }
    assert_eq!(story.event_types(), ["invoice.paid", "webhook.unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_bound_to_an_account_is_refused_for_another() {
    let story = Story::with_token_accounts(TokenAccounts::parse("local=acc-1").unwrap());
    story.post(invoice("inv-1", "PAID")).await;
    story.post(invoice("inv-2", "PAID").replace("acc-1", "acc-2")).await;
    story.drain().await;
    assert_eq!(story.parked_reasons(), ["the webhook is about an account that its token is not bound to"]);
    assert_eq!(story.only_event().detail["token_label"], "local");
    assert_eq!(story.item().history[0].token, "local");
}

#[tokio::test(start_paused = true)]
async fn items_and_envelopes_of_a_newer_version_are_retried_and_not_parked() {
    let story = Story::new();
    story.post(invoice("inv-1", "PENDING")).await;
    story.pump().await;
    let item = story.item();
    story.ledger.write_as_newer(&item);
    story.post(invoice("inv-1", "PAID")).await;
    for _ in 0..8 {
        story.clock.advance_to(story.queue.next_visible_at().unwrap());
        story.pump().await;
    }
    assert!(story.parked_reasons().is_empty() && story.queue.depth() == 1, "retried and not parked");
    story.ledger.restore(&item);
    story.drain().await;
    assert_eq!(story.event_types(), ["invoice.pending", "invoice.paid"], "applied once the item can be read");
    let newer = envelope_of(Environment::Test, "{}").replace(r#""v":1"#, r#""v":2"#);
    story.queue.put(&newer);
    story.pump().await;
    assert_eq!((story.parked_reasons().len(), story.queue.depth()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_message_at_the_size_limit_can_be_parked() {
    let story = Story::new();
    let overhead = envelope_of(Environment::Test, "").len();
    for bytes in [MAX_QUEUED_BYTES - overhead - 100, MAX_QUEUED_BYTES] {
        story.post("x".repeat(bytes)).await;
    }
    assert_eq!(story.inbox.depth(), 1, "the larger body goes to the inbox");
    story.drain().await;
    assert_eq!(story.parked_reasons().len(), 2);
    for parked in story.queue.dead_letters() {
        assert!(parked.body.len() + 1024 <= 1024 * 1024, "there is room for the message attributes");
    }
}
