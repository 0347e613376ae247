//! Functions: builds the receiver and the processor, runs them with an emulated Lambda runtime API, and invokes them for the
//! gateway and the poller.

use std::{collections::HashMap, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use receiver::verify::Digest;
use serde::Deserialize;
use shared::{
    envelope::Environment,
    stack::{
        BUS_NAME, CALLBACK_TOKENS, DLQ_URL, ENVIRONMENT, INBOX_BUCKET, LEDGER_TABLE, LOG_LEVEL, QUEUE_URL,
        TOKEN_ACCOUNTS, Variable,
    },
};
use tokio::process::Command;

use super::{
    children::{Children, free_port},
    local_aws::{CREDENTIALS, LocalAws, REGION},
};
use crate::project::Project;

/// The callback token of the local stack. No deployed stack accepts it.
pub(super) const TOKEN: &str = "xendit-hooks-local-token-0123456789";

/// Longer than the timeout of either function in template.yaml.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(40);

/// Larger than the largest response that Lambda allows, which is 6 MB.
const MAX_RESPONSE_BYTES: u64 = 10 * 1024 * 1024;

/// One of the two functions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    Receiver,
    Processor,
}

impl Function {
    const ALL: [Self; 2] = [Self::Receiver, Self::Processor];

    /// The name of the function's binary.
    const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
        }
    }

    /// The environment variables that template.yaml sets, with the values of the local stack.
    fn variables(self, aws: &LocalAws) -> Vec<(Variable, String)> {
        let names = &aws.names;
        let mut variables = vec![
            (ENVIRONMENT, Environment::Test.to_string()),
            (LOG_LEVEL, "info".to_owned()),
            (QUEUE_URL, names.queue_url.clone()),
            (INBOX_BUCKET, names.inbox.clone()),
        ];
        variables.extend(match self {
            Self::Receiver => vec![(CALLBACK_TOKENS, format!("local={}", Digest::of(TOKEN.as_bytes())))],
            Self::Processor => vec![
                (DLQ_URL, names.dlq_url.clone()),
                (LEDGER_TABLE, names.table.clone()),
                (BUS_NAME, names.bus.clone()),
                (TOKEN_ACCOUNTS, String::new()),
            ],
        });
        variables
    }
}

/// The running functions.
#[derive(Clone, Debug)]
pub(super) struct Functions {
    endpoint: String,
}

/// Builds the two functions, which are the workspace's default members, with the dev profile. Returns the path of each
/// binary by its name.
pub(super) async fn build(project: &Project) -> Result<HashMap<String, PathBuf>> {
    #[derive(Deserialize)]
    struct Artifact {
        executable: Option<PathBuf>,
    }

    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--locked", "--message-format=json-render-diagnostics"]).current_dir(project.root());
    let output = cargo.stdin(Stdio::null()).output().await.context("cannot run cargo; install Rust and try again")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the functions do not compile:\n{}", errors.trim());
    let artifacts = output.stdout.split(|byte| *byte == b'\n');
    Ok(artifacts
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok()?.executable)
        .filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)))
        .collect())
}

impl Functions {
    /// Starts the emulated Lambda runtime API and the functions.
    pub(super) async fn start(
        project: &Project,
        children: &mut Children,
        binaries: &HashMap<String, PathBuf>,
        aws: &LocalAws,
    ) -> Result<Self> {
        let port = free_port()?;
        let mut runtime = Command::new(project.tool("cargo-lambda"));
        runtime.args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1", "--invoke-port"]);
        children.start("runtime-api", runtime.arg(port.to_string()).current_dir(project.root()))?;
        children.wait_for(port, "runtime-api").await?;
        for function in Function::ALL {
            let name = function.name();
            let binary = binaries.get(name).with_context(|| format!("cargo built no binary `{name}`"))?;
            let mut command = Command::new(binary);
            command
                .env_clear()
                .envs(CREDENTIALS)
                .env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{port}/.rt/{name}"))
                .env("AWS_LAMBDA_FUNCTION_NAME", name)
                .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
                .env("AWS_REGION", REGION)
                .env("AWS_ENDPOINT_URL", &aws.endpoint)
                .envs(function.variables(aws).into_iter().map(|(variable, value)| (variable.name, value)));
            children.start(name, &mut command)?;
        }
        Ok(Self { endpoint: format!("http://127.0.0.1:{port}") })
    }

    /// Invokes a function with an event and returns its response. An error means that the function failed, or that the
    /// runtime API did not answer.
    pub(super) async fn invoke(&self, function: Function, event: String) -> Result<Vec<u8>> {
        let url = format!("{}/2015-03-31/functions/{}/invocations", self.endpoint, function.name());
        tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder().timeout_global(Some(INVOCATION_TIMEOUT)).build();
            let mut response = ureq::Agent::new_with_config(config).post(&url).send(event)?;
            if response.headers().contains_key("x-amz-function-error") {
                bail!("the function failed");
            }
            Ok(response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?)
        })
        .await?
    }
}
