//! Fixture: deliveries, updates and items for the tests of this crate.

use shared::{
    envelope::{Delivery, Environment},
    webhook::Webhook,
};

use crate::{
    item::{Item, Step},
    update::Update,
};

pub(crate) fn delivery(id: &str) -> Delivery {
    Delivery {
        id: id.to_owned(),
        received_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        environment: Environment::Test,
        token: "test".to_owned(),
        topic: None,
        webhook_id: None,
        api_version: None,
        content_type: None,
    }
}

/// An update by a delivery of its own.
pub(crate) fn update(id: &str, body: &str) -> Update {
    Update::new(&Webhook::parse(body.as_bytes(), None).unwrap(), delivery(id))
}

/// The item that an update makes of what is known.
pub(crate) fn step(known: Option<&Item>, update: &Update) -> Item {
    match Item::step(known, update) {
        Ok(Step::Write(item)) => *item,
        other => panic!("{other:?}"),
    }
}
