//! Children: the processes that the local stack consists of, their logs, and their end.
//!
//! **Invariant:** what was started is stopped, and a child that ends by itself ends the stack with a sentence.

use std::{
    collections::HashMap,
    fs::File,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::process::{Child, Command};

use super::{
    digest_of_local_token,
    local_aws::{CREDENTIALS, LocalAws, REGION},
};
use crate::project::Project;

/// How long a server may take to answer its first connection. A cold disk and a busy laptop are slow.
const START_LIMIT: Duration = Duration::from_mins(1);

/// The functions, by the names of their binaries.
pub(super) const FUNCTIONS: [&str; 2] = ["receiver", "processor"];

pub(super) struct Children {
    running: Vec<(String, Child)>,
    /// Where their output goes.
    pub(super) logs: PathBuf,
}

/// How to invoke the functions.
#[derive(Clone, Debug)]
pub(super) struct Functions {
    endpoint: String,
}

impl Functions {
    pub(super) fn invocations(&self, name: &str) -> String {
        format!("{}/2015-03-31/functions/{name}/invocations", self.endpoint)
    }
}

/// Installs the tools, by the same verb that a person would use.
pub(super) async fn install(project: &Project) -> Result<()> {
    let output = Command::new("make")
        .args(["--silent", "setup"])
        .current_dir(project.root())
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run make; install it and try again")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`make setup` failed:\n{}", said.trim());
    Ok(())
}

/// Builds the functions as they are deployed, but for the profile, and returns where they are.
pub(super) async fn build(project: &Project) -> Result<HashMap<String, PathBuf>> {
    #[derive(Deserialize)]
    struct Artifact {
        executable: Option<PathBuf>,
    }

    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--message-format=json-render-diagnostics"]).current_dir(project.root());
    let output = cargo.stdin(Stdio::null()).output().await.context("cannot run cargo; install Rust and try again")?;
    ensure!(output.status.success(), "the functions do not build:\n{}", String::from_utf8_lossy(&output.stderr).trim());
    let artifacts = output.stdout.split(|byte| *byte == b'\n');
    let binaries: HashMap<_, _> = artifacts
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok()?.executable)
        .filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)))
        .collect();
    for name in FUNCTIONS {
        ensure!(binaries.contains_key(name), "cargo built no `{name}`");
    }
    Ok(binaries)
}

impl Children {
    pub(super) fn new(project: &Project) -> Result<Self> {
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%S"), std::process::id());
        let logs = project.runs().join(name);
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self { running: Vec::new(), logs })
    }

    /// Starts a process whose output goes to its log.
    pub(super) fn start(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let log = self.log(name);
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Starts the Runtime API and the functions on it.
    pub(super) async fn start_functions(
        &mut self,
        project: &Project,
        binaries: &HashMap<String, PathBuf>,
        aws: &LocalAws,
    ) -> Result<Functions> {
        let port = free_port()?;
        let mut runtime = Command::new(project.tool("cargo-lambda"));
        runtime.args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1", "--invoke-port"]);
        self.start("runtime-api", runtime.arg(port.to_string()).current_dir(project.root()))?;
        self.wait_for(port, "runtime-api").await?;
        let names = &aws.names;
        for name in FUNCTIONS {
            let binary = binaries.get(name).with_context(|| format!("there is no `{name}`"))?;
            let mut function = Command::new(binary);
            function
                .env_clear()
                .envs(CREDENTIALS)
                .env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{port}/.rt/{name}"))
                .env("AWS_LAMBDA_FUNCTION_NAME", name)
                .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
                .env("AWS_REGION", REGION)
                .env("AWS_ENDPOINT_URL", &aws.endpoint)
                .env("CALLBACK_TOKENS", digest_of_local_token())
                .env("ENVIRONMENT", "test")
                .env("LOG_LEVEL", "info")
                .env("QUEUE_URL", &names.queue_url)
                .env("DLQ_URL", &names.dlq_url)
                .env("INBOX_BUCKET", &names.inbox)
                .env("LEDGER_TABLE", &names.table)
                .env("BUS_NAME", &names.bus);
            self.start(name, &mut function)?;
        }
        Ok(Functions { endpoint: format!("http://127.0.0.1:{port}") })
    }

    /// Waits until a server takes connections.
    pub(super) async fn wait_for(&mut self, port: u16, name: &str) -> Result<()> {
        let connected = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = connected => Ok(()),
            ended = self.ended() => Err(ended),
            () = tokio::time::sleep(START_LIMIT) => Err(anyhow!("{name} does not answer; see {}", self.log(name).display())),
        }
    }

    /// Returns when a child has ended by itself, with what there is to say about it.
    pub(super) async fn ended(&mut self) -> Error {
        let waits = self.running.iter_mut().map(|(name, child)| {
            Box::pin(async move {
                let status = child.wait().await.ok();
                (name.clone(), status)
            })
        });
        let ((name, status), ..) = futures_util::future::select_all(waits).await;
        anyhow!("{name} ended by itself{}; its log is {}", describe(status), self.log(&name).display())
    }

    /// Stops everything and waits until it is gone.
    pub(super) async fn stop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill().await;
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map(|status| format!(" ({status})")).unwrap_or_default()
}

/// A port that nobody listens on now.
pub(super) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}
