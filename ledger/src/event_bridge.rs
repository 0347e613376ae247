//! The bus in EventBridge.

use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use futures_util::future::join_all;
use runtime::aws::{CallError, call_error};
use shared::domain_event::{DomainEvent, SOURCE};

use crate::bus::{Bus, PublishError};

/// The most entries that one `PutEvents` takes.
const MAX_ENTRIES: usize = 10;

/// Byte limit of one call. AWS allows more in some regions.
const MAX_CALL_BYTES: usize = 240 * 1024;

/// The codes by which EventBridge refuses an entry for its content, by the reference of `PutEvents`. All other codes are
/// temporary, or end when somebody acts.
const PERMANENT: &[&str] = &["InvalidArgument", "MalformedDetail", "RedactionFailure", "ValidationException"];

/// An EventBridge bus.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    name: String,
}

impl EventBridge {
    /// The named bus.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Publishes what fits into one call. A call refused as a whole does not name the entry, so each is then tried alone.
    async fn put(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        let results = self.put_once(events).await;
        if events.len() > 1 && results.iter().all(|result| matches!(result, Err(PublishError::Permanent(_)))) {
            let alone = events.iter().map(|event| self.put_once(std::slice::from_ref(event)));
            return join_all(alone).await.into_iter().flatten().collect();
        }
        results
    }

    /// A 200 may hold failed entries, in the order of the request; an answer without one result for each entry confirms
    /// nothing.
    async fn put_once(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        let entries = events.iter().map(|event| {
            PutEventsRequestEntry::builder()
                .source(SOURCE)
                .detail_type(&event.detail_type)
                .detail(&event.detail)
                .event_bus_name(&self.name)
                .build()
        });
        let all = |error: PublishError| vec![Err(error); events.len()];
        match self.client.put_events().set_entries(Some(entries.collect())).send().await {
            Ok(answer) if answer.entries().len() == events.len() => {
                let result = |failed: Option<&str>| failed.map_or(Ok(()), |code| Err(publish_error(code)));
                let failed = answer.entries().iter().map(|entry| match entry.event_id() {
                    Some(_) => None,
                    None => Some(entry.error_code().unwrap_or("no error code")),
                });
                failed.map(result).collect()
            }
            Ok(_) => all(PublishError::Transient("the answer does not match the request".to_owned())),
            Err(error) => all(match call_error(&error) {
                CallError::Refused(code) => publish_error(&code),
                unanswered @ CallError::Unanswered(_) => PublishError::Transient(unanswered.to_string()),
            }),
        }
    }
}

fn publish_error(code: &str) -> PublishError {
    let is_permanent = PERMANENT.contains(&code);
    (if is_permanent { PublishError::Permanent } else { PublishError::Transient })(code.to_owned())
}

impl Bus for EventBridge {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        let calls = calls(events).map(|call| self.put(call));
        join_all(calls).await.into_iter().flatten().collect()
    }
}

/// Divides events into what fits into one call each.
fn calls<'a, 'e>(events: &'a [&'e DomainEvent]) -> impl Iterator<Item = &'a [&'e DomainEvent]> {
    let mut entries = 1;
    let mut bytes = events.first().map_or(0, |event| event.detail.len());
    events.chunk_by(move |_, next| {
        (entries, bytes) = (entries + 1, bytes + next.detail.len());
        let fits = entries <= MAX_ENTRIES && bytes <= MAX_CALL_BYTES;
        if !fits {
            (entries, bytes) = (1, next.detail.len());
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> DomainEvent {
        DomainEvent { id: String::new(), detail_type: "invoice.paid".to_owned(), detail: "x".repeat(bytes) }
    }

    /// How many events each call holds.
    fn sizes(events: &[DomainEvent]) -> Vec<usize> {
        let events: Vec<_> = events.iter().collect();
        let calls: Vec<_> = calls(&events).collect();
        assert_eq!(calls.concat(), events, "every event once, in order");
        calls.into_iter().map(<[_]>::len).collect()
    }

    #[test]
    fn a_call_holds_ten_events() {
        assert_eq!(sizes(&[]), Vec::<usize>::new());
        assert_eq!(sizes(&vec![event(1); 1]), [1]);
        assert_eq!(sizes(&vec![event(1); 10]), [10]);
        assert_eq!(sizes(&vec![event(1); 23]), [10, 10, 3]);
    }

    #[test]
    fn a_call_holds_no_more_bytes_than_it_may() {
        assert_eq!(sizes(&vec![event(MAX_CALL_BYTES / 2); 5]), [2, 2, 1]);
        assert_eq!(sizes(&[event(1), event(MAX_CALL_BYTES), event(1)]), [1, 1, 1]);
        assert_eq!(sizes(&[event(MAX_CALL_BYTES + 1), event(MAX_CALL_BYTES + 1)]), [1, 1], "the bus refuses, not we");
    }

    #[test]
    fn only_what_is_in_an_entry_makes_a_refusal_permanent() {
        for code in PERMANENT {
            assert!(matches!(publish_error(code), PublishError::Permanent(_)), "{code}");
        }
        for code in
            ["ThrottlingException", "InternalFailure", "AccessDeniedException", "NotAuthorizedForSourceException", ""]
        {
            assert!(matches!(publish_error(code), PublishError::Transient(_)), "{code}");
        }
    }
}
