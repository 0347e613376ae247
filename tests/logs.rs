//! Logs: no log line contains the callback token, a body, or personal data.
//!
//! The tests capture all lines at every level and search them for planted secrets.

#![expect(clippy::unwrap_used, reason = "test code: an unexpected value must fail the test")]

use std::{
    env, io,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Request;
use ledger::{dynamo::DynamoLedger, event_bridge::EventBridge};
use processor::{batch::Processor, config::TokenAccounts, source::SqsSource};
use receiver::{
    handler::Receiver,
    verify::{Arrival, Digest, TOKEN_HEADER},
};
use runtime::aws::CallLimits;
use serde_json::{Value, json};
use shared::envelope::{Envelope, Environment};
use tests::{
    faults::{BusMode, InboxMode, LedgerMode, QueueMode, SourceMode},
    fixture::{self, LOCAL_TOKEN, LOCAL_TOKENS},
    process::PANIC_MESSAGE,
    server::config,
    story::{Story, WebhookRequest},
    stub::{Reply, Stub},
};
use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Personal data and secrets, planted in webhooks.
const CANARIES: [&str; 12] = [
    "Canary-Name",
    "canary@example.com",
    "+628123canary",
    "4000000000000canary",
    "canary-account-number",
    "canary-description",
    "canary-unknown-status",
    "canary-currency",
    "canary-wrong-token-0123456789",
    // What people put into ids: card numbers and keys.
    "4000000000001091",
    "xnd_development_canary",
    "CANARYtokenOfFortyLettersAndDigits0123456789",
];

/// The captured log.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Captured {
    /// Captures all log lines of this thread, until the guard is dropped.
    fn start() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let subscriber =
            tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_writer(captured.clone()).finish();
        (captured, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A webhook full of secrets, with values of unexpected types.
fn body(id: &str, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-1","merchant_name":"Canary-Name","status":"{status}",
            "amount":{{"value":"canary-currency"}},"paid_amount":"canary-account-number","currency":"canary-currency",
            "payer_email":"canary@example.com","description":"canary-description","updated":"canary-description",
            "customer":{{"mobile_number":"+628123canary","card_number":"4000000000000canary"}}}}"#
    )
}

