//! Outcome: what became of a webhook, in one word. Log lines, metric filters and the CLI use the same words.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! outcomes {
    ($(#[doc = $of:literal])+ $name:ident { $( $(#[doc = $doc:literal])+ $outcome:ident $word:literal, )+ }) => {
        $(#[doc = $of])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $( $(#[doc = $doc])+ $outcome ),+ }

        impl $name {
            /// Every outcome.
            pub const ALL: &[Self] = &[$( Self::$outcome ),+];

            /// The word, as it is logged.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$outcome => $word ),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

outcomes! {
    /// What the receiver did with a request.
    Received {
        /// SQS holds the webhook.
        Stored "stored",
        /// S3 holds it, because SQS did not take it.
        StoredInInbox "stored_in_inbox",
        /// No store is known to hold it. Xendit retries.
        NotStored "not_stored",
        /// Not authenticated, or not a webhook path.
        Refused "refused",
    }
}

outcomes! {
    /// What the processor did with a message.
    Processed {
        /// Something new was stored, and published where that is due.
        Applied "applied",
        /// Already known.
        Duplicate "duplicate",
        /// Older than what is known.
        Stale "stale",
        /// It contradicts what is known. Both are kept, and the conflict is published.
        Conflict "conflict",
        /// S3's test notification.
        NoWebhook "no_webhook",
        /// It failed. SQS redelivers it.
        Retry "retry",
        /// It was not started, because the function's time was nearly over. SQS redelivers it.
        NoTime "no_time",
        /// It is in the dead-letter queue, with the reason.
        Parked "parked",
        /// It could not be moved to the dead-letter queue. SQS redelivers it.
        NotParked "not_parked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_written_as_it_is_logged() {
        for outcome in Received::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
        for outcome in Processed::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }
}
