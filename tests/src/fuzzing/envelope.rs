//! Envelope: any body passes through the queue unchanged, and opening any text as an envelope does not panic.

use serde_json::Value;
use shared::envelope::Envelope;

use crate::fixture;

pub(super) fn check(bytes: &[u8]) {
    assert_survives_the_queue(&of(bytes));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(envelope) = Envelope::open(text)
    {
        assert_eq!(Envelope::open(&envelope.seal()), Ok(envelope));
    }
}

/// A body in an envelope, as the receiver creates it.
pub(super) fn of(body: &[u8]) -> Envelope {
    Envelope { delivery: fixture::delivery(), body: body.to_vec() }
}

/// Asserts that SQS accepts the envelope, and that it opens unchanged.
pub(super) fn assert_survives_the_queue(envelope: &Envelope) {
    let text = envelope.seal();
    let refused = text.chars().find(|c| {
        !matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
    });
    assert_eq!(refused, None, "SQS does not accept this character");
    assert_eq!(Envelope::open(&text).as_ref(), Ok(envelope));
}

/// Bodies, and sealed envelopes.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies = fixture::webhooks().into_iter().map(|(_, body)| body);
    bodies.chain(messages()).map(String::into_bytes).collect()
}

/// The messages in `events/`.
pub(super) fn messages() -> impl Iterator<Item = String> {
    fixture::events_named("sqs-").into_iter().flat_map(|event| {
        let event: Value = serde_json::from_str(&event).unwrap();
        let records = event["Records"].as_array().unwrap();
        records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    })
}
