//! Envelope: one webhook as it travels over the queue. Sealed by the receiver, opened by the processor.
//!
//! The body arrives at the processor byte for byte as it came in. Text that a queue message can carry stays text, so that
//! a person can read it in the console; everything else travels as base64, and so does text that JSON's escapes would
//! more than double. So a sealed envelope is never much more than twice its body.
//!
//! **Invariant:** the callback token is never in here, only the label of the digest that it matched.

#![expect(
    clippy::disallowed_types,
    reason = "serde's derive names the floats to flatten a struct; no money is in here"
)]

use std::{borrow::Cow, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// Which of Xendit's two environments a stack receives from. Each has its own webhook URLs and its own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Test mode: no real money.
    Test,
    /// Live mode.
    Live,
}

impl Environment {
    /// `test` or `live`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is neither `test` nor `live`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `test` or `live`")]
pub struct NotAnEnvironment;

impl FromStr for Environment {
    type Err = NotAnEnvironment;

    fn from_str(text: &str) -> Result<Self, NotAnEnvironment> {
        match text {
            "test" => Ok(Self::Test),
            "live" => Ok(Self::Live),
            _ => Err(NotAnEnvironment),
        }
    }
}

/// Where an observation comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A webhook that Xendit delivered.
    #[default]
    Webhook,
}

/// A delivery's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Our id for this delivery: the same in the receiver's log, the answer to Xendit, the ledger and the domain event.
    pub id: String,
    /// When the receiver got it.
    pub received_at: Timestamp,
    /// The stack's environment.
    pub environment: Environment,
    /// The label of the token digest that matched.
    pub token: String,
    /// The product in the path, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// Xendit's `webhook-id` header: usual, not guaranteed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
    /// Xendit's `api-version` header: rare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The `content-type` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// The raw body with the delivery's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The metadata.
    pub delivery: Delivery,
    /// The body's bytes, as they came.
    pub body: Vec<u8>,
}

/// The text is not an envelope that can be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEnvelope {
    /// Not JSON, or a key is missing or of another type.
    #[error("the message is not an envelope")]
    Malformed,
    /// Written by a newer receiver. A newer processor can open it: hand the message back.
    #[error("the envelope was written by a newer version; deploy the processor again")]
    Newer,
    /// The base64 does not decode.
    #[error("the envelope's body is not base64")]
    Base64,
}

/// The version that is written, and the only one that there has been.
const VERSION: u32 = 1;

/// What is in a sealed envelope besides its body: the metadata, most of which are header values of limited length.
const MAX_METADATA_BYTES: usize = 2 * 1024;

/// The most that one SQS message holds, its attributes included.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What is left free in a message for the attributes with which it is parked.
pub const MAX_PARKING_BYTES: usize = 1024;

/// The most that a sealed envelope may hold to go on the queue. A larger one goes to the inbox.
pub const MAX_QUEUED_BYTES: usize = MAX_MESSAGE_BYTES - MAX_PARKING_BYTES;

/// The most that an envelope with a body of a given size holds once it is sealed.
pub const fn max_sealed_bytes(body_bytes: usize) -> usize {
    MAX_METADATA_BYTES + 2 * body_bytes
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    v: u32,
    #[serde(flatten)]
    delivery: Cow<'a, Delivery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<Cow<'a, str>>,
}

impl Envelope {
    /// The text that goes on the queue.
    pub fn seal(&self) -> String {
        let readable = |text: &&str| survives_a_queue(text) && escaped_bytes(text) <= 2 * text.len();
        let text = std::str::from_utf8(&self.body).ok().filter(readable);
        let wire = Wire {
            v: VERSION,
            delivery: Cow::Borrowed(&self.delivery),
            body: text.map(Cow::Borrowed),
            body_base64: text.is_none().then(|| BASE64.encode(&self.body).into()),
        };
        #[expect(clippy::expect_used, reason = "strings and integers under string keys: serde_json refuses none")]
        serde_json::to_string(&wire).expect("an envelope is always JSON")
    }

    /// Reads what `seal` wrote.
    ///
    /// Every error but `Newer` is final: park the message for a person.
    pub fn open(text: &str) -> Result<Self, NotAnEnvelope> {
        let Version { v } = serde_json::from_str(text).map_err(|_| NotAnEnvelope::Malformed)?;
        if v > VERSION {
            return Err(NotAnEnvelope::Newer);
        }
        let wire: Wire<'_> = serde_json::from_str(text).map_err(|_| NotAnEnvelope::Malformed)?;
        let body = match (wire.body, wire.body_base64) {
            (Some(text), None) => text.into_owned().into_bytes(),
            (None, Some(base64)) => BASE64.decode(base64.as_bytes()).map_err(|_| NotAnEnvelope::Base64)?,
            _ => return Err(NotAnEnvelope::Malformed),
        };
        Ok(Self { delivery: wire.delivery.into_owned(), body })
    }
}

