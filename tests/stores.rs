//! Stores: the real receiver with stores that fail in every way, and bodies of any size through both real binaries.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use std::{collections::BTreeSet, time::Duration};

use futures_util::future;
use processor::inbox::{Inbox as _, Payload};
use runtime::aws::CallLimits;
use serde_json::Value;
use shared::envelope::Envelope;
use tests::{
    cloud::Cloud,
    fixture::{LOCAL_TOKEN, LOCAL_TOKENS, api_event},
    process::{Function, lambda},
    runtime_api::{Invocation, RuntimeApi},
    server::{Moto, config, create_bucket, s3},
    stub::{Reply, Stub},
};

const LIMITS: CallLimits = CallLimits { attempt: Duration::from_secs(5), total: Duration::from_secs(10), attempts: 1 };

/// The receiver's limit for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);

/// A body full of secrets.
const BODY: &str = r#"{"event":"canary-event with spaces","name":"Canary Name","email":"canary@example.com",
    "card_number":"4000000000001091","address":"Jalan Canary 7","phone":"+628123456789"}"#;

const CANARIES: [&str; 7] =
    ["canary-event", "Canary Name", "canary@example.com", "4000000000001091", "Jalan Canary", "+62812", LOCAL_TOKEN];

/// How both stores behave, and the expected status.
struct Case {
    name: &'static str,
    queue: Reply,
    inbox: Reply,
    status: u64,
}

