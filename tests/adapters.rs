//! Adapters: each adapter over the wire, against moto's server and against servers that misbehave.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: an unexpected value must fail the test")]

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::{
    config::{Credentials, SharedCredentialsProvider},
    types::{Message, QueueAttributeName},
};
use ledger::{
    bus::{Bus, PublishError},
    dynamo::DynamoLedger,
    event_bridge::EventBridge,
    item::{FORMAT, Item, Step},
    key::Key,
    store::{Ledger, StoreError, Write},
    update::Update,
};
use processor::{
    failure::CALL_LIMITS,
    inbox::{Inbox as _, NotFetched, ObjectRef},
    message::Message as Record,
    source::{Source, SqsSource},
};
use receiver::{
    inbox::{Inbox as _, KEEP_BUDGET},
    queue::{NotStored, Queue, SEND_BUDGET, SqsQueue},
};
use runtime::aws::CallLimits;
use serde_json::{Value, json};
use shared::{
    domain_event::DomainEvent,
    envelope::{Envelope, MAX_QUEUED_BYTES},
    lifecycle::Kind,
    observation::Mark,
    webhook::Webhook,
};
use tests::{
    fixture::delivery,
    server::{Moto, config, create_bucket, s3},
    stub::{Reply, Stub},
};

/// The receiver's limits for SQS.
const RECEIVER: CallLimits = CallLimits { attempt: Duration::from_secs(1), total: SEND_BUDGET, attempts: 3 };

// --- The receiver's queue ---

fn envelope(body: &[u8]) -> Envelope {
    Envelope { delivery: delivery(), body: body.to_vec() }
}

/// SQS's reply when it has stored `envelope(b"{}")`.
fn stored() -> String {
    let sealed =
        r#"{"v":1,"id":"d-1","received_at":"2026-01-02T03:04:05Z","environment":"test","token":"local","body":"{}"}"#;
    assert_eq!(envelope(b"{}").seal(), sealed, "this text has the MD5 below");
    confirmed("b3874a4a19c461d9d1bf9eb922a273f3")
}

fn confirmed(md5: &str) -> String {
    json!({ "MessageId": "m-1", "MD5OfMessageBody": md5 }).to_string()
}

async fn sqs(endpoint: &str) -> aws_sdk_sqs::Client {
    aws_sdk_sqs::Client::new(&config(endpoint, RECEIVER).await)
}

async fn create_queue(moto: &Moto, name: &str) -> (aws_sdk_sqs::Client, String) {
    let client = sqs(&moto.endpoint).await;
    let queue = client.create_queue().queue_name(name).send().await.unwrap();
    (client, queue.queue_url.unwrap())
}

async fn receive_all(client: &aws_sdk_sqs::Client, url: &str) -> Vec<Message> {
    let mut all = Vec::new();
    loop {
        let call = client.receive_message().queue_url(url).max_number_of_messages(10).message_attribute_names("All");
        match call.send().await.unwrap().messages {
            Some(messages) if !messages.is_empty() => all.extend(messages),
            _ => return all,
        }
    }
}

/// A queue at a stub.
async fn queue_at(stub: &Stub) -> SqsQueue {
    SqsQueue::new(sqs(&stub.endpoint).await, format!("{}/123456789012/webhooks", stub.endpoint))
}

