//! A fake with a receiver of its webhooks, a caller that is not the client, and a server with answers written by hand.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use shared::webhook::Webhook;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use xendit::{
    Client, SecretKey,
    fake::{Fake, Settings},
};

pub(crate) const KEY: &str = "xnd_development_a-key-of-the-tests";
pub(crate) const TOKEN: &str = "a-callback-token-of-the-tests";

/// A fake, and what it sends.
pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) client: Client,
    pub(crate) receiver: Answers,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::answering(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await
    }

    /// A fake whose webhooks get these answers.
    pub(crate) async fn answering(answers: &[&str]) -> Self {
        let receiver = Answers::start(answers).await;
        let settings = Settings {
            key: KEY.to_owned(),
            token: TOKEN.to_owned(),
            webhooks_to: Some(format!("{}/{{topic}}", receiver.url)),
            calls_a_minute: 60,
            // A quarter of an hour in 9 ms.
            speed: 100_000,
        };
        let fake = Fake::start(0, settings).await.unwrap();
        let client = Client::new(&fake.url, SecretKey::new(KEY).unwrap()).unwrap();
        Self { fake, client, receiver }
    }

    /// Calls the API by hand. Returns the status, the head and the body.
    pub(crate) async fn call(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String, Value) {
        let host = self.fake.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).await.unwrap();
        let headers = [headers, &[""]].concat().join("\r\n");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The header with the right key.
    pub(crate) fn key() -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!("authorization: Basic {}", STANDARD.encode(format!("{KEY}:")))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, _, body) = self.call("GET", path, &[&Self::key()], "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.post_with(path, &[], body).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &[&str], body: &Value) -> Value {
        let key = Self::key();
        let headers = [&[&*key], headers].concat();
        let (status, _, answer) = self.call("POST", path, &headers, &body.to_string()).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) {
        let (status, _, answer) = self.call("PUT", path, &[], &body.to_string()).await;
        assert_eq!(status, 204, "{path}: {answer}");
    }

    /// The body of the first webhook that fits, once it has come.
    pub(crate) async fn webhook(&self, fits: impl Fn(&Webhook<'_>) -> bool) -> String {
        eventually(async || {
            let bodies = self.receiver.bodies();
            bodies.into_iter().find(|body| Webhook::parse(body.as_bytes(), None).is_ok_and(|webhook| fits(&webhook)))
        })
        .await
    }
}

/// A server that gives each call the next answer, and repeats the last one. An empty answer closes the connection.
pub(crate) struct Answers {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Answers {
    pub(crate) async fn start(answers: &[&str]) -> Self {
        let answers: Vec<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let server = tokio::spawn({
            let requests = Arc::clone(&requests);
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let (answers, requests) = (answers.clone(), Arc::clone(&requests));
                    tokio::spawn(async move {
                        // One call for each connection, so that the next one opens its own.
                        let Some(request) = read(&mut stream).await else { return };
                        let index = {
                            let mut requests = requests.lock().unwrap();
                            requests.push(request);
                            requests.len() - 1
                        };
                        let answer = &answers[index.min(answers.len() - 1)];
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                    });
                }
            }
        });
        Self { url, requests, server }
    }

    pub(crate) fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn last_request(&self) -> String {
        self.requests().pop().unwrap()
    }

    /// The bodies of all requests.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reads a request.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Tries again until there is a result.
pub(crate) async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = attempt().await {
            return result;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
