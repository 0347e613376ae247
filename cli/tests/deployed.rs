//! Tests the console of a deployed stack: CloudFormation's outputs, the functions' lines in CloudWatch Logs, the ledger and the
//! dead-letter queue, all emulated. What it shows is held against the console of the local stack, which knows every request.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_cloudformation::types::Parameter;
use aws_smithy_http_client::Builder;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::local::Stack;

const REGION: &str = "ap-southeast-1";

/// A console that was started by itself.
struct Console {
    child: Child,
    api: Api,
}

/// The API of a console.
struct Api {
    url: String,
    token: String,
}

impl Api {
    fn of(console_url: &str) -> Self {
        let (url, token) = console_url.split_once("/?token=").unwrap();
        Self { url: url.to_owned(), token: token.to_owned() }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
        let mut response = ureq::Agent::new_with_config(agent).run(request).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    fn get(&self, path: &str) -> Value {
        let (status, text) = self.request("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn deliveries(&self) -> BTreeMap<String, Value> {
        let list = self.get("/api/deliveries?limit=500");
        let all = list["deliveries"].as_array().unwrap().iter();
        all.map(|it| (it["id"].as_str().unwrap().to_owned(), it.clone())).collect()
    }
}

impl Console {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        Self { child, api: Api::of(line["console_url"].as_str().unwrap()) }
    }

    /// Of a deployed stack, in the emulated AWS of a local one.
    fn deployed(local: &Stack, arguments: &[&str]) -> Self {
        let mut command = local.command(&[&["console", "--json"], arguments].concat());
        let variables = [
            ("AWS_ENDPOINT_URL", local.text("aws_endpoint_url")),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("XENDIT_CALLBACK_TOKEN", local.text("token")),
        ];
        Self::start(command.envs(variables))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn aws(local: &Stack) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "a test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(local.text("aws_endpoint_url"))
        .http_client(Builder::new().build_http())
        .build()
}

/// A CloudFormation stack whose outputs lead to the local stack, with log groups that hold its lines.
async fn deploy(local: &Stack, environment: &str) {
    let aws = aws(local);
    let outputs = [
        ("WebhookUrl", local.text("url")),
        ("WebhookTopicUrl", local.text("topic_url")),
        ("QueueUrl", local.text("queue_url")),
        ("DeadLetterQueueUrl", local.text("dlq_url")),
        ("InboxBucketName", local.text("inbox")),
        ("LedgerTableName", local.text("table")),
        ("EventBusName", local.text("bus")),
        ("ReceiverLogGroupName", &format!("/{environment}/receiver")),
        ("ProcessorLogGroupName", &format!("/{environment}/processor")),
    ];
    let group = |name: &str| json!({ "Type": "AWS::Logs::LogGroup", "Properties": { "LogGroupName": name } });
    let template = json!({
        "Parameters": { "Environment": { "Type": "String" } },
        "Resources": {
            "ReceiverLogs": group(&format!("/{environment}/receiver")),
            "ProcessorLogs": group(&format!("/{environment}/processor")),
        },
        "Outputs": outputs.map(|(name, value)| (name, json!({ "Value": value }))).into_iter().collect::<BTreeMap<_, _>>(),
    });
    let parameter = Parameter::builder().parameter_key("Environment").parameter_value(environment).build();
    let call = aws_sdk_cloudformation::Client::new(&aws).create_stack().template_body(template.to_string());
    call.stack_name(format!("xendit-hooks-{environment}")).parameters(parameter).send().await.unwrap();
    for function in ["receiver", "processor"] {
        let (group, folder) = (format!("/{environment}/{function}"), local.text("log_dir"));
        local.boto("logs", "create_log_stream", &json!({ "logGroupName": group, "logStreamName": "1" }));
        let text = fs::read_to_string(format!("{folder}/{function}.log")).unwrap();
        let events = text.lines().map(|line| {
            let at: Timestamp =
                serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().parse().unwrap();
            json!({ "timestamp": at.as_millisecond(), "message": line })
        });
        let events: Vec<_> = events.collect();
        local.boto(
            "logs",
            "put_log_events",
            &json!({ "logGroupName": group, "logStreamName": "1", "logEvents": events }),
        );
    }
}

fn shown<'a>(value: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &value[*name]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_stack_is_shown_as_the_local_one_but_without_bodies() {
    let local = Stack::start("deployed");
    let paid = local.lines(&["trigger", "story:expired-then-paid"]);
    for story in ["two-amounts", "paid-twice", "late", "unknown", "unreadable", "wrong-token", "3mb"] {
        local.lines(&["trigger", &format!("story:{story}")]);
    }
    deploy(&local, "test").await;
    let (own, console) = (Api::of(local.text("console_url")), Console::deployed(&local, &["--stack", "test"]));

    // The same webhooks with the same fates.
    let (expected, found) = (own.deliveries(), console.api.deliveries());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (id, delivery) in &expected {
        let mut names = vec!["fate", "event_count"];
        if delivery["fate"] != "refused" && delivery["fate"] != "parked" {
            names.extend(["event", "kind", "phase"]);
        }
        assert_eq!(shown(&found[id], &names), shown(delivery, &names), "{delivery}");
        if delivery["fate"] == "parked" || delivery["fate"] == "unknown" {
            assert_eq!(found[id]["reason"], delivery["reason"]);
        }
    }

    // A story is complete, from the ledger.
    let key = format!("/api/story?key=test%23invoice%23{}", paid[0]["id"].as_str().unwrap());
    let (expected, found) = (own.get(&key), console.api.get(&key));
    assert_eq!(found["facts"], expected["facts"]);
    let steps = |story: &Value| {
        let steps = story["steps"].as_array().unwrap().iter();
        steps.map(|step| json!([step["id"], step["fate"], step["published"]])).collect::<Vec<_>>()
    };
    assert_eq!(steps(&found), steps(&expected));
    let subjects = console.api.get(&format!("/api/find?reference={}", paid[0]["reference"].as_str().unwrap()));
    assert_eq!(subjects[0]["stage"], "invoice.paid", "{subjects}");

    // One webhook: no body, but what the functions logged.
    let details = console.api.get(&format!("/api/deliveries/{}", paid[1]["delivery"].as_str().unwrap()));
    assert_eq!((&details["body"], &details["published"]), (&Value::Null, &json!(["invoice.paid"])), "{details}");
    assert_eq!(details["log"].as_array().unwrap().len(), 2, "{details}");
    assert_eq!((&details["token"], &details["reference"]), (&json!("local"), &paid[1]["reference"]));

    // What is parked has its body, and is not hidden from others.
    let parked = console.api.get("/api/parked");
    assert_eq!(parked[0]["reason"], "the body is not JSON", "{parked}");
    let listed = local.run(&["dlq", "list", "--json"]);
    assert!(!listed.stdout.is_empty(), "{listed:?}");
    let details = console.api.get(&format!("/api/deliveries/{}", parked[0]["id"].as_str().unwrap()));
    assert!(details["body"].as_str().unwrap().contains("items"), "{details}");

    for path in ["/", "/parked", "/find?reference=nothing", "/send", &key.replace("/api", "")] {
        let (status, page) = console.api.request("GET", path, &Value::Null);
        assert!(
            status == 200 && page.contains(r#"<span class="stack" title="The stack">test</span>"#),
            "{path}: {page}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_live_stack_and_to_a_test_stack_only_when_asked_for() {
    let local = Stack::start("deployed-sending");
    for environment in ["live", "test"] {
        deploy(&local, environment).await;
    }
    let sample = json!({ "sample": "invoice.paid" });
    let any = local.lines(&["trigger", "invoice.paid"]).remove(0);
    let delivery = any["delivery"].as_str().unwrap();
    let send = |console: &Console| console.api.request("POST", "/api/send", &sample);
    for (arguments, why) in [
        (&["--stack", "live", "--token"][..], "to a live stack nothing is sent"),
        (&["--stack", "xendit-hooks-live", "--token"], "to a live stack nothing is sent"),
        (&["--stack", "test"], "start the console with --token"),
    ] {
        let console = Console::deployed(&local, arguments);
        let (status, text) = send(&console);
        assert!(status == 403 && text.contains(why), "{arguments:?}: {text}");
        let (status, _) = console.api.request("POST", &format!("/api/deliveries/{delivery}/resend"), &json!({}));
        assert_eq!(status, 403, "{arguments:?}");
    }
    // With a token; and to a local stack, which tells its own.
    let console = Console::start(&mut local.command(&["console", "--json"]));
    let (status, text) = send(&console);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(status == 200 && answer["status"] == 200, "{text}");
    let start = Instant::now();
    let path = format!("/api/deliveries/{}", answer["delivery"].as_str().unwrap());
    while console.api.get(&path)["fate"] != "duplicate" {
        assert!(start.elapsed() < Duration::from_mins(1), "{}", console.api.get(&path));
        thread::sleep(Duration::from_millis(200));
    }
}