#[tokio::test]
async fn enqueued_bodies_arrive_byte_for_byte() {
    let moto = Moto::shared();
    let (client, url) = create_queue(&moto, "enqueued").await;
    let queue = SqsQueue::new(client.clone(), url.clone());
    queue.warm_up().await;
    let bodies: [&[u8]; 6] =
        [b"{}", b"", b"\xff\xfe\x00", "\u{FFFF}\u{1F4B8}\u{7}".as_bytes(), b"a&b=<c>+%20\r\n", b"\t"];
    for body in bodies {
        assert_eq!(queue.enqueue(&envelope(body)).await, Ok(()));
    }
    let mut found: Vec<_> = receive_all(&client, &url)
        .await
        .into_iter()
        .map(|message| Envelope::open(&message.body.unwrap()).unwrap())
        .collect();
    let mut sent: Vec<_> = bodies.into_iter().map(envelope).collect();
    found.sort_by(|one, two| one.body.cmp(&two.body));
    sent.sort_by(|one, two| one.body.cmp(&two.body));
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_missing_queue_is_reported_with_its_error_code() {
    let moto = Moto::shared();
    let url = format!("{}/123456789012/nowhere", moto.endpoint);
    let queue = SqsQueue::new(sqs(&moto.endpoint).await, url);
    let refused = queue.enqueue(&envelope(b"{}")).await.unwrap_err();
    let NotStored::Refused(code) = &refused else { panic!("{refused:?}") };
    assert!(code.contains("QueueDoesNotExist") || code.contains("NonExistentQueue"), "{code}");
}

#[tokio::test]
async fn a_silent_queue_times_out_within_the_budget() {
    let stub = Stub::start(vec![Reply::Never]).await;
    let start = Instant::now();
    let error = queue_at(&stub).await.enqueue(&envelope(b"{}")).await.unwrap_err();
    assert!(matches!(error, NotStored::Unreachable(_)), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(stub.connections() >= 2, "it was retried");
}

#[tokio::test]
async fn a_refused_connection_makes_the_queue_unreachable() {
    let queue = SqsQueue::new(sqs("http://127.0.0.1:9").await, "http://127.0.0.1:9/1/webhooks".to_owned());
    assert_eq!(queue.enqueue(&envelope(b"{}")).await, Err(NotStored::Unreachable("no connection")));
}

#[tokio::test]
async fn a_reply_with_the_wrong_md5_or_no_id_confirms_nothing() {
    let md5_of_nothing = confirmed("d41d8cd98f00b204e9800998ecf8427e");
    let without_id =
        json!({ "MD5OfMessageBody": serde_json::from_str::<Value>(&stored()).unwrap()["MD5OfMessageBody"] });
    for body in [md5_of_nothing, "{}".to_owned(), without_id.to_string()] {
        let stub = Stub::start(vec![Reply::With(200, body)]).await;
        assert_eq!(queue_at(&stub).await.enqueue(&envelope(b"{}")).await, Err(NotStored::Unconfirmed));
    }
}

#[tokio::test]
async fn a_malformed_reply_confirms_nothing() {
    let stub = Stub::start(vec![Reply::With(200, "<html>".to_owned())]).await;
    queue_at(&stub).await.enqueue(&envelope(b"{}")).await.unwrap_err();
}

#[tokio::test]
async fn a_failed_send_is_retried_and_a_lasting_error_is_reported() {
    let throttled = json!({ "__type": "com.amazonaws.sqs#RequestThrottled", "message": "slow down" }).to_string();
    for failure in [Reply::Reset, Reply::Once(503, String::new()), Reply::Once(400, throttled.clone())] {
        let stub = Stub::start(vec![failure.clone(), Reply::With(200, stored())]).await;
        assert_eq!(queue_at(&stub).await.enqueue(&envelope(b"{}")).await, Ok(()), "{failure:?}");
        assert_eq!(stub.connections(), 2, "{failure:?}");
    }
    let stub = Stub::start(vec![Reply::With(400, throttled)]).await;
    let error = queue_at(&stub).await.enqueue(&envelope(b"{}")).await.unwrap_err();
    assert!(matches!(&error, NotStored::Refused(code) if code.contains("RequestThrottled")), "{error:?}");
}

#[tokio::test]
async fn a_reset_connection_is_replaced_by_a_new_one() {
    let stub = Stub::start(vec![Reply::ThenReset(stored()), Reply::With(200, stored())]).await;
    let queue = queue_at(&stub).await;
    assert_eq!(queue.enqueue(&envelope(b"{}")).await, Ok(()));
    assert_eq!(stub.connections(), 1);
    assert_eq!(queue.enqueue(&envelope(b"{}")).await, Ok(()));
    assert_eq!(stub.connections(), 2);
}

#[tokio::test]
async fn a_connection_to_a_failing_server_is_not_reused() {
    let stub = Stub::start(vec![Reply::With(503, String::new()), Reply::With(200, stored())]).await;
    assert_eq!(queue_at(&stub).await.enqueue(&envelope(b"{}")).await, Ok(()));
    assert_eq!(stub.connections(), 2);
}

#[tokio::test]
async fn a_body_too_large_for_a_message_is_not_sent() {
    let stub = Stub::start(vec![Reply::With(200, stored())]).await;
    let too_large = envelope(&vec![b'x'; MAX_QUEUED_BYTES]);
    let bytes = too_large.seal().len();
    assert_eq!(queue_at(&stub).await.enqueue(&too_large).await, Err(NotStored::TooLarge { bytes }));
    assert_eq!(stub.connections(), 0);
}

// --- The inbox of both functions ---

/// The receiver's limits for S3.
const INBOX_LIMITS: CallLimits = CallLimits { attempt: Duration::from_millis(1_200), total: KEEP_BUDGET, attempts: 2 };

/// The receiver's adapter for a bucket.
async fn keeper(endpoint: &str, bucket: &str) -> receiver::inbox::S3Inbox {
    receiver::inbox::S3Inbox::new(&config(endpoint, INBOX_LIMITS).await, INBOX_LIMITS, bucket).unwrap()
}

/// The receiver's and the processor's adapters for a bucket at a stub.
async fn inbox_at(stub: &Stub) -> (receiver::inbox::S3Inbox, processor::inbox::S3Inbox) {
    let fetcher = processor::inbox::S3Inbox::new(s3(&config(&stub.endpoint, INBOX_LIMITS).await), "inbox".to_owned());
    (keeper(&stub.endpoint, "inbox").await, fetcher)
}

fn claim(bucket: &str, key: &str) -> ObjectRef {
    ObjectRef { bucket: bucket.to_owned(), key: key.to_owned() }
}

#[tokio::test]
async fn the_inbox_returns_bodies_byte_for_byte() {
    let moto = Moto::shared();
    let client = s3(&config(&moto.endpoint, INBOX_LIMITS).await);
    create_bucket(&client, "kept").await;
    let kept = envelope(&vec![b'\xff'; 2_000_000]);
    assert_eq!(keeper(&moto.endpoint, "kept").await.keep(&kept).await, Ok(()));
    let objects = client.list_objects_v2().bucket("kept").send().await.unwrap().contents.unwrap();
    let keys: Vec<&str> = objects.iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["webhooks/2026-01-02/d-1"]);
    let fetcher = processor::inbox::S3Inbox::new(client, "kept".to_owned());
    assert_eq!(fetcher.fetch(&claim("kept", keys[0])).await, Ok(kept.seal()));
    assert_eq!(fetcher.fetch(&claim("kept", "webhooks/none")).await, Err(NotFetched::Permanent("the object is gone")));
    assert!(matches!(fetcher.fetch(&claim("other", keys[0])).await, Err(NotFetched::Permanent(_))));
}

#[tokio::test]
async fn a_silent_inbox_times_out_in_time_to_answer_xendit() {
    let stub = Stub::start(vec![Reply::Never]).await;
    let start = Instant::now();
    let error = inbox_at(&stub).await.0.keep(&envelope(b"{}")).await.unwrap_err();
    assert!(matches!(error, NotStored::Unreachable(_)), "{error:?}");
    let took = start.elapsed();
    assert!(SEND_BUDGET + took < Duration::from_secs(6), "{took:?} after the queue's {SEND_BUDGET:?}");
}

#[tokio::test]
async fn an_object_that_stalls_after_its_headers_is_given_up_within_the_limit() {
    let stub = Stub::start(vec![Reply::Stalls(envelope(b"{}").seal())]).await;
    let client = s3(&config(&stub.endpoint, CALL_LIMITS).await);
    let fetcher = processor::inbox::S3Inbox::new(client, "inbox".to_owned());
    let start = Instant::now();
    let answer = fetcher.fetch(&claim("inbox", "webhooks/1")).await;
    assert_eq!(answer, Err(NotFetched::Transient("timeout".to_owned())));
    let took = start.elapsed();
    assert!(took < CALL_LIMITS.total + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_refusal_by_the_inbox_stores_nothing_and_retries_a_claim() {
    let refusals = [
        (Reply::With(503, String::new()), "503"),
        (Reply::With(403, "<Error><Code>AccessDenied</Code></Error>".to_owned()), "AccessDenied"),
    ];
    for (refusal, code) in refusals {
        let stub = Stub::start(vec![refusal]).await;
        let (keeper, fetcher) = inbox_at(&stub).await;
        assert_eq!(keeper.keep(&envelope(b"{}")).await, Err(NotStored::Refused(code.to_owned())));
        let answer = fetcher.fetch(&claim("inbox", "webhooks/1")).await;
        assert!(matches!(answer, Err(NotFetched::Transient(_))), "{answer:?}");
    }
}

/// Moto verifies signatures once that is turned on, with botocore's code.
#[tokio::test]
async fn the_inbox_signs_requests_as_s3_requires() {
    let moto = Moto::dedicated();
    let form = "application/x-www-form-urlencoded";
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}]}"#;
    create_bucket(&s3(&config(&moto.endpoint, INBOX_LIMITS).await), "signed").await;
    moto.post("/", form, "Action=CreateUser&UserName=receiver").await;
    moto.post("/", form, &format!("Action=PutUserPolicy&UserName=receiver&PolicyName=p&PolicyDocument={policy}")).await;
    let key = moto.post("/", form, "Action=CreateAccessKey&UserName=receiver").await;
    let of = |tag: &str| key.split_once(&format!("<{tag}>")).unwrap().1.split_once('<').unwrap().0.to_owned();
    moto.post("/moto-api/reset-auth", "text/plain", "0").await;

    let keep = async |secret: String| {
        let credentials = Credentials::new(of("AccessKeyId"), secret, None, None, "tests");
        let aws = config(&moto.endpoint, INBOX_LIMITS).await.into_builder();
        let aws = aws.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
        let inbox = receiver::inbox::S3Inbox::new(&aws, INBOX_LIMITS, "signed").unwrap();
        inbox.keep(&envelope(b"{}")).await
    };
    assert_eq!(keep(of("SecretAccessKey")).await, Ok(()));
    let refused = Err(NotStored::Refused("SignatureDoesNotMatch".to_owned()));
    assert_eq!(keep("another-secret".to_owned()).await, refused);
}

