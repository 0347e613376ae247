//! Canary: a webhook that Xendit never sends. `xendit-hooks smoke` sends it to see that a stack works, from the URL to the ledger.
//!
//! It takes the way of every webhook: the receiver knows nothing about it.
//!
//! **Invariant:** it publishes nothing, holds no money, and is about one subject only, whose history is bounded. So that any number
//! of canaries leaves one item in the ledger.

use jiff::Timestamp;

use crate::{
    lifecycle::{CanaryPhase, Stage},
    object::Fields,
    observation::Unknown,
    product::{Event, Form, Product, Url},
    resource::{COMMON, MarkedBy, Resource},
};

/// The name of its event.
pub const EVENT: &str = "xendit_hooks.canary";

/// The one subject that it may be about.
pub const ID: &str = "xendit-hooks";

/// The topic in its URL. The receiver logs it, so that who counts webhooks can leave canaries out.
pub const TOPIC: &str = "canary";

/// The body of a canary that is sent at a time.
pub fn body(sent_at: Timestamp) -> String {
    format!(r#"{{"event":"{EVENT}","id":"{ID}","updated":"{sent_at}"}}"#)
}

const CANARIES: Resource = Resource {
    reference: &[],
    channel: &[],
    // Each one is news, so that the history shows it.
    marked_by: MarkedBy::Updated,
    ..COMMON
};

pub(crate) const CANARY: Product = Product {
    name: "Xendit Hooks",
    url: Url::Request(TOPIC),
    form: Form::Flat,
    resource: &CANARIES,
    events: &[Event::by_rule(EVENT, &[Stage::Canary(CanaryPhase::Seen)], only_one)],
};

/// Another id would be another item.
fn only_one(fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
    match fields.text("id").as_deref() {
        Some(ID) => Ok(Stage::Canary(CanaryPhase::Seen)),
        Some(_) => Err(Unknown::Value("id")),
        None => Err(Unknown::Missing("id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::{Webhook, catalogue};

    #[test]
    fn a_canary_is_recognised_with_its_time_and_is_no_webhook_of_xendits() {
        let at: Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let (body, seen) = (body(at), |body: &str| Webhook::parse(body.as_bytes(), None).unwrap().observe());
        let canary = seen(&body);
        assert_eq!((canary.stage.as_str(), canary.id.as_str(), canary.occurred_at), ("canary.seen", ID, Some(at)));
        assert!(canary.mark.is_some() && canary.unknown.is_none() && canary.drift.is_empty());
        assert!(catalogue().all(|entry| entry.event != EVENT && !entry.stages.contains(&canary.stage)));
    }

    #[test]
    fn a_canary_cannot_be_about_another_subject_or_hold_money() {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let other = body(at).replace(ID, "another");
        let other = Webhook::parse(other.as_bytes(), None).unwrap().observe();
        assert_eq!((other.stage.as_str(), other.unknown), ("unknown.received", Some(Unknown::Value("id"))));
        let rich =
            body(at).replace("\"id\"", r#""amount":100,"paid_amount":100,"currency":"IDR","reference_id":"r","id""#);
        let rich = Webhook::parse(rich.as_bytes(), None).unwrap().observe();
        assert_eq!((rich.stage.as_str(), rich.paid, rich.requested, rich.reference), ("canary.seen", None, None, None));
        assert!(rich.stage.money_stage().is_none() && !rich.stage.moved_money() && !rich.stage.is_open());
    }
}
