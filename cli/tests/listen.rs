//! Tests what brings webhooks and domain events to a laptop: `listen`, `dev --forward-to` and `dev --tunnel`, with an app that
//! starts late and refuses, and a program that prints what cloudflared prints.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use serde_json::{Value, json};

const HOOKS: &str = env!("CARGO_BIN_EXE_xendit-hooks");

/// How many webhooks are sent. By hand: `WEBHOOKS=500 cargo test -p xendit-hooks --test listen`.
fn webhooks() -> usize {
    std::env::var("WEBHOOKS").map_or(60, |text| text.parse().unwrap())
}

/// Longer than a listener that is killed keeps events from the next one.
const PATIENCE: Duration = Duration::from_mins(2);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A process that is killed with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A local stack whose bundled webhooks are done.
struct Stack {
    child: Child,
    /// What it prints. It is read all the time, because a full pipe would stop the stack.
    lines: Mutex<Receiver<String>>,
    /// The first line: the addresses.
    ready: Value,
    /// Where stacks register, so that tests find only their own.
    state: PathBuf,
}

impl Stack {
    fn start(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let state = std::env::temp_dir().join(format!("xendit-hooks-{name}-{}", std::process::id()));
        let mut command = Command::new(HOOKS);
        command.args(["dev", "--json", "--port", "0"]).args(arguments).current_dir(root());
        command.env("XDG_STATE_HOME", &state).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stack = Self { child, lines: Mutex::new(lines), ready: Value::Null, state };
        stack.ready = stack.next();
        let bundled = fs::read_dir(root().join("events/webhooks")).unwrap().count();
        assert!((0..bundled).all(|_| !stack.next()["webhook"].is_null()));
        stack
    }

    /// The next line. It is an error if there is none.
    fn next(&mut self) -> Value {
        let Ok(line) = self.lines.get_mut().unwrap().recv_timeout(PATIENCE) else {
            let _ = self.child.kill();
            let mut errors = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            panic!("there is no further line:\n{errors}");
        };
        serde_json::from_str(&line).unwrap()
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {}", self.ready))
    }

    /// Sends a paid invoice with this id, and returns the response's status.
    fn pay(&self, invoice: &str, token: &str) -> u16 {
        let body = fs::read_to_string(root().join("events/webhooks/invoice.paid.json")).unwrap();
        let mut body: Value = serde_json::from_str(&body).unwrap();
        (body["id"], body["external_id"]) = (invoice.into(), format!("order of {invoice}").into());
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.post(self.text("url")).header("x-callback-token", token);
        request.header("content-type", "application/json").send(body.to_string()).unwrap().status().as_u16()
    }

    fn listen(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(HOOKS);
        command.arg("listen").args(arguments).env("XDG_STATE_HOME", &self.state);
        Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // Not killed, so that it stops its own processes.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.state);
    }
}

/// An app that takes events, and answers with a status that the test sets.
struct App {
    url: String,
    status: Arc<AtomicU16>,
    /// The status that each event got, by the invoice's id, in order.
    answers: Arc<Mutex<BTreeMap<String, Vec<u16>>>>,
    bodies: Arc<Mutex<Vec<Value>>>,
    _server: tokio::runtime::Runtime,
}

