//! Token: any request is accepted if and only if it has exactly one token, and that one is accepted.
//!
//! An input is HTTP header lines, an empty line, and the body.

use std::sync::LazyLock;

use jiff::Timestamp;
use lambda_http::http::{HeaderName, HeaderValue, Request};
use receiver::verify::{Arrival, Digest, Rejection, TOKEN_HEADER, Tokens};
use serde_json::Value;
use shared::envelope::Environment;

use super::envelope;
use crate::fixture::{self, LOCAL_TOKEN};

const ACCEPTED: [(&str, &str); 2] = [("local", LOCAL_TOKEN), ("next", "another-token-0123456789")];

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let entries = ACCEPTED.map(|(label, token)| format!("{label}={}", Digest::of(token.as_bytes())));
    entries.join(",").parse().unwrap()
});

pub(super) fn check(bytes: &[u8]) {
    let (headers, body) = read(bytes);
    let mut request = Request::post("/webhook");
    for (name, value) in &headers {
        request = request.header(*name, *value);
    }
    // More headers than a request can have are an error.
    let Ok(request) = request.body(body.to_vec()) else { return };
    let arrival = Arrival { id: "d-1".to_owned(), at: Timestamp::UNIX_EPOCH };
    let outcome = TOKENS.verify(request).map(|verified| verified.into_envelope(arrival, Environment::Test, None));

    let names_token = |name: &[u8]| name.eq_ignore_ascii_case(TOKEN_HEADER.as_bytes());
    let tokens: Vec<_> = headers.iter().filter(|(name, _)| names_token(name)).map(|(_, token)| *token).collect();
    let expected = match *tokens.as_slice() {
        [] | [b""] => Err(Rejection::Missing),
        [token] => ACCEPTED.iter().find(|(_, accepted)| accepted.as_bytes() == token).ok_or(Rejection::Wrong),
        _ => Err(Rejection::Repeated),
    };
    match (outcome, expected) {
        (Ok(sealed), Ok((label, _))) => {
            assert_eq!(sealed.delivery.token, *label);
            assert_eq!(sealed.body, body);
            envelope::assert_survives_the_queue(&sealed);
        }
        (outcome, expected) => assert_eq!(outcome.err(), expected.err()),
    }
}

/// A header's name and value.
type Header<'a> = (&'a [u8], &'a [u8]);

/// The valid headers, and the body.
fn read(bytes: &[u8]) -> (Vec<Header<'_>>, &[u8]) {
    let end = bytes.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let headers = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let valid = HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok();
        valid.then_some((name, value))
    });
    (headers.collect(), body)
}

/// The requests in `events/`.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let requests = fixture::events_named("api-").into_iter().map(|event| {
        let event: Value = serde_json::from_str(&event).unwrap();
        let headers = event["headers"].as_object().unwrap().iter();
        let head: Vec<_> = headers.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())).collect();
        format!("{}\n\n{}", head.join("\n"), event["body"].as_str().unwrap()).into_bytes()
    });
    requests.collect()
}
