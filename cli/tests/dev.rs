//! Tests `xendit-hooks dev` with the real binaries, from the command line to the exit code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_http_client::Builder;
use jiff::Timestamp;
use ledger::{dynamo::DynamoLedger, item::Item};
use serde_json::Value;
use shared::lifecycle::Kind;

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// Where the stacks of these tests register, apart from the developer's.
const STATE: &str = env!("CARGO_TARGET_TMPDIR");

/// How long a row may take, on a slow machine too.
const PATIENCE: Duration = Duration::from_mins(2);

/// A local stack that was started with `--json`.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    /// The first line: the addresses.
    ready: Value,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        // Port 0 is any free port, because the tests run in parallel.
        let mut child = Command::new(HOOKS)
            .args(["dev", "--json", "--port", "0"])
            .args(arguments)
            .current_dir(root())
            .env("XDG_STATE_HOME", STATE)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let Ok(ready) = lines.recv() else { panic!("the stack did not start:\n{}", errors(&mut child)) };
        Self { child, lines, ready: serde_json::from_str(&ready).unwrap() }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {}", self.ready))
    }

    /// The next row. `None`: the output has ended.
    fn next(&self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap()),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("there is no further row"),
        }
    }

    /// Skips the rows of the bundled webhooks.
    fn skip_bundled(&self) {
        for _ in webhooks() {
            self.next().unwrap();
        }
    }

    /// The folders in /proc of the stack's processes.
    #[cfg(target_os = "linux")]
    fn processes(&self) -> Vec<PathBuf> {
        let parent = format!("PPid:\t{}\n", self.child.id());
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        processes.filter(|process| read(process, "status").contains(&parent)).collect()
    }

    /// Kills a process of the stack.
    #[cfg(target_os = "linux")]
    fn kill(&self, name: &str) {
        let is_named = |process: &PathBuf| {
            read(process, "cmdline").split('\0').take(4).any(|part| part.rsplit('/').next() == Some(name))
        };
        let found = self.processes().into_iter().find(is_named).unwrap_or_else(|| panic!("{name} does not run"));
        signal("-KILL", found.file_name().unwrap().to_str().unwrap());
    }

    /// Posts a body with the right token, and returns the status and the response.
    fn post(&self, content_type: &str, body: &[u8]) -> (u16, Value) {
        post(self.text("url"), self.text("token"), content_type, body).unwrap()
    }

    fn terminate(&self) {
        signal("-TERM", &self.child.id().to_string());
    }

    /// Waits until the stack exits, and returns the exit code and standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_mins(2), "the stack does not exit");
            std::thread::sleep(Duration::from_millis(100));
        }
        let code = self.child.wait().unwrap().code();
        (code, errors(&mut self.child))
    }

    fn aws(&self) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "a test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.text("region").to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(self.text("aws_endpoint_url"))
            .http_client(Builder::new().build_http())
            .build()
    }

    fn ledger(&self) -> DynamoLedger {
        DynamoLedger::new(aws_sdk_dynamodb::Client::new(&self.aws()), self.text("table").to_owned())
    }

    /// The number of dead letters that another reader would get.
    fn visible_dead_letters(&self) -> String {
        let visible = QueueAttributeName::ApproximateNumberOfMessages;
        let sqs = aws_sdk_sqs::Client::new(&self.aws());
        let call = sqs.get_queue_attributes().queue_url(self.text("dlq_url")).attribute_names(visible.clone());
        let output = tokio::runtime::Runtime::new().unwrap().block_on(call.send()).unwrap();
        output.attributes.unwrap()[&visible].clone()
    }
}

/// A file of a process, which may exit before it is read.
#[cfg(target_os = "linux")]
fn read(process: &Path, file: &str) -> String {
    fs::read_to_string(process.join(file)).unwrap_or_default()
}

fn signal(signal: &str, process: &str) {
    assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
}

