//! Poller: how Lambda's SQS event source reads what a function answers, as AWS documents partial batch responses with
//! `ReportBatchItemFailures` on. The local stack, the stories and the simulation all read answers with this.
//!
//! **Invariant:** a model of AWS and of nothing else. It knows neither of the two functions.

use std::collections::BTreeSet;

use serde_json::Value;

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
