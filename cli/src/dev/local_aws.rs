//! Local AWS: starts moto's server with the resources of template.yaml, and reads the queues and the ledger for the poller and
//! the report.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName,
    QueueAttributeName,
};
use aws_smithy_http_client::Builder;
use ledger::{dynamo::DynamoLedger, item::Item, key::Key, store::Ledger as _};
use processor::inbox::Payload;
use serde::Deserialize;
use shared::envelope::Envelope;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::Mutex,
};

use super::{children::Children, happening::Event, runtime_api::FAULTS};
use crate::{project::Project, stack::LOCAL_KEY};

/// The region in which the functions run. moto has every region; this one is near most of Xendit's merchants.
pub(super) const REGION: &str = "ap-southeast-1";

/// moto accepts any credentials, and the SDK requires some.
pub(super) const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", LOCAL_KEY), ("AWS_SECRET_ACCESS_KEY", LOCAL_KEY)];

/// The most messages that SQS returns from one call.
const MAX_MESSAGES: usize = 10;

/// How long dead letters are invisible to others while they are read.
const READING_SECS: i32 = 30;

/// Where the emulated AWS is, and the names of the resources in it, as `local_aws.py` prints them.
#[derive(Debug, Deserialize)]
pub(super) struct Names {
    pub(super) endpoint: String,
    pub(super) queue_url: String,
    pub(super) dlq_url: String,
    /// The queue with a copy of each published event.
    pub(super) published_url: String,
    /// Another one, for `--forward-to` and `--show-events`.
    pub(super) forwarded_url: String,
    /// The queue with a copy of each published event for `xendit-hooks listen`.
    pub(super) tap_queue_url: String,
    /// The queue for `xendit-hooks replay`.
    pub(super) replay_queue_url: String,
    /// The archive of the bus.
    pub(super) archive: String,
    pub(super) inbox: String,
    pub(super) table: String,
    pub(super) bus: String,
}

#[derive(Clone)]
pub(super) struct LocalAws {
    pub(super) names: Arc<Names>,
    sqs: aws_sdk_sqs::Client,
    ledger: DynamoLedger,
    /// The reasons in the dead-letter queue, by delivery id.
    parked: Arc<Mutex<HashMap<String, String>>>,
}

impl LocalAws {
    /// Starts moto and creates the resources.
    pub(super) async fn start(project: &Project, children: &mut Children, listen: SocketAddr) -> Result<Self> {
        let mut python = Command::new(project.tool("python"));
        python
            .args(["-B", "cli/src/dev/local_aws.py", "template.yaml"])
            .args([listen.ip().to_string(), listen.port().to_string()])
            .arg(children.logs.join(FAULTS))
            .current_dir(project.root())
            .env("AWS_DEFAULT_REGION", REGION)
            .envs(CREDENTIALS);
        let output = children.start_with_output("moto", &mut python)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        if line.is_empty() {
            let exited = children.exited().await;
            return Err(exited.context(format!("cannot start the local AWS ({})", children.last_line("moto"))));
        }
        let names: Names = serde_json::from_str(&line).context("local_aws.py printed no names of resources")?;
        Ok(Self::connect(names))
    }

