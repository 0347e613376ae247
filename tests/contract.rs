//! Contract: each file in `events/` has the result that its name says.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use lambda_http::http::Request;
use processor::message::Batch;
use receiver::{api_gateway, verify::Tokens};
use serde_json::Value;
use shared::{
    envelope::{Envelope, Environment},
    lifecycle::Kind,
};
use tests::{
    fixture::{self, LOCAL_TOKENS},
    story::{Story, WebhookRequest},
};

/// The entries of `events/`. Each has a test in this file.
const FILES: [&str; 10] = [
    "api-body-base64.json",
    "api-token-missing.json",
    "api-token-right.json",
    "api-token-wrong.json",
    "env.json",
    "sqs-duplicate.json",
    "sqs-one.json",
    "sqs-several.json",
    "sqs-unreadable-in-the-middle.json",
    "webhooks",
];

/// The request of a file, read as the receiver reads API Gateway's event.
fn request(file: &str) -> Request<Vec<u8>> {
    serde_json::from_str::<api_gateway::Event>(&fixture::event(file)).unwrap().into_request()
}

/// Sends a file's messages to the queue, and invokes the processor with them. Returns its response.
async fn run(story: &Story, file: &str) -> String {
    let text = fixture::event(file);
    assert!(serde_json::from_str::<Batch>(&text).is_ok(), "{file} is not a batch");
    let event: Value = serde_json::from_str(&text).unwrap();
    for record in event["Records"].as_array().unwrap() {
        story.queue.put(record["body"].as_str().unwrap());
    }
    let batch = story.queue.receive(10).unwrap();
    story.invoke(&batch).await.unwrap()
}

#[test]
fn every_file_in_events_is_listed_here() {
    assert_eq!(fixture::names(""), FILES);
}

#[tokio::test(start_paused = true)]
async fn every_bundled_webhook_is_acknowledged_and_reaches_the_ledger() {
    for (name, body) in fixture::webhooks() {
        let story = Story::new();
        assert_eq!(story.post(&body).await, 200, "{name}");
        story.drain().await;
        assert!(story.parked_reasons().is_empty(), "{name}: {:?}", story.parked_reasons());
        let item = story.item();
        assert!(item.outbox.is_empty(), "{name}");
        let event = story.only_event();
        let expected = match item.state.stage.as_str() {
            "unknown.received" => "webhook.unknown",
            stage => stage,
        };
        assert_eq!(event.detail_type, expected, "{name}");
        // The oldest bodies contain the callback token, which must not reach the bus.
        let has_token = body.contains("callback_authentication_token");
        let published = if has_token { Value::Null } else { serde_json::from_str(&body).unwrap() };
        assert_eq!((&event.detail["body"], event.detail["body_omitted"] == true), (&published, has_token), "{name}");
    }
}

/// A topic is a hint for bodies without an event name. It never overrides the body.
#[tokio::test(start_paused = true)]
async fn a_topic_never_changes_how_a_bundled_webhook_is_recognised() {
    for (name, body) in fixture::webhooks() {
        let keys = |story: &Story| story.ledger.items().into_iter().map(|item| item.key).collect::<Vec<_>>();
        let plain = Story::new();
        plain.post(&body).await;
        plain.drain().await;
        if plain.item().state.stage.kind() == Kind::Unknown {
            continue;
        }
        for path in ["/webhook/invoice", "/webhook/fva_paid", "/webhook/fva_status", "/webhook/Not-A-Topic"] {
            let story = Story::new();
            story.send(WebhookRequest::of(&body).to(path)).await;
            story.drain().await;
            assert_eq!(keys(&story), keys(&plain), "{name} at {path}");
        }
    }
}

