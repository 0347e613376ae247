//! Poller: replaces Lambda's SQS trigger, between the webhook queue and the processor. The crate `poller` models how Lambda
//! makes batches and reads the response.
//!
//! It receives messages, invokes the processor with them, and deletes every message that the response does not list as
//! failed. A failed message stays in the queue and is received again after its visibility timeout.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;

use super::{
    local_aws::{LocalAws, delivery_of},
    runtime_api::Lambda,
    tracker::News,
};

/// How long to wait after an error of the emulated AWS.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Poller {
    aws: LocalAws,
    processor: Lambda,
    news: UnboundedSender<News>,
}

impl Poller {
    /// `news` receives the deliveries whose messages were deleted from the queue.
    pub(super) fn new(aws: LocalAws, processor: Lambda, news: UnboundedSender<News>) -> Self {
        Self { aws, processor, news }
    }

    /// Polls until the task is aborted. After an error, SQS has the messages still, or has them again soon.
    pub(super) async fn run(self) {
        loop {
            if self.poll().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn poll(&self) -> Result<()> {
        for mut batch in poller::batches(self.aws.receive().await?) {
            let response = self.processor.invoke(Uuid::new_v4().to_string(), poller::event(&batch)).await;
            let ids: Vec<_> = batch.iter().map(|message| message.message_id().unwrap_or_default()).collect();
            let to_retry = poller::messages_to_retry(&ids, response.as_deref().ok());
            let to_retry: Vec<_> = to_retry.into_iter().map(str::to_owned).collect();
            batch.retain(|message| !to_retry.iter().any(|id| message.message_id() == Some(id)));
            if !batch.is_empty() {
                self.aws.delete(&batch).await?;
                let _ = self.news.send(News::Deleted(batch.iter().filter_map(delivery_of).collect()));
            }
        }
        Ok(())
    }
}
