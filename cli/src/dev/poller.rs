//! Poller: plays Lambda's SQS trigger with `ReportBatchItemFailures`, as AWS documents it.
//!
//! It receives messages, invokes the processor with them, and deletes every message that the response does not list as
//! failed. A failed message stays in the queue and is received again when its visibility timeout ends.

use shared::envelope::{Delivery, Envelope};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    functions::{Function, Functions},
    local_aws::LocalAws,
};

pub(super) struct Poller {
    aws: LocalAws,
    functions: Functions,
    finished: UnboundedSender<Delivery>,
}

impl Poller {
    /// `finished` gets the delivery of each message that was deleted.
    pub(super) fn new(aws: LocalAws, functions: Functions, finished: UnboundedSender<Delivery>) -> Self {
        Self { aws, functions, finished }
    }

    /// Polls until the task is aborted. Errors are not reported here: they mean that a child has stopped, and that is
    /// reported already.
    pub(super) async fn run(self) {
        loop {
            let Ok(messages) = self.aws.receive().await else { continue };
            if messages.is_empty() {
                continue;
            }
            let event = poller::event(&messages);
            let response = self.functions.invoke(Function::Processor, event).await;
            let ids: Vec<_> = messages.iter().map(|message| message.message_id().unwrap_or_default()).collect();
            let failed = poller::come_again(&ids, response.as_deref().ok());
            for message in messages.iter().filter(|message| !failed.contains(message.message_id().unwrap_or_default()))
            {
                if self.aws.delete(message).await.is_ok()
                    && let Ok(envelope) = Envelope::open(message.body().unwrap_or_default())
                {
                    let _ = self.finished.send(envelope.delivery);
                }
            }
        }
    }
}
