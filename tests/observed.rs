//! Observed: what both real functions call and log, in tests/observed.json. tests/template.py compares the roles and the
//! metric filters of template.yaml with it.
//!
//! `WRITE_DOCS=1 cargo test --package tests --test observed` writes the file.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    time::Duration,
};

use processor::{failure::backoff, message::Batch};
use serde_json::{Value, json};
use shared::{
    envelope::Envelope,
    outcome::{Processed, Received},
    stack::{BUS_NAME, DLQ_URL, INBOX_BUCKET, LEDGER_TABLE, QUEUE_URL},
};
use tests::{
    calls::Call,
    cloud::Cloud,
    fixture::{LOCAL_TOKEN, LOCAL_TOKENS, api_event, delivery},
    process::Function,
    runtime_api::{Invocation, RuntimeApi},
    stub::{Reply, Stub},
};

/// More than the longest timeout of a function.
const LIMIT: Duration = Duration::from_secs(30);

/// A function that runs between a runtime API and a proxy to AWS.
struct Observed {
    runtime: RuntimeApi,
    aws: Stub,
    function: Function,
    /// The names of the resources, by the variables that hold them.
    names: BTreeMap<String, String>,
}

impl Observed {
    async fn start(name: &str, cloud: &Cloud) -> Self {
        let mut variables: BTreeMap<String, String> = cloud.variables().into_iter().collect();
        let (runtime, aws) = (RuntimeApi::idle().await, Stub::recording(&variables["AWS_ENDPOINT_URL"]).await);
        let names = [QUEUE_URL, DLQ_URL, INBOX_BUCKET, LEDGER_TABLE, BUS_NAME];
        let names = names.map(|variable| (variable.name.to_owned(), variables[variable.name].clone())).into();
        variables.extend(
            [
                ("AWS_LAMBDA_RUNTIME_API", &*runtime.address),
                ("AWS_ENDPOINT_URL", &aws.endpoint),
                ("CALLBACK_TOKENS", LOCAL_TOKENS),
                ("TOKEN_ACCOUNTS", "local=acc-1"),
                // The level of a deployed stack.
                ("LOG_LEVEL", "info"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        Self { function: Function::start(name, &variables), runtime, aws, names }
    }

    async fn invoke(&mut self, event: String) {
        self.invoke_within(LIMIT, event).await;
    }

    async fn invoke_within(&mut self, limit: Duration, event: String) {
        self.runtime.send(Invocation { id: "d-1".to_owned(), event, limit });
        let answer = self.runtime.answer().await;
        assert_eq!(answer.to, "response", "{}", answer.body);
    }

    /// Invokes the function while AWS gives these replies.
    async fn invoke_while(&mut self, replies: impl IntoIterator<Item = (&'static str, Reply)>, event: String) {
        self.aws.reply(replies);
        self.invoke(event).await;
        self.aws.reply([]);
    }

    /// What the function called, and what it logged.
    fn end(mut self) -> Value {
        let calls: BTreeSet<_> = self.aws.calls().into_iter().map(|call| named(call, &self.names)).collect();
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("timestamp").unwrap();
            for took in ["ack_ms", "age_ms", "apply_ms", "publish_ms"] {
                line.as_object_mut().unwrap().entry(took).and_modify(|ms| *ms = u8::from(ms.is_u64()).into());
            }
            // The size depends on how the time of arrival is written.
            if let Some((_, rest)) = line["reason"].as_str().and_then(|reason| reason.split_once(" bytes ")) {
                line["reason"] = format!("1100198 bytes {rest}").into();
            }
            line
        };
        let lines: Vec<_> = self.function.kill().lines().map(line).collect();
        json!({ "calls": calls, "lines": lines })
    }
}

/// A call with the variable that holds the resource's name, such as `s3:PutObject INBOX_BUCKET/webhooks/*`.
fn named(call: Call, names: &BTreeMap<String, String>) -> String {
    // An object's key is a folder and what tells it apart.
    let (resource, folder) = match call.resource.split_once('/').filter(|_| call.action.starts_with("s3:")) {
        Some((bucket, key)) => (bucket.to_owned(), format!("/{}/*", key.split_once('/').unwrap().0)),
        None => (call.resource, String::new()),
    };
    let (variable, _) = names.iter().find(|(_, name)| **name == resource).unwrap();
    let sources: Vec<_> = call.sources.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let from = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) };
    format!("{} {variable}{folder}{from}", call.action)
}

fn refused(code: &str) -> Reply {
    Reply::With(400, json!({ "__type": code }).to_string())
}

async fn receiver(cloud: &Cloud) -> Value {
    let mut receiver = Observed::start("receiver", cloud).await;
    let webhook = || api_event(LOCAL_TOKEN, b"{}");
    receiver.invoke(webhook()).await;
    receiver.invoke(api_event("wrong", b"{}")).await;
    receiver.invoke(api_event("", b"{}")).await;
    receiver.invoke(webhook().replace("\"rawPath\":\"/webhook\"", "\"rawPath\":\"/\"")).await;
    receiver.invoke(api_event(LOCAL_TOKEN, &vec![b'x'; 1_100_000])).await;
    let another_message = json!({ "MessageId": "m-1", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e" });
    for reply in [refused("RequestThrottled"), Reply::Never, Reply::With(200, another_message.to_string())] {
        receiver.invoke_while([("sqs:SendMessage", reply)], webhook()).await;
    }
    let both = [("sqs:SendMessage", Reply::Reset), ("s3:PutObject", Reply::With(503, String::new()))];
    receiver.invoke_while(both, webhook()).await;
    receiver.end()
}

const PAYMENT: &str = r#"{"event":"payment.capture","business_id":"acc-1","data":{"payment_id":"py-1","status":"SUCCEEDED",
    "currency":"PHP","request_amount":500,"captures":[{"capture_id":"cap-1","capture_amount":500}]}}"#;
const PAYOUT: &str = r#"{"event":"payout.succeeded","business_id":"acc-1","data":{"id":"po-1","status":"SUCCEEDED",
    "amount":500,"currency":"PHP"}}"#;

