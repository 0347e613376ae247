//! Cloud: stands in for SQS, DynamoDB and EventBridge, over TLS, with an authority of its own. It counts what it is
//! asked, and takes as long as it is told to.
//!
//! It keeps DynamoDB items well enough for conditional writes: a duplicate has to be refused, as it is in reality.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use md5::{Digest, Md5};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Map, Value, json};

use crate::{
    http::{self, Request, Response},
    item,
};

/// Where Linux distributions, Amazon's among them, keep the public authorities.
const SYSTEM_ROOTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// A running stub.
pub struct Cloud {
    pub endpoint: String,
    /// The authorities that our functions hold, and the stub's.
    pub our_roots: PathBuf,
    /// The authorities of the system, and the stub's: what a function that loads the system's would find on Lambda.
    pub system_roots: PathBuf,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    delay: Mutex<Duration>,
    seen: Mutex<Seen>,
    items: Mutex<HashMap<String, Map<String, Value>>>,
}

/// What the stub was asked.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub by_operation: BTreeMap<String, Asked>,
    /// Of the items that were put, as DynamoDB reckons them.
    pub item_bytes: u64,
}

/// What one operation was asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub calls: u64,
    /// Of the requests' bodies.
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
        let system = system.context("this system has no file of authorities")?;
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
        // As SQS, DynamoDB and EventBridge: no HTTP/2.
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

    /// From now on every answer takes this long.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.state.delay) = delay;
    }

    /// Forgets all items.
    pub fn forget(&self) {
        lock(&self.state.items).clear();
    }

    /// What was asked since the last time.
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
        let target = request.header("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        {
            let mut seen = lock(&self.seen);
            let asked = seen.by_operation.entry(operation.to_owned()).or_default();
            asked.calls += 1;
            asked.bytes += request.body.len() as u64;
        }
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if let Some(item) = asked["Item"].as_object() {
            lock(&self.seen).item_bytes += item::bytes(item);
        }
        let (status, answer) = match operation {
            "SendMessage" => (200, sent(&asked)),
            "GetQueueAttributes" => (200, json!({ "Attributes": { "QueueArn": "arn:aws:sqs:x:1:q" } })),
            "ChangeMessageVisibility" | "DescribeTable" | "DescribeEventBus" => (200, json!({})),
            "PutEvents" => (200, published(&asked)),
            "PutItem" => self.put(&asked),
            "GetItem" => (200, json!({ "Item": lock(&self.items).get(&key(&asked["Key"])) })),
            "UpdateItem" => (200, self.update(&asked)),
            other => (400, json!({ "__type": "UnknownOperationException", "message": other })),
        };
        let kind =
            if target.starts_with("DynamoDB") { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" };
        Response::new(status, answer.to_string())
            .with("content-type", kind)
            .with("x-amzn-requestid", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
    }

    /// `PutItem`, on the condition that there is no such item, or that it has a version.
    fn put(&self, asked: &Value) -> (u16, Value) {
        let mut items = lock(&self.items);
        let key = key(&asked["Item"]);
        let condition = asked["ConditionExpression"].as_str().unwrap_or_default();
        let expected = &asked["ExpressionAttributeValues"][":v"];
        let held = match items.get(&key) {
            None => !condition.starts_with("#v"),
            Some(item) => {
                condition.is_empty() || (condition.starts_with("#v") && item.get("version") == Some(expected))
            }
        };
        if held {
            items.insert(key, asked["Item"].as_object().cloned().unwrap_or_default());
            return (200, json!({}));
        }
        let mut refusal = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
            "message": "The conditional request failed",
        });
        if let Some(item) = items.get(&key).filter(|_| asked["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD") {
            refusal["Item"] = json!(item);
        }
        (400, refusal)
    }

    /// `UpdateItem`: the clauses `SET a = :b`, `REMOVE a.b` and `ADD a :b` with names for all.
    fn update(&self, asked: &Value) -> Value {
        let mut items = lock(&self.items);
        let Some(item) = items.get_mut(&key(&asked["Key"])) else { return json!({}) };
        let name = |placeholder: &str| asked["ExpressionAttributeNames"][placeholder].as_str().unwrap_or_default();
        let mut clause = "";
        let expression = asked["UpdateExpression"].as_str().unwrap_or_default().replace(['=', ','], " ");
        let mut words = expression.split_whitespace();
        while let Some(word) = words.next() {
            match (clause, word) {
                (_, "SET" | "REMOVE" | "ADD") => clause = word,
                ("REMOVE", path) => {
                    if let Some((map, entry)) = path.split_once('.')
                        && let Some(map) = item.get_mut(name(map)).and_then(|map| map["M"].as_object_mut())
                    {
                        map.remove(name(entry));
                    }
                }
                (clause, path) => {
                    let value = &asked["ExpressionAttributeValues"][words.next().unwrap_or_default()];
                    let number = |value: &Value| value["N"].as_str().and_then(|digits| digits.parse::<u64>().ok());
                    let value = match (clause, item.get(name(path)).and_then(number), number(value)) {
                        ("ADD", Some(before), Some(more)) => json!({ "N": (before + more).to_string() }),
                        _ => value.clone(),
                    };
                    item.insert(name(path).to_owned(), value);
                }
            }
        }
        json!({})
    }
}

/// The one string key of an item: ours is called `key`, Powertools' `id`.
fn key(item: &Value) -> String {
    ["key", "id"].iter().find_map(|name| item[name]["S"].as_str()).unwrap_or_default().to_owned()
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

/// A panic in one connection must not hide what the others have counted.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
