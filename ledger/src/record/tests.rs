use std::cell::Cell;

use super::*;
use crate::fixture::{step, update};

/// A table that holds this item and takes no other.
struct Holds(Item);

impl Ledger for Holds {
    async fn get(&self, _: &Key) -> Result<Option<Item>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn insert(&self, _: &Item) -> Result<Write, StoreError> {
        Ok(Write::Found(Box::new(self.0.clone())))
    }

    async fn replace(&self, _: &Item, _: u64) -> Result<Write, StoreError> {
        Ok(Write::Gone)
    }

    async fn clear(&self, _: &Key, _: &[String]) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Bus for Holds {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        events.iter().map(|_| Ok(())).collect()
    }
}

/// Shows a millisecond more each time.
fn clock() -> impl Fn() -> Timestamp {
    let reads = Cell::new(0);
    move || {
        reads.set(reads.get() + 1);
        Timestamp::from_millisecond(reads.get()).unwrap()
    }
}

fn paid(id: &str, amount: &str) -> Update {
    let body = format!(
        r#"{{"id":"inv-1","user_id":"u","external_id":"e","merchant_name":"m","status":"PAID","amount":1,"paid_amount":{amount},"currency":"IDR"}}"#
    );
    update(id, &body)
}

#[test]
fn a_conflict_is_reported_even_if_an_earlier_try_has_published_and_cleared_it() {
    let (first, second) = (paid("d-1", "1"), paid("d-2", "2"));
    let mut item = step(Some(&step(None, &first)), &second);
    item.outbox.clear();
    let holds = Holds(item);
    let (recorded, took) = record(&holds, &holds, &[second, first, paid("d-3", "2")], clock()).now_or_never().unwrap();
    assert_eq!(
        recorded,
        [
            Ok(Recorded::Applied { events: 0, without_body: 0, conflict: true }),
            Ok(Recorded::Duplicate),
            Ok(Recorded::Duplicate)
        ]
    );
    assert_eq!((took.apply.as_millis(), took.publish.as_millis()), (1, 1));
}

/// A bus that is down.
struct Down;

impl Bus for Down {
    async fn publish(&self, events: &[&DomainEvent]) -> Vec<Result<(), PublishError>> {
        events.iter().map(|_| Err(PublishError::Transient(String::new()))).collect()
    }
}

#[test]
fn no_message_of_a_delivery_is_done_before_its_events_are_published() {
    let update = paid("d-1", "1");
    let holds = Holds(step(None, &update));
    let (recorded, _) = record(&holds, &Down, &[update.clone(), update], clock()).now_or_never().unwrap();
    assert!(recorded.iter().all(|it| matches!(it, Err(NotRecorded::Unpublished(1, _)))), "{recorded:?}");
}
