//! Queue: durable storage for webhooks. The port, and its adapter for SQS.
//!
//! **Invariant:** `enqueue` returns `Ok` only after SQS has confirmed, by its MD5, that it holds what was sent.

use std::{future::Future, time::Duration};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use md5::{Digest, Md5};
use runtime::aws::{CallError, call_error};
use shared::envelope::{Envelope, MAX_QUEUED_BYTES};

/// For one `SendMessage`, all attempts together.
///
/// With `KEEP_BUDGET` for the second store, an answer comes within 6 s, well before API Gateway and Xendit give up: a
/// prompt 503 is retried for 24 hours, a request that runs into Xendit's 30 s may never be.
pub const SEND_BUDGET: Duration = Duration::from_millis(3_200);

/// Best effort: opening the connection early only saves time.
const WARM_UP_BUDGET: Duration = Duration::from_secs(1);

/// A durable queue.
pub trait Queue {
    /// Stores an envelope. `Ok` means that it is stored; an error means that it may or may not be.
    fn enqueue(&self, envelope: &Envelope) -> impl Future<Output = Result<(), NotStored>> + Send;
}

/// The envelope may not be stored here. Try another store; without one, answer 5xx, so that Xendit retries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// One message cannot hold it. Another store may.
    #[error("{bytes} bytes are more than one message may hold")]
    TooLarge {
        /// The size of the sealed envelope.
        bytes: usize,
    },
    /// The store refused it, with this code.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer within the budget, or no connection.
    #[error("not sent, or not answered: {0}")]
    Unreachable(&'static str),
    /// The store confirmed something else.
    #[error("the store confirmed a different message")]
    Unconfirmed,
}

/// An SQS queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at a URL.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Opens the connection that the first request will use, while the function is still starting.
    ///
    /// Failure is harmless: the first request opens the connection itself.
    pub async fn warm_up(&self) {
        let call = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send();
        match tokio::time::timeout(WARM_UP_BUDGET, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(reason = %call_error(&error), "the queue did not answer at start"),
            Err(_) => tracing::warn!(reason = "timeout", "the queue did not answer at start"),
        }
    }
}

impl Queue for SqsQueue {
    async fn enqueue(&self, envelope: &Envelope) -> Result<(), NotStored> {
        let message = envelope.seal();
        if message.len() > MAX_QUEUED_BYTES {
            return Err(NotStored::TooLarge { bytes: message.len() });
        }
        let md5 = md5_hex(&message);
        let call = self.client.send_message().queue_url(&self.url).message_body(message).send();
        let answer = tokio::time::timeout(SEND_BUDGET, call)
            .await
            .map_err(|_| NotStored::Unreachable("timeout"))?
            .map_err(|error| call_error(&error))?;
        match (answer.message_id(), answer.md5_of_message_body()) {
            (Some(_), Some(confirmed)) if confirmed == md5 => Ok(()),
            _ => Err(NotStored::Unconfirmed),
        }
    }
}

fn md5_hex(message: &str) -> String {
    hex::encode(Md5::digest(message))
}

impl From<CallError> for NotStored {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(code) => Self::Refused(code),
            CallError::Unanswered(why) => Self::Unreachable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 1321.
    #[test]
    fn the_md5_is_written_as_sqs_writes_it() {
        assert_eq!(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