impl App {
    /// Starts it at an address, or at any free one.
    fn start(address: Option<&str>) -> Self {
        let listener = TcpListener::bind(address.unwrap_or("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let answers = Arc::<Mutex<BTreeMap<String, Vec<u16>>>>::default();
        let bodies = Arc::<Mutex<Vec<Value>>>::default();
        let state = (Arc::clone(&status), Arc::clone(&answers), Arc::clone(&bodies));
        let server = tokio::runtime::Runtime::new().unwrap();
        server.spawn(async move {
            let router = Router::new().route("/events", post(take)).with_state(state);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
        Self { url, status, answers, bodies, _server: server }
    }

    fn accepted(&self) -> BTreeSet<String> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|(_, statuses)| statuses.contains(&200)).map(|(invoice, _)| invoice.clone()).collect()
    }

    fn refusals(&self) -> usize {
        self.answers.lock().unwrap().values().flatten().filter(|status| **status == 500).count()
    }
}

type Shared = (Arc<AtomicU16>, Arc<Mutex<BTreeMap<String, Vec<u16>>>>, Arc<Mutex<Vec<Value>>>);

async fn take(State((status, answers, bodies)): State<Shared>, body: Bytes) -> StatusCode {
    let event: Value = serde_json::from_slice(&body).unwrap();
    let status = status.load(Ordering::SeqCst);
    let invoice = event["detail"]["subject"]["id"].as_str().unwrap().to_owned();
    answers.lock().unwrap().entry(invoice).or_default().push(status);
    bodies.lock().unwrap().push(event);
    StatusCode::from_u16(status).unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn no_event_is_lost_while_listen_is_killed_and_the_app_refuses() {
    let stack = Stack::start("listen", &[], &[]);
    let token = stack.text("token").to_owned();
    let app = App::start(None);
    let sent: BTreeSet<_> = (0..webhooks()).map(|number| format!("invoice-{number}")).collect();
    let half = sent.len() / 2;
    let pay = |invoices: &mut dyn Iterator<Item = &String>| {
        invoices.for_each(|invoice| assert_eq!(stack.pay(invoice, &token), 200));
    };
    let listener = stack.listen(&["--forward-to", &app.url, "--json"]);
    std::thread::scope(|scope| {
        scope.spawn(|| pay(&mut sent.iter().take(half)));
        wait_until("some events arrive", || app.accepted().len() >= half / 4);
        app.status.store(500, Ordering::SeqCst);
        wait_until("the app refuses some events", || app.refusals() >= 3);
        // SIGKILL, with events in its hands.
        drop(listener);
    });
    let before = app.accepted();
    assert!(before.len() < half, "the app refused, so not all of the first half can be accepted");
    let _listener = stack.listen(&["--forward-to", &app.url, "--json"]);
    pay(&mut sent.iter().skip(half));
    wait_until("the app refuses events of the second listener", || app.refusals() >= 10);
    app.status.store(200, Ordering::SeqCst);
    wait_until("every event arrives", || app.accepted() == sent);
}

#[test]
fn what_a_filter_leaves_out_is_there_for_the_next_listener_at_once() {
    let stack = Stack::start("filter", &[], &[]);
    assert_eq!(stack.pay("invoice-1", stack.text("token")), 200);
    let app = App::start(None);
    let mut filtered = stack.listen(&["--forward-to", &app.url, "--filter", "payout.*"]);
    // Time to receive the event, and to wait for more.
    std::thread::sleep(Duration::from_secs(3));
    assert!(Command::new("kill").args(["-INT", &filtered.0.id().to_string()]).status().unwrap().success());
    assert!(filtered.0.wait().unwrap().success(), "Ctrl-C is not a failure");
    assert!(app.accepted().is_empty(), "it is not a payout");

    let start = Instant::now();
    let _listener = stack.listen(&["--forward-to", &app.url, "--filter", "*.paid"]);
    wait_until("the event arrives", || app.accepted().contains("invoice-1"));
    assert!(start.elapsed() < Duration::from_secs(15), "it was hidden for {:?}", start.elapsed());
}

#[test]
fn dev_hands_each_event_to_an_app_as_event_bridge_would_and_shows_its_answers() {
    // The app starts later than the stack, at this address.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("{address}/events");
    let digest = "test=aa5da3d4ea51a87b9c2b1a2f1b5dd4a1a2c3a5b0f1c8e6b44c7c2d3e4f5a6b7c";
    let xendit = "xendit-test-token-0123456789";
    let arguments = ["--forward-to", &url, "--digest", digest, "--token"];
    let mut stack = Stack::start("forward", &arguments, &[("XENDIT_CALLBACK_TOKEN", xendit)]);
    let own = stack.text("token").to_owned();
    assert_eq!([own.as_str(), xendit, "another-token"].map(|token| stack.pay("invoice-7", token)), [200, 200, 401]);
    let rows = [stack.next(), stack.next(), stack.next()];
    assert_eq!(rows.iter().filter(|row| row["status"] == 401).count(), 1, "{rows:?}");

    let app = App::start(Some(&address));
    app.status.store(500, Ordering::SeqCst);
    wait_until("the app refuses the event", || app.refusals() >= 1);
    app.status.store(200, Ordering::SeqCst);
    let refused = stack.next();
    assert_eq!((&refused["answer"]["status"], &refused["again_in_secs"]), (&json!(500), &json!(1)), "{refused}");
    let accepted = std::iter::repeat_with(|| stack.next()).find(|line| line["answer"]["status"] == 200).unwrap();

    let bodies = app.bodies.lock().unwrap();
    assert!(bodies.iter().all(|body| *body == accepted["event"]), "a refused event is delivered again, unchanged");
    let event = &bodies[0];
    let keys: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["account", "detail", "detail-type", "id", "region", "resources", "source", "time", "version"];
    assert_eq!(keys, expected, "the envelope that EventBridge delivers");
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("xendit-hooks"), &json!("invoice.paid")));
    let detail = &event["detail"];
    assert_eq!((&detail["subject"]["id"], &detail["reference"]), (&json!("invoice-7"), &json!("order of invoice-7")));
    assert_eq!(stack.text("bus"), "xendit-hooks-test", "the name that the bus of a deployed test stack has");

    let logs = PathBuf::from(stack.text("log_dir"));
    let registered = fs::read_dir(stack.state.join("xendit-hooks")).unwrap().map(|entry| entry.unwrap().path());
    for file in fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().path()).chain(registered) {
        assert!(!fs::read_to_string(&file).unwrap().contains(xendit), "{} has Xendit's token", file.display());
    }
}

