//! Any body: it comes out of the queue as it went in. Any text: it is an envelope or none, and nothing panics.

use serde_json::Value;
use shared::envelope::Envelope;

use crate::fixture;

pub(super) fn check(bytes: &[u8]) {
    travels(&of(bytes));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(envelope) = Envelope::open(text)
    {
        assert_eq!(Envelope::open(&envelope.seal()), Ok(envelope));
    }
}

/// A body in an envelope of the receiver.
pub(super) fn of(body: &[u8]) -> Envelope {
    Envelope { delivery: fixture::delivery(), body: body.to_vec() }
}

/// The queue takes it, and it comes out as it went in.
pub(super) fn travels(envelope: &Envelope) {
    let text = envelope.seal();
    let refused = text.chars().find(|c| {
        !matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
    });
    assert_eq!(refused, None, "SQS does not take it");
    assert_eq!(Envelope::open(&text).as_ref(), Ok(envelope));
}

/// Bodies as they are, and envelopes.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies = fixture::webhooks().into_iter().map(|(_, body)| body);
    bodies.chain(messages()).map(String::into_bytes).collect()
}

/// The messages in `events/`.
pub(super) fn messages() -> impl Iterator<Item = String> {
    let names = fixture::names("").into_iter().filter(|name| name.starts_with("sqs-"));
    names.flat_map(|name| {
        let event: Value = serde_json::from_str(&fixture::event(&name)).unwrap();
        let records = event["Records"].as_array().unwrap();
        records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    })
}