#[tokio::test]
async fn a_failed_put_to_the_inbox_is_retried_once() {
    for failure in [Reply::Once(503, String::new()), Reply::Reset] {
        let stub = Stub::start(vec![failure, Reply::With(200, String::new())]).await;
        assert_eq!(inbox_at(&stub).await.0.keep(&envelope(b"{}")).await, Ok(()));
        assert_eq!(stub.connections(), 2);
    }
    let stub = Stub::start(vec![Reply::Once(403, String::new()), Reply::With(200, String::new())]).await;
    assert!(inbox_at(&stub).await.0.keep(&envelope(b"{}")).await.is_err());
    assert_eq!(stub.connections(), 1, "a refusal by S3 is not retried");
}

#[tokio::test]
async fn warming_up_with_a_silent_queue_times_out() {
    let stub = Stub::start(vec![Reply::Never]).await;
    let start = Instant::now();
    queue_at(&stub).await.warm_up().await;
    assert!(start.elapsed() < Duration::from_millis(2_500), "{:?}", start.elapsed());
}

// --- The processor's queue ---

fn record(message: &Message, receive_count: u32) -> Record {
    let record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": { "ApproximateReceiveCount": receive_count.to_string() },
    });
    serde_json::from_str(&record.to_string()).unwrap()
}

