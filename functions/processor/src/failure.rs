//! Failure: why a message failed, and whether and when to retry it, or park it.
//!
//! All of a message's timing is decided here and held together by an assertion: how long one call may take, how many calls
//! a message may need at worst, and so how much time has to be left to begin with one.

use std::time::Duration;

use ledger::{
    bus::PublishError,
    item::NotApplied,
    record::{self, NotRecorded},
    store::StoreError,
};
use runtime::aws::CallLimits;
use shared::{
    envelope::{Environment, NotAnEnvelope},
    webhook::Unreadable,
};

use crate::{inbox::NotFetched, message::Message};

/// For each call to AWS. Answers come within tens of milliseconds; a lost packet does not cost all of it.
pub const CALL_LIMITS: CallLimits =
    CallLimits { attempt: Duration::from_millis(650), total: Duration::from_secs(2), attempts: 3 };

/// The function's timeout in template.yaml.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Time needed when every call runs into its limit. No message is started with less.
pub const RESERVE: Duration = Duration::from_secs(26);

/// The calls of one message, one after the other: fetch its envelope, record it, and then park it or at least delay it.
const MAX_CALLS: u32 = 1 + record::MAX_CALLS + 2;

const _: () = assert!(
    CALL_LIMITS.total.as_millis() * MAX_CALLS as u128 <= RESERVE.as_millis()
        && RESERVE.as_millis() < TIMEOUT.as_millis(),
    "a message that is begun can be finished before the function's time is over"
);

/// The receive at which a failing message is parked with its reason, 20 to 40 minutes after the first. SQS moves one by
/// itself after ten, without a reason: that is for messages that kill the function.
const LAST_RECEIVE: u32 = 8;

/// The same after panics, which repeat.
const LAST_PANIC: u32 = 3;

/// The same for what a newer deployment wrote, which waits for that deployment: eight hours with these delays.
const LAST_RECEIVE_OF_NEWER: u32 = 9;

/// How long such a message waits each time.
const DELAY_OF_NEWER: Duration = Duration::from_hours(1);

/// The longest wait before a message is delivered again.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

