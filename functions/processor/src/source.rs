//! Source: the queue that messages come from, for the two things a processor does with a message besides ending it.
//! The port, and its adapter for SQS.

use std::{future::Future, time::Duration};

use aws_sdk_sqs::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::MessageAttributeValue,
};

use crate::batch::Record;

/// The queue that messages come from, and the one for those that nobody can deal with.
pub trait Source {
    /// Asks for the message again after a while. When this fails, it comes after the queue's visibility timeout.
    fn postpone(&self, record: &Record, delay: Duration) -> impl Future<Output = Result<(), SourceTrouble>> + Send;

    /// Puts the message into the dead-letter queue with the reason. `Ok` means that it is safe there.
    fn park(&self, record: &Record, reason: &str) -> impl Future<Output = Result<(), SourceTrouble>> + Send;
}

/// The queue did not do what was asked, or is not known to have done it: leave the message where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue did not answer: {0}")]
pub struct SourceTrouble(pub String);

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
    async fn postpone(&self, record: &Record, delay: Duration) -> Result<(), SourceTrouble> {
        self.client
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(&record.receipt_handle)
            .visibility_timeout(i32::try_from(delay.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await
            .map(drop)
            .map_err(|error| trouble(&error))
    }

    async fn park(&self, record: &Record, reason: &str) -> Result<(), SourceTrouble> {
        self.client
            .send_message()
            .queue_url(&self.dlq_url)
            .message_body(&record.body)
            .message_attributes("reason", text(reason))
            .message_attributes("message_id", text(&record.message_id))
            .message_attributes("receive_count", text(&record.receive_count().to_string()))
            .send()
            .await
            .map(drop)
            .map_err(|error| trouble(&error))
    }
}

fn text(value: &str) -> MessageAttributeValue {
    #[expect(clippy::expect_used, reason = "the only required field is set")]
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("it has its type")
}

/// The error's code alone: an SDK error printed whole may quote the request.
fn trouble<E: ProvideErrorMetadata>(error: &SdkError<E>) -> SourceTrouble {
    SourceTrouble(match error {
        SdkError::ServiceError(refusal) => refusal.err().code().unwrap_or("no error code").to_owned(),
        SdkError::TimeoutError(_) => "timeout".to_owned(),
        _ => "no connection".to_owned(),
    })
}
