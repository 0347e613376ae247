//! Poller: how Lambda's SQS event source hands messages to a function, and how it reads what the function answers, as AWS
//! documents partial batch responses with `ReportBatchItemFailures` on. Whatever plays Lambda here reads answers with this.
//!
//! **Invariant:** a model of AWS and of nothing else. It knows neither of the two functions.

use std::collections::BTreeSet;

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};

/// The event that a function gets for a batch of messages.
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

/// Which messages of a batch come again, by the bytes that the function returned. All others are deleted.
///
/// `None` is an error, a timeout or a crash: the whole batch comes again. An empty object, null, and an empty or null
/// list are a success of the whole batch; an empty, null or unknown `itemIdentifier`, a wrong key, and anything that
/// is not JSON are its failure.
pub fn come_again<'a>(ids: &[&'a str], answer: Option<&[u8]>) -> BTreeSet<&'a str> {
    let all = || ids.iter().copied().collect();
    let list = match answer.and_then(|answer| serde_json::from_slice(answer).ok()) {
        Some(Value::Null) => return BTreeSet::new(),
        Some(Value::Object(mut object)) => match object.remove("batchItemFailures") {
            None | Some(Value::Null) => return BTreeSet::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return all(),
        },
        _ => return all(),
    };
    let named: Option<BTreeSet<_>> = list
        .iter()
        .map(|failure| {
            let named = failure.get("itemIdentifier")?.as_str()?;
            ids.iter().copied().find(|id| *id == named)
        })
        .collect();
    named.unwrap_or_else(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = ["a", "b", "c"];

    fn again(answer: &str) -> Vec<&'static str> {
        come_again(&IDS, Some(answer.as_bytes())).into_iter().collect()
    }

    #[test]
    fn nothing_reported_is_a_success() {
        for answer in ["{}", "null", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
            assert!(again(answer).is_empty(), "{answer}");
        }
    }

    #[test]
    fn what_is_reported_comes_again() {
        assert_eq!(again(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), ["b"]);
    }

    #[test]
    fn no_answer_is_a_failure_of_all() {
        assert_eq!(come_again(&IDS, None), BTreeSet::from(IDS));
    }

    #[test]
    fn a_report_that_names_nobody_is_a_failure_of_all() {
        for answer in [
            "",
            "not json",
            "[]",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"x"}]}"#,
            r#"{"batchItemFailures":[{"itemId":"b"}]}"#,
        ] {
            assert_eq!(again(answer), IDS, "{answer}");
        }
    }
}
