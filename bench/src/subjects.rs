//! Subjects: what is measured: our two functions as they are packaged, and the rivals in `rivals/`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use md5::Digest as _;

use crate::{cloud::Cloud, events::TOKEN, function::Subject};

/// Where the binaries are.
pub struct Places {
    /// The functions that `cargo lambda build` has built.
    pub functions: PathBuf,
    /// The rivals that `cargo build` has built.
    pub rivals: PathBuf,
    /// The Python of the rivals' virtual environment.
    pub python: PathBuf,
    /// This directory.
    pub bench: PathBuf,
}

impl Places {
    pub fn receiver_binary(&self) -> PathBuf {
        self.functions.join("receiver/bootstrap")
    }

    pub fn processor_binary(&self) -> PathBuf {
        self.functions.join("processor/bootstrap")
    }
}

/// Our receiver.
pub fn receiver(places: &Places, cloud: &Cloud) -> Result<Subject> {
    let environment = ours(cloud, &[("CALLBACK_TOKENS", format!("test={}", digest(TOKEN)))]);
    binary("receiver", &places.receiver_binary(), environment)
}

/// Our processor.
pub fn processor(places: &Places, cloud: &Cloud) -> Result<Subject> {
    let environment = ours(
        cloud,
        &[
            ("LEDGER_TABLE", "ledger".to_owned()),
            ("BUS_NAME", "bus".to_owned()),
            ("DLQ_URL", format!("{}/123456789012/dead-letters", cloud.endpoint)),
        ],
    );
    binary("processor", &places.processor_binary(), environment)
}

/// The Rust receivers to compare ours with.
pub fn rust_rivals(places: &Places, cloud: &Cloud) -> Result<Vec<Subject>> {
    let of = |name: &'static str| binary(name, &places.rivals.join(name), theirs(cloud));
    Ok(vec![of("hello")?, of("idiomatic")?])
}

/// The Python receiver.
pub fn python_receiver(places: &Places, cloud: &Cloud) -> Result<Subject> {
    python("python", "receiver.handler", places, cloud)
}

/// The Python processor.
pub fn python_processor(places: &Places, cloud: &Cloud) -> Result<Subject> {
    python("powertools", "processor.handler", places, cloud)
}

fn python(name: &'static str, handler: &str, places: &Places, cloud: &Cloud) -> Result<Subject> {
    let mut environment = theirs(cloud);
    environment.extend([
        ("PYTHONPATH", places.bench.join("rivals/python").display().to_string()),
        ("LEDGER_TABLE", "ledger".to_owned()),
        ("BUS_NAME", "bus".to_owned()),
        ("POWERTOOLS_LOG_LEVEL", "INFO".to_owned()),
    ]);
    let command = [&*places.python.display().to_string(), "-m", "awslambdaric", handler].map(str::to_owned);
    Ok(Subject { name, command: command.to_vec(), environment })
}

fn binary(name: &'static str, path: &Path, environment: Vec<(&'static str, String)>) -> Result<Subject> {
    ensure!(path.is_file(), "{} is not built: use `make bench`", path.display());
    Ok(Subject { name, command: vec![path.display().to_string()], environment })
}

fn ours(cloud: &Cloud, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("AWS_ENDPOINT_URL", cloud.endpoint.clone()),
        // Contains our own authorities too, so that no fewer are read than on AWS.
        ("AWS_CA_BUNDLE", cloud.our_roots.display().to_string()),
        ("QUEUE_URL", queue_url(cloud)),
        ("INBOX_BUCKET", "inbox".to_owned()),
        ("ENVIRONMENT", "test".to_owned()),
        ("TOKEN_ACCOUNTS", String::new()),
        ("LOG_LEVEL", "info".to_owned()),
    ];
    environment.extend_from_slice(more);
    environment
}

fn theirs(cloud: &Cloud) -> Vec<(&'static str, String)> {
    let roots = cloud.system_roots.display().to_string();
    vec![
        ("AWS_ENDPOINT_URL", cloud.endpoint.clone()),
        // rustls reads the first, boto3 the second.
        ("SSL_CERT_FILE", roots.clone()),
        ("AWS_CA_BUNDLE", roots),
        ("AWS_DEFAULT_REGION", "ap-southeast-1".to_owned()),
        ("QUEUE_URL", queue_url(cloud)),
        ("CALLBACK_TOKEN", TOKEN.to_owned()),
    ]
}

fn queue_url(cloud: &Cloud) -> String {
    format!("{}/123456789012/webhooks", cloud.endpoint)
}

fn digest(token: &str) -> String {
    sha2::Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}
