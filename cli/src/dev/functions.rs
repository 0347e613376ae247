//! Functions: builds the receiver and the processor, and runs their binaries.

use std::{collections::HashMap, env, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use shared::{
    envelope::Environment,
    stack::{
        BUS_NAME, CALLBACK_TOKENS, DLQ_URL, ENVIRONMENT, INBOX_BUCKET, LEDGER_TABLE, LOG_LEVEL, QUEUE_URL,
        TOKEN_ACCOUNTS, Variable,
    },
};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use super::{
    children::Children,
    local_aws::{CREDENTIALS, LocalAws, REGION},
    progress::Note,
    runtime_api::Lambda,
};
use crate::project::Project;

/// The callback token of the local stack, if no tunnel is open. No deployed stack accepts it.
pub(crate) const TOKEN: &str = "xendit-hooks-local-token-0123456789";

/// One of the two functions.
#[derive(Clone, Copy, Debug)]
enum Function {
    Receiver,
    Processor,
}

impl Function {
    /// The name of the function's binary.
    const fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Processor => "processor",
        }
    }

    /// The timeout in template.yaml.
    const fn timeout(self) -> Duration {
        match self {
            Self::Receiver => Duration::from_secs(10),
            Self::Processor => processor::failure::TIMEOUT,
        }
    }

    /// The environment variables that template.yaml sets, with the values of the local stack.
    fn variables(self, aws: &LocalAws, tokens: &str) -> Vec<(Variable, String)> {
        let names = &aws.names;
        let mut variables = vec![
            (ENVIRONMENT, Environment::Test.to_string()),
            (LOG_LEVEL, "info".to_owned()),
            (QUEUE_URL, names.queue_url.clone()),
            (INBOX_BUCKET, names.inbox.clone()),
        ];
        variables.extend(match self {
            Self::Receiver => vec![(CALLBACK_TOKENS, tokens.to_owned())],
            Self::Processor => vec![
                (DLQ_URL, names.dlq_url.clone()),
                (LEDGER_TABLE, names.table.clone()),
                (BUS_NAME, names.bus.clone()),
                (TOKEN_ACCOUNTS, String::new()),
            ],
        });
        variables
    }

    /// Starts the function's process.
    async fn start(
        self,
        children: &mut Children,
        binaries: &HashMap<String, PathBuf>,
        aws: &LocalAws,
        tokens: &str,
    ) -> Result<Lambda> {
        let name = self.name();
        let binary = binaries.get(name).with_context(|| format!("cargo built no binary `{name}`"))?;
        let lambda = Lambda::start(self.timeout()).await?.recorded(name, &children.logs);
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(CREDENTIALS)
            .env("AWS_LAMBDA_RUNTIME_API", &lambda.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_REGION", REGION)
            .env("AWS_ENDPOINT_URL", &aws.names.endpoint)
            .envs(self.variables(aws, tokens).into_iter().map(|(variable, value)| (variable.name, value)));
        children.start(name, &mut command)?;
        Ok(lambda)
    }
}

/// The running functions.
#[derive(Debug)]
pub(super) struct Functions {
    pub(super) receiver: Lambda,
    pub(super) processor: Lambda,
}

/// Builds the two functions with the dev profile, and notes how far that is. Returns the path of each binary by its name.
///
/// The features are those of a build of this tool, which contains the same crates, so that none is compiled twice.
pub(super) async fn build(project: &Project, note: Note) -> Result<HashMap<String, PathBuf>> {
    #[derive(Deserialize)]
    struct Artifact {
        executable: Option<PathBuf>,
    }

    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args(["--package=xendit-hooks", "--package=receiver", "--package=processor"])
        .args(["--bin=receiver", "--bin=processor"])
        .current_dir(project.root())
        .envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")])
        .env("CARGO_TERM_COLOR", "never");
    // What `cargo run` and `cargo test` set for a program would make this cargo run build scripts again.
    let of_a_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| of_a_package(name)) {
        cargo.env_remove(name);
    }
    let child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut child = child.context("cannot run cargo; install Rust and try again")?;
    let (mut stdout, stderr) = (child.stdout.take().context("no output")?, child.stderr.take().context("no output")?);
    let mut artifacts = Vec::new();
    let (status, errors, read) =
        tokio::join!(child.wait(), follow(BufReader::new(stderr), note), stdout.read_to_end(&mut artifacts));
    read?;
    ensure!(status?.success(), "the functions do not compile:\n{}", errors?.trim());
    Ok(artifacts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Artifact>(line).ok()?.executable)
        .filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)))
        .collect())
}

/// Notes how far cargo is, and returns what else it says.
async fn follow(mut stderr: impl AsyncBufRead + Unpin, note: Note) -> Result<String> {
    let (mut messages, mut bytes) = (String::new(), Vec::new());
    // After each progress bar, cargo returns to the start of its line.
    while stderr.read_until(b'\r', &mut bytes).await? > 0 {
        for line in String::from_utf8_lossy(&bytes).lines() {
            match crates_built(line) {
                Some(crates) => note.set(crates),
                None => messages.extend([line.trim_end(), "\n"]),
            }
        }
        bytes.clear();
    }
    Ok(messages)
}

/// What a progress bar of cargo says, such as `12 of 242 crates`.
fn crates_built(line: &str) -> Option<String> {
    let (_, counts) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (done, all) = counts.split_once(':')?.0.split_once('/')?;
    Some(format!("{done} of {all} crates"))
}

impl Functions {
    /// Starts the functions. `tokens` are the receiver's `CALLBACK_TOKENS`. They take their first event as soon as they are ready.
    pub(super) async fn start(
        children: &mut Children,
        binaries: &HashMap<String, PathBuf>,
        aws: &LocalAws,
        tokens: &str,
    ) -> Result<Self> {
        Ok(Self {
            receiver: Function::Receiver.start(children, binaries, aws, tokens).await?,
            processor: Function::Processor.start(children, binaries, aws, tokens).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cargos_progress_is_noted_and_its_messages_are_kept() {
        let said = "   Compiling a v1.0.0\n    Building [   ] 0/3: a    \r    Building [=> ] 1/3: b    \r\
                    error: no such thing\n --> b.rs\n    Building [=> ] 1/3: b   \r";
        let note = Note::default();
        let messages = follow(said.as_bytes(), note.clone()).await.unwrap();
        assert_eq!(note.text(), "1 of 3 crates");
        assert_eq!(messages.trim(), "Compiling a v1.0.0\nerror: no such thing\n --> b.rs");
    }
}