/// The families that Xendit documents must not become unknown webhooks.
#[tokio::test(start_paused = true)]
async fn webhooks_about_money_are_recognised() {
    let expected = [
        ("invoice.paid", "invoice.paid"),
        ("invoice.expired", "invoice.expired"),
        ("fva.paid", "payment.succeeded"),
        ("fva.created", "virtual_account.active"),
        ("ewallet.capture", "payment.succeeded"),
        ("ewallet.capture.failed", "payment.failed"),
        ("ewallet.void", "payment.voided"),
        ("ewallet.refund", "refund.succeeded"),
        ("payment.capture", "payment.succeeded"),
        ("payment.authorization", "payment.authorized"),
        ("payment.failure", "payment.failed"),
        ("payment.expiry", "payment.expired"),
        ("payout.succeeded", "payout.succeeded"),
        ("payout.failed", "payout.failed"),
        ("payout.reversed", "payout.reversed"),
        ("refund.succeeded", "refund.succeeded"),
        ("refund.failed", "refund.failed"),
    ];
    for (name, stage) in expected {
        let story = Story::new();
        story.post(fixture::webhook(name)).await;
        story.drain().await;
        assert_eq!(story.event_types(), [stage], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_amount_is_published_with_the_same_digits() {
    for (name, amount) in [("payment.capture", "10000.01"), ("invoice.paid", "510000"), ("fva.paid", "80000")] {
        let body = fixture::webhook(name);
        assert!(body.contains(&format!(": {amount},")) || body.contains(&format!(": {amount}\n")), "{name}");
        let story = Story::new();
        story.post(&body).await;
        story.drain().await;
        assert_eq!(story.only_event().detail["paid"]["amount"], amount, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn api_token_right_is_acknowledged_and_stored_with_its_topic() {
    let story = Story::new();
    let answer = story.request(request("api-token-right.json")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert!(serde_json::from_str::<Value>(answer.body()).unwrap()["id"].is_string());
    let batch = story.queue.receive(10).unwrap();
    let envelope = Envelope::open(&batch[0].body).unwrap();
    assert_eq!(envelope.delivery.topic.unwrap().as_str(), "invoice");
    assert_eq!(envelope.delivery.token, "local");
    assert_eq!(envelope.delivery.environment, Environment::Test);
    assert!(envelope.delivery.webhook_id.is_some());
    assert_eq!(envelope.delivery.content_type.as_deref(), Some("application/json"));
}

#[tokio::test(start_paused = true)]
async fn api_body_base64_is_the_same_webhook_as_api_token_right() {
    let (plain, encoded) = (Story::new(), Story::new());
    assert_eq!(plain.request(request("api-token-right.json")).await.status(), 200);
    assert_eq!(encoded.request(request("api-body-base64.json")).await.status(), 200);
    for story in [&plain, &encoded] {
        story.drain().await;
    }
    assert_eq!(plain.bus.published(), encoded.bus.published());
    assert_eq!(plain.event_types(), ["invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn api_token_wrong_and_missing_are_refused_and_nothing_is_stored() {
    for file in ["api-token-wrong.json", "api-token-missing.json"] {
        let story = Story::new();
        let answer = story.request(request(file)).await;
        assert_eq!((answer.status().as_u16(), answer.body().as_str()), (401, ""), "{file}");
        assert_eq!(story.queue.depth(), 0, "{file}");
    }
}

#[tokio::test(start_paused = true)]
async fn sqs_one_is_applied() {
    let story = Story::new();
    assert_eq!(run(&story, "sqs-one.json").await, r#"{"batchItemFailures":[]}"#);
    assert_eq!(story.event_types(), ["invoice.paid"]);
}

#[tokio::test(start_paused = true)]
async fn sqs_several_are_all_applied() {
    let story = Story::new();
    assert_eq!(run(&story, "sqs-several.json").await, r#"{"batchItemFailures":[]}"#);
    let mut types = story.event_types();
    types.sort();
    assert_eq!(types, ["invoice.paid", "payment.succeeded", "payout.succeeded"]);
}

#[tokio::test(start_paused = true)]
async fn sqs_unreadable_in_the_middle_is_parked_and_its_neighbours_are_applied() {
    let story = Story::new();
    assert_eq!(run(&story, "sqs-unreadable-in-the-middle.json").await, r#"{"batchItemFailures":[]}"#);
    assert_eq!(story.parked_reasons(), ["the message is not an envelope"]);
    assert_eq!(story.event_types().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn sqs_duplicate_is_applied_once() {
    let story = Story::new();
    run(&story, "sqs-duplicate.json").await;
    story.drain().await;
    assert_eq!(story.event_types(), ["invoice.paid"]);
    assert_eq!(story.item().history.len(), 1);
}

#[test]
fn env_json_accepts_the_token_of_the_files() {
    let env: Value = serde_json::from_str(&fixture::event("env.json")).unwrap();
    assert_eq!(env["ReceiverFunction"]["CALLBACK_TOKENS"], LOCAL_TOKENS);
    let tokens: Tokens = LOCAL_TOKENS.parse().unwrap();
    tokens.verify(request("api-token-right.json")).unwrap();
    for (function, names) in [
        ("ReceiverFunction", &["QUEUE_URL", "INBOX_BUCKET", "ENVIRONMENT", "LOG_LEVEL", "AWS_ENDPOINT_URL"][..]),
        (
            "ProcessorFunction",
            &[
                "INBOX_BUCKET",
                "LEDGER_TABLE",
                "BUS_NAME",
                "QUEUE_URL",
                "DLQ_URL",
                "ENVIRONMENT",
                "LOG_LEVEL",
                "AWS_ENDPOINT_URL",
            ],
        ),
    ] {
        for name in names {
            assert!(env[function][*name].as_str().is_some_and(|value| !value.is_empty()), "{function}.{name}");
        }
    }
    assert_eq!(env["ProcessorFunction"]["ENVIRONMENT"], env["ReceiverFunction"]["ENVIRONMENT"]);
}
