//! Stack: where a running system is and how to reach it: a local stack of `xendit-hooks dev`, or one that SAM has deployed.
//!
//! A local stack registers itself in a file while it runs, so that the other commands find it from any folder. It keeps that
//! file locked, so that a stack that was killed is not taken for a running one. A deployed stack is read from the outputs of
//! its CloudFormation stack.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, TryLockError},
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use clap::Args;
use serde::{Deserialize, Serialize};
use shared::envelope::Environment;

/// The local stack's credentials. moto accepts any.
pub(crate) const LOCAL_KEY: &str = "local";

/// How long a connection to a local stack may take. One that is gone refuses at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(200);

/// Which stack a command works on.
#[derive(Args, Clone, Debug)]
pub(crate) struct StackOption {
    /// The stack: `local` (the newest one that runs here), `local:PORT`, `test`, `live`, or the name of a CloudFormation stack.
    #[arg(long = "stack", value_name = "STACK", default_value = "local", env = "XENDIT_HOOKS_STACK")]
    name: String,
}

/// A running system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stack {
    /// The URL for webhooks of all products.
    pub(crate) url: String,
    /// The URL for one product: replace `{topic}`.
    pub(crate) topic_url: String,
    /// The URL for webhooks of all products through the tunnel of a local stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_url: Option<String>,
    /// The callback token, which only a local stack tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// The emulated AWS of a local stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) aws_endpoint_url: Option<String>,
    pub(crate) region: String,
    /// Xendit's environment.
    pub(crate) environment: Environment,
    pub(crate) queue_url: String,
    pub(crate) dlq_url: String,
    pub(crate) inbox: String,
    pub(crate) table: String,
    pub(crate) bus: String,
    /// The queue with a copy of each domain event, for `xendit-hooks listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tap_queue_url: Option<String>,
    /// The Xendit API of a local stack: a fake, or the one that `dev` was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) xendit_api_url: Option<String>,
    /// The key of the fake. Any other key is in the environment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) xendit_api_key: Option<String>,
    /// The queue through which `xendit-hooks replay` takes events from the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay_queue_url: Option<String>,
    /// The archive of the bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archive: Option<String>,
    /// The console of a local stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) console_url: Option<String>,
    /// The logs of a local stack's processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_dir: Option<PathBuf>,
    /// What only a deployed stack has.
    #[serde(skip)]
    pub(crate) deployed: Option<Deployed>,
}

/// A CloudFormation stack.
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) name: String,
    pub(crate) parameters: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

impl Deployed {
    /// A value that the stack tells.
    pub(crate) fn output(&self, key: &str) -> Result<&str> {
        let value = self.outputs.get(key).map(String::as_str);
        value.with_context(|| format!("the stack {} has no output {key}; deploy this version", self.name))
    }
}

impl StackOption {
    /// Finds the stack.
    pub(crate) async fn find(&self) -> Result<Stack> {
        match self.local_port()? {
            Some(port) => Stack::local(port),
            None => Stack::deployed(&self.name).await,
        }
    }

    /// The name that was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether no real money is in the stack: it is local, or the one for Xendit's test mode.
    pub(crate) fn is_for_tests(&self) -> bool {
        self.name == "test" || matches!(self.local_port(), Ok(Some(_)))
    }

    /// `None`: a deployed stack. `Some(None)`: the newest local one.
    #[expect(clippy::option_option, reason = "a local stack with a port, one without, or none")]
    fn local_port(&self) -> Result<Option<Option<u16>>> {
        match self.name.strip_prefix("local") {
            Some("") => Ok(Some(None)),
            Some(rest) if rest.starts_with(':') => {
                let port = rest.trim_start_matches(':').parse();
                Ok(Some(Some(port.with_context(|| format!("`{}` has no port number after `local:`", self.name))?)))
            }
            _ => Ok(None),
        }
    }
}

