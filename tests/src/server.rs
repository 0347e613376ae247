//! Servers: AWS on this machine, played by moto's server, and a server that answers as it is told.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use runtime::aws::{Patience, connect};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// The configuration that the functions use, pointed at a server on this machine.
pub async fn config(endpoint: &str, patience: Patience) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    connect(patience)
        .await
        .unwrap()
        .into_builder()
        .endpoint_url(endpoint)
        .region(Region::new("ap-southeast-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Moto's server in a process of its own, which ends with the last test that uses it.
pub struct Moto {
    process: Child,
    /// Where it listens.
    pub endpoint: String,
}

impl Moto {
    /// The one server of this test binary, started if it does not run.
    pub fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        // A start that failed is tried again, so that every test says why.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let moto = Arc::new(Self::alone());
            *running = Arc::downgrade(&moto);
            moto
        })
    }

    /// A server for one test, which changes how it works.
    pub fn alone() -> Self {
        let program = program();
        // On port 0 it takes a free one and says which.
        let mut process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|reason| panic!("{}: {reason}; run `make setup` first", program.display()));
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let endpoint = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        // It logs every request, and stops when nobody reads.
        thread::spawn(move || lines.for_each(drop));
        Self { process, endpoint: endpoint.expect("moto's server says where it listens") }
    }

    /// Asks for what no client here is made for: IAM, and moto's own settings. The answer's head and body.
    pub async fn post(&self, path: &str, content_type: &str, body: &str) -> String {
        let host = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: {content_type}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260102/us-east-1/iam/aws4_request\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program() -> PathBuf {
    let program = env::var_os("MOTO_SERVER")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server"), PathBuf::from);
    assert!(
        program.exists(),
        "there is no moto server at {}: run `make setup`, which installs it, or say in MOTO_SERVER where it is",
        program.display()
    );
    program
}

/// What a stub does with a connection.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It reads the request and never answers.
    Never,
    /// It reads the request and resets the connection.
    Reset,
    /// It answers with a status and a body.
    With(u16, String),
    /// It answers with a status and a body, and closes the connection.
    Once(u16, String),
    /// It answers, and resets the connection when the next request comes over it.
    ThenReset(String),
}

/// A server that answers as it is told: each connection gets the next reply, and further ones the last again.
pub struct Stub {
    /// Where it listens.
    pub endpoint: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Stub {
    /// Starts a server.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = count.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
                tokio::spawn(serve(stream, replies[index].clone()));
            }
        });
        Self { endpoint, connections, task }
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, reply: Reply) {
    while read_request(&mut stream).await.is_some() {
        match &reply {
            Reply::Never => std::future::pending().await,
            Reply::Reset => return reset(stream),
            Reply::With(status, body) => answer(&mut stream, *status, body).await,
            Reply::Once(status, body) => return answer(&mut stream, *status, body).await,
            Reply::ThenReset(body) => {
                answer(&mut stream, 200, body).await;
                read_request(&mut stream).await;
                return reset(stream);
            }
        }
    }
}

/// Reads one request: its first line and its body. `None`: the connection has ended.
async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap_or("0");
            if body.len() >= length.trim().parse().unwrap() {
                return Some((head.lines().next().unwrap().to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => request.extend_from_slice(&piece[..read]),
        }
    }
}

async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Closes a connection so that the other side gets a reset and not an end.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Lambda's side of the runtime API, with one event to hand out.
pub struct RuntimeApi {
    /// Host and port, as `AWS_LAMBDA_RUNTIME_API` wants them.
    pub address: String,
    answers: mpsc::UnboundedReceiver<(String, String)>,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    /// Starts it.
    pub async fn start(event: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, answers) = mpsc::unbounded_channel();
        let event = Arc::new(Mutex::new(Some(event)));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(run(stream, Arc::clone(&event), sender.clone()));
            }
        });
        Self { address, answers, task }
    }

    /// What the function did with the event: the last part of the path it posted to, and what it posted.
    pub async fn answer(&mut self) -> (String, String) {
        let answer = tokio::time::timeout(Duration::from_secs(20), self.answers.recv()).await;
        answer.expect("the function answers").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut stream: TcpStream,
    event: Arc<Mutex<Option<String>>>,
    answers: mpsc::UnboundedSender<(String, String)>,
) {
    while let Some((line, body)) = read_request(&mut stream).await {
        let path = line.split(' ').nth(1).unwrap();
        if path.ends_with("/invocation/next") {
            let next = event.lock().unwrap().take();
            let Some(event) = next else { return std::future::pending().await };
            let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(30);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
                 lambda-runtime-deadline-ms: {}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:ap-southeast-1:123456789012:function:f\r\n\
                 lambda-runtime-trace-id: Root=1-69573385-0123456789abcdef01234567\r\n\r\n",
                event.len(),
                deadline.as_millis()
            );
            stream.write_all(format!("{head}{event}").as_bytes()).await.unwrap();
        } else {
            let _ = answers.send((path.rsplit('/').next().unwrap().to_owned(), body));
            answer(&mut stream, 202, "{}").await;
        }
    }
}
