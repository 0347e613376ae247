//! Local AWS: starts moto's server, creates the resources of template.yaml in it, and reads the queues and the ledger for the
//! poller and the report.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use aws_smithy_http_client::Builder;
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use serde::Deserialize;
use shared::envelope::Envelope;
use tokio::{process::Command, sync::Mutex};

use super::{
    children::{Children, free_port},
    happening::Event,
};
use crate::{project::Project, stack::LOCAL_KEY};

/// The region in which the functions run. moto has every region; this one is near most of Xendit's merchants.
pub(super) const REGION: &str = "ap-southeast-1";

/// moto accepts any credentials, and the SDK requires some.
pub(super) const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", LOCAL_KEY), ("AWS_SECRET_ACCESS_KEY", LOCAL_KEY)];

/// The most messages that SQS returns from one call.
const MAX_MESSAGES: i32 = 10;

/// How long dead letters are invisible to others while they are read.
const READING_SECS: i32 = 30;

/// The names of the resources that `stack.py` created.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) queue_url: String,
    pub(super) dlq_url: String,
    /// The queue with a copy of each published event.
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
    /// The reasons in the dead-letter queue, by delivery id.
    parked: Arc<Mutex<HashMap<String, String>>>,
}

impl LocalAws {
    /// Starts moto and creates the resources.
    pub(super) async fn start(project: &Project, children: &mut Children, listen: SocketAddr) -> Result<Self> {
        let port = if listen.port() == 0 { free_port()? } else { listen.port() };
        let mut moto = Command::new(project.tool("moto_server"));
        moto.args(["-H", &listen.ip().to_string(), "-p", &port.to_string()]);
        children.start("moto", &mut moto)?;
        children.wait_for(port, "moto").await?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let names = create_resources(project, &endpoint).await?;
        let credentials = Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "the local stack");
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
            parked: Arc::default(),
        })
    }

    /// Receives up to ten messages from the webhook queue. Waits up to a second for the first one.
    pub(super) async fn receive(&self) -> Result<Vec<Message>> {
        self.receive_from(&self.names.queue_url, None, Duration::from_secs(1)).await
    }

    /// Deletes a message from the webhook queue.
    pub(super) async fn delete(&self, message: &Message) -> Result<()> {
        self.delete_from(&self.names.queue_url, message).await
    }

    /// The ledger's item with a key.
    pub(super) async fn item(&self, key: &Key) -> Result<Option<Item>> {
        Ok(self.ledger.get(key).await?)
    }

    /// The domain events that were published since the last call.
    pub(super) async fn published(&self) -> Result<Vec<Event>> {
        let messages = self.receive_all(&self.names.published_url).await?;
        Ok(messages.into_iter().filter_map(|message| Event::read(message.body?)).collect())
    }

    /// The reason why a delivery is in the dead-letter queue. `None`: it is not there.
    pub(super) async fn parked(&self, delivery: &str) -> Result<Option<String>> {
        let mut parked = self.parked.lock().await;
        let mut seen = Vec::new();
        loop {
            let batch = self.receive_from(&self.names.dlq_url, Some(READING_SECS), Duration::ZERO).await?;
            if batch.is_empty() {
                break;
            }
            for message in &batch {
                let Ok(envelope) = Envelope::open(message.body().unwrap_or_default()) else { continue };
                let reason = message.message_attributes().and_then(|all| all.get("reason")?.string_value());
                parked.insert(envelope.delivery.id, reason.unwrap_or("no reason given").to_owned());
            }
            seen.extend(batch);
        }
        // The messages stay in the queue, so that the user can read them there.
        for message in &seen {
            let handle = message.receipt_handle().unwrap_or_default();
            let visible = self.sqs.change_message_visibility().queue_url(&self.names.dlq_url).visibility_timeout(0);
            visible.receipt_handle(handle).send().await?;
        }
        Ok(parked.get(delivery).cloned())
    }

    /// Receives and deletes all messages of a queue.
    async fn receive_all(&self, url: &str) -> Result<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let batch = self.receive_from(url, None, Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(all);
            }
            for message in &batch {
                self.delete_from(url, message).await?;
            }
            all.extend(batch);
        }
    }

    async fn delete_from(&self, url: &str, message: &Message) -> Result<()> {
        let handle = message.receipt_handle().unwrap_or_default();
        self.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await?;
        Ok(())
    }

    async fn receive_from(
        &self,
        url: &str,
        visibility_timeout_secs: Option<i32>,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let output = self
            .sqs
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(MAX_MESSAGES)
            .set_visibility_timeout(visibility_timeout_secs)
            .wait_time_seconds(i32::try_from(wait.as_secs())?)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await
            .with_context(|| format!("cannot receive from {url}"))?;
        Ok(output.messages.unwrap_or_default())
    }
}

/// Runs `stack.py`.
async fn create_resources(project: &Project, endpoint: &str) -> Result<Names> {
    let output = Command::new(project.tool("python"))
        .args(["-c", include_str!("stack.py"), "template.yaml", endpoint])
        .current_dir(project.root())
        .env("AWS_DEFAULT_REGION", REGION)
        .envs(CREDENTIALS)
        .output()
        .await
        .context("cannot run .venv/bin/python; delete .venv and try again")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot create the resources of template.yaml in the local AWS:\n{}",
        errors.trim()
    );
    serde_json::from_slice(&output.stdout).context("stack.py did not print the names of the resources")
}
