//! Message: the SQS records of an invocation, and its partial batch response.
//!
//! **Invariant:** a malformed record fails alone, unless it has no id.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// What Lambda hands to the function.
#[derive(Deserialize)]
pub struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
}

/// One message.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// SQS's id of the message. It identifies the message in the response, and nothing else.
    #[serde(rename = "messageId")]
    pub id: String,
    /// The receipt handle.
    #[serde(default, deserialize_with = "or_default")]
    pub receipt_handle: String,
    /// The sealed envelope.
    #[serde(default, deserialize_with = "or_default")]
    pub body: String,
    #[serde(default, deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(rename = "messageAttributes", default, deserialize_with = "or_default")]
    added: MessageAttributes,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attributes {
    approximate_receive_count: String,
}

/// The attributes that a sender adds. Each is read on its own, so that one of another form hides no other.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct MessageAttributes {
    #[serde(deserialize_with = "or_default")]
    earlier_reason: Text,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Text {
    string_value: Option<String>,
}

/// A record has no message id, so no response could name it: the whole batch has to be delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record has no message id: is this function's trigger an SQS queue?")]
pub struct MissingMessageId;

impl Batch {
    /// The messages. Each is dropped in its raw form once it is read: a batch may hold megabytes.
    pub fn messages(self) -> Result<Vec<Message>, MissingMessageId> {
        self.records.into_iter().map(|raw| Message::read(&raw)).collect()
    }
}

impl Message {
    fn read(raw: &RawValue) -> Result<Self, MissingMessageId> {
        let message: Self = serde_json::from_str(raw.get()).map_err(|_| MissingMessageId)?;
        if message.id.is_empty() { Err(MissingMessageId) } else { Ok(message) }
    }

    /// How often the message has been received, this time included.
    pub fn receive_count(&self) -> u32 {
        self.attributes.approximate_receive_count.parse().unwrap_or(1)
    }

    /// Why the message was in the dead-letter queue before it was redriven.
    pub fn earlier_reason(&self) -> Option<&str> {
        self.added.earlier_reason.string_value.as_deref().filter(|reason| !reason.is_empty())
    }
}

/// A field of another type must not make the whole batch unreadable.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(serde_json::from_str(<&RawValue>::deserialize(deserializer)?.get()).unwrap_or_default())
}

/// The partial batch response: the messages to retry. SQS deletes all others.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

impl Response {
    /// The response that asks for these messages again.
    pub fn retry<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Self {
        let failure = |message: &Message| ItemFailure { item_identifier: message.id.clone() };
        Self { batch_item_failures: messages.into_iter().map(failure).collect() }
    }

    /// The ids of the messages to retry.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(json: &str) -> Result<Vec<Message>, MissingMessageId> {
        serde_json::from_str::<Batch>(json).unwrap().messages()
    }

    #[test]
    fn a_response_is_what_lambda_reads() {
        let messages = batch(r#"{"Records":[{"messageId":"m-1"},{"messageId":"m-2"}]}"#).unwrap();
        let json = |messages: &[Message]| serde_json::to_string(&Response::retry(messages)).unwrap();
        assert_eq!(json(&[]), r#"{"batchItemFailures":[]}"#);
        let both = r#"{"batchItemFailures":[{"itemIdentifier":"m-1"},{"itemIdentifier":"m-2"}]}"#;
        assert_eq!(json(&messages), both);
    }

    #[test]
    fn a_record_without_a_message_id_spoils_the_whole_batch() {
        for strange in [r"{}", r#"{"messageId":""}"#, r#"{"messageId":null}"#, r#"{"messageId":7}"#, "7", "null", "[]"]
        {
            let json = format!(r#"{{"Records":[{{"messageId":"m-1","body":"x"}},{strange}]}}"#);
            assert_eq!(batch(&json).err(), Some(MissingMessageId), "{strange}");
        }
    }

    #[test]
    fn a_record_with_an_id_is_a_message_whatever_else_it_holds() {
        for strange in [
            r#""body":null"#,
            r#""body":7"#,
            r#""body":{"a":1}"#,
            r#""body":"\ud800""#,
            r#""other":1"#,
            r#""receiptHandle":null"#,
            r#""attributes":null"#,
            r#""attributes":{"ApproximateReceiveCount":7}"#,
            r#""messageAttributes":null"#,
            r#""messageAttributes":{"earlier_reason":7}"#,
        ] {
            let json = format!(r#"{{"Records":[{{"messageId":"m-1",{strange}}}]}}"#);
            assert_eq!(batch(&json).unwrap()[0].body, "", "{strange}");
        }
    }

    #[test]
    fn a_redriven_message_says_why_it_was_a_dead_letter() {
        let earlier = |attributes: &str| {
            let json = format!(r#"{{"Records":[{{"messageId":"m-1","messageAttributes":{attributes}}}]}}"#);
            batch(&json).unwrap()[0].earlier_reason().map(str::to_owned)
        };
        let reason = r#""earlier_reason":{"stringValue":"timeout","stringListValues":[],"dataType":"String"}"#;
        assert_eq!(earlier(&format!("{{{reason}}}")).as_deref(), Some("timeout"));
        assert_eq!(earlier(&format!(r#"{{"redrive":7,{reason}}}"#)).as_deref(), Some("timeout"));
        for strange in ["null", "7", "{}", r#"{"earlier_reason":7}"#, r#"{"earlier_reason":{"stringValue":""}}"#] {
            assert_eq!(earlier(strange), None, "{strange}");
        }
    }

    #[test]
    fn an_invalid_batch_is_an_error() {
        for json in ["{}", "null", "[]", r#"{"records":[]}"#, r#"{"Records":null}"#] {
            assert!(serde_json::from_str::<Batch>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_message_that_does_not_say_how_often_it_was_received_was_received_once() {
        let count = |attributes: &str| {
            let json = format!(r#"{{"Records":[{{"messageId":"m"{attributes}}}]}}"#);
            batch(&json).unwrap()[0].receive_count()
        };
        assert_eq!(count(""), 1);
        assert_eq!(count(r#","attributes":{"ApproximateReceiveCount":"x"}"#), 1);
        assert_eq!(count(r#","attributes":{"ApproximateReceiveCount":"7"}"#), 7);
    }
}