/// An SQS event with one message.
fn message(id: &str, receive_count: u32, body: &str) -> String {
    let attributes = json!({ "ApproximateReceiveCount": receive_count.to_string() });
    json!({ "Records": [{ "messageId": id, "receiptHandle": id, "body": body, "attributes": attributes }] }).to_string()
}

/// A webhook about an invoice, in its envelope.
fn invoice(id: &str, status: &str, amount: &str) -> String {
    let body = format!(
        r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-1","merchant_name":"M","status":"{status}","amount":{amount},
            "paid_amount":{amount},"currency":"IDR","updated":"2026-01-02T03:00:00Z"}}"#
    );
    envelope(&body)
}

fn envelope(body: &str) -> String {
    Envelope { delivery: delivery(), body: body.as_bytes().to_vec() }.seal()
}

async fn processor(cloud: &Cloud) -> Value {
    let mut processor = Observed::start("processor", cloud).await;
    let pending = || invoice("i-1", "PENDING", "1000");
    for (id, webhook) in [
        ("applied", pending()),
        ("duplicate", pending()),
        ("second-phase", invoice("i-1", "PAID", "1000")),
        ("third-phase", invoice("i-1", "SETTLED", "1000")),
        ("stale", pending().replace("03:00:00", "02:00:00")),
        ("conflict", invoice("i-1", "PAID", "999")),
        ("unknown", envelope(r#"{"event":"gift_card.redeemed","data":{"id":"gc-1"}}"#)),
        ("drift", invoice("i-2", "PAID", "{}")),
        ("money-in", envelope(PAYMENT)),
        ("money-out", envelope(PAYOUT)),
        ("not-json", envelope("x")),
        ("not-an-envelope", "{}".to_owned()),
        ("other-account", envelope(r#"{"event":"gift_card.redeemed","business_id":"acc-2","data":{"id":"gc-2"}}"#)),
        ("test-of-s3", r#"{"Event":"s3:TestEvent"}"#.to_owned()),
        ("newer", r#"{"v":9}"#.to_owned()),
        ("object-gone", notification(&cloud.variables(), "webhooks/2026-01-02/d-1")),
    ] {
        processor.invoke(message(id, 1, &webhook)).await;
    }
    processor.invoke_within(Duration::from_secs(1), message("late", 1, &pending())).await;
    let fails = |action| [(action, refused("ThrottlingException"))];
    for count in [1, 4] {
        processor.invoke_while(fails("sqs:SendMessage"), message("not-parked", count, "{}")).await;
        for action in ["dynamodb:PutItem", "events:PutEvents"] {
            let webhook = invoice(&format!("i-{action}"), "PAID", "1000");
            processor.invoke_while(fails(action), message("retry", count, &webhook)).await;
        }
    }
    processor.end()
}

/// S3's notification of an object in the inbox.
fn notification(variables: &[(String, String)], key: &str) -> String {
    let (_, bucket) = variables.iter().find(|(name, _)| name == INBOX_BUCKET.name).unwrap();
    json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_and_log_lines_of_both_functions_are_up_to_date() {
    let cloud = Cloud::start(LIMIT).await;
    let (receiver, processor) = (receiver(&cloud).await, processor(&cloud).await);
    let outcomes = |of: &Value| -> BTreeSet<String> {
        of["lines"].as_array().unwrap().iter().filter_map(|line| Some(line["outcome"].as_str()?.to_owned())).collect()
    };
    assert_eq!(outcomes(&receiver), Received::ALL.iter().map(ToString::to_string).collect(), "every outcome");
    assert_eq!(outcomes(&processor), Processed::ALL.iter().map(ToString::to_string).collect(), "every outcome");
    let observed = json!({ "ReceiverFunction": receiver, "ProcessorFunction": processor });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("observed.json");
    if env::var_os("WRITE_DOCS").is_some() {
        fs::write(&file, format!("{observed:#}\n")).unwrap();
        return;
    }
    let committed: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(observed, committed, "run this test with WRITE_DOCS=1, then `make check`");
}

/// `RetriesAlarm` counts the fourth try and every later one.
#[test]
fn a_message_that_keeps_failing_is_tried_for_the_fourth_time_within_two_minutes() {
    let delay = |id: usize, receive_count| {
        let event: Batch = serde_json::from_str(&message(&id.to_string(), receive_count, "")).unwrap();
        backoff(&event.messages().unwrap()[0])
    };
    let until_fourth = (0..100).map(|id| (1..4).map(|count| delay(id, count)).sum::<Duration>()).max().unwrap();
    assert!(until_fourth <= Duration::from_mins(2), "{until_fourth:?}");
}
