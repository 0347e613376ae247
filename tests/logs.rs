//! Logs: whatever happens, no line holds anything of a webhook but ids and words.
//!
//! Everything is captured, at every level, and searched for what must not be there: the token, the body, and the
//! personal data in it.

#![expect(clippy::unwrap_used, reason = "test code: a surprise has to end the test")]

use std::{
    collections::BTreeMap,
    env, io,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Request;
use ledger::{dynamo::DynamoLedger, event_bridge::EventBridge};
use processor::{batch::Processor, source::SqsSource};
use receiver::{
    handler::Receiver,
    verify::{Arrival, Digest, TOKEN_HEADER},
};
use runtime::aws::CallLimits;
use serde_json::{Value, json};
use shared::envelope::{Envelope, Environment};
use tests::{
    fixture::{self, LOCAL_TOKEN},
    server::config,
    story::{Posting, Story},
    stub::{Reply, Stub},
    trouble::{BusMood, InboxMood, LedgerMood, QueueMood, SourceMood},
};
use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Personal data and secrets, planted where Xendit sends such things.
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
    // What people put into ids: a card number, and keys.
    "4000000000001091",
    "xnd_development_canary",
    "CANARYtokenOfFortyLettersAndDigits0123456789",
];

/// What has been logged.
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
    /// Captures what this thread logs, whoever logs it, until the guard is dropped.
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

/// A webhook full of what must not be logged, and with values of types that it never had.
fn body(id: &str, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","user_id":"acc-1","external_id":"order-1","merchant_name":"Canary-Name","status":"{status}",
            "amount":{{"value":"canary-currency"}},"paid_amount":"canary-account-number","currency":"canary-currency",
            "payer_email":"canary@example.com","description":"canary-description","updated":"canary-description",
            "customer":{{"mobile_number":"+628123canary","card_number":"4000000000000canary"}}}}"#
    )
}

