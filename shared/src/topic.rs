//! Topic: which of Xendit's products the webhook's URL was set for, taken from the path `/webhook/{topic}`.
//!
//! Older webhooks carry no event name, so the path is a second hint. It never overrides what the body says:
//! people paste the wrong URL into the dashboard.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest topic that is kept. Xendit's own are at most 26 characters.
const MAX_BYTES: usize = 64;

/// A product's name as Xendit's callback-URL API writes it, such as `invoice` or `fva_paid`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topic(String);

/// The text is not a topic: 1 to 64 lower-case letters, digits and underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a topic: a topic is 1 to 64 lower-case letters, digits and underscores")]
pub struct NotATopic;

impl Topic {
    /// The topic's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = NotATopic;

    fn from_str(text: &str) -> Result<Self, NotATopic> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotATopic)
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Topic {
    type Error = NotATopic;

    fn try_from(text: String) -> Result<Self, NotATopic> {
        text.parse()
    }
}

impl From<Topic> for String {
    fn from(topic: Topic) -> Self {
        topic.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_a_short_lower_case_name() {
        assert_eq!("fva_paid".parse::<Topic>().unwrap().as_str(), "fva_paid");
        for text in ["", "Invoice", "a b", "a/b", "a-b", "é", &"x".repeat(65)] {
            assert_eq!(text.parse::<Topic>(), Err(NotATopic), "{text}");
        }
    }
}
