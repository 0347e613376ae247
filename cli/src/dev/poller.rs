//! Poller: replaces Lambda's SQS trigger, between the webhook queue and the processor. The crate `poller` models how Lambda
//! reads the response.
//!
//! It receives messages, invokes the processor with them, and deletes every message that the response does not list as
//! failed. A failed message stays in the queue and is received again after its visibility timeout.

use aws_sdk_sqs::types::Message;
use serde_json::Value;
use shared::envelope::Envelope;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    functions::{Function, Functions},
    local_aws::LocalAws,
    tracker::News,
};

pub(super) struct Poller {
    aws: LocalAws,
    functions: Functions,
    news: UnboundedSender<News>,
}

impl Poller {
    /// `news` receives the delivery of each message that was deleted from the queue.
    pub(super) fn new(aws: LocalAws, functions: Functions, news: UnboundedSender<News>) -> Self {
        Self { aws, functions, news }
    }

    /// Polls until the task is aborted. It ignores errors: they mean that a process has exited, which `Children` reports.
    pub(super) async fn run(self) {
        loop {
            let Ok(messages) = self.aws.receive().await else { continue };
            if messages.is_empty() {
                continue;
            }
            let event = poller::event(&messages);
            let response = self.functions.invoke(Function::Processor, event).await;
            let ids: Vec<_> = messages.iter().map(|message| message.message_id().unwrap_or_default()).collect();
            let to_retry = poller::messages_to_retry(&ids, response.as_deref().ok());
            let is_done = |message: &&Message| !to_retry.contains(message.message_id().unwrap_or_default());
            for message in messages.iter().filter(is_done) {
                if self.aws.delete(message).await.is_ok()
                    && let Some(delivery) = delivery_of(message.body().unwrap_or_default())
                {
                    let _ = self.news.send(News::Deleted(delivery));
                }
            }
        }
    }
}

/// The delivery id of a message: in an envelope, or in S3's notification of an envelope in the inbox, whose key ends with it.
fn delivery_of(body: &str) -> Option<String> {
    if let Ok(envelope) = Envelope::open(body) {
        return Some(envelope.delivery.id);
    }
    let notification: Value = serde_json::from_str(body).ok()?;
    let key = notification.pointer("/Records/0/s3/object/key")?.as_str()?;
    key.rsplit('/').next().map(str::to_owned)
}