/// Produces every outcome of a webhook.
async fn cause_every_outcome(story: &Story) {
    let send = async |body: &str| {
        story.send(WebhookRequest::of(body).with("webhook-id", "wh-1").to("/webhook/invoice")).await;
        story.pump().await;
    };
    // Refused or not stored.
    let wrong = WebhookRequest::of(body("i-1", "PAID")).without(TOKEN_HEADER);
    story.send(wrong.clone()).await;
    story.send(wrong.clone().with(TOKEN_HEADER, "canary-wrong-token-0123456789")).await;
    story.send(wrong.with(TOKEN_HEADER, LOCAL_TOKEN).with(TOKEN_HEADER, LOCAL_TOKEN)).await;
    story.send(WebhookRequest::of(body("i-1", "PAID")).to("/canary-description?name=Canary-Name")).await;
    story.send(WebhookRequest::of(body("i-1", "PAID")).to("/webhook/Canary-Name")).await;
    for mode in [QueueMode::Refuses, QueueMode::LosesReplies] {
        story.queue.mode.set(mode);
        send(&body("i-1", "PAID")).await;
    }
    story.inbox.mode.set(InboxMode::Down);
    story.queue.mode.set(QueueMode::Refuses);
    send(&body("i-1", "PAID")).await;
    story.inbox.mode.reset();
    story.queue.mode.reset();
    story.post("x".repeat(2_000_000)).await;
    // Applied, duplicate, stale, and with an unknown status.
    for status in ["PENDING", "PAID", "PAID", "PENDING", "canary-unknown-status"] {
        send(&body("i-2", status)).await;
    }
    send(r#"{"event":"Canary-Name with spaces","data":{"name":"Canary-Name"}}"#).await;
    // Secrets in ids and names.
    let odd = ["canary@example.com", "4000000000001091", "xnd_development_canary", CANARIES[11], LOCAL_TOKEN];
    for odd in odd {
        for id in [odd.to_owned(), format!("order/{odd}")] {
            story.send(WebhookRequest::of(body("i-5", "PAID")).with("webhook-id", &id)).await;
        }
        for failing in [LedgerMode::Working, LedgerMode::Down] {
            story.ledger.mode.set(failing);
            if odd != LOCAL_TOKEN {
                send(&body(odd, "PAID")).await;
                send(&format!(r#"{{"event":"{odd}","data":{{"id":"{odd}"}}}}"#)).await;
            }
        }
        story.ledger.mode.reset();
    }
    // Unreadable.
    send("Canary-Name").await;
    send(r#"["Canary-Name"]"#).await;
    story.queue.put(r#"{"v":9,"name":"Canary-Name"}"#);
    story.queue.put("Canary-Name");
    // Every fault.
    for mode in [LedgerMode::Down, LedgerMode::Refuses("i-3"), LedgerMode::PanicsOn("i-3"), LedgerMode::CannotClear] {
        story.ledger.mode.set(mode);
        send(&body("i-3", "PAID")).await;
        story.ledger.mode.reset();
    }
    for mode in [BusMode::Down, BusMode::PanicsOn("Canary")] {
        story.bus.mode.set(mode);
        send(&body("i-4", "PAID")).await;
        story.bus.mode.reset();
    }
    story.source.mode.set(SourceMode::CannotPark);
    send("Canary-Name").await;
    story.source.mode.reset();
    story.drain().await;
    for (_, body) in fixture::webhooks() {
        send(&body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_line_contains_a_token_a_body_or_personal_data() {
    let (captured, _guard) = Captured::start();
    cause_every_outcome(&Story::new()).await;
    let text = captured.text();
    let digest = Digest::of(LOCAL_TOKEN.as_bytes()).to_string();
    for secret in CANARIES.into_iter().chain([LOCAL_TOKEN, &digest]) {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    for outcome in [
        "stored",
        "refused",
        "not_stored",
        "stored_in_inbox",
        "applied",
        "duplicate",
        "stale",
        "parked",
        "retry",
        "not_parked",
    ] {
        assert!(text.contains(&format!(r#""outcome":"{outcome}""#)), "no line has the outcome {outcome}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_line_contains_personal_data_of_a_bundled_body() {
    let (captured, _guard) = Captured::start();
    let personal =
        ["name", "email", "mobile", "phone", "account_number", "card_number", "address", "description", "payer"];
    let mut secrets = Vec::new();
    for (_, body) in fixture::webhooks() {
        collect(&serde_json::from_str(&body).unwrap(), "", &personal, &mut secrets);
        let story = Story::new();
        story.post(&body).await;
        story.drain().await;
    }
    assert!(secrets.len() > 10, "{secrets:?}");
    let text = captured.text();
    for secret in secrets {
        assert!(!mentions(&text, &secret), "{secret}");
    }
}

/// Whether a text contains words as whole words. Ids may contain any digits.
fn mentions(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// Whether a text may be personal data. Short texts are codes, and lower-case words are Xendit's: both occur in any log.
fn is_personal(text: &str) -> bool {
    text.len() > 5 && !text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
}

/// Collects the texts under keys that contain one of these words.
fn collect(value: &Value, key: &str, words: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| collect(value, key, words, found)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, key, words, found)),
        Value::String(text) if is_personal(text) && words.iter().any(|word| key.contains(word)) => {
            found.push(text.clone());
        }
        _ => {}
    }
}

/// A body in a sealed envelope.
fn sealed(body: &str) -> String {
    Envelope { delivery: fixture::delivery(), body: body.as_bytes().to_vec() }.seal()
}

/// All secrets in one text.
fn all_secrets() -> String {
    format!("{} {LOCAL_TOKEN}", CANARIES.join(" "))
}

/// The test below runs this in its own process, because the panic hook and the log writer are global.
#[tokio::test]
#[ignore = "the test below runs it"]
async fn a_process_that_panics_and_gets_aws_errors() {
    runtime::logs::init().unwrap();
    let error = json!({ "__type": "Canary", "message": all_secrets() }).to_string();
    for reply in [Reply::With(400, error), Reply::With(500, all_secrets()), Reply::Reset] {
        let stub = Stub::start(vec![reply]).await;
        let limits = CallLimits { attempt: Duration::from_secs(1), total: Duration::from_secs(1), attempts: 1 };
        let aws = config(&stub.endpoint, limits).await;
        let (sqs, s3) = (aws_sdk_sqs::Client::new(&aws), aws_sdk_s3::Client::new(&aws));
        let receiver = Receiver {
            tokens: LOCAL_TOKENS.parse().unwrap(),
            queue: receiver::queue::SqsQueue::new(sqs.clone(), stub.endpoint.clone()),
            inbox: receiver::inbox::S3Inbox::new(&aws, limits, "inbox").unwrap(),
            environment: Environment::Test,
            clock: Timestamp::now,
        };
        let request =
            Request::post("/webhook").header(TOKEN_HEADER, LOCAL_TOKEN).body(body("i-1", "PAID").into_bytes());
        let arrival = Arrival { id: "d-1".to_owned(), at: Timestamp::now() };
        assert_eq!(receiver.receive(request.unwrap(), arrival.clone()).await.status(), 503);

        let processor = Processor {
            inbox: processor::inbox::S3Inbox::new(s3, "inbox".to_owned()),
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&aws), "ledger".to_owned()),
            bus: EventBridge::new(aws_sdk_eventbridge::Client::new(&aws), "bus".to_owned()),
            source: SqsSource::new(sqs, stub.endpoint.clone(), stub.endpoint.clone()),
            environment: Environment::Test,
            token_accounts: TokenAccounts::default(),
            clock: Timestamp::now,
        };
        let records =
            [sealed(&body("i-1", "PAID")), all_secrets()].map(|body| json!({ "messageId": "m-1", "body": body }));
        let batch: processor::message::Batch = serde_json::from_value(json!({ "Records": records })).unwrap();
        let deadline = Timestamp::now() + SignedDuration::from_secs(30);
        assert_eq!(processor.process(batch, deadline).await.unwrap().failures().count(), 2);
    }
    let _ = tokio::spawn(async { panic!("{}", all_secrets()) }).await;
    let _ = tokio::spawn(async { all_secrets().parse::<Environment>().map_err(|_| all_secrets()).unwrap() }).await;
}

#[test]
fn panics_and_aws_errors_print_nothing_of_a_webhook() {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "a_process_that_panics_and_gets_aws_errors", "--ignored", "--nocapture"]);
    let output = process.env("LOG_LEVEL", "trace").env("RUST_BACKTRACE", "full").output().unwrap();
    let written = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{written}");
    for secret in CANARIES.into_iter().chain([LOCAL_TOKEN]) {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
    assert_eq!(written.matches(PANIC_MESSAGE).count(), 2, "{written}");
    for outcome in ["not_stored", "retry", "not_parked"] {
        assert!(written.contains(&format!(r#""outcome":"{outcome}""#)), "no line has the outcome {outcome}: {written}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_function_logs_one_line_per_webhook_with_the_delivery_id() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    let answer = story.send(WebhookRequest::of(body("i-1", "PAID")).with("webhook-id", "wh-1")).await;
    story.drain().await;
    let answer: Value = serde_json::from_str(answer.body()).unwrap();
    let lines = captured.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["fields"]["delivery"], answer["id"]);
    }
    assert_eq!(lines[0]["fields"]["webhook_id"], "wh-1");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_logged_with_its_reason() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    story.send(WebhookRequest::of("{}").without(TOKEN_HEADER)).await;
    story.send(WebhookRequest::of("{}").with(TOKEN_HEADER, LOCAL_TOKEN)).await;
    let reasons: Vec<_> = captured.lines().iter().map(|line| line["fields"]["reason"].clone()).collect();
    assert_eq!(reasons, ["no token", "more than one token"]);
}

/// The alarms count outcomes. A write must not be logged as a duplicate because its reply was lost.
#[tokio::test(start_paused = true)]
async fn a_write_with_a_lost_reply_is_logged_as_applied() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    story.ledger.mode.set(LedgerMode::LosesReplies);
    story.post(body("i-1", "PAID")).await;
    story.pump().await;
    let line = captured.lines().pop().unwrap();
    assert_eq!((&line["fields"]["outcome"], &line["fields"]["events"]), (&"applied".into(), &1.into()));
}

/// An alarm counts the lines with one of these keys.
#[tokio::test(start_paused = true)]
async fn only_unexpected_content_is_logged_as_unknown_or_drift() {
    let usual = r#"{"id":"i","user_id":"a","external_id":"o","merchant_name":"M","status":"PAID","amount":1000,
        "currency":"IDR"}"#;
    for (body, unknown, drift) in [
        (usual, false, false),
        (&usual.replace("1000", "{}"), false, true),
        (&usual.replace("PAID", "GIVEN"), true, true),
        (r#"{"event":"moon.landed"}"#, true, false),
    ] {
        let (captured, _guard) = Captured::start();
        let story = Story::new();
        story.post(body).await;
        story.pump().await;
        let line = captured.lines().pop().unwrap();
        let has = |key: &str| line["fields"].get(key).is_some();
        assert_eq!((has("unknown"), has("drift")), (unknown, drift), "{line}");
    }
}
