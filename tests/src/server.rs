//! Server: moto's server, which emulates AWS on this machine.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use aws_config::{Region, SdkConfig};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use runtime::aws::{CallLimits, connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The functions' SDK configuration, with the endpoint of a local server.
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

/// An S3 client for a local server, which has no host name for each bucket.
pub fn s3(aws: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(aws).force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Creates a bucket in the region of `config`.
pub async fn create_bucket(s3: &aws_sdk_s3::Client, name: &str) {
    let here = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::ApSoutheast1);
    s3.create_bucket().bucket(name).create_bucket_configuration(here.build()).send().await.unwrap();
}

/// Moto's server in its own process. It is killed when dropped.
pub struct Moto {
    process: Child,
    /// Its URL.
    pub endpoint: String,
}

impl Moto {
    /// The server that the tests of this binary share.
    pub fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        // After a failed start, the next test tries again, so that each reports the reason.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let moto = Arc::new(Self::dedicated());
            *running = Arc::downgrade(&moto);
            moto
        })
    }

    /// A server for a single test, which may change its settings.
    pub fn dedicated() -> Self {
        Self::start(Command::new(tool("moto_server")))
    }

    /// A server for a single test that serves one request at a time.
    ///
    /// AWS's conditional writes and queue operations are atomic. Moto's threads are not, and lose messages and writes
    /// under load.
    pub fn one_at_a_time() -> Self {
        let mut python = Command::new(tool("python"));
        python.args(["-c", include_str!("../../cli/src/dev/one_at_a_time.py")]);
        Self::start(python)
    }

    fn start(mut program: Command) -> Self {
        // With port 0, it picks a free port and prints it.
        let mut process = program
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|reason| panic!("{program:?}: {reason}; run `make setup` first"));
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let endpoint = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        // It logs every request, and would block on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Self { process, endpoint: endpoint.expect("moto's server prints its URL") }
    }

    /// Posts a request for IAM or for moto's own API, which have no client here. Returns the answer's head and body.
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

/// The path of a program that `make setup` installs.
pub(crate) fn tool(name: &str) -> PathBuf {
    let program = env::var_os("MOTO_SERVER")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/moto_server"), PathBuf::from);
    assert!(
        program.exists(),
        "no moto server at {}: run `make setup` to install it, or set MOTO_SERVER to its path",
        program.display()
    );
    program.with_file_name(name)
}
