//! Poller: plays Lambda's SQS event source, as AWS documents it, with `ReportBatchItemFailures` on.
//!
//! It takes messages off the queue, invokes the processor with them, reads the bytes that come back, and deletes what
//! was not reported as failed. Failed messages stay, and come again when their visibility timeout ends.

use shared::envelope::Envelope;
use tokio::sync::mpsc::UnboundedSender;

use super::{children::Functions, gateway, local_aws::LocalAws};

pub(super) struct Poller {
    aws: LocalAws,
    functions: Functions,
    settled: UnboundedSender<String>,
}

impl Poller {
    /// `settled` is told the delivery of each message that has been deleted.
    pub(super) fn new(aws: LocalAws, functions: Functions, settled: UnboundedSender<String>) -> Self {
        Self { aws, functions, settled }
    }

    /// Polls until it is stopped. Errors are the children's to report: a poller's own would only repeat them.
    pub(super) async fn run(self) {
        loop {
            let Ok(messages) = self.aws.receive().await else { continue };
            if messages.is_empty() {
                continue;
            }
            let event = poller::event(&messages);
            let answer = gateway::invoke(self.functions.invocations("processor"), event).await;
            let ids: Vec<_> = messages.iter().map(|message| message.message_id().unwrap_or_default()).collect();
            let again = poller::come_again(&ids, answer.as_deref().ok());
            for message in messages.iter().filter(|message| !again.contains(message.message_id().unwrap_or_default())) {
                if self.aws.delete(message).await.is_ok()
                    && let Ok(envelope) = Envelope::open(message.body().unwrap_or_default())
                {
                    let _ = self.settled.send(envelope.delivery.id);
                }
            }
        }
    }
}
