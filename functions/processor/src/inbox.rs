//! Inbox: where the receiver leaves an envelope that the queue does not take. The queue has S3's notification of the object
//! instead. The port, and its adapter for S3.

use std::{borrow::Cow, future::Future, time::Duration};

use aws_sdk_s3::{Client, config::timeout::TimeoutConfig, operation::get_object::GetObjectError};
use percent_encoding::percent_decode_str;
use runtime::aws::call_error;
use serde::Deserialize;
use serde_json::Value;
use shared::envelope::max_sealed_bytes;

/// The most that an object may hold: an envelope of the largest body that a function can be given.
const MAX_OBJECT_BYTES: usize = max_sealed_bytes(6 * 1024 * 1024);

/// Fetches envelopes from the inbox.
pub trait Inbox {
    /// Fetches the sealed envelope that an object holds.
    fn fetch(&self, object: &ObjectRef) -> impl Future<Output = Result<String, NotFetched>> + Send;
}

/// An object that S3 has sent a notification of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRef {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key.
    pub key: String,
}

/// The envelope could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFetched {
    /// Retry later.
    #[error("the call to the inbox failed: {0}")]
    Transient(String),
    /// A retry cannot help: park the message.
    #[error("the envelope cannot be fetched from the inbox: {0}")]
    Permanent(&'static str),
}

/// What a message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A sealed envelope, or something unknown.
    Envelope,
    /// S3's notification of an object that holds one.
    ObjectRef(ObjectRef),
    /// What S3 sends once when notifications are set up. It is not a webhook.
    Test,
}

impl Payload {
    /// Distinguishes an envelope from a notification of S3.
    pub fn read(message: &str) -> Result<Self, NotFetched> {
        #[derive(Deserialize)]
        struct Notification {
            #[serde(rename = "Event")]
            event: Option<String>,
            #[serde(rename = "Records")]
            records: Option<Vec<Value>>,
        }

        // Serde also reads a list as a struct. S3 never sends one.
        if !message.trim_ascii_start().starts_with('{') {
            return Ok(Self::Envelope);
        }
        match serde_json::from_str::<Notification>(message) {
            Ok(Notification { event: Some(event), .. }) if event == "s3:TestEvent" => Ok(Self::Test),
            Ok(Notification { records: Some(records), .. }) => match records.as_slice() {
                [record] => Ok(ObjectRef::of(record).map_or(Self::Envelope, Self::ObjectRef)),
                // S3 sends one notification for each object.
                _ => Err(NotFetched::Permanent("the notification must be about exactly one object")),
            },
            _ => Ok(Self::Envelope),
        }
    }
}

impl ObjectRef {
    /// The object of one record of a notification.
    fn of(record: &Value) -> Option<Self> {
        let text = |path: &str| record.pointer(path)?.as_str();
        Some(Self { bucket: text("/s3/bucket/name")?.to_owned(), key: decode(text("/s3/object/key")?)? })
    }
}

/// An object's key, which S3 encodes as a form does: `%2F` may stand for a slash, and `+` for a space.
fn decode(encoded: &str) -> Option<String> {
    let spaced = encoded.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
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
    async fn fetch(&self, object: &ObjectRef) -> Result<String, NotFetched> {
        if object.bucket != self.bucket {
            return Err(NotFetched::Permanent("it is in another bucket"));
        }
        // The SDK applies its limit until the response's headers, and not to the body.
        let limits = self.client.config().timeout_config();
        let limit = limits.and_then(TimeoutConfig::operation_timeout).unwrap_or(Duration::MAX);
        let fetched = tokio::time::timeout(limit, self.get(&object.key)).await;
        fetched.unwrap_or_else(|_| Err(NotFetched::Transient("timeout".to_owned())))
    }
}

impl S3Inbox {
    async fn get(&self, key: &str) -> Result<String, NotFetched> {
        let answer = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let object = answer.map_err(|error| match error.as_service_error() {
            Some(GetObjectError::NoSuchKey(_)) => NotFetched::Permanent("the object is gone"),
            _ => NotFetched::Transient(call_error(&error).to_string()),
        })?;
        let bytes = object.content_length().and_then(|bytes| usize::try_from(bytes).ok());
        match bytes {
            Some(..=MAX_OBJECT_BYTES) => {}
            Some(_) => return Err(NotFetched::Permanent("the object is too large to be an envelope")),
            None => return Err(NotFetched::Transient("the answer does not say how large the object is".to_owned())),
        }
        let bytes = object.body.collect().await.map_err(|_| NotFetched::Transient("cut off".to_owned()))?.to_vec();
        String::from_utf8(bytes).map_err(|_| NotFetched::Permanent("the object is not text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_of_one_object_is_a_claim() {
        let message = r#"{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put",
            "s3":{"bucket":{"name":"inbox"},"object":{"key":"webhooks/2026-01-02/d-1","size":7}}}]}"#;
        let claim = ObjectRef { bucket: "inbox".to_owned(), key: "webhooks/2026-01-02/d-1".to_owned() };
        assert_eq!(Payload::read(message), Ok(Payload::ObjectRef(claim)));
    }

    #[test]
    fn an_encoded_key_is_decoded() {
        let read = |key: &str| {
            Payload::read(&format!(
                r#"{{"Records":[{{"s3":{{"bucket":{{"name":"b"}},"object":{{"key":"{key}"}}}}}}]}}"#
            ))
        };
        let claim = |key: &str| Ok(Payload::ObjectRef(ObjectRef { bucket: "b".to_owned(), key: key.to_owned() }));
        assert_eq!(read("webhooks%2F2026-01-02%2Fd-1"), claim("webhooks/2026-01-02/d-1"));
        assert_eq!(read("red+flower%2B1.jpg"), claim("red flower+1.jpg"));
        assert_eq!(read("%FF"), Ok(Payload::Envelope), "not one of our keys: parked as not an envelope");
    }

    #[test]
    fn the_test_that_s3_sends_is_not_a_webhook() {
        let message = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}"#;
        assert_eq!(Payload::read(message), Ok(Payload::Test));
    }

    #[test]
    fn anything_else_is_left_to_the_envelope() {
        for message in ["", "{}", "[]", r#"{"v":1,"id":"d"}"#, r#"{"Records":[{}]}"#, r#"{"Event":"s3:Other"}"#] {
            assert_eq!(Payload::read(message), Ok(Payload::Envelope), "{message}");
        }
    }

    #[test]
    fn a_list_is_not_a_notification_although_serde_reads_it_as_a_struct() {
        for message in [r#"["s3:TestEvent",null]"#, r#"{"Records":[[[["inbox"],["webhooks/d-1"]]]]}"#] {
            assert_eq!(Payload::read(message), Ok(Payload::Envelope), "{message}");
        }
    }

    #[test]
    fn a_notification_of_several_objects_is_parked() {
        let one = r#"{"s3":{"bucket":{"name":"inbox"},"object":{"key":"k"}}}"#;
        for message in [r#"{"Records":[]}"#.to_owned(), format!(r#"{{"Records":[{one},{one}]}}"#)] {
            assert!(matches!(Payload::read(&message), Err(NotFetched::Permanent(_))), "{message}");
        }
    }
}
