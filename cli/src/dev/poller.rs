//! Poller: plays Lambda's SQS event source, as AWS documents it, with `ReportBatchItemFailures` on.
//!
//! It takes messages off the queue, invokes the processor with them, reads the bytes that come back, and deletes what
//! was not reported as failed. Failed messages stay, and come again when their visibility timeout ends.

use std::collections::HashSet;

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
use shared::envelope::Envelope;
use tokio::sync::mpsc::UnboundedSender;

use super::{children::Functions, gateway, local_aws::LocalAws};

pub(super) struct Poller {
    aws: LocalAws,
    functions: Functions,
    settled: UnboundedSender<String>,
}

impl Poller {
    /// `settled` is told the delivery of each message that has been deleted.
    pub(super) fn new(aws: LocalAws, functions: Functions, settled: UnboundedSender<String>) -> Self {
        Self { aws, functions, settled }
    }

    /// Polls until it is stopped. Errors are the children's to report: a poller's own would only repeat them.
    pub(super) async fn run(self) {
        loop {
            let Ok(messages) = self.aws.receive().await else { continue };
            if messages.is_empty() {
                continue;
            }
            let event = json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() });
            let answer = gateway::invoke(self.functions.invocations("processor"), event.to_string()).await;
            let ids: Vec<_> = messages.iter().map(|message| message.message_id().unwrap_or_default()).collect();
            let again = match &answer {
                Ok(answer) => come_again(&ids, answer),
                Err(_) => ids.iter().copied().collect(),
            };
            for message in messages.iter().filter(|message| !again.contains(message.message_id().unwrap_or_default())) {
                if self.aws.delete(message).await.is_ok()
                    && let Ok(envelope) = Envelope::open(message.body().unwrap_or_default())
                {
                    let _ = self.settled.send(envelope.delivery.id);
                }
            }
        }
    }
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

/// Which messages of a batch come again, by the bytes that the function returned.
///
/// As AWS documents partial batch responses: an empty object, null, and an empty or null list are a success of the
/// whole batch; an empty, null or unknown `itemIdentifier`, a wrong key, and anything that is not JSON are its failure.
fn come_again<'a>(ids: &[&'a str], answer: &[u8]) -> HashSet<&'a str> {
    let all = || ids.iter().copied().collect();
    let list = match serde_json::from_slice(answer) {
        Ok(Value::Null) => return HashSet::new(),
        Ok(Value::Object(mut object)) => match object.remove("batchItemFailures") {
            None | Some(Value::Null) => return HashSet::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return all(),
        },
        _ => return all(),
    };
    let named: Option<HashSet<_>> = list
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
        let mut ids: Vec<_> = come_again(&IDS, answer.as_bytes()).into_iter().collect();
        ids.sort_unstable();
        ids
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