fn post(url: &str, token: &str, content_type: &str, body: &[u8]) -> Result<(u16, Value), ureq::Error> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::new_with_config(agent).post(url).header("x-callback-token", token);
    let mut response = request.header("content-type", content_type).send(body)?;
    let text = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()))
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn webhooks() -> Vec<PathBuf> {
    fs::read_dir(root().join("events/webhooks")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn hooks(arguments: &[&str]) -> Output {
    Command::new(HOOKS).args(arguments).current_dir(root()).env("XDG_STATE_HOME", STATE).output().unwrap()
}

fn trigger(arguments: &[&str]) -> Output {
    hooks(&[&["trigger"], arguments].concat())
}

/// Collects the strings of a body that may be personal data.
fn personal(body: &Value, found: &mut Vec<String>) {
    const KEYS: [&str; 9] = [
        "email",
        "payer_email",
        "name",
        "account_number",
        "account_holder_name",
        "payer_name",
        "mobile_number",
        "masked_card_number",
        "description",
    ];
    match body {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if KEYS.contains(&key.as_str()) && text.len() > 5 => found.push(text.clone()),
                    _ => personal(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| personal(value, found)),
        _ => {}
    }
}

#[test]
fn every_bundled_webhook_is_processed_and_no_log_contains_personal_data() {
    let dev = Dev::start(&["--once"]);
    let mut rows = Vec::new();
    while let Some(row) = dev.next() {
        rows.push(row);
    }
    let logs = PathBuf::from(dev.text("log_dir"));
    let token = dev.text("token").to_owned();
    let (code, errors) = dev.end();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(rows.len(), webhooks().len());
    for row in &rows {
        assert!(row["status"] == 200 && row["in_ledger"] == true, "{row}");
    }
    assert!(rows.iter().filter(|row| !row["published"].as_array().unwrap().is_empty()).count() > rows.len() / 2);

    let mut secrets = vec![token, "{\\\"".to_owned()];
    for file in webhooks() {
        personal(&serde_json::from_slice(&fs::read(file).unwrap()).unwrap(), &mut secrets);
    }
    // Ids are logged, and some of them contain an account number.
    secrets.retain(|secret| !rows.iter().any(|row| row["id"].as_str().is_some_and(|id| id.contains(secret))));
    assert!(secrets.len() > 10, "too few personal values were found in the bodies");
    for name in ["receiver", "processor"] {
        let log = fs::read_to_string(logs.join(format!("{name}.log"))).unwrap();
        assert!(log.lines().count() >= rows.len(), "{name} must log one line per webhook");
        for secret in &secrets {
            assert!(!log.contains(secret), "{name} logged {secret}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_stack_exits_with_an_error_if_the_processor_is_killed() {
    let dev = Dev::start(&[]);
    dev.kill("processor");
    let (code, errors) = dev.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("processor stopped unexpectedly (signal: 9 (SIGKILL))"), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_stack_exits_with_an_error_if_the_local_aws_is_killed() {
    let dev = Dev::start(&[]);
    dev.kill("local_aws.py");
    let (code, errors) = dev.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("moto stopped unexpectedly (signal: 9 (SIGKILL))"), "{errors}");
}

#[test]
fn the_stack_serves_until_it_is_terminated() {
    let dev = Dev::start(&[]);
    dev.skip_bundled();
    let (url, token) = (dev.text("url").to_owned(), dev.text("token").to_owned());
    let changes = ["--set", "id=test-invoice", "--set", "external_id=test-order"];
    let arguments = [&["invoice.paid", "--url", &url, "--token", &token, "--times", "2"], &changes[..]].concat();
    let output = trigger(&arguments);
    assert!(output.status.success(), "{output:?}");
    let rows = [dev.next().unwrap(), dev.next().unwrap()];
    assert!(rows.iter().all(|row| row["id"] == "test-invoice" && row["in_ledger"] == true), "{rows:?}");
    let published: usize = rows.iter().map(|row| row["published"].as_array().unwrap().len()).sum();
    assert_eq!(published, 1, "a webhook that is sent twice is published once: {rows:?}");

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let ledger = dev.ledger();
        let found = ledger.by_reference("test-order").await.unwrap();
        assert_eq!(found.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["test#invoice#test-invoice"]);
        assert!(ledger.by_reference("another-order").await.unwrap().is_empty());
        let is_open_payout = |item: &Item| item.kind() == Kind::Payout && item.state.stage.is_open();
        let open = ledger.open_since_before(Kind::Payout, Timestamp::now()).await.unwrap();
        assert!(!open.is_empty() && open.iter().all(is_open_payout), "{open:?}");
        assert!(ledger.open_since_before(Kind::Payout, Timestamp::UNIX_EPOCH).await.unwrap().is_empty());
    });

    let output = trigger(&["invoice.paid", "--url", &url, "--token", "a-wrong-token"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("401"), "{output:?}");
    let row = dev.next().unwrap();
    assert!(row["status"] == 401 && row["delivery"].is_null(), "{row}");
    let log = fs::read_to_string(Path::new(dev.text("log_dir")).join("receiver.log")).unwrap();
    let refused = log.lines().find(|line| line.contains(row["request"].as_str().unwrap()));
    assert!(refused.is_some_and(|line| line.contains("wrong token")), "the log says why: {refused:?}");

    let unreadable = std::env::temp_dir().join("xendit-hooks-unreadable.json");
    fs::write(&unreadable, "this is not JSON").unwrap();
    let output = trigger(&[unreadable.to_str().unwrap(), "--url", &url, "--token", &token]);
    assert!(output.status.success(), "an unreadable body with the right token must be acknowledged: {output:?}");
    assert_eq!(dev.next().unwrap()["parked"], "the body is not JSON");

    dev.terminate();
    assert_eq!(dev.end().0, Some(0));
}

#[test]
fn the_stack_survives_whatever_it_is_sent_and_each_request_has_a_row() {
    let dev = Dev::start(&[]);
    dev.skip_bundled();

    let large = format!(r#"{{"event":"large","data":{{"id":"l-1","text":"{}"}}}}"#, "x".repeat(3 * 1024 * 1024));
    let bodies: [(&str, &[u8], bool); 6] = [
        ("application/json", br#"{"event":"x","n":1e400}"#, true),
        ("application/json", br#"{"event":"y","n":-1e400,"text":"-Infinity"}"#, true),
        ("application/json", large.as_bytes(), true),
        ("application/json", b"not JSON", false),
        ("application/json", b"", false),
        ("application/octet-stream", b"\0\xFF\xFE", false),
    ];
    for (content_type, body, is_readable) in bodies {
        let (status, answer) = dev.post(content_type, body);
        let row = dev.next().unwrap();
        assert_eq!((status, &row["delivery"]), (200, &answer["id"]), "{row}");
        assert_eq!((&row["in_ledger"], row["parked"].is_null()), (&Value::Bool(is_readable), is_readable), "{row}");
        assert!(row["problem"].is_null() && (!is_readable || row["published"][0] == "webhook.unknown"), "{row}");
    }
    let sample = fs::read_to_string(root().join("events/webhooks/invoice.paid.json")).unwrap();
    let mut invoice: Value = serde_json::from_str(&sample).unwrap();
    invoice["id"] = "i-1".into();
    for (amount, outcome) in [(1000, "applied"), (1000, "duplicate"), (2000, "conflict")] {
        invoice["paid_amount"] = amount.into();
        assert_eq!(dev.post("application/json", invoice.to_string().as_bytes()).0, 200);
        let row = dev.next().unwrap();
        assert_eq!((&row["outcome"], &row["id"]), (&outcome.into(), &"i-1".into()), "{row}");
    }
    let (url, token) = (dev.text("url"), dev.text("token"));
    for megabytes in [7, 11] {
        let answer = post(url, token, "application/json", &vec![b'x'; megabytes * 1024 * 1024]);
        // The gateway may answer and close the connection before it has read so much.
        assert!(answer.is_err() || answer.is_ok_and(|(status, _)| status == 413));
        assert_eq!(dev.next().unwrap()["status"], 413);
    }

    // More dead letters than SQS returns at once, and more requests than the stack can work on at once. A slow machine
    // does not acknowledge all of them in time.
    let body = |n| if n % 10 == 0 { "not JSON".to_owned() } else { format!(r#"{{"event":"e","n":{n}}}"#) };
    let mut sent: Vec<String> = std::thread::scope(|scope| {
        let send = |n| scope.spawn(move || post(url, token, "application/json", body(n).as_bytes()).unwrap());
        let threads: Vec<_> = (0..300).map(send).collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.filter(|(status, _)| *status == 200).map(|(_, answer)| answer["id"].to_string()).collect()
    });
    let rows: Vec<_> = (0..300).map(|_| dev.next().unwrap()).collect();
    let acknowledged = rows.iter().filter(|row| row["status"] == 200);
    let mut told: Vec<_> = acknowledged.clone().map(|row| row["delivery"].to_string()).collect();
    sent.sort_unstable();
    told.sort_unstable();
    assert!(sent.len() > 100, "{}", sent.len());
    assert_eq!(sent, told);
    for row in acknowledged.clone() {
        assert!(row["in_ledger"] == true || row["parked"] == "the body is not JSON", "{row}");
    }
    assert_eq!(dev.post("application/json", b"{}").0, 200);
    assert_eq!(dev.next().unwrap()["in_ledger"], true);

    // Who looks for the dead letters finds all of them.
    let parked = 3 + acknowledged.filter(|row| row["parked"].is_string()).count();
    assert_eq!(dev.visible_dead_letters(), parked.to_string());

    dev.terminate();
    assert_eq!(dev.end().0, Some(0));
}

#[test]
fn a_parked_webhook_is_not_lost_while_somebody_else_hides_the_dead_letters() {
    let dev = Dev::start(&[]);
    dev.skip_bundled();
    let (aws, url) = (dev.aws(), dev.text("dlq_url").to_owned());
    std::thread::scope(|scope| {
        // Whoever looks in between finds nothing most of the time.
        let hiding = scope.spawn(|| {
            let (runtime, sqs) = (tokio::runtime::Runtime::new().unwrap(), aws_sdk_sqs::Client::new(&aws));
            let (start, mut hidden) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_secs(8) {
                let call = sqs.receive_message().queue_url(&url).max_number_of_messages(10).visibility_timeout(6);
                hidden += runtime.block_on(call.send()).unwrap().messages().len();
            }
            hidden
        });
        for _ in 0..5 {
            dev.post("application/json", b"not JSON");
        }
        for _ in 0..5 {
            let row = dev.next().unwrap();
            assert_eq!((&row["parked"], &row["outcome"]), (&"the body is not JSON".into(), &"parked".into()), "{row}");
        }
        assert!(hiding.join().unwrap() > 0, "nothing was hidden");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn two_stacks_run_side_by_side_and_one_that_is_killed_leaves_nothing_behind() {
    let (mut one, other) = (Dev::start(&[]), Dev::start(&[]));
    for (dev, id) in [(&one, "in-one"), (&other, "in-other")] {
        dev.skip_bundled();
        let changes = [&format!("id={id}"), &format!("external_id=order-of-{id}")];
        let arguments = ["invoice.paid", "--url", dev.text("url"), "--token", dev.text("token"), "--set", changes[0]];
        assert!(trigger(&[&arguments[..], &["--set", changes[1]]].concat()).status.success());
        let row = dev.next().unwrap();
        assert!(row["id"] == id && row["in_ledger"] == true && row["outcome"] == "applied", "{row}");
    }
    let knows = |dev: &Dev, order: &str| {
        let port = dev.text("url").rsplit([':', '/']).find_map(|part| part.parse::<u16>().ok()).unwrap();
        hooks(&["payment", order, "--stack", &format!("local:{port}")]).status.success()
    };
    assert!(knows(&one, "order-of-in-one") && !knows(&one, "order-of-in-other"));
    assert!(knows(&other, "order-of-in-other") && !knows(&other, "order-of-in-one"));

    let processes = one.processes();
    assert!(processes.len() >= 3, "{processes:?}");
    signal("-KILL", &one.child.id().to_string());
    one.child.wait().unwrap();
    let start = Instant::now();
    let runs = |process: &PathBuf| {
        let status = read(process, "status");
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while processes.iter().any(runs) {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", processes.iter().find(|process| runs(process)));
        std::thread::sleep(Duration::from_millis(100));
    }
    let stack = hooks(&["payment", "order-of-in-other"]);
    assert!(stack.status.success(), "the entry of a killed stack must not hide the other one: {stack:?}");
    other.terminate();
    assert_eq!(other.end().0, Some(0));
}

#[test]
fn a_port_that_is_in_use_is_named_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for arguments in [["--port", &address.port().to_string()], ["--aws", &address.to_string()]] {
        let output = hooks(&[&["dev"], &arguments[..]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.contains(&address.port().to_string()) && errors.contains(arguments[0]), "{errors}");
    }
}

#[test]
fn outside_a_checkout_dev_says_what_to_do_and_the_samples_are_still_there() {
    let output = |arguments: &[&str]| Command::new(HOOKS).args(arguments).current_dir("/").output().unwrap();
    let dev = output(&["dev"]);
    let errors = String::from_utf8_lossy(&dev.stderr);
    assert_eq!((dev.status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.contains("run it in a checkout"), "{errors}");
    assert!(output(&["events", "payment.failed"]).status.success());
}
