//! Poller: a model of Lambda's SQS event source, between the webhook queue and the processor. It makes batches of messages,
//! builds the event for each, and reads the partial batch response as AWS documents it for `ReportBatchItemFailures`. The local
//! stack and the tests use it in place of Lambda.
//!
//! **Invariant:** this models AWS only. It does not depend on the functions.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};

/// The largest event that Lambda passes to a function.
const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// Divides received messages into batches whose events Lambda can pass to a function.
pub fn batches(messages: Vec<Message>) -> Vec<Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = Vec::new();
    let mut bytes = 0;
    for message in messages {
        let size = record(&message).to_string().len() + ",".len();
        bytes += size;
        match batches.last_mut() {
            Some(batch) if bytes + event(&[]).len() <= MAX_EVENT_BYTES => batch.push(message),
            _ => {
                batches.push(vec![message]);
                bytes = size;
            }
        }
    }
    batches
}

/// The event that Lambda passes to a function for a batch of messages.
pub fn event(messages: &[Message]) -> String {
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() }).to_string()
}

fn record(message: &Message) -> Value {
    let attributes: serde_json::Map<_, _> = message
        .attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
        .collect();
    let message_attributes: serde_json::Map<_, _> = message
        .message_attributes()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = json!({
                "stringValue": value.string_value(),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value.data_type(),
            });
            (name.clone(), value)
        })
        .collect();
    json!({
        "messageId": message.message_id(),
        "receiptHandle": message.receipt_handle(),
        "body": message.body(),
        "attributes": attributes,
        "messageAttributes": message_attributes,
        "md5OfBody": message.md5_of_body(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:ap-southeast-1:123456789012:xendit-hooks-webhooks",
        "awsRegion": "ap-southeast-1",
    })
}

/// The ids of the messages that stay in the queue for a retry. Lambda deletes the other messages of the batch.
///
/// `response` is what the function returned; `None` stands for an error, a timeout or a crash, and retries the whole batch.
/// The whole batch succeeds if the response is `{}` or `null`, or if its `batchItemFailures` is an empty list or `null`.
/// The whole batch fails if the response has any other form, or if an `itemIdentifier` is missing, empty, `null` or unknown.
pub fn messages_to_retry<'a>(ids: &[&'a str], response: Option<&[u8]>) -> BTreeSet<&'a str> {
    let all = || ids.iter().copied().collect();
    let failures = match response.and_then(|response| serde_json::from_slice(response).ok()) {
        Some(Value::Null) => return BTreeSet::new(),
        Some(Value::Object(mut object)) => match object.remove("batchItemFailures") {
            None | Some(Value::Null) => return BTreeSet::new(),
            Some(Value::Array(failures)) => failures,
            Some(_) => return all(),
        },
        _ => return all(),
    };
    let failed: Option<BTreeSet<_>> = failures
        .iter()
        .map(|failure| {
            let identifier = failure.get("itemIdentifier")?.as_str()?;
            ids.iter().copied().find(|id| *id == identifier)
        })
        .collect();
    failed.unwrap_or_else(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = ["a", "b", "c"];

    fn to_retry(response: &str) -> Vec<&'static str> {
        messages_to_retry(&IDS, Some(response.as_bytes())).into_iter().collect()
    }

    #[test]
    fn a_batch_is_as_large_as_lambda_accepts_and_none_is_empty() {
        let message = |bytes: usize| Message::builder().message_id("m").body("x".repeat(bytes)).build();
        let sizes = |bodies: &[usize]| -> Vec<usize> {
            let batches = batches(bodies.iter().copied().map(message).collect());
            assert!(batches.iter().all(|batch| batch.len() == 1 || event(batch).len() <= MAX_EVENT_BYTES));
            batches.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[10; 10]), [10]);
        assert_eq!(sizes(&[1024 * 1024; 10]), [5, 5]);
        assert_eq!(sizes(&[10, 7 * 1024 * 1024, 10]), [1, 1, 1]);
    }

    #[test]
    fn nothing_reported_is_a_success() {
        for response in ["{}", "null", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
            assert!(to_retry(response).is_empty(), "{response}");
        }
    }

    #[test]
    fn a_reported_message_is_retried() {
        assert_eq!(to_retry(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), ["b"]);
    }

    #[test]
    fn no_response_is_a_failure_of_all() {
        assert_eq!(messages_to_retry(&IDS, None), BTreeSet::from(IDS));
    }

    #[test]
    fn a_report_that_names_nobody_is_a_failure_of_all() {
        for response in [
            "",
            "not json",
            "[]",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"x"}]}"#,
            r#"{"batchItemFailures":[{"itemId":"b"}]}"#,
        ] {
            assert_eq!(to_retry(response), IDS, "{response}");
        }
    }
}
