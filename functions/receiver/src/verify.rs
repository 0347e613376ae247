//! Verify: proves that a request is Xendit's, by the `x-callback-token` header. The first arrow of the flow.
//!
//! The function holds only SHA-256 digests of the accepted tokens. They recognise a token, and are of no use to somebody who
//! reads the template, the environment or a memory dump, because a token is 30 or more random characters. Each digest has a
//! label: there are several during a rotation, or one for each sub-account.
//!
//! **Invariant:** `Tokens::verify` is the only way to a `Verified`. `Tokens` cannot be empty, so a missing token never
//! equals a missing digest.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use lambda_http::http::{HeaderMap, Request, header};
use sha2::{Digest as _, Sha256};
use shared::{
    envelope::{Delivery, Envelope, Environment, is_token_label},
    topic::Topic,
};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Xendit's header. Header names are case-insensitive.
pub const TOKEN_HEADER: &str = "x-callback-token";

/// The longest header value that is carried along. Xendit's are UUIDs, dates and a media type.
const MAX_HEADER_BYTES: usize = 128;

/// Lambda holds at most 4 KB of environment, which is 40 digests with their labels.
const MAX_TOKENS: usize = 40;

/// The SHA-256 digest of a callback token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a token.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = BadTokens;

    fn from_str(text: &str) -> Result<Self, BadTokens> {
        let mut digest = Self([0; 32]);
        hex::decode_to_slice(text, &mut digest.0).map_err(|_| BadTokens::Digest)?;
        Ok(digest)
    }
}

/// The accepted tokens: one label and one digest each, at least one in all.
pub struct Tokens(Vec<(String, Digest)>);

/// Why the list is invalid. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokens {
    /// An entry has no `=`.
    #[error("an entry is not label=digest")]
    Pair,
    /// A label has other characters, or is too long.
    #[error("a label is not 1 to 32 lower-case letters, digits and hyphens")]
    Label,
    /// Two entries have one label.
    #[error("a label occurs twice")]
    Repeated,
    /// A digest of the empty string.
    #[error("a digest is that of an empty token: give `xendit-hooks token digest` the token")]
    Empty,
    /// A digest is not 64 hexadecimal digits.
    #[error("a digest is not 64 hexadecimal digits")]
    Digest,
    /// More entries than a function can hold.
    #[error("more than 40 entries")]
    TooMany,
}

impl FromStr for Tokens {
    type Err = BadTokens;

    fn from_str(text: &str) -> Result<Self, BadTokens> {
        let mut tokens: Vec<(String, Digest)> = Vec::new();
        for entry in text.split(',') {
            let (label, digest) = entry.trim().split_once('=').ok_or(BadTokens::Pair)?;
            if !is_token_label(label) {
                return Err(BadTokens::Label);
            }
            if tokens.iter().any(|(other, _)| other == label) {
                return Err(BadTokens::Repeated);
            }
            let digest: Digest = digest.parse()?;
            if digest == Digest::of(b"") {
                return Err(BadTokens::Empty);
            }
            tokens.push((label.to_owned(), digest));
        }
        // `split` yields at least one entry, and an empty one has no `=`: the list is never empty here.
        if tokens.len() > MAX_TOKENS { Err(BadTokens::TooMany) } else { Ok(Self(tokens)) }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(label, _)| label)).finish()
    }
}

/// Why a request is refused. The sender learns only the status 401; the log says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no token header, or nothing in it.
    #[error("no token")]
    Missing,
    /// There is more than one.
    #[error("more than one token")]
    Repeated,
    /// The token is none of the accepted ones.
    #[error("wrong token")]
    Wrong,
}

/// A request that carried an accepted token.
#[derive(Debug)]
pub struct Verified {
    label: String,
    request: Request<Vec<u8>>,
}

