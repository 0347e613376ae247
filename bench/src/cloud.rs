//! Cloud: stands in for SQS, DynamoDB and EventBridge, over TLS with its own certificate authority. It counts requests,
//! and delays each answer by a time that can be set.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use md5::{Digest, Md5};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::{
    dynamo::{Dynamo, Units},
    http::{self, Request, Response},
    item,
};

/// Where Linux distributions, including Amazon's, keep the public certificate authorities.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A running stub.
pub struct Cloud {
    pub endpoint: String,
    /// The certificate authorities that our functions trust, and the stub's.
    pub our_roots: PathBuf,
    /// The system's certificate authorities, and the stub's: what a function that loads the system's finds on Lambda.
    pub system_roots: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    delay: Mutex<Duration>,
    seen: Mutex<Seen>,
    table: Mutex<Dynamo>,
    watcher: Mutex<Option<Sender<Passed>>>,
}

/// A webhook has passed a place on its way.
pub enum Passed {
    /// The queue has stored a message with this body.
    Queue(String),
    /// The bus has stored its event.
    Bus {
        at: Instant,
        /// How many requests there have been since the last `take_seen`.
        calls: u64,
    },
}

/// The requests that the stub has received.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub by_operation: BTreeMap<String, Asked>,
    /// The size of the items in `PutItem`, as DynamoDB counts it.
    pub item_bytes: u64,
    /// The size of the events in `PutEvents`, as their consumers and the archive receive them.
    pub event_bytes: u64,
    /// What AWS bills for the requests to DynamoDB.
    pub units: Units,
}

/// The requests for one operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub calls: u64,
    /// The size of the requests' bodies.
    pub bytes: u64,
}

impl Seen {
    pub fn total(&self) -> u64 {
        self.by_operation.values().map(|asked| asked.calls).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.by_operation.values().map(|asked| asked.bytes).sum()
    }
}

impl Cloud {
    /// Starts the stub on a free port. Its certificates go to `run`.
    pub fn start(run: &Path, our_roots: &Path) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "bench");
        let root = authority.self_signed(&authority_key)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec!["localhost".to_owned()])?
            .signed_by(&key, &Issuer::from_params(&authority, &authority_key))?;

        let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
        let system = system.context("this system has no file of certificate authorities")?;
        let bundle = |name: &str, roots: String| -> Result<PathBuf> {
            let path = run.join(name);
            fs::write(&path, roots + "\n" + &root.pem())?;
            Ok(path)
        };
        let our_roots = bundle("our-roots.pem", fs::read_to_string(our_roots)?)?;
        let system_roots = bundle("system-roots.pem", system)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        // No HTTP/2, as with SQS, DynamoDB and EventBridge.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);

        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("https://localhost:{}", listener.local_addr()?.port());
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, state) = (Arc::clone(&tls), Arc::clone(&serving));
                thread::spawn(move || connection(stream, tls, &state));
            }
        });
        Ok(Self { endpoint, our_roots, system_roots, state })
    }

    /// Delays every answer by this much from now on.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.state.delay) = delay;
    }

    /// Deletes all items.
    pub fn clear_table(&self) {
        lock(&self.state.table).clear();
    }

    /// What AWS bills as storage, per item.
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    pub fn stored_bytes_per_item(&self) -> f64 {
        let table = lock(&self.state.table);
        table.stored_bytes() as f64 / table.len() as f64
    }

    /// Reports messages and events from now on, until it is called again.
    pub fn watch(&self) -> Receiver<Passed> {
        let (watcher, passed) = mpsc::channel();
        *lock(&self.state.watcher) = Some(watcher);
        passed
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Seen {
        std::mem::take(&mut *lock(&self.state.seen))
    }
}

fn connection(stream: TcpStream, tls: Arc<ServerConfig>, state: &State) {
    let served = stream.set_nodelay(true).map_err(anyhow::Error::from).and_then(|()| {
        let stream = StreamOwned::new(ServerConnection::new(tls)?, stream);
        http::serve(stream, |request| state.answer(&request))
    });
    if let Err(error) = served {
        eprintln!("bench: the stub: {error:#}");
    }
}

impl State {
    fn answer(&self, request: &Request) -> Response {
        let due = Instant::now() + *lock(&self.delay);
        let target = request.header("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        self.count(operation, request.body.len(), &asked);
        let of_table = lock(&self.table).answer(operation, &asked);
        let (status, answer) = match of_table {
            Some(answer) => {
                let mut seen = lock(&self.seen);
                seen.units.written += answer.units.written;
                seen.units.read += answer.units.read;
                (answer.status, answer.body)
            }
            None => match operation {
                "SendMessage" => (200, sent(&asked)),
                "GetQueueAttributes" => (200, json!({ "Attributes": { "QueueArn": "arn:aws:sqs:x:1:q" } })),
                "ChangeMessageVisibility" | "DescribeTable" | "DescribeEventBus" => (200, json!({})),
                "PutEvents" => (200, published(&asked)),
                other => (400, json!({ "__type": "UnknownOperationException", "message": other })),
            },
        };
        thread::sleep(due.saturating_duration_since(Instant::now()));
        self.report(operation, &asked);
        let kind =
            if target.starts_with("DynamoDB") { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" };
        Response::new(status, answer.to_string())
            .with("content-type", kind)
            .with("x-amzn-requestid", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
    }

    fn count(&self, operation: &str, bytes: usize, asked: &Value) {
        let mut seen = lock(&self.seen);
        let of_operation = seen.by_operation.entry(operation.to_owned()).or_default();
        of_operation.calls += 1;
        of_operation.bytes += bytes as u64;
        seen.item_bytes += asked["Item"].as_object().map_or(0, item::bytes);
        seen.event_bytes += asked["Entries"].as_array().into_iter().flatten().map(event_bytes).sum::<u64>();
    }

    /// Reports to the watcher, if there is one.
    fn report(&self, operation: &str, asked: &Value) {
        let passed = match operation {
            "SendMessage" => Passed::Queue(asked["MessageBody"].as_str().unwrap_or_default().to_owned()),
            "PutEvents" => Passed::Bus { at: Instant::now(), calls: lock(&self.seen).total() },
            _ => return,
        };
        if let Some(watcher) = &*lock(&self.watcher) {
            // Fails when the watcher has been dropped.
            let _ = watcher.send(passed);
        }
    }
}

/// The size of an event with the fields that the bus adds.
fn event_bytes(entry: &Value) -> u64 {
    let frame = json!({
        "version": "0",
        "id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": "123456789012",
        "time": "2026-01-02T03:04:05Z",
        "region": "ap-southeast-1",
        "resources": [],
        "detail": null,
    });
    let detail = entry["Detail"].as_str().unwrap_or_default().len();
    (frame.to_string().len() - "null".len() + detail) as u64
}

fn sent(asked: &Value) -> Value {
    let md5 = Md5::digest(asked["MessageBody"].as_str().unwrap_or_default());
    let md5: String = md5.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "MessageId": "8476a536-e9f4-11e8-9739-2dfe598c3fcd", "MD5OfMessageBody": md5 })
}

fn published(asked: &Value) -> Value {
    let entries = asked["Entries"].as_array().map_or(0, Vec::len);
    json!({ "FailedEntryCount": 0, "Entries": vec![json!({ "EventId": "e" }); entries] })
}

/// A panic in one connection must not hide the counts of the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