/// Goes through all that can become of a webhook.
async fn everything(story: &Story) {
    let send = async |body: &str| {
        story.send(Posting::of(body).with("webhook-id", "wh-1").to("/webhook/invoice")).await;
        story.pump().await;
    };
    // At the door.
    let wrong = Posting::of(body("i-1", "PAID")).without(TOKEN_HEADER);
    story.send(wrong.clone()).await;
    story.send(wrong.clone().with(TOKEN_HEADER, "canary-wrong-token-0123456789")).await;
    story.send(wrong.with(TOKEN_HEADER, LOCAL_TOKEN).with(TOKEN_HEADER, LOCAL_TOKEN)).await;
    story.send(Posting::of(body("i-1", "PAID")).to("/canary-description?name=Canary-Name")).await;
    story.send(Posting::of(body("i-1", "PAID")).to("/webhook/Canary-Name")).await;
    for mood in [QueueMood::Refuses, QueueMood::LosesReplies] {
        story.queue.mood.is(mood);
        send(&body("i-1", "PAID")).await;
    }
    story.inbox.mood.is(InboxMood::Down);
    story.queue.mood.is(QueueMood::Refuses);
    send(&body("i-1", "PAID")).await;
    story.inbox.mood.is_well();
    story.queue.mood.is_well();
    story.post("x".repeat(2_000_000)).await;
    // Understood, repeated, old, unknown, contradicting.
    for status in ["PENDING", "PAID", "PAID", "PENDING", "canary-unknown-status"] {
        send(&body("i-2", status)).await;
    }
    send(r#"{"event":"Canary-Name with spaces","data":{"name":"Canary-Name"}}"#).await;
    // In ids and names.
    let odd = ["canary@example.com", "4000000000001091", "xnd_development_canary", CANARIES[11], LOCAL_TOKEN];
    for odd in odd {
        for id in [odd.to_owned(), format!("order/{odd}")] {
            story.send(Posting::of(body("i-5", "PAID")).with("webhook-id", &id)).await;
        }
        for failing in [LedgerMood::Well, LedgerMood::Down] {
            story.ledger.mood.is(failing);
            if odd != LOCAL_TOKEN {
                send(&body(odd, "PAID")).await;
                send(&format!(r#"{{"event":"{odd}","data":{{"id":"{odd}"}}}}"#)).await;
            }
        }
        story.ledger.mood.is_well();
    }
    // Not readable.
    send("Canary-Name").await;
    send(r#"["Canary-Name"]"#).await;
    story.queue.put(r#"{"v":9,"name":"Canary-Name"}"#);
    story.queue.put("Canary-Name");
    // Trouble of every kind.
    for mood in [LedgerMood::Down, LedgerMood::Refuses("i-3"), LedgerMood::PanicsOn("i-3"), LedgerMood::CannotClear] {
        story.ledger.mood.is(mood);
        send(&body("i-3", "PAID")).await;
        story.ledger.mood.is_well();
    }
    for mood in [BusMood::Down, BusMood::PanicsOn("Canary")] {
        story.bus.mood.is(mood);
        send(&body("i-4", "PAID")).await;
        story.bus.mood.is_well();
    }
    story.source.mood.is(SourceMood::CannotPark);
    send("Canary-Name").await;
    story.source.mood.is_well();
    story.drain().await;
    for (_, body) in fixture::webhooks() {
        send(&body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_line_holds_a_token_a_body_or_anything_personal() {
    let (captured, _guard) = Captured::start();
    everything(&Story::new()).await;
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
        assert!(text.contains(&format!(r#""outcome":"{outcome}""#)), "the story never came to {outcome}");
    }
}

/// The values in the bundled bodies that belong to people.
#[tokio::test(start_paused = true)]
async fn no_line_holds_a_name_an_address_or_an_account_number_of_a_bundled_body() {
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

/// Whether a text holds a word or words, and not only as a part of a longer one: ids hold any digits.
fn mentions(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// Short texts are codes, and words in lower case are Xendit's own: they would be found in any line.
fn is_personal(text: &str) -> bool {
    text.len() > 5 && !text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.'))
}

/// The texts under keys that contain one of some words.
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

/// A body as it comes to the processor.
fn sealed(body: &str) -> String {
    Envelope { delivery: fixture::delivery(), body: body.as_bytes().to_vec() }.seal()
}

/// All of a webhook that could be printed by mistake.
fn everything_secret() -> String {
    format!("{} {LOCAL_TOKEN}", CANARIES.join(" "))
}

/// The test below runs this in a process of its own, because a panic hook is a process's, and so is where it logs.
#[tokio::test]
#[ignore = "another test starts it"]
async fn a_process_with_trouble_at_aws_that_panics() {
    runtime::logs::init().unwrap();
    let said = json!({ "__type": "Canary", "message": everything_secret() }).to_string();
    for reply in [Reply::With(400, said), Reply::With(500, everything_secret()), Reply::Reset] {
        let stub = Stub::start(vec![reply]).await;
        let limits = CallLimits { attempt: Duration::from_secs(1), total: Duration::from_secs(1), attempts: 1 };
        let aws = config(&stub.endpoint, limits).await;
        let (sqs, s3) = (aws_sdk_sqs::Client::new(&aws), aws_sdk_s3::Client::new(&aws));
        let receiver = Receiver {
            tokens: format!("local={}", Digest::of(LOCAL_TOKEN.as_bytes())).parse().unwrap(),
            queue: receiver::queue::SqsQueue::new(sqs.clone(), stub.endpoint.clone()),
            inbox: receiver::inbox::S3Inbox::new(&aws, limits, "inbox").unwrap(),
            environment: Environment::Test,
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
            token_accounts: BTreeMap::new(),
            clock: Timestamp::now,
        };
        let records =
            [sealed(&body("i-1", "PAID")), everything_secret()].map(|body| json!({ "messageId": "m-1", "body": body }));
        let batch: processor::message::Batch = serde_json::from_value(json!({ "Records": records })).unwrap();
        let deadline = Timestamp::now() + SignedDuration::from_secs(30);
        assert_eq!(processor.process(batch, deadline).await.unwrap().failures().count(), 2);
    }
    let _ = tokio::spawn(async { panic!("{}", everything_secret()) }).await;
    let _ =
        tokio::spawn(async { everything_secret().parse::<Environment>().map_err(|_| everything_secret()).unwrap() })
            .await;
}

#[test]
fn neither_a_panic_nor_trouble_at_aws_prints_anything_of_a_webhook() {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "a_process_with_trouble_at_aws_that_panics", "--ignored", "--nocapture"]);
    let output = process.env("LOG_LEVEL", "trace").env("RUST_BACKTRACE", "full").output().unwrap();
    let written = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{written}");
    for secret in CANARIES.into_iter().chain([LOCAL_TOKEN]) {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
    assert_eq!(written.matches("a bug in this program: it panicked").count(), 2, "{written}");
    for outcome in ["not_stored", "retry", "not_parked"] {
        assert!(written.contains(&format!(r#""outcome":"{outcome}""#)), "it never came to {outcome}: {written}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_webhook_is_one_line_in_each_function_and_both_name_the_delivery() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    let answer = story.send(Posting::of(body("i-1", "PAID")).with("webhook-id", "wh-1")).await;
    story.drain().await;
    let answer: Value = serde_json::from_str(answer.body()).unwrap();
    let lines = captured.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["fields"]["delivery"], answer["id"]);
        assert_eq!(line["fields"]["webhook_id"], "wh-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_logged_with_its_reason() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    story.send(Posting::of("{}").without(TOKEN_HEADER)).await;
    story.send(Posting::of("{}").with(TOKEN_HEADER, LOCAL_TOKEN)).await;
    let reasons: Vec<_> = captured.lines().iter().map(|line| line["fields"]["reason"].clone()).collect();
    assert_eq!(reasons, ["no token", "more than one token"]);
}

/// The alarms count outcomes: one's own write must not pass for a duplicate because its answer was lost.
#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_logged_as_applied() {
    let (captured, _guard) = Captured::start();
    let story = Story::new();
    story.ledger.mood.is(LedgerMood::LosesReplies);
    story.post(body("i-1", "PAID")).await;
    story.pump().await;
    let line = captured.lines().pop().unwrap();
    assert_eq!((&line["fields"]["outcome"], &line["fields"]["events"]), (&"applied".into(), &1.into()));
}

/// The alarm on what is new counts the lines that have one of these keys.
#[tokio::test(start_paused = true)]
async fn only_a_webhook_with_something_new_in_it_is_logged_as_unknown_or_as_drift() {
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