#[tokio::test]
async fn a_parked_message_keeps_its_body_and_its_reason() {
    let moto = Moto::shared();
    let (client, url) = create_queue(&moto, "to-park").await;
    let (_, dlq_url) = create_queue(&moto, "parked").await;
    client.send_message().queue_url(&url).message_body("no \u{1F4B8} envelope").send().await.unwrap();
    let message = receive_all(&client, &url).await.remove(0);
    let source = SqsSource::new(client.clone(), url, dlq_url.clone());
    source.park(&record(&message, 3), "the message is not an envelope").await.unwrap();
    let parked = receive_all(&client, &dlq_url).await.remove(0);
    assert_eq!(parked.body.as_deref(), Some("no \u{1F4B8} envelope"));
    let attributes = parked.message_attributes.unwrap();
    let attribute = |name: &str| attributes[name].string_value.clone().unwrap();
    assert_eq!(attribute("reason"), "the message is not an envelope");
    assert_eq!(Some(attribute("message_id")), message.message_id);
    assert_eq!(attribute("receive_count"), "3");
    assert!(!attributes.contains_key("earlier_reason"), "it was no dead letter before");
}

#[tokio::test]
async fn a_redriven_message_that_is_parked_again_keeps_its_earlier_reason_and_fits() {
    let moto = Moto::shared();
    let (client, url) = create_queue(&moto, "redriven").await;
    let (_, dlq_url) = create_queue(&moto, "parked-again").await;
    let long = "\u{1F4B8}".repeat(300);
    let record = json!({
        "messageId": "0".repeat(36),
        // The largest message that the receiver sends.
        "body": "x".repeat(MAX_QUEUED_BYTES),
        "attributes": { "ApproximateReceiveCount": "10" },
        "messageAttributes": { "earlier_reason": { "stringValue": long, "dataType": "String" } },
    });
    let record: Record = serde_json::from_str(&record.to_string()).unwrap();
    SqsSource::new(client.clone(), url, dlq_url.clone()).park(&record, &long).await.unwrap();
    let parked = receive_all(&client, &dlq_url).await.remove(0);
    let attributes = parked.message_attributes.unwrap();
    let text = |name: &str| attributes[name].string_value.clone().unwrap();
    assert!(long.starts_with(&text("earlier_reason")) && text("earlier_reason").len() == 320);
    let bytes = |(name, value): (&String, &aws_sdk_sqs::types::MessageAttributeValue)| {
        name.len() + value.data_type.len() + value.string_value().unwrap().len()
    };
    let all = parked.body.unwrap().len() + attributes.iter().map(bytes).sum::<usize>();
    assert!(all <= 1024 * 1024, "{all} bytes are more than SQS takes");
}

