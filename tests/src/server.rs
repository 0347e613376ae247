//! Server: AWS on this machine, played by moto's server.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use runtime::aws::{CallLimits, connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The configuration that the functions use, pointed at a server on this machine.
pub async fn config(endpoint: &str, limits: CallLimits) -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    connect(limits)
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
        Self::start(Command::new(tool("moto_server")))
    }

    /// A server of one's own that does one request at a time.
    ///
    /// AWS writes under a condition, and takes a message, as one step. Moto's threads do not: under load they lose
    /// messages and writes, for which nobody here could be blamed.
    pub fn one_at_a_time() -> Self {
        let mut python = Command::new(tool("python"));
        python.args(["-c", include_str!("one_at_a_time.py")]);
        Self::start(python)
    }

    fn start(mut program: Command) -> Self {
        // On port 0 it takes a free one and says which.
        let mut process = program
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|reason| panic!("{program:?}: {reason}; run `make setup` first"));
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

/// A program that `make setup` installs, beside moto's server.
pub(crate) fn tool(name: &str) -> PathBuf {
    let program = env::var_os("MOTO_SERVER")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server"), PathBuf::from);
    assert!(
        program.exists(),
        "there is no moto server at {}: run `make setup`, which installs it, or say in MOTO_SERVER where it is",
        program.display()
    );
    program.with_file_name(name)
}