/// Whether SQS takes the text once it is inside a JSON string.
///
/// SQS refuses control characters, which JSON escapes, and the two non-characters U+FFFE and U+FFFF, which it does not.
fn survives_a_queue(text: &str) -> bool {
    !text.contains(['\u{FFFE}', '\u{FFFF}'])
}

/// How many bytes a text has inside a JSON string.
fn escaped_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
            0x00..=0x1F => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            id: "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
            received_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: Some("invoice".parse().unwrap()),
            webhook_id: Some("wh-1".to_owned()),
            api_version: None,
            content_type: Some("application/json".to_owned()),
        }
    }

    fn sealed(body: &[u8]) -> String {
        Envelope { delivery: delivery(), body: body.to_vec() }.seal()
    }

    /// The characters that SQS documents as allowed.
    fn sqs_accepts(text: &str) -> bool {
        text.chars().all(|c| {
            matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
        })
    }

    #[test]
    fn a_readable_body_stays_readable() {
        assert!(sealed(br#"{"id":1}"#).contains(r#""body":"{\"id\":1}""#));
    }

    #[test]
    fn a_body_that_is_not_text_travels_as_base64() {
        for body in [&b"\xff\xfe"[..], "\u{FFFF}".as_bytes(), b"\x1f\x8b\x08"] {
            let text = sealed(body);
            assert!(text.contains("body_base64"), "{text}");
            assert_eq!(Envelope::open(&text).unwrap().body, body);
        }
    }

    #[test]
    fn text_that_escapes_would_blow_up_travels_as_base64() {
        let body = vec![b'\x01'; 4_400_000];
        let text = sealed(&body);
        assert!(text.len() <= max_sealed_bytes(body.len()), "{} bytes", text.len());
        assert_eq!(Envelope::open(&text).unwrap().body, body);
        assert!(sealed(br#"{"a":"\n","b":"c"}"#).contains(r#""body":"#), "a few escapes are no reason");
    }

    #[test]
    fn the_escaped_size_is_what_serde_json_writes() {
        let text: String = (0..=0x7F_u8).map(char::from).chain("é\u{2028}\u{1F4B8}".chars()).collect();
        assert_eq!(escaped_bytes(&text) + 2, serde_json::to_string(&text).unwrap().len());
    }

    #[test]
    fn an_envelope_of_the_first_version_is_opened() {
        let text = r#"{"v":1,"id":"d1","received_at":"2026-01-02T03:04:05.678Z","environment":"live","token":"live","body":"{}"}"#;
        let envelope = Envelope::open(text).unwrap();
        assert_eq!(envelope.delivery.id, "d1");
        assert_eq!(envelope.body, b"{}");
    }

    #[test]
    fn what_is_not_an_envelope_says_why() {
        let versioned = |v: u32| format!(r#"{{"v":{v},"id":"x"}}"#);
        assert_eq!(Envelope::open(""), Err(NotAnEnvelope::Malformed));
        assert_eq!(Envelope::open("{}"), Err(NotAnEnvelope::Malformed));
        assert_eq!(Envelope::open(&versioned(1)), Err(NotAnEnvelope::Malformed));
        assert_eq!(Envelope::open(&versioned(2)), Err(NotAnEnvelope::Newer));
        let broken = sealed(b"\xff").replace("/w==", "????");
        assert_eq!(Envelope::open(&broken), Err(NotAnEnvelope::Base64));
        let bodiless = sealed(b"{}").replace(r#""body":"{}""#, r#""nobody":"{}""#);
        assert_eq!(Envelope::open(&bodiless), Err(NotAnEnvelope::Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_come_out_as_they_went_in(body: Vec<u8>) {
            let envelope = Envelope { delivery: delivery(), body };
            let text = envelope.seal();
            prop_assert!(sqs_accepts(&text));
            prop_assert!(text.len() <= max_sealed_bytes(envelope.body.len()));
            prop_assert_eq!(Envelope::open(&text), Ok(envelope));
        }

        #[test]
        fn any_text_comes_out_as_it_went_in(body: String) {
            let envelope = Envelope { delivery: delivery(), body: body.into_bytes() };
            let text = envelope.seal();
            prop_assert!(sqs_accepts(&text));
            prop_assert_eq!(Envelope::open(&text), Ok(envelope));
        }
    }
}