#[tokio::test]
async fn a_message_is_delayed_by_its_visibility_timeout() {
    let moto = Moto::shared();
    let (client, url) = create_queue(&moto, "to-postpone").await;
    client.send_message().queue_url(&url).message_body("b").send().await.unwrap();
    let message = receive_all(&client, &url).await.remove(0);
    let source = SqsSource::new(client.clone(), url.clone(), url.clone());
    source.postpone(&record(&message, 1), Duration::from_mins(15)).await.unwrap();
    assert!(receive_all(&client, &url).await.is_empty());
    source.postpone(&record(&message, 1), Duration::ZERO).await.unwrap();
    let again = client.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap();
    assert_eq!(again[0].message_id, message.message_id);
}

#[tokio::test]
async fn parking_fails_while_the_dead_letter_queue_is_missing_or_silent() {
    let moto = Moto::shared();
    let (client, url) = create_queue(&moto, "no-dlq").await;
    client.send_message().queue_url(&url).message_body("b").send().await.unwrap();
    let message = receive_all(&client, &url).await.remove(0);
    let source = SqsSource::new(client, url, format!("{}/123456789012/nowhere", moto.endpoint));
    source.park(&record(&message, 1), "reason").await.unwrap_err();
    let stub = Stub::start(vec![Reply::Never]).await;
    let limits = CallLimits { attempt: Duration::from_millis(100), total: Duration::from_millis(300), attempts: 2 };
    let client = aws_sdk_sqs::Client::new(&config(&stub.endpoint, limits).await);
    let source = SqsSource::new(client, stub.endpoint.clone(), stub.endpoint.clone());
    assert_eq!(source.park(&record(&message, 1), "reason").await.unwrap_err().0, "timeout");
    assert_eq!(source.postpone(&record(&message, 1), Duration::ZERO).await.unwrap_err().0, "timeout");
}

// --- The ledger ---

async fn dynamo(endpoint: &str) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&config(endpoint, CALL_LIMITS).await)
}

/// A table with the keys and the indexes of the template.
async fn create_table(moto: &Moto, table: &str) -> (aws_sdk_dynamodb::Client, DynamoLedger) {
    let client = dynamo(&moto.endpoint).await;
    let attribute = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let index = |name: &str, hash: &str, range: &str| {
        let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        let index = GlobalSecondaryIndex::builder().index_name(name).projection(keys_only);
        index.key_schema(key(hash, KeyType::Hash)).key_schema(key(range, KeyType::Range)).build().unwrap()
    };
    client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("key"))
        .attribute_definitions(attribute("reference"))
        .attribute_definitions(attribute("open"))
        .attribute_definitions(attribute("since"))
        .key_schema(key("key", KeyType::Hash))
        .global_secondary_indexes(index("by-reference", "reference", "key"))
        .global_secondary_indexes(index("open", "open", "since"))
        .send()
        .await
        .unwrap();
    (client.clone(), DynamoLedger::new(client, table.to_owned()))
}

/// The item after a body is applied.
fn step(known: Option<&Item>, body: &str) -> Item {
    let webhook = Webhook::parse(body.as_bytes(), None).unwrap();
    let update = Update::new(&webhook, delivery());
    match Item::step(known, &update) {
        Ok(Step::Write(item)) => *item,
        other => panic!("{other:?}"),
    }
}

/// The ids of an item's pending events.
fn pending(item: &Item) -> Vec<String> {
    item.outbox.keys().cloned().collect()
}

fn invoice(status: &str, external_id: &str) -> String {
    format!(
        r#"{{"id":"inv-1","user_id":"acc-1","external_id":"{external_id}","merchant_name":"M","status":"{status}",
            "amount":1000.10,"paid_amount":12345678901234567890.12,"currency":"IDR","updated":"2026-01-02T03:00:00.123456789Z"}}"#
    )
}

fn payment(captures: &Value) -> String {
    json!({"event": "payment.capture", "business_id": "acc-1", "data": {
        "payment_id": "py-1", "reference_id": "order-1", "currency": "PHP", "request_amount": 500,
        "status": "SUCCEEDED", "captures": captures, "updated": "2026-01-02T03:00:00Z"}})
    .to_string()
}

fn found(write: Result<Write, StoreError>) -> Item {
    match write {
        Ok(Write::Found(item)) => *item,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_item_is_inserted_only_once() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "insert").await;
    let item = step(None, &invoice("PENDING", "order-1"));
    assert_eq!(ledger.insert(&item).await, Ok(Write::Stored));
    assert_eq!(found(ledger.insert(&item).await), item);
}

