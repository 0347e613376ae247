//! Tests the consumers of docs/consume.md, in each language that is on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A cold compiler is slow to start a program.
const START_TIMEOUT: Duration = Duration::from_mins(1);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// An event as EventBridge delivers it, with an order, a version, and what was paid.
fn event(id: &str, detail_type: &str, order: &str, version: u64, amount: &str) -> Value {
    let schema = fs::read_to_string(root().join("docs/schemas/v1/invoice.paid.json")).unwrap();
    let mut detail = serde_json::from_str::<Value>(&schema).unwrap()["examples"][0].take();
    detail["id"] = id.into();
    detail["subject"]["id"] = format!("invoice of {order}").into();
    detail["reference"] = order.into();
    detail["version"] = version.into();
    detail["paid"] = json!({ "amount": amount, "currency": "IDR" });
    json!({
        "version": "0",
        "id": "5f8b8c1e-0000-4000-8000-000000000000",
        "detail-type": detail_type,
        "source": "xendit-hooks",
        "account": "123456789012",
        "time": "2026-11-24T06:00:00Z",
        "region": "ap-southeast-1",
        "resources": [],
        "detail": detail,
    })
}

/// A consumer that is killed with the test.
struct Consumer {
    child: Child,
    url: String,
}

impl Consumer {
    fn start(command: &mut Command) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command.current_dir(root()).env("PORT", port.to_string()).stdout(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < START_TIMEOUT, "{command:?} does not listen");
            sleep(Duration::from_millis(50));
        }
        Self { child, url: format!("http://127.0.0.1:{port}/events") }
    }

    fn post(&self, body: &str) -> u16 {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        agent.post(&self.url).header("content-type", "application/json").send(body).unwrap().status().as_u16()
    }

    /// Ends it, and returns what it said.
    fn end(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        BufReader::new(self.child.stdout.take().unwrap()).lines().map(Result::unwrap).collect()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_each_effect_once(command: &mut Command) {
    let consumer = Consumer::start(command);
    let first = event("e-1", "invoice.paid", "order-7", 1, "10000.01");
    let another = event("e-2", "invoice.paid", "order-8", 1, "20000");
    let not_about_money = event("e-3", "invoice.expired", "order-9", 1, "1");
    let newer = event("e-5", "invoice.paid", "order-7", 3, "12000");
    let late = event("e-4", "invoice.paid", "order-7", 2, "11000");
    for event in [&first, &first, &another, &not_about_money, &newer, &late, &first] {
        assert!((200..300).contains(&consumer.post(&event.to_string())), "{event}");
    }
    assert_eq!(consumer.post("this is not JSON"), 500, "what could not be handled must be delivered again");
    let effects = ["order-7 is paid: IDR 10000.01", "order-8 is paid: IDR 20000", "order-7 is paid: IDR 12000"];
    assert_eq!(consumer.end(), effects);
}

/// Whether a program is on this machine.
fn is_installed(program: &str, argument: &str) -> bool {
    let is_installed = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
    if !is_installed {
        eprintln!("{program} is not on this machine");
    }
    is_installed
}

#[test]
fn in_node_each_effect_happens_once() {
    if is_installed("node", "--version") {
        has_each_effect_once(Command::new("node").arg("docs/consume/app.mjs"));
    }
}

#[test]
fn in_python_each_effect_happens_once() {
    if is_installed("python3", "--version") {
        has_each_effect_once(Command::new("python3").arg("docs/consume/app.py"));
    }
}

#[test]
fn in_go_each_effect_happens_once() {
    if is_installed("go", "version") {
        // Not `go run`, which leaves the program running when it is killed.
        let binary = env::temp_dir().join(format!("xendit-hooks-consumer-{}", std::process::id()));
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&binary).arg("docs/consume/app.go").current_dir(root());
        assert!(build.status().unwrap().success());
        has_each_effect_once(&mut Command::new(&binary));
        fs::remove_file(binary).unwrap();
    }
}

#[test]
fn in_rust_each_effect_happens_once() {
    // Beside `deps/`, which holds this test. `cargo test` builds it, unless it is told to run this test only.
    let here = env::current_exe().unwrap();
    let binary: PathBuf = here.parent().unwrap().with_file_name("examples").join("consumer");
    if !binary.exists() {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--locked", "--package", "xendit-hooks", "--example", "consumer"]).current_dir(root());
        // Build scripts would run again because of it.
        cargo.env_remove("CARGO_MANIFEST_DIR");
        assert!(cargo.status().unwrap().success());
    }
    has_each_effect_once(&mut Command::new(binary));
}

#[test]
fn the_page_shows_the_app_that_is_tested() {
    let page = fs::read_to_string(root().join("docs/consume.md")).unwrap();
    let app = fs::read_to_string(root().join("docs/consume/app.mjs")).unwrap();
    assert!(page.contains(&app), "docs/consume.md shows another app than docs/consume/app.mjs");
}