impl Tokens {
    /// Accepts a request, or says why not.
    ///
    /// Every digest is compared, each in constant time, so that the time taken tells neither how much of a token was
    /// right nor which label it has.
    pub fn verify(&self, request: Request<Vec<u8>>) -> Result<Verified, Rejection> {
        let mut values = request.headers().get_all(TOKEN_HEADER).iter();
        let token = match (values.next(), values.next()) {
            (Some(token), None) if token.is_empty() => return Err(Rejection::Missing),
            (Some(token), None) => token,
            (Some(_), Some(_)) => return Err(Rejection::Repeated),
            (None, _) => return Err(Rejection::Missing),
        };
        let digest = Digest::of(token.as_bytes());
        let mut found = Choice::from(0);
        let mut index = 0_u8;
        for (candidate, (_, accepted)) in (0_u8..).zip(&self.0) {
            let equal = digest.0.ct_eq(&accepted.0);
            index.conditional_assign(&candidate, equal);
            found |= equal;
        }
        if !bool::from(found) {
            return Err(Rejection::Wrong);
        }
        let label = self.0.get(usize::from(index)).map(|(label, _)| label.clone()).ok_or(Rejection::Wrong)?;
        Ok(Verified { label, request })
    }
}

/// What is known on arrival: an id and a time.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Our id of this delivery.
    pub id: String,
    /// Now.
    pub at: Timestamp,
}

impl Verified {
    /// Puts the request into an envelope: the raw body with the delivery's metadata.
    pub fn into_envelope(self, arrival: Arrival, environment: Environment, topic: Option<Topic>) -> Envelope {
        let (mut parts, body) = self.request.into_parts();
        // A sender may have put the token into another header too, which must not be forwarded.
        let token = parts.headers.remove(TOKEN_HEADER).and_then(|token| token.to_str().map(str::to_owned).ok());
        let value = |name: &str| {
            value(&parts.headers, name).filter(|value| !token.as_ref().is_some_and(|it| value.contains(it)))
        };
        let delivery = Delivery {
            id: arrival.id,
            received_at: arrival.at,
            environment,
            token: self.label,
            topic,
            webhook_id: value("webhook-id"),
            api_version: value("api-version"),
            content_type: value(header::CONTENT_TYPE.as_str()),
        };
        Envelope { delivery, body }
    }
}