#[tokio::test]
async fn an_item_is_replaced_only_at_the_expected_version() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "replace").await;
    let first = step(None, &invoice("PENDING", "order-1"));
    let second = step(Some(&first), &invoice("PAID", "order-1"));
    let third = step(Some(&second), &invoice("SETTLED", "order-1"));
    assert_eq!(ledger.replace(&second, 1).await, Ok(Write::Gone));
    assert_eq!(ledger.insert(&first).await, Ok(Write::Stored));
    assert_eq!(ledger.replace(&second, first.version).await, Ok(Write::Stored));
    assert_eq!(found(ledger.replace(&third, first.version).await), second, "the third loses the race to the second");
    assert_eq!(ledger.replace(&third, second.version).await, Ok(Write::Stored));
    assert_eq!(found(ledger.insert(&first).await), third);
}

#[tokio::test]
async fn every_field_of_an_item_survives_a_round_trip() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "round-trip").await;
    let paid = step(None, &payment(&json!([{"capture_id": "cap.1#:e\u{0301}", "capture_amount": 200.10}])));
    let conflict = step(
        Some(&paid),
        &payment(&json!([
            {"capture_id": "cap.1#:e\u{0301}", "capture_amount": "200.11"},
            {"capture_id": "cap-2", "capture_amount": "99999999999999999.999999"}
        ])),
    );
    assert_eq!(conflict.outbox.len(), 2);
    let overflowing = (0..600).map(|n| json!({"capture_id": format!("cap-{n:0>100}"), "capture_amount": 1})).collect();
    let mut overflowing = step(None, &payment(&overflowing));
    overflowing.key = Key::from(format!("{}-overflowing", overflowing.key));
    let mut dispute = step(
        None,
        r#"{"event":"dispute.won","id":"d-1","currency":"USD","status_reason":"CHALLENGED","amount":{"initial":"1.00"},
            "updated_at":"2026-01-01T00:00:00Z"}"#,
    );
    dispute.forgotten = 7;
    let mut counted = step(None, &invoice("PAID", "order-1"));
    counted.state.mark = Some(Mark::Count(u64::MAX));
    let mut marked = step(None, &invoice("PAID", "order-1"));
    marked.key = Key::from(format!("{}-marked", marked.key));
    marked.state.mark = Some(Mark::At("2026-01-02T03:04:05.123456789Z".parse().unwrap()));
    for item in [conflict, counted, marked, overflowing, dispute] {
        assert_eq!(ledger.insert(&item).await, Ok(Write::Stored));
        let there = found(ledger.insert(&item).await);
        assert_eq!(there, item);
        // Equal amounts may differ in notation; these must not.
        assert_eq!(serde_json::to_string(&there).unwrap(), serde_json::to_string(&item).unwrap());
    }
}

#[tokio::test]
async fn items_are_found_by_reference_and_need_none() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "reference").await;
    let without = step(None, &invoice("PAID", ""));
    assert_eq!(without.reference, None);
    assert_eq!(ledger.insert(&without).await, Ok(Write::Stored));
    let with = step(None, &payment(&json!([])));
    assert_eq!(ledger.insert(&with).await, Ok(Write::Stored));
    assert_eq!(ledger.by_reference("order-1").await, Ok(vec![with]));
    assert_eq!(ledger.by_reference("order-2").await, Ok(vec![]));
}

#[tokio::test]
async fn items_are_read_by_key_and_open_ones_by_kind_and_age() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "reads").await;
    let pending = step(None, &invoice("PENDING", "order-1"));
    let key = pending.key.clone();
    assert_eq!(ledger.get(&key).await, Ok(None));
    assert_eq!(ledger.insert(&pending).await, Ok(Write::Stored));
    assert_eq!(ledger.get(&key).await, Ok(Some(pending.clone())));
    let received_at = pending.history[0].received_at;
    let open = async |kind, seconds| {
        let moment = received_at + std::time::Duration::from_secs(seconds);
        ledger.open_since_before(kind, moment).await.unwrap().len()
    };
    assert_eq!((open(Kind::Invoice, 1).await, open(Kind::Invoice, 0).await, open(Kind::Payment, 1).await), (1, 0, 0));
    let paid = step(Some(&pending), &invoice("PAID", "order-1"));
    assert_eq!(ledger.replace(&paid, pending.version).await, Ok(Write::Stored));
    assert_eq!(open(Kind::Invoice, 1).await, 0, "a paid invoice is not open");
}

