//! `xendit-hooks dev` as a person or a tool would use it: the real binaries, from the command line to the exit code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// A stack that was started with `--json`, and what it said when it was ready.
struct Dev {
    child: Child,
    lines: BufReader<ChildStdout>,
    ready: Value,
}

impl Dev {
    fn start(arguments: &[&str]) -> Self {
        // Port 0 is any: the tests run side by side.
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
        assert!(!ready.is_empty(), "it never got ready:\n{}", said(child));
        Self { child, lines, ready: serde_json::from_str(&ready).unwrap() }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {}", self.ready))
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Kills one of the processes that the stack has started.
    #[cfg(target_os = "linux")]
    fn kill(&self, name: &str) {
        let parent = format!("PPid:\t{}\n", self.child.id());
        // A process may end while it is looked at.
        let read = |process: &Path, file: &str| fs::read_to_string(process.join(file)).unwrap_or_default();
        let is_named = |command: &str| command.split('\0').take(2).any(|part| part.rsplit('/').next() == Some(name));
        let mut processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        let found = processes
            .find(|process| read(process, "status").contains(&parent) && is_named(&read(process, "cmdline")))
            .unwrap_or_else(|| panic!("there is no {name}"));
        assert!(Command::new("kill").arg("-KILL").arg(found.file_name().unwrap()).status().unwrap().success());
    }

    fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// The exit code and what was said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_mins(2), "it does not end");
            std::thread::sleep(Duration::from_millis(100));
        }
        let code = self.child.wait().unwrap().code();
        (code, said(self.child))
    }
}

fn said(mut child: Child) -> String {
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

/// Every string in a body that could be somebody's: values of the keys that hold personal data.
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
fn every_bundled_webhook_is_seen_through_and_no_log_holds_what_it_said() {
    let mut dev = Dev::start(&["--once"]);
    let mut rows = Vec::new();
    while let Some(row) = dev.next() {
        rows.push(row);
    }
    let logs = PathBuf::from(dev.text("log_dir"));
    let token = dev.text("token").to_owned();
    let (code, said) = dev.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(rows.len(), webhooks().len());
    for row in &rows {
        assert!(row["status"] == 200 && row["in_ledger"] == true, "{row}");
    }
    assert!(rows.iter().filter(|row| !row["published"].as_array().unwrap().is_empty()).count() > rows.len() / 2);

    let mut secrets = vec![token, "{\\\"".to_owned()];
    for file in webhooks() {
        personal(&serde_json::from_slice(&fs::read(file).unwrap()).unwrap(), &mut secrets);
    }
    // An account number that happens to be part of an id, which is logged, says nothing.
    secrets.retain(|secret| !rows.iter().any(|row| row["id"].as_str().is_some_and(|id| id.contains(secret))));
    assert!(secrets.len() > 10, "the bodies hold something to look for");
    for name in ["receiver", "processor"] {
        let log = fs::read_to_string(logs.join(format!("{name}.log"))).unwrap();
        assert!(log.lines().count() >= rows.len(), "one line for each webhook in {name}");
        for secret in &secrets {
            assert!(!log.contains(secret), "{name} logs {secret}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_stack_whose_processor_is_killed_ends_with_a_sentence() {
    let dev = Dev::start(&["--once"]);
    dev.kill("processor");
    let (code, said) = dev.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not seen through: processor ended by itself (signal: 9 (SIGKILL))"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stack_whose_aws_is_killed_ends_with_a_sentence() {
    let dev = Dev::start(&["--once"]);
    dev.kill("moto_server");
    let (code, said) = dev.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not seen through: moto ended by itself (signal: 9 (SIGKILL))"), "{said}");
}

#[test]
fn a_stack_keeps_serving_until_it_is_stopped() {
    let mut dev = Dev::start(&[]);
    for _ in webhooks() {
        dev.next().unwrap();
    }
    let (url, token) = (dev.text("url").to_owned(), dev.text("token").to_owned());
    let sent = ["invoice.paid", "--url", &url, "--token", &token, "--set", "id=of-the-test", "--times", "2"];
    let answer = trigger(&sent);
    assert!(answer.status.success(), "{answer:?}");
    let rows = [dev.next().unwrap(), dev.next().unwrap()];
    assert!(rows.iter().all(|row| row["id"] == "of-the-test" && row["in_ledger"] == true), "{rows:?}");
    let published: usize = rows.iter().map(|row| row["published"].as_array().unwrap().len()).sum();
    assert_eq!(published, 1, "sent twice, published once: {rows:?}");

    let answer = trigger(&["invoice.paid", "--url", &url, "--token", "not-the-token-of-anybody"]);
    assert!(!answer.status.success());
    assert!(String::from_utf8_lossy(&answer.stdout).starts_with("401"), "{answer:?}");
    let row = dev.next().unwrap();
    assert!(row["status"] == 401 && row["delivery"].is_null(), "{row}");

    let unreadable = std::env::temp_dir().join("xendit-hooks-unreadable.json");
    fs::write(&unreadable, "this is not JSON").unwrap();
    let answer = trigger(&[unreadable.to_str().unwrap(), "--url", &url, "--token", &token]);
    assert!(answer.status.success(), "a right token is enough: {answer:?}");
    assert_eq!(dev.next().unwrap()["parked"], "the body is not JSON");

    dev.terminate();
    assert_eq!(dev.end().0, Some(0));
}
