//! Notification: a message is read as a notification of S3 only if it is one. A sealed envelope never is.

use processor::inbox::{ObjectRef, Payload};
use serde_json::{Value, json};

use super::envelope;

pub(super) fn check(bytes: &[u8]) {
    assert_eq!(Payload::read(&envelope::of(bytes).seal()), Ok(Payload::Envelope));

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let letter = Payload::read(text);
    // A `Value` cannot hold huge numbers or deep nesting, which a notification may contain all the same.
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    match letter {
        Ok(Payload::Test) => assert_eq!(value.get("Event"), Some(&json!("s3:TestEvent"))),
        Ok(Payload::ObjectRef(claim)) => assert_eq!(claims(&value), Some(vec![Some(claim)])),
        Err(_) => assert_ne!(claims(&value).map(|claims| claims.len()), Some(1)),
        Ok(Payload::Envelope) => {}
    }
}

/// The claims in a notification, one for each object. `None`: it is not a notification.
fn claims(notification: &Value) -> Option<Vec<Option<ObjectRef>>> {
    let claim = |record: &Value| {
        let s3 = record.get("s3")?;
        let text = |of: &str, key: &str| Some(s3.get(of)?.get(key)?.as_str()?.to_owned());
        // S3 encodes a key like a value in a form, except that an `&` does not end it.
        let form = format!("key={}", text("object", "key")?.replace('&', "%26"));
        let (_, key) = form_urlencoded::parse(form.as_bytes()).next()?;
        Some(ObjectRef { bucket: text("bucket", "name")?, key: key.into_owned() })
    };
    Some(notification.get("Records")?.as_array()?.iter().map(claim).collect())
}

/// S3's messages as in its documentation, and messages that are not from S3.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let claims = ["webhooks/2026-01-02/d-1", "webhooks%2F2026-01-02%2Fd+1%2B%C3%A9"].map(notification);
    let test = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-01-02T03:04:05.678Z",
        "Bucket": "inbox",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"
    });
    claims
        .into_iter()
        .chain([test])
        .map(|value| value.to_string())
        .chain(envelope::messages())
        .map(String::into_bytes)
        .collect()
}

/// S3's notification of an object.
pub(super) fn notification(key: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "ap-southeast-1",
        "eventTime": "2026-01-02T03:04:05.678Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": { "name": "inbox", "arn": "arn:aws:s3:::inbox" },
            "object": { "key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e" }
        }
    }]})
}
