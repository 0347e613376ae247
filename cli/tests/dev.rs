//! Tests `xendit-hooks dev` with the real binaries, from the command line to the exit code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::Region;
use aws_smithy_http_client::Builder;
use jiff::Timestamp;
use ledger::{dynamo::DynamoLedger, item::Item};
use serde_json::Value;
use shared::lifecycle::Kind;

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// A local stack that was started with `--json`.
struct Dev {
    child: Child,
    lines: BufReader<ChildStdout>,
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
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        assert!(!ready.is_empty(), "the stack did not start:\n{}", errors(child));
        Self { child, lines, ready: serde_json::from_str(&ready).unwrap() }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {}", self.ready))
    }

    /// The next row. `None`: the output has ended.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Kills a process of the stack.
    #[cfg(target_os = "linux")]
    fn kill(&self, name: &str) {
        let parent = format!("PPid:\t{}\n", self.child.id());
        // A process may exit before its files are read.
        let read = |process: &Path, file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        let is_named = |command: &str| command.split('\0').take(2).any(|part| part.rsplit('/').next() == Some(name));
        let mut processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let found = processes
            .find(|process| read(process, "status").contains(&parent) && is_named(&read(process, "cmdline")))
            .unwrap_or_else(|| panic!("{name} does not run"));
        assert!(Command::new("kill").arg("-KILL").arg(found.file_name().unwrap()).status().unwrap().success());
    }

    fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits until the stack exits, and returns the exit code and standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_mins(2), "the stack does not exit");
            std::thread::sleep(Duration::from_millis(100));
        }
        let code = self.child.wait().unwrap().code();
        (code, errors(self.child))
    }

    fn ledger(&self) -> DynamoLedger {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(Region::new(self.text("region").to_owned()))
            .credentials_provider(Credentials::new("local", "local", None, None, "a test"))
            .endpoint_url(self.text("aws_endpoint_url"))
            .http_client(Builder::new().build_http())
            .build();
        DynamoLedger::new(aws_sdk_dynamodb::Client::from_conf(config), self.text("table").to_owned())
    }
}

fn errors(mut child: Child) -> String {
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

fn trigger(arguments: &[&str]) -> Output {
    Command::new(HOOKS).arg("trigger").args(arguments).current_dir(root()).output().unwrap()
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
    let mut dev = Dev::start(&["--once"]);
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
    let dev = Dev::start(&["--once"]);
    dev.kill("processor");
    let (code, errors) = dev.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("not processed: processor stopped unexpectedly (signal: 9 (SIGKILL))"), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_stack_exits_with_an_error_if_the_local_aws_is_killed() {
    let dev = Dev::start(&["--once"]);
    dev.kill("moto_server");
    let (code, errors) = dev.end();
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("not processed: moto stopped unexpectedly (signal: 9 (SIGKILL))"), "{errors}");
}

#[test]
fn the_stack_serves_until_it_is_terminated() {
    let mut dev = Dev::start(&[]);
    for _ in webhooks() {
        dev.next().unwrap();
    }
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

    let unreadable = std::env::temp_dir().join("xendit-hooks-unreadable.json");
    fs::write(&unreadable, "this is not JSON").unwrap();
    let output = trigger(&[unreadable.to_str().unwrap(), "--url", &url, "--token", &token]);
    assert!(output.status.success(), "an unreadable body with the right token must be acknowledged: {output:?}");
    assert_eq!(dev.next().unwrap()["parked"], "the body is not JSON");

    dev.terminate();
    assert_eq!(dev.end().0, Some(0));
}