impl Stack {
    /// Writes down that this local stack runs, until the registration is dropped.
    pub(crate) fn register(&self) -> Result<Registration> {
        let folder = state();
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let file = folder.join(format!("{}.json", std::process::id()));
        // Written elsewhere, so that nobody finds it before it is locked and whole.
        let draft = file.with_extension("draft");
        let locked = write_locked(&draft, &serde_json::to_vec(self)?).and_then(|locked| {
            fs::rename(&draft, &file)?;
            Ok(locked)
        });
        let locked = locked.with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Registration { file, _locked: locked })
    }

    /// The newest running local stack, or the one at a port.
    pub(crate) fn local(port: Option<u16>) -> Result<Self> {
        let running = running();
        let stack = running.into_iter().find(|stack| port.is_none() || stack.port() == port);
        stack.context(match port {
            Some(port) => format!("no local stack listens on port {port}; `make run` starts one"),
            None => {
                "no local stack is running; start one with `make run`, or choose a deployed one with --stack".to_owned()
            }
        })
    }

    /// A deployed stack. `test` and `live` are the stacks that `make deploy` makes.
    async fn deployed(name: &str) -> Result<Self> {
        let name = if matches!(name, "test" | "live") { format!("xendit-hooks-{name}") } else { name.to_owned() };
        let aws = aws_config::defaults(BehaviorVersion::latest()).http_client(https()).load().await;
        let region =
            aws.region().context("no AWS region is set; set AWS_REGION, or a region in your AWS profile")?.clone();
        let client = aws_sdk_cloudformation::Client::new(&aws);
        let found = client.describe_stacks().stack_name(&name).send().await;
        let found = found.map_err(aws_sdk_cloudformation::Error::from).with_context(|| {
            format!("cannot read the stack {name} in {region}; check your AWS credentials, the region and the name")
        })?;
        let stack = found.stacks().first().with_context(|| format!("there is no stack {name} in {region}"))?;
        let outputs = stack.outputs().iter().map(|output| (output.output_key(), output.output_value()));
        let parameters = stack.parameters().iter().map(|it| (it.parameter_key(), it.parameter_value()));
        let deployed = Deployed { name, parameters: texts(parameters), outputs: texts(outputs) };
        let output = |key: &str| deployed.output(key).map(str::to_owned);
        let environment = deployed.parameters.get("Environment").and_then(|environment| environment.parse().ok());
        Ok(Self {
            environment: environment
                .with_context(|| format!("the stack {} has no parameter Environment", deployed.name))?,
            url: output("WebhookUrl")?,
            topic_url: output("WebhookTopicUrl")?,
            public_url: None,
            token: None,
            aws_endpoint_url: None,
            region: region.to_string(),
            queue_url: output("QueueUrl")?,
            dlq_url: output("DeadLetterQueueUrl")?,
            inbox: output("InboxBucketName")?,
            table: output("LedgerTableName")?,
            bus: output("EventBusName")?,
            tap_queue_url: output("TapQueueUrl").ok(),
            xendit_api_url: None,
            xendit_api_key: None,
            replay_queue_url: output("ReplayQueueUrl").ok(),
            archive: output("EventArchiveName").ok(),
            console_url: None,
            log_dir: None,
            deployed: Some(deployed),
        })
    }

    /// The connection to the stack's AWS.
    pub(crate) async fn aws(&self) -> SdkConfig {
        let Some(endpoint) = &self.aws_endpoint_url else {
            return aws_config::defaults(BehaviorVersion::latest()).http_client(https()).load().await;
        };
        let credentials = Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "the local stack");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .http_client(Builder::new().build_http())
            .build()
    }

    /// The port of a local stack.
    pub(crate) fn port(&self) -> Option<u16> {
        self.address().map(|address| address.port())
    }

    /// Whether this is a local stack that does not run any more.
    pub(crate) fn has_stopped(&self) -> bool {
        self.aws_endpoint_url.is_some() && running().iter().all(|stack| stack.url != self.url)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.url.strip_prefix("http://")?.split('/').next()?.parse().ok()
    }

    fn answers(&self) -> bool {
        self.address().is_some_and(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
    }
}

/// A running local stack's entry. Dropping it removes the entry.
pub(crate) struct Registration {
    file: PathBuf,
    /// The system unlocks it when the process ends, also if it is killed.
    _locked: File,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// The local stacks that run, newest first. Entries of stacks that were killed are removed.
fn running() -> Vec<Stack> {
    let Ok(entries) = fs::read_dir(state()) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some((entry.as_ref().ok()?.metadata().ok()?.modified().ok()?, entry.ok()?.path())))
        .collect();
    files.sort_unstable();
    files.into_iter().rev().filter_map(|(_, file)| read(&file)).collect()
}

/// The stack of an entry, if it runs.
fn read(file: &Path) -> Option<Stack> {
    if file.extension()? != "json" {
        return None;
    }
    if !is_locked(file) {
        let _ = fs::remove_file(file);
        return None;
    }
    let stack: Stack = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    Some(stack).filter(Stack::answers)
}

/// Writes a file that stays locked as long as what is returned.
pub(crate) fn write_locked(path: &Path, content: &[u8]) -> std::io::Result<File> {
    let mut file = File::create(path)?;
    file.lock()?;
    file.write_all(content)?;
    Ok(file)
}

/// Whether a process has a file locked.
pub(crate) fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The folder for what is kept between two runs. It holds an entry for each running local stack.
pub(crate) fn state() -> PathBuf {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    state.or(home).unwrap_or_else(env::temp_dir).join("xendit-hooks")
}

/// The pairs that have both a key and a value.
fn texts<'a>(pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> BTreeMap<String, String> {
    pairs.filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned()))).collect()
}

fn https() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// An entry of a stack at a port on which something listens.
    fn entry(listener: &TcpListener) -> String {
        let url = format!("http://{}/webhook", listener.local_addr().unwrap());
        serde_json::json!({
            "url": url, "topic_url": "", "region": "", "environment": "test", "queue_url": "", "dlq_url": "", "inbox": "",
            "table": "", "bus": "",
        })
        .to_string()
    }

    #[test]
    fn a_killed_stack_does_not_run_even_if_something_else_listens_on_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = env::temp_dir().join(format!("xendit-hooks-registration-{}.json", std::process::id()));
        let locked = write_locked(&file, entry(&listener).as_bytes()).unwrap();
        assert!(read(&file).is_some());
        // The system does this when a process is killed.
        drop(locked);
        assert!(read(&file).is_none() && !file.exists());
    }
}