/// A header's value, if it is short and visible ASCII as it should be. These headers are informational only.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (1..=MAX_HEADER_BYTES).contains(&value.len()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-xendit-0123456789";

    fn tokens(entries: &[(&str, &str)]) -> Tokens {
        let pairs: Vec<_> =
            entries.iter().map(|(label, token)| format!("{label}={}", Digest::of(token.as_bytes()))).collect();
        pairs.join(",").parse().unwrap()
    }

    fn request(headers: &[(&str, &str)]) -> Request<Vec<u8>> {
        let mut request = Request::post("/webhook");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(b"{}".to_vec()).unwrap()
    }

    fn outcome(tokens: &Tokens, headers: &[(&str, &str)]) -> Result<String, Rejection> {
        tokens.verify(request(headers)).map(|verified| verified.label)
    }

    #[test]
    fn the_right_token_is_accepted_with_its_label() {
        let tokens = tokens(&[("live", "another-token-0123456789"), ("live-old", TOKEN)]);
        assert_eq!(outcome(&tokens, &[("x-callback-token", TOKEN)]), Ok("live-old".to_owned()));
    }

    #[test]
    fn the_header_name_is_case_insensitive() {
        let tokens = tokens(&[("test", TOKEN)]);
        for name in ["X-CALLBACK-TOKEN", "X-Callback-Token", "x-CaLLback-token"] {
            assert_eq!(outcome(&tokens, &[(name, TOKEN)]), Ok("test".to_owned()));
        }
    }

    #[test]
    fn any_other_token_is_refused() {
        let tokens = tokens(&[("test", TOKEN)]);
        let digest = Digest::of(TOKEN.as_bytes()).to_string();
        let longer = format!("{TOKEN}x");
        let twice = format!("{TOKEN},{TOKEN}");
        for wrong in ["x", &TOKEN[1..], &longer, &twice, &TOKEN.to_uppercase(), &digest] {
            assert_eq!(outcome(&tokens, &[("x-callback-token", wrong)]), Err(Rejection::Wrong), "{wrong}");
        }
        assert_eq!(outcome(&tokens, &[]), Err(Rejection::Missing));
        assert_eq!(outcome(&tokens, &[("x-callback-token", "")]), Err(Rejection::Missing));
        assert_eq!(outcome(&tokens, &[("authorization", TOKEN)]), Err(Rejection::Missing));
    }

    #[test]
    fn a_token_that_is_sent_twice_is_refused_even_if_right() {
        let tokens = tokens(&[("test", TOKEN)]);
        let headers = [("x-callback-token", TOKEN), ("X-Callback-Token", TOKEN)];
        assert_eq!(outcome(&tokens, &headers), Err(Rejection::Repeated));
    }

    #[test]
    fn there_are_no_tokens_without_a_digest() {
        let digest = Digest::of(TOKEN.as_bytes());
        let refused = |text: String| text.parse::<Tokens>().unwrap_err();
        assert_eq!(refused(String::new()), BadTokens::Pair);
        assert_eq!(refused("live".to_owned()), BadTokens::Pair);
        assert_eq!(refused("live=".to_owned()), BadTokens::Digest);
        assert_eq!(refused(format!("live={TOKEN}")), BadTokens::Digest);
        assert_eq!(refused(format!("live={digest}00")), BadTokens::Digest);
        assert_eq!(refused(format!("={digest}")), BadTokens::Label);
        assert_eq!(refused(format!("Live={digest}")), BadTokens::Label);
        assert_eq!(refused(format!("live={digest},")), BadTokens::Pair);
        assert_eq!(refused(format!("live={digest},live={digest}")), BadTokens::Repeated);
        assert_eq!(refused(format!("live={digest},old={}", Digest::of(b""))), BadTokens::Empty);
        let many: Vec<_> = (0..=MAX_TOKENS).map(|n| format!("t{n}={digest}")).collect();
        assert_eq!(refused(many.join(",")), BadTokens::TooMany);
    }

    #[test]
    fn the_digest_is_plain_sha_256() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(digest.to_string().to_uppercase().parse::<Digest>().unwrap() == digest);
    }

    #[test]
    fn what_is_printed_for_debugging_holds_labels_only() {
        assert_eq!(format!("{:?}", tokens(&[("live", TOKEN)])), r#"["live"]"#);
    }

    #[test]
    fn a_token_in_another_header_is_not_forwarded() {
        let tokens = tokens(&[("test", TOKEN)]);
        let arrival = Arrival { id: "d1".to_owned(), at: Timestamp::UNIX_EPOCH };
        let inside = format!("id-{TOKEN}");
        let headers = [("x-callback-token", TOKEN), ("webhook-id", &inside)];
        let verified = tokens.verify(request(&headers)).unwrap();
        assert_eq!(verified.into_envelope(arrival, Environment::Test, None).delivery.webhook_id, None);
    }

    #[test]
    fn a_header_that_is_too_long_is_left_behind() {
        let tokens = tokens(&[("test", TOKEN)]);
        let long = "x".repeat(MAX_HEADER_BYTES + 1);
        let headers = [("x-callback-token", TOKEN), ("webhook-id", &*long), ("api-version", "2022-07-31")];
        let arrival = Arrival { id: "d1".to_owned(), at: Timestamp::UNIX_EPOCH };
        let verified = tokens.verify(request(&headers)).unwrap();
        let envelope = verified.into_envelope(arrival, Environment::Test, None);
        assert_eq!(envelope.delivery.webhook_id, None);
        assert_eq!(envelope.delivery.api_version.as_deref(), Some("2022-07-31"));
        assert_eq!(envelope.body, b"{}");
    }
}