/// Prints what cloudflared prints, and what it was given.
const CLOUDFLARED: &str = r#"#!/bin/sh
echo "arguments: $* token: $XENDIT_CALLBACK_TOKEN"
echo "process: $$"
cat >&2 <<'END'
2026-01-20T09:56:33Z INF Thank you for trying Cloudflare Tunnel. See https://developers.cloudflare.com/cloudflare-one
2026-01-20T09:56:33Z INF Requesting new quick Tunnel on trycloudflare.com...
2026-01-20T09:56:36Z INF +--------------------------------------------------------------------------------------------+
2026-01-20T09:56:36Z INF |  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |
2026-01-20T09:56:36Z INF |  https://four-random-words-here.trycloudflare.com                                          |
2026-01-20T09:56:36Z INF +--------------------------------------------------------------------------------------------+
END
exec sleep 600
"#;

/// A folder with such a program.
fn folder_with_cloudflared(test: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = std::env::temp_dir().join(format!("xendit-hooks-{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("cloudflared");
    fs::write(&program, CLOUDFLARED).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn a_tunnel_leads_to_the_gateway_lets_only_xendit_in_and_ends_with_the_stack() {
    let folder = folder_with_cloudflared("open");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let xendit = "xendit-test-token-0123456789";
    let variables = [("PATH", path.as_str()), ("XENDIT_CALLBACK_TOKEN", xendit)];
    let mut stack = Stack::start("tunnel", &["--tunnel", "cloudflared", "--token"], &variables);
    assert_eq!(stack.text("public_url"), "https://four-random-words-here.trycloudflare.com/webhook");
    assert_eq!(stack.pay("invoice-1", xendit), 200);
    assert_eq!(stack.pay("invoice-2", stack.text("token")), 200);
    let public_token = "xendit-hooks-local-token-0123456789";
    assert_eq!(stack.pay("invoice-3", public_token), 401, "anybody can read this token in the repository");

    let log = fs::read_to_string(PathBuf::from(stack.text("log_dir")).join("cloudflared.log")).unwrap();
    let gateway = stack.text("url").strip_suffix("/webhook").unwrap();
    assert!(log.contains(&format!("arguments: tunnel --no-autoupdate --url {gateway} token: \n")), "{log}");
    let process = log.lines().find_map(|line| line.strip_prefix("process: ")).unwrap().to_owned();
    let runs = || Command::new("kill").args(["-0", &process]).stderr(Stdio::null()).status().unwrap().success();
    assert!(runs());
    // SIGKILL: the stack can do nothing more.
    stack.child.kill().unwrap();
    wait_until("the tunnel ends", || !runs());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_tunnel_is_refused_before_anything_starts() {
    let error = |arguments: &[&str], path: &str| {
        let mut command = Command::new(HOOKS);
        command
            .arg("dev")
            .args(arguments)
            .current_dir(root())
            .env("PATH", path)
            .env("XENDIT_CALLBACK_TOKEN", "0".repeat(20));
        let output = command.output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let folder = folder_with_cloudflared("refused");
    let path = folder.to_str().unwrap();
    let live = format!("live={}", "0".repeat(64));
    let live = error(&["--tunnel", "cloudflared", "--digest", &live], path);
    assert!(live.contains("is a live token"), "{live}");
    let refused = error(&["--tunnel", "cloudflared"], path);
    assert!(refused.contains("--tunnel needs --token or --digest"), "{refused}");
    let missing = error(&["--tunnel", "ngrok", "--token"], path);
    assert!(missing.contains("ngrok is not installed; install it with `brew install ngrok`"), "{missing}");
    fs::remove_dir_all(folder).unwrap();
}
