//! Startup: the real binaries refuse bad settings, and handle one event from Lambda's runtime API to AWS.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use runtime::aws::CallLimits;
use serde_json::Value;
use tests::{
    fixture::{self, LOCAL_TOKEN, LOCAL_TOKENS},
    process::{Function, lambda},
    runtime_api::{Answer, RuntimeApi},
    server::{Moto, config},
    stub::{Reply, Stub},
};

const LIMITS: CallLimits = CallLimits { attempt: Duration::from_secs(5), total: Duration::from_secs(10), attempts: 1 };

/// Asserts that a function does not start, and returns the reason in its only log line.
fn refusal(name: &str, variables: &[(&str, &str)]) -> String {
    let (status, written) = Function::start(name, variables).wait(Duration::from_secs(5));
    assert!(!status.success(), "{written}");
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 1, "{written}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"cannot start".into()));
    line["reason"].as_str().unwrap().to_owned()
}

/// A function's variables without one of them.
fn without<'a>(variables: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    let rest: Vec<_> = variables.iter().copied().filter(|(other, _)| *other != name).collect();
    assert_eq!(rest.len() + 1, variables.len(), "{name}");
    rest
}

const RECEIVER: [(&str, &str); 5] = [
    ("CALLBACK_TOKENS", LOCAL_TOKENS),
    ("QUEUE_URL", "http://q"),
    ("INBOX_BUCKET", "inbox"),
    ("ENVIRONMENT", "test"),
    ("LOG_LEVEL", "info"),
];

const PROCESSOR: [(&str, &str); 7] = [
    ("INBOX_BUCKET", "inbox"),
    ("LEDGER_TABLE", "ledger"),
    ("BUS_NAME", "bus"),
    ("QUEUE_URL", "http://q"),
    ("DLQ_URL", "http://d"),
    ("ENVIRONMENT", "test"),
    ("LOG_LEVEL", "info"),
];

#[test]
fn a_function_without_a_setting_does_not_start_and_names_it() {
    for (function, variables) in [("receiver", &RECEIVER[..]), ("processor", &PROCESSOR)] {
        for (name, _) in variables {
            let reason = refusal(function, &without(variables, name));
            assert!(reason.starts_with(&format!("{name} is not set; it must hold ")), "{function}: {reason}");
            let mut empty = without(variables, name);
            empty.push((name, " "));
            assert!(refusal(function, &empty).starts_with(&format!("{name} is not set")), "{function}");
        }
    }
}

#[test]
fn a_receiver_with_malformed_tokens_does_not_start_and_never_prints_them() {
    for wrong in [
        LOCAL_TOKEN,
        "live=",
        "live",
        "live=0123",
        &LOCAL_TOKENS[..LOCAL_TOKENS.len() - 1],
        &format!("{LOCAL_TOKENS},{LOCAL_TOKENS}"),
    ] {
        let mut variables = without(&RECEIVER, "CALLBACK_TOKENS");
        variables.push(("CALLBACK_TOKENS", wrong));
        let reason = refusal("receiver", &variables);
        assert!(reason.starts_with("CALLBACK_TOKENS is wrong ("), "{reason}");
        assert!(reason.contains("label=digest pairs separated by commas"), "{reason}");
        // The hint itself contains `live=`.
        assert!(wrong.len() < 6 || !reason.contains(wrong), "{reason}");
    }
}

#[test]
fn a_receiver_with_the_digest_of_an_empty_token_does_not_start() {
    let empty = "live=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for tokens in [empty.to_owned(), format!("{LOCAL_TOKENS},{empty}")] {
        let mut variables = without(&RECEIVER, "CALLBACK_TOKENS");
        variables.push(("CALLBACK_TOKENS", &tokens));
        let reason = refusal("receiver", &variables);
        assert!(reason.contains("a digest is that of an empty token"), "{reason}");
    }
}

