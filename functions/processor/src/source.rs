//! Source: delays a message, or moves it to the dead-letter queue. The port, and its adapter for SQS.

use std::{future::Future, time::Duration};

use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use runtime::aws::call_error;
use shared::envelope::MAX_PARKING_BYTES;

use crate::message::Message;

/// The longest reason that is kept. With the other attributes it fits into what a message leaves free.
const MAX_REASON_BYTES: usize = 512;

const _: () = assert!(MAX_REASON_BYTES + 256 <= MAX_PARKING_BYTES, "every queued message can be parked");

/// The queue that messages come from, and the one for those that cannot be processed.
pub trait Source {
    /// Asks for the message again after a while. When this fails, it is delivered after the queue's visibility timeout.
    fn postpone(&self, message: &Message, delay: Duration) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Puts the message into the dead-letter queue with the reason. `Ok` means that it is stored there.
    fn park(&self, message: &Message, reason: &str) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// The call failed, or its result is unknown: leave the message in the queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call to the queue failed: {0}")]
pub struct SourceError(pub String);

/// An SQS queue with its dead-letter queue.
#[derive(Clone, Debug)]
pub struct SqsSource {
    client: Client,
    queue_url: String,
    dlq_url: String,
}

impl SqsSource {
    /// The two queues at their URLs.
    pub fn new(client: Client, queue_url: String, dlq_url: String) -> Self {
        Self { client, queue_url, dlq_url }
    }
}

impl Source for SqsSource {
    async fn postpone(&self, message: &Message, delay: Duration) -> Result<(), SourceError> {
        self.client
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(&message.receipt_handle)
            .visibility_timeout(i32::try_from(delay.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await
            .map(drop)
            .map_err(|error| SourceError(call_error(&error).to_string()))
    }

    async fn park(&self, message: &Message, reason: &str) -> Result<(), SourceError> {
        self.client
            .send_message()
            .queue_url(&self.dlq_url)
            .message_body(&message.body)
            .message_attributes("reason", string_attribute(shortened(reason)))
            .message_attributes("message_id", string_attribute(&message.id))
            .message_attributes("receive_count", string_attribute(&message.receive_count().to_string()))
            .send()
            .await
            .map_err(|error| SourceError(call_error(&error).to_string()))
            .and_then(|answer| answer.message_id.map(drop).ok_or(SourceError("the answer names no message".to_owned())))
    }
}

fn string_attribute(value: &str) -> MessageAttributeValue {
    #[expect(clippy::expect_used, reason = "the only required field is set")]
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("it has its type")
}

/// The reason, cut to the limit.
fn shortened(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "\u{1F4B8}".repeat(200);
        assert_eq!(shortened(&long).len(), 512);
        assert_eq!(shortened(&format!("a{long}")).len(), 509);
    }
}
