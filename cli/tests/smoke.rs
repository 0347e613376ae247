//! Tests `xendit-hooks smoke` with a local stack, and with one in whose place a stub answers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::Output,
    thread,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::Builder;
use serde_json::{Value, json};

use self::local::{Stack, command, errors, json, register};

/// A registration of a stack in which some values are others.
struct Other {
    state: PathBuf,
    _registered: fs::File,
}

impl Other {
    fn than(stack: &Stack, name: &str, changes: &Value) -> Self {
        let registered = fs::read_dir(stack.state.join("xendit-hooks")).unwrap();
        let file = registered.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some()).unwrap();
        let mut values: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        values.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let state = stack.state.join(name);
        Self { _registered: register(&state, &values), state }
    }

    fn smoke(&self, more: &[&str]) -> Output {
        command(&self.state, &[&["smoke"], more].concat()).output().unwrap()
    }
}

/// A server that gives every request the same answer.
fn stub(answer: String) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/webhook", server.local_addr().unwrap());
    thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            if client.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {
                let _ = client.write_all(answer.as_bytes());
            }
        }
    });
    url
}

#[test]
fn a_canary_passes_publishes_nothing_and_is_the_same_item_each_time() {
    let stack = Stack::start("smoke");
    assert!(stack.run(&["trigger", "invoice.paid"]).status.success());
    let events_before = stack_events(&stack);
    let mut deliveries = Vec::new();
    for _ in 0..2 {
        let output = stack.run(&["smoke", "--json"]);
        let told = json(&output);
        assert_eq!((output.status.code(), &told["passed"], &told["failure"]), (Some(0), &json!(true), &Value::Null));
        assert_eq!((&told["version"], &told["key"]), (&json!(1), &json!("test#canary#xendit-hooks")));
        assert!(told["answer_ms"].as_u64().is_some() && told["ledger_ms"].as_u64().is_some(), "{told}");
        deliveries.push(told["delivery"].clone());
    }
    let output = stack.run(&["smoke"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("\n  answered    200 after "), "{text}");
    assert!(text.contains("as test#canary#xendit-hooks\n  published   nothing"), "{text}");

    let story = json(&stack.run(&["payment", "test#canary#xendit-hooks", "--json"]));
    let history = story["history"].as_array().unwrap();
    assert_eq!(history.len(), 3, "{story}");
    for (change, delivery) in history.iter().zip(&deliveries) {
        assert_eq!((&change["delivery"], &change["events"]), (delivery, &json!([])), "{story}");
    }
    assert_eq!((events_before, stack_events(&stack)), (1, 1), "a canary published something");

    refusals(&stack);
}

/// How many domain events are in the tap, which gets a copy of each.
fn stack_events(stack: &Stack) -> u64 {
    let credentials = Credentials::new("local", "local", None, None, "a test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(stack.text("region").to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(stack.text("aws_endpoint_url"))
        .http_client(Builder::new().build_http())
        .build();
    let count = QueueAttributeName::ApproximateNumberOfMessages;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let call = sqs.get_queue_attributes().queue_url(stack.text("tap_queue_url")).attribute_names(count.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(call.send()).unwrap().attributes.unwrap()[&count].parse().unwrap()
}

/// What the same stack makes of a wrong token, and a stub of everything else.
fn refusals(stack: &Stack) {
    let wrong = Other::than(stack, "wrong", &json!({ "token": "not-the-callback-token-0123456789" }));
    let output = wrong.smoke(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output).contains("401: the receiver does not accept the token"), "{output:?}");
    assert!(!errors(&output).contains("not-the-callback-token"), "{output:?}");

    let answered = |name: &str, answer: &str| {
        let url = stub(answer.to_owned());
        Other::than(stack, name, &json!({ "url": url, "topic_url": format!("{url}/{{topic}}") }))
    };
    let throttled =
        answered("throttled", "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").smoke(&["--json"]);
    assert_eq!((throttled.status.code(), &json(&throttled)["failure"]["hop"]), (Some(1), &json!("answer")));
    assert!(errors(&throttled).contains("ThrottleRate"), "{throttled:?}");

    let accepted = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"id\":\"d-1\"}";
    let lost = answered("lost", accepted).smoke(&["--timeout", "1s", "--json"]);
    let told = json(&lost);
    assert_eq!(
        (lost.status.code(), &told["failure"]["hop"], &told["delivery"]),
        (Some(1), &json!("ledger"), &json!("d-1"))
    );
    assert!(errors(&lost).contains("the webhook queue is empty"), "{lost:?}");

    // As if this dead letter were the canary.
    let parked = json(&stack.run(&["trigger", "story:unreadable", "--json"]));
    let id = json!({ "id": parked["delivery"] }).to_string();
    let accepted = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{id}", id.len());
    let output = answered("parked", &accepted).smoke(&["--timeout", "1s"]);
    let reason = parked["reason"].as_str().unwrap();
    let told = format!("the canary is in the dead-letter queue: {reason}");
    assert!(output.status.code() == Some(1) && errors(&output).contains(&told), "{output:?}");
}

#[test]
fn without_a_stack_or_with_a_wrong_option_nothing_is_sent() {
    let nowhere = std::env::temp_dir().join("xendit-hooks-nowhere");
    for (arguments, code, told) in [
        (&["--timeout", "60"][..], 2, "a duration is written as"),
        (&["--token", "0123456789abcdef"], 2, "unexpected argument '--token'"),
        (&[], 3, "no local stack is running"),
    ] {
        let output = command(&nowhere, &[&["smoke"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(errors(&output).contains(told), "{output:?}");
    }
}