/// Sends one webhook to a new receiver. Returns the status and the duration.
async fn receive(id: &str, endpoint: &str, queue_url: &str) -> (u64, Duration) {
    let mut runtime = RuntimeApi::idle().await;
    let mut variables = lambda(&runtime.address, endpoint);
    variables.extend([("CALLBACK_TOKENS", LOCAL_TOKENS), ("QUEUE_URL", queue_url), ("INBOX_BUCKET", "stores")]);
    let mut function = Function::start("receiver", &variables);
    let event = api_event(LOCAL_TOKEN, BODY.as_bytes());
    runtime.send(Invocation { id: id.to_owned(), event, limit: Duration::from_secs(10) });
    let answer = runtime.answer().await;
    let written = function.kill();
    for canary in CANARIES {
        assert!(!written.contains(canary), "{id}: {canary} is in {written}");
    }
    assert_eq!(answer.to, "response", "{id}: {written}");
    let status = serde_json::from_str::<Value>(&answer.body).unwrap()["statusCode"].as_u64().unwrap();
    (status, answer.took)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_answers_within_its_limit_and_200_only_with_a_stored_copy() {
    let moto = Moto::shared();
    let aws = config(&moto.endpoint, LIMITS).await;
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let s3 = s3(&aws);
    create_bucket(&s3, "stores").await;
    let url = sqs.create_queue().queue_name("stores").send().await.unwrap().queue_url.unwrap();

    let works = || Reply::Through(moto.endpoint.clone());
    let loses = || Reply::Lost(moto.endpoint.clone());
    let throttled = || Reply::With(400, r#"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#.to_owned());
    let denied = || Reply::With(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    let broken = || Reply::With(503, String::new());
    let case = |name, queue, inbox, status| Case { name, queue, inbox, status };
    let cases = [
        case("both-work", works(), works(), 200),
        case("queue-works-inbox-silent", works(), Reply::Never, 200),
        case("queue-resets", Reply::Reset, works(), 200),
        case("queue-broken", broken(), works(), 200),
        case("queue-throttled", throttled(), works(), 200),
        case("queue-silent", Reply::Never, works(), 200),
        case("queue-loses-answers", loses(), works(), 200),
        case("queue-resets-inbox-broken", Reply::Reset, broken(), 503),
        case("queue-broken-inbox-silent", broken(), Reply::Never, 503),
        case("queue-throttled-inbox-denied", throttled(), denied(), 503),
        case("queue-silent-inbox-resets", Reply::Never, Reply::Reset, 503),
        case("queue-silent-inbox-silent", Reply::Never, Reply::Never, 503),
        case("both-lose-answers", loses(), loses(), 503),
    ];
    let gone = format!("{}/123456789012/nowhere", moto.endpoint);
    let url = &url;
    let through_stubs = future::join_all(cases.into_iter().map(|case| async move {
        let stub = Stub::in_front_of(case.queue, case.inbox).await;
        (case.name, case.status, receive(case.name, &stub.endpoint, url).await)
    }));
    let (mut answers, of_gone, of_unreachable) = tokio::join!(
        through_stubs,
        receive("queue-gone", &moto.endpoint, &gone),
        receive("unreachable", "http://127.0.0.1:9", url)
    );
    answers.extend([("queue-gone", 200, of_gone), ("unreachable", 503, of_unreachable)]);

    let objects = s3.list_objects_v2().bucket("stores").send().await.unwrap().contents.unwrap();
    let mut stored: BTreeSet<String> =
        objects.iter().map(|object| object.key().unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    let receive = || sqs.receive_message().queue_url(url).max_number_of_messages(10).send();
    while let Some(messages) = receive().await.unwrap().messages.filter(|messages| !messages.is_empty()) {
        let envelopes = messages.iter().map(|message| Envelope::open(message.body().unwrap()).unwrap());
        stored.extend(envelopes.map(|envelope| envelope.delivery.id));
    }
    for (name, expected, (status, took)) in answers {
        assert_eq!(status, expected, "{name}");
        assert!(took < ANSWER_LIMIT, "{name}: {took:?}");
        assert!(status != 200 || stored.contains(name), "{name} was acknowledged but not stored");
    }
}

/// A running function.
struct Running {
    runtime: RuntimeApi,
    _function: Function,
}

impl Running {
    async fn start(name: &str, cloud: &Cloud) -> Self {
        let runtime = RuntimeApi::idle().await;
        let mut variables = cloud.variables();
        // Later entries override earlier ones.
        variables.push(("AWS_LAMBDA_RUNTIME_API".to_owned(), runtime.address.clone()));
        variables.push(("CALLBACK_TOKENS".to_owned(), LOCAL_TOKENS.to_owned()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        Self { _function: Function::start(name, &variables), runtime }
    }

    async fn invoke(&mut self, id: &str, event: String) -> String {
        self.runtime.send(Invocation { id: id.to_owned(), event, limit: Duration::from_secs(30) });
        let answer = self.runtime.answer().await;
        assert_eq!(answer.to, "response", "{id}: {}", answer.body);
        answer.body
    }
}

/// Lambda's limit for an event.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

#[tokio::test]
async fn bodies_of_any_size_pass_through_both_binaries_byte_for_byte() {
    const MIB: usize = 1024 * 1024;
    let cloud = Cloud::start(Duration::from_secs(30)).await;
    let (mut receiver, mut processor) =
        (Running::start("receiver", &cloud).await, Running::start("processor", &cloud).await);
    // They are not JSON, so that they are parked unchanged. Their sizes tell them apart.
    let text = |bytes: usize| "\u{e9}x".repeat(bytes / 3 + 1).into_bytes()[..bytes / 3 * 3].to_vec();
    let binary = |bytes: usize| (0..=u8::MAX).cycle().take(bytes).collect::<Vec<_>>();
    let bodies = [
        Vec::new(),
        text(500_000),
        b"x".repeat(MIB - 1),
        b"x".repeat(MIB + 1),
        text(5_900_000),
        binary(700_000),
        binary(MIB - 1),
        binary(MIB + 1),
        // As base64, it is as large as the largest text.
        binary(4_400_000),
    ];
    for (n, body) in bodies.iter().enumerate() {
        let event = api_event(LOCAL_TOKEN, body);
        assert!(event.len() < MAX_EVENT_BYTES, "{} bytes", event.len());
        let answer = receiver.invoke(&format!("body-{n}"), event).await;
        assert!(answer.contains(r#""statusCode":200"#), "{} bytes: {answer}", body.len());
    }
    while cloud.depth("queue_url").await > 0 {
        let messages = cloud.receive("queue_url").await;
        let answer = processor.invoke("batch", poller::event(&messages)).await;
        assert_eq!(answer, r#"{"batchItemFailures":[]}"#);
        cloud.delete("queue_url", messages.iter()).await;
    }
    let mut parked = Vec::new();
    for letter in cloud.drain("dlq_url").await {
        let sealed = match Payload::read(&letter).unwrap() {
            Payload::ObjectRef(claim) => cloud.inbox().fetch(&claim).await.unwrap(),
            Payload::Envelope | Payload::Test => letter,
        };
        parked.push(Envelope::open(&sealed).unwrap().body);
    }
    parked.sort();
    let mut sent = bodies.to_vec();
    sent.sort();
    let sizes = |bodies: &[Vec<u8>]| bodies.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&parked), sizes(&sent));
    assert!(parked == sent, "some bytes changed");
}
