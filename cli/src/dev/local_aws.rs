//! The local AWS: moto's server with the resources of template.yaml, and the calls that the other parts make to it.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use aws_smithy_http_client::Builder;
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::{domain_event::Detail, envelope::Envelope};
use tokio::{process::Command, sync::Mutex};

use super::children::{Children, free_port};
use crate::project::Project;

/// The region nearest to most of Xendit's merchants. The emulator has all regions.
pub(super) const REGION: &str = "ap-southeast-1";

const ACCESS_KEY: &str = "local";

/// The emulator accepts any credentials; the SDK requires some.
pub(super) const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY)];

/// The most messages that one call returns.
const RECEIVE_BATCH: i32 = 10;

/// The names of the resources that `stack.py` has created.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) queue_url: String,
    pub(super) dlq_url: String,
    pub(super) published_url: String,
    pub(super) inbox: String,
    pub(super) table: String,
    pub(super) bus: String,
}

#[derive(Clone)]
pub(super) struct LocalAws {
    pub(super) endpoint: String,
    pub(super) names: Arc<Names>,
    sqs: aws_sdk_sqs::Client,
    ledger: DynamoLedger,
    seen: Arc<Mutex<Seen>>,
}

/// What has been read from the last queues so far, by delivery id.
#[derive(Default)]
struct Seen {
    published: HashMap<String, Vec<String>>,
    parked: HashMap<String, String>,
}

impl LocalAws {
    pub(super) async fn start(project: &Project, children: &mut Children, listen: SocketAddr) -> Result<Self> {
        let port = if listen.port() == 0 { free_port()? } else { listen.port() };
        let mut moto = Command::new(project.tool("moto_server"));
        moto.args(["-H", &listen.ip().to_string(), "-p", &port.to_string()]);
        children.start("moto", &mut moto)?;
        children.wait_for(port, "moto").await?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let names = create_resources(project, &endpoint).await?;
        let credentials = Credentials::new(ACCESS_KEY, ACCESS_KEY, None, None, "the local stack");
        let http = Builder::new().build_http();
        let sqs = aws_sdk_sqs::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_sqs::config::Region::new(REGION))
            .credentials_provider(credentials.clone())
            .endpoint_url(&endpoint)
            .http_client(http.clone())
            .build();
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_dynamodb::config::Region::new(REGION))
            .credentials_provider(credentials)
            .endpoint_url(&endpoint)
            .http_client(http)
            .build();
        Ok(Self {
            endpoint,
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::from_conf(dynamodb), names.table.clone()),
            names: Arc::new(names),
            sqs: aws_sdk_sqs::Client::from_conf(sqs),
            seen: Arc::default(),
        })
    }

    /// Receives up to ten messages from the webhook queue. Waits up to a second for the first.
    pub(super) async fn receive(&self) -> Result<Vec<Message>> {
        self.take(&self.names.queue_url, None, Duration::from_secs(1)).await
    }

    /// Deletes a message from the webhook queue.
    pub(super) async fn delete(&self, message: &Message) -> Result<()> {
        let handle = message.receipt_handle().unwrap_or_default();
        self.sqs.delete_message().queue_url(&self.names.queue_url).receipt_handle(handle).send().await?;
        Ok(())
    }

    /// The ledger's item under a key.
    pub(super) async fn item(&self, key: &Key) -> Result<Option<Item>> {
        Ok(self.ledger.get(key).await?)
    }

    /// The types of the domain events that a delivery has caused so far.
    pub(super) async fn published(&self, delivery: &str) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Published {
            detail_type: String,
            detail: Box<RawValue>,
        }

        let mut seen = self.seen.lock().await;
        for message in self.drain(&self.names.published_url).await? {
            let event: Published = serde_json::from_str(message.body().unwrap_or_default())?;
            let detail = Detail::read(event.detail.get()).context("the bus holds an event of another form")?;
            seen.published.entry(detail.delivery_id).or_default().push(event.detail_type);
        }
        Ok(seen.published.get(delivery).cloned().unwrap_or_default())
    }

    /// The reason why a delivery is in the dead-letter queue. `None`: it is not there.
    pub(super) async fn parked(&self, delivery: &str) -> Result<Option<String>> {
        let mut seen = self.seen.lock().await;
        // The messages stay in the queue, for people to look at.
        for message in self.take(&self.names.dlq_url, Some(1), Duration::ZERO).await? {
            let Ok(envelope) = Envelope::open(message.body().unwrap_or_default()) else { continue };
            let reason = message.message_attributes().and_then(|all| all.get("reason")?.string_value());
            seen.parked.insert(envelope.delivery.id, reason.unwrap_or("no reason was given").to_owned());
        }
        Ok(seen.parked.get(delivery).cloned())
    }

    async fn drain(&self, url: &str) -> Result<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let some = self.take(url, None, Duration::ZERO).await?;
            if some.is_empty() {
                return Ok(all);
            }
            for message in &some {
                let handle = message.receipt_handle().unwrap_or_default();
                self.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await?;
            }
            all.extend(some);
        }
    }

    async fn take(&self, url: &str, hidden_secs: Option<i32>, wait: Duration) -> Result<Vec<Message>> {
        let answer = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(RECEIVE_BATCH)
            .set_visibility_timeout(hidden_secs)
            .wait_time_seconds(i32::try_from(wait.as_secs())?)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .with_context(|| format!("cannot read {url}"))?;
        Ok(answer.messages.unwrap_or_default())
    }
}

async fn create_resources(project: &Project, endpoint: &str) -> Result<Names> {
    let output = Command::new(project.tool("python"))
        .args(["-c", include_str!("stack.py"), "template.yaml", endpoint])
        .current_dir(project.root())
        .env("AWS_DEFAULT_REGION", REGION)
        .envs(CREDENTIALS)
        .output()
        .await
        .context("cannot run Python")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the resources of template.yaml could not be created in the local AWS:\n{}",
        errors.trim()
    );
    serde_json::from_slice(&output.stdout).context("stack.py did not print the names of the resources")
}