/// Why a message failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The function is nearly out of time.
    #[error("there is too little time left")]
    NoTime,
    /// Its envelope could not be fetched.
    #[error("{0}")]
    NotFetched(#[from] NotFetched),
    /// It is not an envelope.
    #[error("{0}")]
    NotAnEnvelope(#[from] NotAnEnvelope),
    /// The body cannot be read.
    #[error("{0}")]
    Unreadable(#[from] Unreadable),
    /// It belongs to another stack.
    #[error("the webhook is from the {webhook} environment, but this stack is {stack}")]
    OtherEnvironment {
        /// The webhook's.
        webhook: Environment,
        /// This stack's.
        stack: Environment,
    },
    /// It could not be recorded.
    #[error("{0}")]
    NotRecorded(#[from] NotRecorded),
    /// A bug.
    #[error("a bug: the code panicked on this message")]
    Panicked,
}

/// What to do with a failed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Deliver it again after a while.
    Retry(Duration),
    /// Move it to the dead-letter queue, with the reason.
    Park,
}

impl Failure {
    /// What to do about it.
    pub fn remedy(&self, message: &Message) -> Remedy {
        match self {
            Self::NoTime => Remedy::Retry(backoff(message)),
            // A newer deployment was rolled back. Only its return helps.
            Self::NotAnEnvelope(NotAnEnvelope::Newer) | Self::NotRecorded(NotRecorded::Store(StoreError::Newer)) => {
                retry_until(LAST_RECEIVE_OF_NEWER, message, DELAY_OF_NEWER)
            }
            Self::NotFetched(NotFetched::Permanent(_))
            | Self::NotAnEnvelope(_)
            | Self::Unreadable(_)
            | Self::OtherEnvironment { .. }
            | Self::NotRecorded(
                NotRecorded::Store(StoreError::Permanent(_))
                | NotRecorded::NotApplied(NotApplied::OtherAccount)
                | NotRecorded::Unpublished(_, PublishError::Permanent(_)),
            ) => Remedy::Park,
            Self::Panicked | Self::NotRecorded(NotRecorded::Panicked) => {
                retry_until(LAST_PANIC, message, backoff(message))
            }
            Self::NotFetched(NotFetched::Transient(_)) | Self::NotRecorded(_) => {
                retry_until(LAST_RECEIVE, message, backoff(message))
            }
        }
    }
}

fn retry_until(last_receive: u32, message: &Message, delay: Duration) -> Remedy {
    if message.receive_count() >= last_receive { Remedy::Park } else { Remedy::Retry(delay) }
}

/// How long a message waits for its next delivery: 5 s, tripling up to 15 minutes, minus up to half.
///
/// What is taken off depends on the message's id, so that messages that failed together do not come back together.
pub fn backoff(message: &Message) -> Duration {
    let exponent = message.receive_count().saturating_sub(1).min(6);
    let longest = (5 * 3_u64.pow(exponent)).min(LONGEST_DELAY.as_secs());
    let spread = message.id.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Duration::from_secs(longest - spread % (longest / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, receive_count: u32) -> Message {
        let count = receive_count.to_string();
        let json = serde_json::json!({ "messageId": id, "attributes": { "ApproximateReceiveCount": count } });
        serde_json::from_str(&json.to_string()).unwrap()
    }

    #[test]
    fn the_delay_grows_with_each_receive_up_to_a_quarter_of_an_hour() {
        for id in ["m-1", "059f36b4-87a3-44ab-83d2-661975830a7d", ""] {
            let delays: Vec<_> = (1..=12).map(|count| backoff(&message(id, count)).as_secs()).collect();
            for (delay, longest) in delays.iter().zip([5, 15, 45, 135, 405, 900, 900, 900, 900, 900, 900, 900]) {
                assert!((longest / 2..=longest).contains(delay), "{id}: {delays:?}");
            }
            assert!(delays.windows(2).take(4).all(|pair| pair[0] < pair[1]), "{id}: {delays:?}");
        }
        assert!(backoff(&message("m", 0)).as_secs() >= 2);
        assert!(backoff(&message("m", u32::MAX)).as_secs() <= 900);
    }

    #[test]
    fn messages_that_failed_together_come_back_apart() {
        let delays: std::collections::BTreeSet<_> =
            (0..100).map(|n| backoff(&message(&format!("message-{n}"), 4))).collect();
        assert!(delays.len() > 30, "{}", delays.len());
    }

    #[test]
    fn what_may_pass_is_retried_and_parked_in_the_end() {
        let transient = Failure::NotRecorded(NotRecorded::Contended);
        let panic = Failure::NotRecorded(NotRecorded::Panicked);
        for (failure, last) in [(transient, 8), (panic, 3), (Failure::Panicked, 3)] {
            let remedy = |count| failure.remedy(&message("m", count));
            assert!(matches!(remedy(last - 1), Remedy::Retry(_)), "{failure}");
            assert_eq!(remedy(last), Remedy::Park, "{failure}");
        }
    }

    #[test]
    fn a_message_of_a_newer_deployment_waits_hours_for_its_return() {
        for failure in
            [Failure::NotAnEnvelope(NotAnEnvelope::Newer), Failure::NotRecorded(NotRecorded::Store(StoreError::Newer))]
        {
            assert_eq!(failure.remedy(&message("m", 8)), Remedy::Retry(Duration::from_hours(1)), "{failure}");
            assert_eq!(failure.remedy(&message("m", 9)), Remedy::Park, "{failure}: with a reason, before SQS moves it");
        }
    }

    #[test]
    fn what_is_hopeless_is_parked_at_once() {
        for failure in [
            Failure::NotAnEnvelope(NotAnEnvelope::Malformed),
            Failure::Unreadable(Unreadable::NotJson),
            Failure::OtherEnvironment { webhook: Environment::Live, stack: Environment::Test },
            Failure::NotRecorded(NotRecorded::Store(StoreError::Permanent(String::new()))),
            Failure::NotRecorded(NotRecorded::NotApplied(NotApplied::OtherAccount)),
            Failure::NotRecorded(NotRecorded::Unpublished(1, PublishError::Permanent(String::new()))),
            Failure::NotFetched(NotFetched::Permanent("gone")),
        ] {
            assert_eq!(failure.remedy(&message("m", 1)), Remedy::Park, "{failure}");
        }
        let full = Failure::NotRecorded(NotRecorded::NotApplied(NotApplied::OutboxFull));
        assert!(matches!(full.remedy(&message("m", 1)), Remedy::Retry(_)));
    }
}