#[tokio::test]
async fn an_item_in_a_newer_format_is_reported_as_newer() {
    let moto = Moto::shared();
    let (client, ledger) = create_table(&moto, "newer").await;
    let item = step(None, &invoice("PENDING", "order-1"));
    let newer = client.put_item().table_name("newer").item("key", AttributeValue::S(item.key.to_string()));
    let newer = newer.item("format", AttributeValue::N((FORMAT + 1).to_string()));
    newer.item("state", AttributeValue::S("a newer format".to_owned())).send().await.unwrap();
    assert_eq!(ledger.insert(&item).await, Err(StoreError::Newer));
    assert_eq!(ledger.get(&item.key).await, Err(StoreError::Newer));
}

#[tokio::test]
async fn clearing_removes_only_the_published_events_and_bumps_the_version() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "clear").await;
    let paid = step(None, &payment(&json!([{"capture_id": "cap-1", "capture_amount": 200}])));
    let item = step(Some(&paid), &payment(&json!([{"capture_id": "cap-1", "capture_amount": 201}])));
    assert_eq!(ledger.insert(&item).await, Ok(Write::Stored));
    let events = pending(&item);
    assert_eq!(events.len(), 2);
    ledger.clear(&item.key, &events[..1]).await.unwrap();
    let cleared = found(ledger.insert(&item).await);
    assert_eq!(cleared.outbox.keys().collect::<Vec<_>>(), [&events[1]]);
    assert_eq!(cleared.version, item.version + 1);
    assert_eq!(
        found(ledger.replace(&item, item.version).await),
        cleared,
        "a writer that read the uncleared item loses the race"
    );
    ledger.clear(&item.key, &events).await.unwrap();
    let cleared = found(ledger.insert(&item).await);
    assert!(cleared.outbox.is_empty());
    assert_eq!(cleared.state, item.state);
}

#[tokio::test]
async fn clearing_a_deleted_item_does_not_create_it() {
    let moto = Moto::shared();
    let (_, ledger) = create_table(&moto, "clear-gone").await;
    let item = step(None, &invoice("PAID", "order-1"));
    ledger.clear(&item.key, &pending(&item)).await.unwrap();
    assert_eq!(ledger.replace(&item, 1).await, Ok(Write::Gone), "the item was not created");
}

#[tokio::test]
async fn an_invalid_item_is_a_permanent_error_and_throttling_is_not() {
    let moto = Moto::shared();
    let (client, ledger) = create_table(&moto, "refusals").await;
    let mut item = step(None, &invoice("PAID", "order-1"));
    let missing = DynamoLedger::new(client, "nowhere".to_owned());
    assert!(matches!(missing.insert(&item).await, Err(StoreError::Transient(_))), "a missing table may be restored");
    item.state.channel = Some("x".repeat(500_000));
    assert_eq!(ledger.insert(&item).await, Err(StoreError::Permanent("ValidationException".to_owned())));
    for (status, code) in [(400, "ProvisionedThroughputExceededException"), (500, "InternalServerError")] {
        let body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}") }).to_string();
        let stub = Stub::start(vec![Reply::With(status, body)]).await;
        let ledger = DynamoLedger::new(dynamo(&stub.endpoint).await, "t".to_owned());
        assert_eq!(ledger.insert(&item).await, Err(StoreError::Transient(code.to_owned())));
        assert_eq!(ledger.clear(&item.key, &pending(&item)).await, Err(StoreError::Transient(code.to_owned())));
    }
}

