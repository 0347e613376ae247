//! Tests `status`, `tail` and `token rotate` with a local stack, and with the CloudFormation stack, alarms, metrics and log groups
//! that a deployed one would have, in the same emulated AWS. What moto cannot answer is answered here, as AWS documents it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use self::local::{Stack, errors, json};

/// Longer than a line of the logs takes to be shown.
const PATIENCE: Duration = Duration::from_secs(30);

const REGION: &str = "ap-southeast-1";

/// A `tail` that is killed with the test, and its lines.
struct Tail {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Tail {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).unwrap()).unwrap()
    }

    /// The first line about a delivery.
    fn about(&self, delivery: &Value) -> Value {
        loop {
            let line = self.next();
            if &line["delivery"] == delivery {
                return line;
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A screen is at most 80 columns wide, but for commands to type, which are not broken.
fn assert_fits(screen: &str) {
    for line in screen.lines().filter(|line| !line.starts_with("  next")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn a_local_stack_tells_what_came_and_what_waits() {
    let stack = Stack::start("status");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let refused = agent.post(stack.text("url")).header("x-callback-token", "wrong").send("{}").unwrap();
    assert_eq!(refused.status(), 401);

    let output = stack.run(&["status", "--json"]);
    let told = json(&output);
    assert_eq!(
        (output.status.code(), &told["version"], &told["money"]),
        (Some(0), &json!(1), &json!("safe")),
        "{told}"
    );
    let traffic = &told["traffic"]["known"];
    assert_eq!((&traffic["hour"], &traffic["hour"]["refused"]), (&traffic["day"], &json!(1)), "{told}");
    let accepted = traffic["day"]["accepted"].as_u64().unwrap();
    assert!(accepted > 10 && traffic["day"]["applied"].as_u64().unwrap() > 10, "{told}");
    assert_eq!(traffic["tokens"]["local"]["webhooks"], accepted);
    assert_eq!((&told["queue"]["known"]["waiting"], &told["dead_letters"]["known"]), (&json!(0), &json!(0)));
    assert!(told["alarms"]["not_here"].is_string() && told["errors"]["not_here"].is_string());
    let screen = text(&stack.run(&["status"]));
    assert!(screen.contains("Money at risk? No. Every webhook"), "{screen}");
    assert!(screen.contains("Alarms         the local stack has none"), "{screen}");
    assert_fits(&screen);

    let all = Tail::start(stack.command(&["tail", "--since", "1h", "--json"]));
    let payouts = Tail::start(stack.command(&["tail", "--since", "1h", "--filter", "payout.*", "--json"]));
    let payout = json(&stack.run(&["trigger", "payout.succeeded", "--json"]));
    let sent = json(&stack.run(&["trigger", "invoice.paid", "--json"]));
    let line = all.about(&sent["delivery"]);
    assert_eq!(
        (&line["outcome"], &line["stage"], &line["token"]),
        (&json!("applied"), &json!("invoice.paid"), &json!("local"))
    );
    assert!(line["took_ms"].is_u64() && line["events"] == 1, "{line}");
    let mut payouts = std::iter::repeat_with(|| payouts.next());
    let is_payout = |line: &Value| line["stage"].as_str().unwrap().starts_with("payout.");
    assert!(
        payouts
            .find(|line| !is_payout(line) || line["delivery"] == payout["delivery"])
            .is_some_and(|line| is_payout(&line))
    );
    let from_the_start = Tail::start(stack.command(&["tail", "--since", "1h", "--json"]));
    let refused = std::iter::repeat_with(|| from_the_start.next()).find(|line| line["outcome"] == "refused").unwrap();
    assert_eq!((&refused["reason"], &refused["status"]), (&json!("wrong token"), &json!(401)));

    // A dead letter is not lost yet, and the next command is told.
    stack.boto("sqs", "send_message", &json!({ "QueueUrl": stack.text("dlq_url"), "MessageBody": "x" }));
    let output = stack.run(&["status"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("next         xendit-hooks dlq list --stack local"), "{output:?}");

    let output = stack.run(&["token", "rotate"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(errors(&output).contains("a local stack has no token to rotate"), "{output:?}");
}

/// What stands between the tool and moto: it answers what moto cannot, and refuses what it is told to refuse.
#[derive(Clone)]
struct Front {
    moto: String,
    /// The operations that are not permitted.
    forbidden: Arc<Mutex<Vec<&'static str>>>,
    /// The rows of each query of the log groups.
    rows: Arc<Mutex<Value>>,
    trigger: Arc<Mutex<&'static str>>,
}

impl Front {
    /// Returns its endpoint.
    fn open(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        endpoint
    }

    /// As AWS documents it. `None`: moto answers.
    fn answer(&self, operation: &str) -> Option<String> {
        Some(match operation {
            "StartQuery" => json!({ "queryId": "q-1" }).to_string(),
            "GetQueryResults" => json!({ "status": "Complete", "results": *self.rows.lock().unwrap() }).to_string(),
            "ListEventSourceMappings" => {
                json!({ "EventSourceMappings": [{ "UUID": "u-1", "State": *self.trigger.lock().unwrap() }] })
                    .to_string()
            }
            "GetTopicAttributes" => {
                let entry = |key: &str, value| format!("<entry><key>{key}</key><value>{value}</value></entry>");
                let entries =
                    [("SubscriptionsPending", 0), ("SubscriptionsConfirmed", 1)].map(|(key, value)| entry(key, value));
                format!(
                    "<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>{}</Attributes></GetTopicAttributesResult>\
                     </GetTopicAttributesResponse>",
                    entries.concat()
                )
            }
            _ => return None,
        })
    }
}

async fn answer(
    State(front): State<Front>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let form = form_urlencoded::parse(&body).find(|(key, _)| key == "Action").map(|(_, action)| action.into_owned());
    let target = header("x-amz-target");
    let operation = match target.rsplit_once('.') {
        Some((_, operation)) => operation.to_owned(),
        None if uri.path().contains("/event-source-mappings/") => "ListEventSourceMappings".to_owned(),
        None => form.unwrap_or_default(),
    };
    if front.forbidden.lock().unwrap().contains(&operation.as_str()) {
        let refusal = if target.is_empty() {
            "<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>".to_owned()
        } else {
            json!({ "__type": "AccessDeniedException", "Message": "User: arn:… is not authorized" }).to_string()
        };
        return (StatusCode::BAD_REQUEST, refusal);
    }
    if let Some(answer) = front.answer(&operation) {
        return (StatusCode::OK, answer);
    }
    let moto = format!("{}{uri}", front.moto);
    let forwarded = tokio::task::spawn_blocking(move || {
        assert_eq!(method, Method::POST);
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let names = ["authorization", "content-type", "x-amz-target", "x-amz-date"];
        let request = names.iter().filter(|name| headers.contains_key(**name));
        let request = request.fold(agent.post(moto), |request, name| request.header(*name, headers[*name].clone()));
        let mut response = request.send(body.to_vec()).unwrap();
        (response.status(), response.body_mut().read_to_string().unwrap())
    });
    forwarded.await.unwrap()
}

/// A row of a query: fields and values, all as text.
fn row(fields: &[(&str, &str)]) -> Value {
    fields.iter().map(|(field, value)| json!({ "field": field, "value": value })).collect()
}

fn minutes_ago(minutes: i64) -> String {
    (Timestamp::now() - SignedDuration::from_mins(minutes)).as_millisecond().to_string()
}

/// What a deployed test stack is to the tool.
struct Deployment {
    stack: Stack,
    front: Front,
    endpoint: String,
}

const NAME: &str = "xendit-hooks-test";

impl Deployment {
    fn new() -> Self {
        let stack = Stack::start("deployed");
        let front = Front {
            moto: stack.text("aws_endpoint_url").to_owned(),
            forbidden: Arc::default(),
            rows: Arc::new(Mutex::new(json!([
                row(&[("outcome", "stored"), ("token", "test"), ("lines", "7"), ("newest", &minutes_ago(2))]),
                row(&[("outcome", "stored"), ("token", "test-old"), ("lines", "2"), ("newest", &minutes_ago(90))]),
                row(&[
                    ("outcome", "applied"),
                    ("stage", "invoice.paid"),
                    ("lines", "8"),
                    ("published", "9"),
                    ("newest", &minutes_ago(2)),
                ]),
                row(&[("outcome", "refused"), ("reason", "wrong token"), ("lines", "3"), ("newest", &minutes_ago(5))]),
            ]))),
            trigger: Arc::new(Mutex::new("Enabled")),
        };
        let endpoint = front.open();
        let deployment = Self { stack, front, endpoint };
        deployment.deploy();
        deployment
    }

    fn deploy(&self) {
        let topic = format!("arn:aws:sns:{REGION}:123456789012:alarms");
        let outputs = [
            ("WebhookUrl", "https://x/webhook"),
            ("WebhookTopicUrl", "https://x/webhook/{topic}"),
            ("QueueUrl", self.stack.text("queue_url")),
            ("DeadLetterQueueUrl", self.stack.text("dlq_url")),
            ("InboxBucketName", "i"),
            ("LedgerTableName", "t"),
            ("EventBusName", "b"),
            ("AlarmTopicArn", &topic),
            ("ReceiverFunctionName", "r"),
            ("ProcessorFunctionName", "p"),
            ("ReceiverLogGroupName", "/r"),
            ("ProcessorLogGroupName", "/p"),
        ];
        let outputs: serde_json::Map<_, _> =
            outputs.into_iter().map(|(key, value)| (key.to_owned(), json!({ "Value": value }))).collect();
        let template = json!({
            "Parameters": { "Environment": { "Type": "String" }, "CallbackTokens": { "Type": "String" } },
            "Resources": { "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": "alarms" } } },
            "Outputs": outputs,
        });
        let tokens = format!("test={},test-old={}", "b".repeat(64), "a".repeat(64));
        let parameters = [("Environment", "test"), ("CallbackTokens", &tokens)]
            .map(|(key, value)| json!({ "ParameterKey": key, "ParameterValue": value }));
        let stack = json!({ "StackName": NAME, "TemplateBody": template.to_string(), "Parameters": parameters });
        self.stack.boto("cloudformation", "create_stack", &stack);
        for (alarm, page) in [("ServerErrorsAlarm", "server-errors"), ("DriftAlarm", "drift")] {
            let alarm = json!({
                "AlarmName": format!("{NAME}-{alarm}-1A2B"), "AlarmActions": [topic],
                "AlarmDescription": format!("It rings. So. Runbook: docs/runbooks/{page}.md"),
                "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1,
                "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold",
            });
            self.stack.boto("cloudwatch", "put_metric_alarm", &alarm);
        }
        let dimensions = [json!({ "Name": "QueueName", "Value": self.stack.text("queue_url").rsplit('/').next() })];
        let age = json!({ "MetricName": "ApproximateAgeOfOldestMessage", "Value": 42, "Dimensions": dimensions });
        self.stack.boto("cloudwatch", "put_metric_data", &json!({ "Namespace": "AWS/SQS", "MetricData": [age] }));
        for group in ["/r", "/p"] {
            self.stack.boto("logs", "create_log_group", &json!({ "logGroupName": group }));
            self.stack.boto("logs", "create_log_stream", &json!({ "logGroupName": group, "logStreamName": "s" }));
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.stack.command(&[arguments, &["--stack", "test"]].concat());
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_REGION", REGION).stdin(Stdio::null());
        command.envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")]);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn set_alarm(&self, alarm: &str, state: &str) {
        let alarm = json!({ "AlarmName": format!("{NAME}-{alarm}-1A2B"), "StateValue": state, "StateReason": "test" });
        self.stack.boto("cloudwatch", "set_alarm_state", &alarm);
    }

    fn forbid(&self, operations: &[&'static str]) {
        *self.front.forbidden.lock().unwrap() = operations.to_vec();
    }

    fn log(&self, group: &str, delivery: &str, more: &Value) {
        let mut line = json!({ "timestamp": Timestamp::now(), "delivery": delivery });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let event = json!({ "timestamp": Timestamp::now().as_millisecond(), "message": line.to_string() });
        self.stack.boto(
            "logs",
            "put_log_events",
            &json!({ "logGroupName": group, "logStreamName": "s", "logEvents": [event] }),
        );
    }
}

#[test]
fn a_deployed_stack_is_read_from_aws() {
    let deployment = Deployment::new();
    status_tells_what_is_there_and_what_is_wrong(&deployment);
    status_tells_what_is_not_permitted(&deployment);
    tail_joins_the_lines_of_both_functions(&deployment);
    rotate_tells_the_next_step(&deployment);
}

fn status_tells_what_is_there_and_what_is_wrong(deployment: &Deployment) {
    let output = deployment.run(&["status", "--json"]);
    let told = json(&output);
    assert_eq!((output.status.code(), &told["money"]), (Some(0), &json!("safe")), "{told}");
    let day = &told["traffic"]["known"]["day"];
    let counts = ["accepted", "money", "events", "refused"].map(|count| day[count].as_u64().unwrap());
    assert_eq!(counts, [9, 8, 9, 3], "{told}");
    assert_eq!((&told["oldest_secs"]["known"], &told["trigger"]["known"]["id"]), (&json!(42), &json!("u-1")), "{told}");
    assert_eq!(told["subscriptions"]["known"], json!({ "confirmed": 1, "pending": 0 }));
    assert_eq!(told["alarms"]["known"].as_array().unwrap().len(), 2, "{told}");

    deployment.set_alarm("ServerErrorsAlarm", "ALARM");
    let output = deployment.run(&["status"]);
    let screen = text(&output);
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(
        screen.contains("Money at risk? YES. It rings.\n  next         docs/runbooks/server-errors.md\n"),
        "{screen}"
    );
    assert!(screen.contains("ServerErrorsAlarm        docs/runbooks/server-errors.md"), "{screen}");
    assert!(screen.contains("wrong token (3)") && screen.contains("test-old (2, last 1 h ago)"), "{screen}");
    assert_fits(&screen);
    deployment.set_alarm("ServerErrorsAlarm", "OK");

    *deployment.front.trigger.lock().unwrap() = "Disabled";
    let screen = text(&deployment.run(&["status"]));
    assert!(screen.contains(&format!("--enabled --region {REGION} --uuid u-1")), "{screen}");
    *deployment.front.trigger.lock().unwrap() = "Enabled";
}

/// Each part stands alone.
fn status_tells_what_is_not_permitted(deployment: &Deployment) {
    for (operation, permission) in [
        ("StartQuery", "logs:StartQuery"),
        ("GetQueueAttributes", "sqs:GetQueueAttributes"),
        ("GetMetricData", "cloudwatch:GetMetricData"),
        ("DescribeAlarms", "cloudwatch:DescribeAlarms"),
        ("ListEventSourceMappings", "lambda:ListEventSourceMappings"),
        ("GetTopicAttributes", "sns:GetTopicAttributes"),
    ] {
        deployment.forbid(&[operation]);
        let output = deployment.run(&["status"]);
        let screen = text(&output);
        assert_eq!(output.status.code(), Some(3), "{operation}: {screen}");
        assert!(screen.contains("Money at risk? Not known."), "{screen}");
        let refusal = format!("not readable: no permission for {permission}");
        assert!(screen.replace("\n               ", " ").contains(&refusal), "{screen}");
        assert_fits(&screen);
    }
    deployment.forbid(&["DescribeStacks"]);
    let output = deployment.run(&["status"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(errors(&output).contains("cannot read the stack xendit-hooks-test"), "{output:?}");
    deployment.forbid(&[]);
}

fn tail_joins_the_lines_of_both_functions(deployment: &Deployment) {
    for delivery in ["d-1", "d-2"] {
        deployment.log("/r", delivery, &json!({ "token": "test", "outcome": "stored" }));
    }
    deployment.log("/p", "d-1", &json!({ "stage": "invoice.paid", "outcome": "applied", "events": 1 }));
    let tail = Tail::start(deployment.command(&["tail", "--since", "5m", "--json"]));
    let told =
        |line: &Value| ["delivery", "token", "outcome", "reason"].map(|key| line[key].as_str().map(str::to_owned));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told(&tail.next()), [some("d-1"), some("test"), some("applied"), None]);
    // It goes on after CloudWatch has refused.
    deployment.forbid(&["FilterLogEvents"]);
    thread::sleep(Duration::from_secs(5));
    deployment.log("/p", "d-2", &json!({ "reason": "no event", "outcome": "parked", "receive_count": 1 }));
    deployment.forbid(&[]);
    let until_parked = || std::iter::repeat_with(|| tail.next()).find(|line| line["outcome"] == "parked").unwrap();
    assert_eq!(told(&until_parked()), [some("d-2"), some("test"), some("parked"), some("no event")]);
    thread::sleep(Duration::from_secs(5));
    assert!(tail.lines.try_recv().is_err(), "a line was shown twice");
}

fn rotate_tells_the_next_step(deployment: &Deployment) {
    let rotate = |token: Option<&str>| {
        let mut command = deployment.command(&["token", "rotate", "--json"]);
        let output = command.envs(token.map(|token| ("XENDIT_CALLBACK_TOKEN", token))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(token.is_none_or(|token| !text(&output).contains(token)), "{output:?}");
        json(&output)
    };
    let told = rotate(None);
    assert_eq!((&told["step"], told["tokens"].as_array().unwrap().len()), (&json!("wait"), 2), "{told}");
    assert_eq!(rotate(Some("another-token-0123456789"))["step"], "finish_first");
    deployment.front.rows.lock().unwrap().as_array_mut().unwrap().remove(1);
    let told = rotate(None);
    let retire = format!("make deploy TO=test REGION={REGION} RETIRE=test-old");
    assert_eq!((&told["step"], &told["next"]), (&json!("retire"), &json!(retire)), "{told}");
    let screen = text(&deployment.run(&["token", "rotate"]));
    assert!(screen.contains(&format!("Next:  {retire}")), "{screen}");
    assert!(screen.contains("test-old         aaaaaaaa…  not used in the last day"), "{screen}");
}