    pub(super) fn connect(names: Names) -> Self {
        let credentials = Credentials::new(LOCAL_KEY, LOCAL_KEY, None, None, "the local stack");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&names.endpoint)
            .http_client(Builder::new().build_http())
            .build();
        Self {
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&config), names.table.clone()),
            names: Arc::new(names),
            sqs: aws_sdk_sqs::Client::new(&config),
            parked: Arc::default(),
        }
    }

    /// Receives up to ten messages from the webhook queue. Waits up to a second for the first one.
    pub(super) async fn receive(&self) -> Result<Vec<Message>> {
        self.receive_from(&self.names.queue_url, None, Duration::from_secs(1)).await
    }

    /// Deletes messages from the webhook queue.
    pub(super) async fn delete(&self, messages: &[Message]) -> Result<()> {
        self.delete_from(&self.names.queue_url, messages).await
    }

    /// Drops the events that were published until now from the queues for `--forward-to` and `xendit-hooks listen`.
    pub(super) async fn forget_events(&self) -> Result<()> {
        for url in [&self.names.forwarded_url, &self.names.tap_queue_url] {
            self.sqs.purge_queue().queue_url(url).send().await.context("cannot empty a queue of events")?;
        }
        Ok(())
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
        if !parked.contains_key(delivery) {
            let mut read = Vec::new();
            let result = self.read_dead_letters(&mut read).await;
            parked.extend(read.iter().filter_map(|message| Some((delivery_of(message)?, reason_of(message)))));
            // They stay in the queue, so that the user can read them there. One that is not made visible again reappears
            // by itself, a little later.
            for batch in read.chunks(MAX_MESSAGES) {
                self.make_visible(batch).await?;
            }
            result?;
        }
        Ok(parked.remove(delivery))
    }

    /// Whether somebody else hides dead letters, to look at them.
    pub(super) async fn are_dead_letters_hidden(&self) -> Result<bool> {
        let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let call = self.sqs.get_queue_attributes().queue_url(&self.names.dlq_url).attribute_names(hidden.clone());
        let counts = call.send().await.context("cannot count the dead letters")?.attributes.unwrap_or_default();
        Ok(counts.get(&hidden).is_some_and(|count| count != "0"))
    }

    /// Receives all dead letters, which hides them from others.
    async fn read_dead_letters(&self, read: &mut Vec<Message>) -> Result<()> {
        loop {
            let batch = self.receive_from(&self.names.dlq_url, Some(READING_SECS), Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(());
            }
            read.extend(batch);
        }
    }

    async fn make_visible(&self, messages: &[Message]) -> Result<()> {
        let entry = |message: &Message| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().visibility_timeout(0);
            entry.set_id(message.message_id.clone()).set_receipt_handle(message.receipt_handle.clone()).build()
        };
        let entries = messages.iter().map(entry).collect::<Result<_, _>>()?;
        let call = self.sqs.change_message_visibility_batch().queue_url(&self.names.dlq_url);
        call.set_entries(Some(entries)).send().await?;
        Ok(())
    }

    /// Receives and deletes all messages of a queue.
    async fn receive_all(&self, url: &str) -> Result<Vec<Message>> {
        let mut all = Vec::new();
        loop {
            let batch = self.receive_from(url, None, Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(all);
            }
            self.delete_from(url, &batch).await?;
            all.extend(batch);
        }
    }

    /// Deletes up to ten messages.
    async fn delete_from(&self, url: &str, messages: &[Message]) -> Result<()> {
        let entry = |message: &Message| {
            let entry = DeleteMessageBatchRequestEntry::builder().set_id(message.message_id.clone());
            entry.set_receipt_handle(message.receipt_handle.clone()).build()
        };
        let entries = messages.iter().map(entry).collect::<Result<_, _>>()?;
        self.sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await?;
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
            .max_number_of_messages(i32::try_from(MAX_MESSAGES)?)
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

/// Why the processor has moved a message to the dead-letter queue.
fn reason_of(message: &Message) -> String {
    let reason = message.message_attributes().and_then(|all| all.get("reason")?.string_value());
    reason.unwrap_or("SQS gave up after ten receives").to_owned()
}

/// The port that was asked for, if nothing else listens on it.
pub(super) fn check_port(listen: SocketAddr) -> Result<()> {
    TcpListener::bind(listen).map(drop).with_context(|| {
        format!(
            "cannot listen on {listen} for the emulated AWS; stop what uses that port, or choose another with --aws"
        )
    })
}

/// The delivery id of a message: in an envelope, or at the end of the key of an envelope in the inbox.
pub(super) fn delivery_of(message: &Message) -> Option<String> {
    let body = message.body()?;
    match Payload::read(body).ok()? {
        Payload::Envelope => Some(Envelope::open(body).ok()?.delivery.id),
        Payload::ObjectRef(object) => Some(object.key.rsplit('/').next()?.to_owned()),
        Payload::Test => None,
    }
}
