//! Cloud: the resources of `template.yaml` in an emulated AWS, created as the local stack creates them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName};
use ledger::item::Item;
use runtime::aws::CallLimits;
use shared::stack::{BUS_NAME, DLQ_URL, INBOX_BUCKET, LEDGER_TABLE, QUEUE_URL};

use crate::{
    process::lambda,
    server::{Moto, config, s3, tool},
};

/// Generous, because all clients share one moto process.
const LIMITS: CallLimits = CallLimits { attempt: Duration::from_secs(30), total: Duration::from_mins(2), attempts: 3 };

/// The resources, by the names that `stack.py` prints.
pub struct Cloud {
    moto: Moto,
    names: HashMap<String, String>,
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    /// The folder for the functions' logs.
    pub logs: PathBuf,
}

impl Cloud {
    /// Creates the resources, with this visibility timeout for the webhook queue.
    pub async fn start(visibility: Duration) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let moto = Moto::one_at_a_time();
        let stack = Command::new(tool("python"))
            .args(["cli/src/dev/stack.py", "template.yaml", &moto.endpoint])
            .current_dir(&root)
            .envs([
                ("AWS_DEFAULT_REGION", "ap-southeast-1"),
                ("AWS_ACCESS_KEY_ID", "t"),
                ("AWS_SECRET_ACCESS_KEY", "t"),
            ])
            .output()
            .unwrap();
        assert!(stack.status.success(), "{}", String::from_utf8_lossy(&stack.stderr));
        let names: HashMap<String, String> = serde_json::from_slice(&stack.stdout).unwrap();
        let aws = config(&moto.endpoint, LIMITS).await;
        let sqs = aws_sdk_sqs::Client::new(&aws);
        let seconds = visibility.as_secs().to_string();
        let queue = sqs.set_queue_attributes().queue_url(&names["queue_url"]);
        queue.attributes(QueueAttributeName::VisibilityTimeout, seconds).send().await.unwrap();
        let logs = root.join(".run").join(format!("chaos-{}", std::process::id()));
        fs::create_dir_all(&logs).unwrap();
        let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
        Self { moto, names, sqs, dynamodb, s3: s3(&aws), logs }
    }

    /// The processor's adapter for the inbox.
    pub fn inbox(&self) -> processor::inbox::S3Inbox {
        processor::inbox::S3Inbox::new(self.s3.clone(), self.names["inbox"].clone())
    }

    /// The functions' environment variables.
    pub fn variables(&self) -> Vec<(String, String)> {
        let settings = [
            (QUEUE_URL, "queue_url"),
            (DLQ_URL, "dlq_url"),
            (INBOX_BUCKET, "inbox"),
            (LEDGER_TABLE, "table"),
            (BUS_NAME, "bus"),
        ];
        let settings = settings.map(|(setting, name)| (setting.name, self.names[name].as_str()));
        let all = lambda("", &self.moto.endpoint).into_iter().chain(settings);
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Receives up to ten messages from a queue.
    pub async fn receive(&self, queue: &str) -> Vec<Message> {
        let call = self.sqs.receive_message().queue_url(&self.names[queue]).max_number_of_messages(10);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::All);
        call.send().await.unwrap().messages.unwrap_or_default()
    }

    /// Deletes messages from a queue.
    pub async fn delete(&self, queue: &str, messages: impl Iterator<Item = &Message>) {
        let entry = |(n, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
            entry.receipt_handle(message.receipt_handle().unwrap()).build().unwrap()
        };
        let entries: Vec<_> = messages.enumerate().map(entry).collect();
        if !entries.is_empty() {
            let call = self.sqs.delete_message_batch().queue_url(&self.names[queue]).set_entries(Some(entries));
            call.send().await.unwrap();
        }
    }

    /// Makes messages visible again in a second.
    pub async fn make_visible(&self, queue: &str, messages: &[&Message]) {
        for message in messages {
            let call = self.sqs.change_message_visibility().queue_url(&self.names[queue]).visibility_timeout(1);
            // Another invocation may have deleted it.
            let _ = call.receipt_handle(message.receipt_handle().unwrap()).send().await;
        }
    }

    /// Receives and deletes all messages of a queue.
    pub async fn drain(&self, queue: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let messages = self.receive(queue).await;
            if messages.is_empty() {
                return all;
            }
            self.delete(queue, messages.iter()).await;
            all.extend(messages.into_iter().filter_map(|message| message.body));
        }
    }

    /// Sends a message to a queue.
    pub async fn send(&self, queue: &str, message: &str) {
        self.sqs.send_message().queue_url(&self.names[queue]).message_body(message).send().await.unwrap();
    }

    /// Counts all messages of a queue, including those in flight.
    pub async fn depth(&self, queue: &str) -> usize {
        let visible = QueueAttributeName::ApproximateNumberOfMessages;
        self.count(queue, &[visible, QueueAttributeName::ApproximateNumberOfMessagesNotVisible]).await
    }

    /// Counts the visible messages of a queue.
    pub async fn visible(&self, queue: &str) -> usize {
        self.count(queue, &[QueueAttributeName::ApproximateNumberOfMessages]).await
    }

    /// Sums up attributes of a queue, read in one call.
    async fn count(&self, queue: &str, which: &[QueueAttributeName]) -> usize {
        let call = self.sqs.get_queue_attributes().queue_url(&self.names[queue]);
        let answer = call.set_attribute_names(Some(which.to_vec())).send().await.unwrap();
        answer.attributes.unwrap().values().map(|count| count.parse::<usize>().unwrap()).sum()
    }

    /// All items of the ledger.
    pub async fn items(&self) -> Vec<Item> {
        let pages = self.dynamodb.scan().table_name(&self.names["table"]).into_paginator().items().send();
        let items = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
        items.into_iter().map(|item| serde_dynamo::aws_sdk_dynamodb_1::from_item(item).unwrap()).collect()
    }
}
