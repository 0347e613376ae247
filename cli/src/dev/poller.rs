//! Poller: plays Lambda's SQS event source, as AWS documents it, with `ReportBatchItemFailures` on.
//!
//! It takes messages off the queue, invokes the processor with them, reads the bytes that come back, and deletes what
//! was not reported as failed. Failed messages stay, and come again when their visibility timeout ends.

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
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
            let event = json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() });
            let answer = gateway::invoke(self.functions.invocations("processor"), event.to_string()).await;
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

fn record(message: &Message) -> Value {
    let attributes: serde_json::Map<_, _> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": {},
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:ap-southeast-1:123456789012:xendit-hooks-webhooks",
        "awsRegion": "ap-southeast-1",
    })
}