#[tokio::test]
async fn a_silent_table_times_out() {
    let stub = Stub::start(vec![Reply::Never]).await;
    let ledger = DynamoLedger::new(dynamo(&stub.endpoint).await, "t".to_owned());
    let start = Instant::now();
    let result = ledger.insert(&step(None, &invoice("PAID", "order-1"))).await;
    assert_eq!(result, Err(StoreError::Transient("timeout".to_owned())));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

// --- The bus ---

fn event(n: usize) -> DomainEvent {
    DomainEvent {
        id: format!("event-{n}"),
        detail_type: "invoice.paid".to_owned(),
        detail: json!({ "id": format!("event-{n}"), "paid": { "amount": "1000.10", "currency": "IDR" } }).to_string(),
    }
}

async fn bus_at(endpoint: &str, name: &str) -> EventBridge {
    EventBridge::new(aws_sdk_eventbridge::Client::new(&config(endpoint, CALL_LIMITS).await), name.to_owned())
}

#[tokio::test]
async fn published_events_reach_a_rule_on_the_bus() {
    let moto = Moto::shared();
    let (sqs, url) = create_queue(&moto, "merchant").await;
    let attributes = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn).send();
    let arn = attributes.await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let client = aws_sdk_eventbridge::Client::new(&config(&moto.endpoint, CALL_LIMITS).await);
    client.create_event_bus().name("hooks").send().await.unwrap();
    let pattern = json!({ "source": ["xendit-hooks"], "detail-type": ["invoice.paid"] }).to_string();
    client.put_rule().name("paid").event_bus_name("hooks").event_pattern(pattern).send().await.unwrap();
    let target = Target::builder().id("merchant").arn(arn).build().unwrap();
    client.put_targets().rule("paid").event_bus_name("hooks").targets(target).send().await.unwrap();

    let events: Vec<_> = (0..23).map(event).collect();
    let bus = EventBridge::new(client, "hooks".to_owned());
    assert_eq!(bus.publish(&events.iter().collect::<Vec<_>>()).await, vec![Ok(()); 23]);

    let mut arrived: Vec<Value> = receive_all(&sqs, &url)
        .await
        .into_iter()
        .map(|message| serde_json::from_str(&message.body.unwrap()).unwrap())
        .collect();
    arrived.sort_by_key(|event| event["detail"]["id"].as_str().unwrap()[6..].parse::<usize>().unwrap());
    assert_eq!(arrived.len(), events.len());
    for (arrived, event) in arrived.iter().zip(&events) {
        assert_eq!((&arrived["source"], &arrived["detail-type"]), (&json!("xendit-hooks"), &json!("invoice.paid")));
        assert_eq!(arrived["detail"], serde_json::from_str::<Value>(&event.detail).unwrap());
    }
}

#[tokio::test]
async fn a_rejected_entry_in_a_200_is_not_published() {
    let answer = json!({ "FailedEntryCount": 1, "Entries": [
        { "EventId": "e-1" }, { "ErrorCode": "InternalFailure", "ErrorMessage": "x" }, { "EventId": "e-3" }]});
    let stub = Stub::start(vec![Reply::With(200, answer.to_string())]).await;
    let events = [event(1), event(2), event(3)];
    let results = bus_at(&stub.endpoint, "hooks").await.publish(&events.iter().collect::<Vec<_>>()).await;
    assert_eq!(results, [Ok(()), Err(PublishError::Transient("InternalFailure".to_owned())), Ok(())]);
}

#[tokio::test]
async fn an_entry_refused_for_its_content_is_permanently_refused() {
    let published = || json!({ "EventId": "e" });
    let refused = || json!({ "ErrorCode": "MalformedDetail" });
    let reply = |entries: &[Value]| {
        let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
        Reply::Once(200, json!({ "FailedEntryCount": failed, "Entries": entries }).to_string())
    };
    let events = [event(1), event(2)];
    let publish = async |replies: Vec<Reply>| {
        let stub = Stub::start(replies).await;
        bus_at(&stub.endpoint, "hooks").await.publish(&events.iter().collect::<Vec<_>>()).await
    };
    let expected = [Ok(()), Err(PublishError::Permanent("MalformedDetail".to_owned()))];
    assert_eq!(publish(vec![reply(&[published(), refused()])]).await, expected);
    // A call that is refused as a whole does not say which entry is to blame, so each is retried alone.
    let whole = Reply::Once(400, json!({ "__type": "ValidationException" }).to_string());
    let mut results = publish(vec![whole, reply(&[published()]), reply(&[refused()])]).await;
    results.sort_by_key(Result::is_err);
    assert_eq!(results, expected);
}

#[tokio::test]
async fn an_emulated_bus_permanently_refuses_a_huge_number() {
    let moto = Moto::shared();
    let bus = bus_at(&moto.endpoint, "default").await;
    let mut huge = event(1);
    huge.detail = format!(r#"{{"n":{}}}"#, "9".repeat(5_000));
    assert_eq!(bus.publish(&[&huge]).await, [Err(PublishError::Permanent("MalformedDetail".to_owned()))]);
}

#[tokio::test]
async fn a_reply_without_a_result_for_each_entry_confirms_nothing() {
    let answers = [
        Reply::With(200, json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": "e-1" }] }).to_string()),
        Reply::With(200, "{}".to_owned()),
        Reply::With(400, json!({ "__type": "ThrottlingException" }).to_string()),
        Reply::With(500, String::new()),
    ];
    for answer in answers {
        let stub = Stub::start(vec![answer.clone()]).await;
        let events = [event(1), event(2)];
        let results = bus_at(&stub.endpoint, "hooks").await.publish(&events.iter().collect::<Vec<_>>()).await;
        assert!(
            results.len() == 2 && results.iter().all(|it| matches!(it, Err(PublishError::Transient(_)))),
            "{answer:?}"
        );
    }
}
