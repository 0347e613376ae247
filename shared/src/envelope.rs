//! Envelope: one webhook as it travels over the queue. Sealed by the receiver, opened by the processor.
//!
//! The body reaches the processor byte for byte as received. Text that SQS can carry stays text, so that a person can read
//! it in the console; everything else travels as base64, as does text whose JSON escapes would more than double it.
//!
//! **Invariant:** the header `x-callback-token` is never in here, only its label. (Some legacy bodies repeat the token.)

#![expect(
    clippy::disallowed_types,
    reason = "`#[serde(flatten)]` expands to code that names floats; no money is in here"
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
    /// When the receiver received it.
    pub received_at: Timestamp,
    /// The stack's environment.
    pub environment: Environment,
    /// The label of the token digest that matched.
    pub token: String,
    /// The topic in the URL's path, if any.
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

/// Whether a text can be the label of a callback token: 1 to 32 lower-case letters, digits and hyphens.
pub fn is_token_label(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The raw body with the delivery's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The metadata.
    pub delivery: Delivery,
    /// The body as received.
    pub body: Vec<u8>,
}

/// The text cannot be opened as an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnEnvelope {
    /// Not JSON, or a key is missing or has the wrong type.
    #[error("the message is not an envelope")]
    Malformed,
    /// Written by a newer receiver. A newer processor can open it: hand the message back.
    #[error("the envelope was written by a newer receiver; deploy the newer version of the processor again")]
    Newer,
    /// The base64 does not decode.
    #[error("the envelope's body is not base64")]
    Base64,
}

/// The current format version; there has been no other.
const VERSION: u32 = 1;

/// Upper bound of a sealed envelope's metadata, most of it header values of limited length.
const MAX_METADATA_BYTES: usize = 2 * 1024;

/// SQS's maximum message size, attributes included.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Room for the attributes that parking adds.
pub const MAX_PARKING_BYTES: usize = 1024;

/// The largest sealed envelope that goes on the queue; larger ones go to the inbox.
pub const MAX_QUEUED_BYTES: usize = MAX_MESSAGE_BYTES - MAX_PARKING_BYTES;

/// Upper bound of a sealed envelope's size.
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
        let is_accepted = |text: &&str| is_accepted_by_sqs(text);
        let text = std::str::from_utf8(&self.body).ok().filter(is_accepted).map(|text| self.write(Some(text)));
        text.filter(|sealed| sealed.len() <= max_sealed_bytes(self.body.len())).unwrap_or_else(|| self.write(None))
    }

    /// With the body as text, or else as base64.
    fn write(&self, text: Option<&str>) -> String {
        let wire = Wire {
            v: VERSION,
            delivery: Cow::Borrowed(&self.delivery),
            body: text.map(Cow::Borrowed),
            body_base64: text.is_none().then(|| BASE64.encode(&self.body).into()),
        };
        #[expect(clippy::expect_used, reason = "strings and integers under string keys always serialise")]
        serde_json::to_string(&wire).expect("an envelope is always JSON")
    }

    /// Parses what `seal` wrote.
    ///
    /// Every error except `Newer` is permanent: park the message.
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

/// Whether SQS accepts the text inside a JSON string. SQS refuses control characters, which JSON escapes, and U+FFFE and
/// U+FFFF, which JSON does not.
fn is_accepted_by_sqs(text: &str) -> bool {
    !text.contains(['\u{FFFE}', '\u{FFFF}'])
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
    fn text_whose_escapes_more_than_double_it_travels_as_base64() {
        let body = vec![b'\x01'; 4_400_000];
        let text = sealed(&body);
        assert!(text.len() <= max_sealed_bytes(body.len()), "{} bytes", text.len());
        assert_eq!(Envelope::open(&text).unwrap().body, body);
        assert!(sealed(br#"{"a":"\n","b":"c"}"#).contains(r#""body":"#), "a few escapes are fine");
    }

    #[test]
    fn an_envelope_of_the_first_version_is_opened() {
        let text = r#"{"v":1,"id":"d1","received_at":"2026-01-02T03:04:05.678Z","environment":"live","token":"live","body":"{}"}"#;
        let envelope = Envelope::open(text).unwrap();
        assert_eq!(envelope.delivery.id, "d1");
        assert_eq!(envelope.body, b"{}");
    }

    #[test]
    fn a_text_that_is_not_an_envelope_is_refused_with_a_reason() {
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