#[test]
fn a_processor_with_malformed_token_accounts_does_not_start() {
    let mut variables = PROCESSOR.to_vec();
    variables.push(("TOKEN_ACCOUNTS", "local"));
    let reason = refusal("processor", &variables);
    assert!(reason.starts_with("TOKEN_ACCOUNTS is wrong; it must hold nothing, or label=account pairs"), "{reason}");
}

#[test]
fn a_function_with_an_unknown_environment_or_log_level_does_not_start() {
    for (name, wrong, holds) in [
        ("ENVIRONMENT", "production", "`test` or `live`"),
        ("LOG_LEVEL", "loud", "`trace`"),
        ("LOG_LEVEL", "warn", "`trace`"),
    ] {
        for (function, variables) in [("receiver", &RECEIVER[..]), ("processor", &PROCESSOR)] {
            let mut variables = without(variables, name);
            variables.push((name, wrong));
            let reason = refusal(function, &variables);
            assert!(reason.starts_with(&format!("{name} is wrong")) && reason.contains(holds), "{reason}");
        }
    }
}

/// Asserts that the log has nothing of the webhook, the token or the credentials, even at level `trace`.
fn assert_no_secrets(written: &str) {
    for secret in
        [LOCAL_TOKEN, &LOCAL_TOKENS[6..], "canary-secret-key", "Air Conditioner", "Your Business Name", "merchant_name"]
    {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
}

#[tokio::test]
async fn the_receiver_stores_a_webhook_and_answers_the_runtime() {
    let moto = Moto::shared();
    let sqs = aws_sdk_sqs::Client::new(&config(&moto.endpoint, LIMITS).await);
    let url = sqs.create_queue().queue_name("started-receiver").send().await.unwrap().queue_url.unwrap();
    let mut runtime = RuntimeApi::start(fixture::event("api-token-right.json")).await;
    let mut variables = lambda(&runtime.address, &moto.endpoint);
    variables.extend([("CALLBACK_TOKENS", LOCAL_TOKENS), ("QUEUE_URL", &url), ("INBOX_BUCKET", "inbox")]);
    let mut function = Function::start("receiver", &variables);
    let Answer { to, body: answer, .. } = runtime.answer().await;
    let written = function.kill();
    assert_eq!(to, "response", "{answer} {written}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(answer["body"], r#"{"id":"8476a536-e9f4-11e8-9739-2dfe598c3fcd"}"#);
    let messages = sqs.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap();
    assert!(messages[0].body.as_ref().unwrap().contains("Air Conditioner"));
    assert!(written.contains(r#""outcome":"stored""#), "{written}");
    assert_no_secrets(&written);
}

/// Anyone can send these to the public URL.
#[tokio::test]
async fn hostile_headers_without_a_token_get_a_401_and_cause_no_panic() {
    let stub = Stub::start(vec![Reply::With(500, String::new())]).await;
    for headers in [
        r#"{"x-forwarded-proto":"https, https"}"#,
        r#"{"host":"["}"#,
        r#"{"host":"a b","x-forwarded-proto":"://","cookie":"\u0000"}"#,
        r#"{"x-callback-token":"","user-agent":"\u00e9\ud83d\udcb8"}"#,
        r#"{"x-callback-token":["a"],"a b":"c"}"#,
        "7",
    ] {
        let event = format!(
            r#"{{"version":"2.0","rawPath":"/webhook","rawQueryString":"a=[|\"{{","headers":{headers},"cookies":["\u0000"],
                "requestContext":{{"http":{{"method":"POST","path":"/webhook"}},"domainName":"["}},"body":"%%%",
                "isBase64Encoded":true}}"#
        );
        let mut runtime = RuntimeApi::start(event).await;
        let mut variables = lambda(&runtime.address, &stub.endpoint);
        variables.extend([("CALLBACK_TOKENS", LOCAL_TOKENS), ("QUEUE_URL", &stub.endpoint), ("INBOX_BUCKET", "inbox")]);
        let mut function = Function::start("receiver", &variables);
        let Answer { to, body: answer, .. } = runtime.answer().await;
        let written = function.kill();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((to.as_str(), &answer["statusCode"]), ("response", &401.into()), "{headers}: {answer} {written}");
        assert!(!written.contains("panicked") && written.contains(r#""reason":"no token""#), "{headers}: {written}");
    }
}

#[tokio::test]
async fn the_processor_applies_a_batch_and_answers_the_runtime() {
    let moto = Moto::shared();
    let aws = config(&moto.endpoint, LIMITS).await;
    let dynamo = aws_sdk_dynamodb::Client::new(&aws);
    let attribute = AttributeDefinition::builder().attribute_name("key").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("key").key_type(KeyType::Hash);
    dynamo
        .create_table()
        .table_name("started-processor")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
    aws_sdk_eventbridge::Client::new(&aws).create_event_bus().name("started-bus").send().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&aws);
    let url = sqs.create_queue().queue_name("started-dead-letters").send().await.unwrap().queue_url.unwrap();
    let mut runtime = RuntimeApi::start(fixture::event("sqs-unreadable-in-the-middle.json")).await;
    let mut variables = lambda(&runtime.address, &moto.endpoint);
    variables.extend([
        ("INBOX_BUCKET", "inbox"),
        ("LEDGER_TABLE", "started-processor"),
        ("BUS_NAME", "started-bus"),
        ("QUEUE_URL", &url),
        ("DLQ_URL", &url),
    ]);
    let mut function = Function::start("processor", &variables);
    let Answer { to, body: answer, .. } = runtime.answer().await;
    let written = function.kill();
    assert_eq!((to.as_str(), answer.as_str()), ("response", r#"{"batchItemFailures":[]}"#), "{written}");
    assert_eq!(dynamo.scan().table_name("started-processor").send().await.unwrap().items().len(), 2);
    let parked = sqs.receive_message().queue_url(&url).send().await.unwrap().messages.unwrap();
    assert_eq!(parked[0].body.as_deref(), Some("this is no envelope"));
    assert!(written.contains(r#""outcome":"applied""#), "{written}");
    assert_no_secrets(&written);
}

#[tokio::test]
async fn a_batch_without_message_ids_is_an_error() {
    let stub = Stub::start(vec![Reply::With(500, String::new())]).await;
    for event in [r#"{"Records":[{"body":"x"}]}"#, "{}", r#"{"version":"2.0"}"#] {
        let mut runtime = RuntimeApi::start(event.to_owned()).await;
        let mut variables = lambda(&runtime.address, &stub.endpoint);
        variables.extend([
            ("INBOX_BUCKET", "inbox"),
            ("LEDGER_TABLE", "t"),
            ("BUS_NAME", "b"),
            ("QUEUE_URL", "http://q"),
            ("DLQ_URL", "http://d"),
        ]);
        let _function = Function::start("processor", &variables);
        let Answer { to, body: answer, .. } = runtime.answer().await;
        assert_eq!(to, "error", "{answer}");
    }
}

/// It must not retry endlessly: that would be billed, and cannot help.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_exits_when_its_runtime_api_is_gone() {
    for (function, settings) in [("receiver", &RECEIVER[..]), ("processor", &PROCESSOR)] {
        for reply in [Reply::Reset, Reply::With(500, String::new()), Reply::Once(503, String::new())] {
            let stub = Stub::start(vec![reply.clone()]).await;
            let mut variables = lambda(stub.endpoint.strip_prefix("http://").unwrap(), "http://127.0.0.1:9");
            variables.extend(settings);
            let (status, written) = Function::start(function, &variables).wait(Duration::from_secs(10));
            assert!(!status.success(), "{function}, {reply:?}: {written}");
            assert!(stub.connections() < 10, "{function}, {reply:?}: {} attempts", stub.connections());
        }
        let mut variables = lambda("127.0.0.1:9", "http://127.0.0.1:9");
        variables.extend(settings);
        let (status, written) = Function::start(function, &variables).wait(Duration::from_secs(10));
        assert!(!status.success(), "{function}: {written}");
    }
}
