//! Stores: the receiver's real binary before stores that fail in every way, and how bodies of every size come through it
//! to the processor's.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise has to end the test")]

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use futures_util::future;
use processor::inbox::{Inbox as _, Letter};
use runtime::aws::CallLimits;
use serde_json::Value;
use shared::envelope::Envelope;
use tests::{
    cloud::Cloud,
    fixture::{LOCAL_TOKEN, api_event},
    process::{Function, TOKENS, lambda},
    runtime_api::{Invocation, RuntimeApi},
    server::{Moto, config},
    stub::{Reply, Stub},
};

const LIMITS: CallLimits = CallLimits { attempt: Duration::from_secs(5), total: Duration::from_secs(10), attempts: 1 };

/// What Xendit gets at the latest.
const PROMPT: Duration = Duration::from_secs(6);

/// A body full of what must not be logged.
const BODY: &str = r#"{"event":"canary-event with spaces","name":"Canary Name","email":"canary@example.com",
    "card_number":"4000000000001091","address":"Jalan Canary 7","phone":"+628123456789"}"#;

const CANARIES: [&str; 7] =
    ["canary-event", "Canary Name", "canary@example.com", "4000000000001091", "Jalan Canary", "+62812", LOCAL_TOKEN];

/// One way in which the stores can be.
struct Case {
    name: &'static str,
    queue: Reply,
    inbox: Reply,
    status: u64,
}

/// One webhook through a receiver of its own. The status of its answer, and how long that took.
async fn receive(id: &str, endpoint: &str, queue_url: &str) -> (u64, Duration) {
    let mut runtime = RuntimeApi::idle().await;
    let mut variables = lambda(&runtime.address, endpoint);
    variables.extend([("CALLBACK_TOKENS", TOKENS), ("QUEUE_URL", queue_url), ("INBOX_BUCKET", "stores")]);
    let mut function = Function::start("receiver", &variables);
    let event = api_event(LOCAL_TOKEN, BODY.as_bytes());
    runtime.hand_out(Invocation { id: id.to_owned(), event, limit: Duration::from_secs(10) });
    let answer = runtime.answer().await;
    let written = function.written();
    for canary in CANARIES {
        assert!(!written.contains(canary), "{id}: {canary} is in {written}");
    }
    assert_eq!(answer.to, "response", "{id}: {written}");
    let status = serde_json::from_str::<Value>(&answer.body).unwrap()["statusCode"].as_u64().unwrap();
    (status, answer.took)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_stores_do_the_answer_is_prompt_and_200_only_with_a_stored_copy() {
    let moto = Moto::shared();
    let aws = config(&moto.endpoint, LIMITS).await;
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&aws).force_path_style(true).build());
    let here = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::ApSoutheast1).build();
    s3.create_bucket().bucket("stores").create_bucket_configuration(here).send().await.unwrap();
    let url = sqs.create_queue().queue_name("stores").send().await.unwrap().queue_url.unwrap();

    let well = || Reply::Through(moto.endpoint.clone());
    let lost = || Reply::Lost(moto.endpoint.clone());
    let throttled = || Reply::With(400, r#"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#.to_owned());
    let denied = || Reply::With(403, "<Error><Code>AccessDenied</Code></Error>".to_owned());
    let broken = || Reply::With(503, String::new());
    let case = |name, queue, inbox, status| Case { name, queue, inbox, status };
    let cases = [
        case("well", well(), well(), 200),
        case("queue-well-inbox-silent", well(), Reply::Never, 200),
        case("queue-resets", Reply::Reset, well(), 200),
        case("queue-broken", broken(), well(), 200),
        case("queue-throttled", throttled(), well(), 200),
        case("queue-silent", Reply::Never, well(), 200),
        case("queue-loses-answers", lost(), well(), 200),
        case("queue-resets-inbox-broken", Reply::Reset, broken(), 503),
        case("queue-broken-inbox-silent", broken(), Reply::Never, 503),
        case("queue-throttled-inbox-denied", throttled(), denied(), 503),
        case("queue-silent-inbox-resets", Reply::Never, Reply::Reset, 503),
        case("queue-silent-inbox-silent", Reply::Never, Reply::Never, 503),
        case("both-lose-answers", lost(), lost(), 503),
    ];
    let gone = format!("{}/123456789012/nowhere", moto.endpoint);
    let url = &url;
    let through_stubs = future::join_all(cases.into_iter().map(|case| async move {
        let stub = Stub::in_front_of(case.queue, case.inbox).await;
        (case.name, case.status, receive(case.name, &stub.endpoint, url).await)
    }));
    let (mut answers, of_gone, of_nobody) = tokio::join!(
        through_stubs,
        receive("queue-gone", &moto.endpoint, &gone),
        receive("nobody-there", "http://127.0.0.1:9", url)
    );
    answers.extend([("queue-gone", 200, of_gone), ("nobody-there", 503, of_nobody)]);

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
        assert!(took < PROMPT, "{name}: {took:?}");
        assert!(status != 200 || stored.contains(name), "{name} was acknowledged, and is stored nowhere");
    }
}

/// A function that goes on running.
struct Running {
    runtime: RuntimeApi,
    _function: Function,
}

impl Running {
    async fn start(name: &str, cloud: &Cloud) -> Self {
        let runtime = RuntimeApi::idle().await;
        let mut variables = cloud.variables();
        // The last of a name counts.
        variables.push(("AWS_LAMBDA_RUNTIME_API".to_owned(), runtime.address.clone()));
        variables.push(("CALLBACK_TOKENS".to_owned(), TOKENS.to_owned()));
        let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        Self { _function: Function::start(name, &variables), runtime }
    }

    async fn invoke(&mut self, id: &str, event: String) -> String {
        self.runtime.hand_out(Invocation { id: id.to_owned(), event, limit: Duration::from_secs(30) });
        let answer = self.runtime.answer().await;
        assert_eq!(answer.to, "response", "{id}: {}", answer.body);
        answer.body
    }
}

/// The most that Lambda hands to a function.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

#[tokio::test]
async fn a_body_of_any_size_comes_through_both_binaries_byte_for_byte() {
    const MIB: usize = 1024 * 1024;
    let cloud = Cloud::start(Duration::from_secs(30)).await;
    let (mut receiver, mut processor) =
        (Running::start("receiver", &cloud).await, Running::start("processor", &cloud).await);
    // No JSON, so that they are parked as they came. Each has a size of its own to be known by.
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
        // In base64 as large as the text.
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
    for letter in cloud.take_all("dlq_url").await {
        let sealed = match Letter::read(&letter).unwrap() {
            Letter::Claim(claim) => cloud.inbox().fetch(&claim).await.unwrap(),
            Letter::Envelope | Letter::Test => letter,
        };
        parked.push(Envelope::open(&sealed).unwrap().body);
    }
    parked.sort();
    let mut sent = bodies.to_vec();
    sent.sort();
    let sizes = |bodies: &[Vec<u8>]| bodies.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&parked), sizes(&sent));
    assert!(parked == sent, "some bytes are others");
}
