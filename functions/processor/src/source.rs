//! Source: delays a message, or moves it to the dead-letter queue. The port, and its adapter for SQS.

use std::{future::Future, time::Duration};

use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use runtime::aws::call_error;
use shared::envelope::MAX_PARKING_BYTES;

use crate::message::Message;

/// The attribute of a redriven message with the reason why it was a dead letter. It is not called `reason`, because SQS keeps
/// the attributes of a message that it moves by itself, and such a one has no reason.
pub const EARLIER_REASON: &str = "earlier_reason";

/// The longest reason that is kept. With the other attributes it fits into what a message leaves free.
const MAX_REASON_BYTES: usize = 512;

/// The most that is kept of the reason why a redriven message was parked before.
const MAX_EARLIER_REASON_BYTES: usize = 320;

/// The attributes' names and types, and the values of the short ones.
const OTHER_BYTES: usize = 160;

const _: () = assert!(
    MAX_REASON_BYTES + MAX_EARLIER_REASON_BYTES + OTHER_BYTES <= MAX_PARKING_BYTES,
    "every queued message can be parked"
);

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
        let mut call = self
            .client
            .send_message()
            .queue_url(&self.dlq_url)
            .message_body(&message.body)
            .message_attributes("reason", string_attribute(shortened(reason, MAX_REASON_BYTES)))
            .message_attributes("message_id", string_attribute(&message.id))
            .message_attributes("receive_count", string_attribute(&message.receive_count().to_string()));
        if let Some(earlier) = message.earlier_reason() {
            let earlier = shortened(earlier, MAX_EARLIER_REASON_BYTES);
            call = call.message_attributes(EARLIER_REASON, string_attribute(earlier));
        }
        call.send()
            .await
            .map_err(|error| SourceError(call_error(&error).to_string()))
            .and_then(|answer| answer.message_id.map(drop).ok_or(SourceError("the answer names no message".to_owned())))
    }
}

fn string_attribute(value: &str) -> MessageAttributeValue {
    #[expect(clippy::expect_used, reason = "the only required field is set")]
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("it has its type")
}

/// A reason, cut to a limit.
fn shortened(reason: &str, max_bytes: usize) -> &str {
    reason.get(..reason.floor_char_boundary(max_bytes)).unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        assert_eq!(shortened("short", 512), "short");
        let long = "\u{1F4B8}".repeat(200);
        assert_eq!(shortened(&long, 512).len(), 512);
        assert_eq!(shortened(&format!("a{long}"), 512).len(), 509);
    }
}
