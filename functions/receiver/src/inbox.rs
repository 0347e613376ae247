//! Inbox: the second store, for what the queue does not take: an envelope larger than one message, or any envelope
//! while the queue refuses or hangs. The port, and its adapter for S3.
//!
//! S3 itself tells the webhook queue of each object, and the processor opens what it finds there (a claim check).
//!
//! **Invariant:** `keep` returns `Ok` only after S3 has answered that it holds the object.

use std::{future::Future, time::Duration};

use aws_sdk_s3::{Client, primitives::ByteStream};
use shared::envelope::{Delivery, Envelope};

use crate::queue::{NotStored, not_stored};

/// For one `PutObject`, all tries together. What is left of the 6 s is the function's own.
pub const KEEP_BUDGET: Duration = Duration::from_millis(2_500);

/// A durable store for envelopes of any size.
pub trait Inbox {
    /// Stores an envelope. `Ok` means that it is safe; an error means that it may or may not be.
    fn keep(&self, envelope: &Envelope) -> impl Future<Output = Result<(), NotStored>> + Send;
}

/// An S3 bucket.
#[derive(Clone, Debug)]
pub struct S3Inbox {
    client: Client,
    bucket: String,
}

impl S3Inbox {
    /// The bucket of a name.
    pub fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }
}

impl Inbox for S3Inbox {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        let call = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key(&envelope.delivery))
            .content_type("application/json")
            .body(ByteStream::from(envelope.seal().into_bytes()))
            .send();
        let answer = tokio::time::timeout(KEEP_BUDGET, call).await.map_err(|_| NotStored::Unreachable("timeout"))?;
        answer.map(drop).map_err(|error| not_stored(&error))
    }
}

/// A key for each delivery, by day, of characters that an S3 notification does not encode.
fn key(delivery: &Delivery) -> String {
    let id: String = delivery.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("webhooks/{}/{id}", delivery.received_at.strftime("%F"))
}

#[cfg(test)]
mod tests {
    use shared::envelope::Environment;

    use super::*;

    #[test]
    fn a_key_holds_the_day_and_the_delivery_and_nothing_that_needs_encoding() {
        let delivery = Delivery {
            id: "8476a536-e9f4/../ +%".to_owned(),
            received_at: "2026-01-02T23:59:59Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        assert_eq!(key(&delivery), "webhooks/2026-01-02/8476a536-e9f4");
    }
}
