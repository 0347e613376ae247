//! `inbox`: brings back webhooks that wait in the inbox, the S3 bucket for what the webhook queue could not store.
//!
//! S3 notifies the webhook queue of each object. If that notification never comes, the processor does not know of the object.
//! `plan` finds such objects, and `sweep` sends the notification in S3's place.
//!
//! Whether an object was processed follows from the ledger: its webhook is merged with what is known, as the processor does,
//! and nothing is written. If that changes nothing, it was processed, or says the same as one that was.

mod plan;
mod sweep;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use ledger::{
    dynamo::DynamoLedger,
    item::{Item, NotApplied, Step},
    store::Ledger as _,
    update::Update,
};
use processor::inbox::{Inbox as _, NotFetched, ObjectRef, S3Inbox};
use serde::Serialize;
use shared::{
    envelope::{Envelope, NotAnEnvelope},
    lifecycle::Stage,
    observation::Observation,
    webhook::Webhook,
};

use crate::{plan::RunOptions, stack::Stack};

/// Where the receiver puts objects in the bucket. The processor reads no others.
const PREFIX: &str = "webhooks/";

/// How many objects are read at a time. Each may hold megabytes.
const READS_AT_A_TIME: usize = 4;

/// The format of the JSON output.
const VERSION: u32 = 1;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Find the objects in the inbox that were never processed: prints the list, and changes nothing.
    Plan(plan::Options),
    /// Send the webhook queue a notification of each object of a plan.
    #[command(after_help = sweep::HELP)]
    Sweep(RunOptions),
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Plan(options) => runtime.block_on(plan::run(options)),
        Command::Sweep(options) => runtime.block_on(sweep::run(options)),
    }
}

/// The inbox of a stack, and the ledger that its webhooks end up in.
struct Inbox {
    s3: aws_sdk_s3::Client,
    bucket: String,
    objects: S3Inbox,
    ledger: DynamoLedger,
}

/// An object in the inbox.
#[derive(Clone, Debug)]
struct Object {
    key: String,
    stored_at: Option<Timestamp>,
}

/// An object, and what became of its webhook.
struct Found {
    object: Object,
    state: State,
    /// What the webhook says, if it can be read.
    seen: Option<Observation>,
}

/// What became of a webhook in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The ledger knows what it says, and its events are published.
    Processed,
    /// The ledger does not know what it says.
    NotInLedger,
    /// The ledger has it, but its events wait.
    NotPublished,
    /// The processor could not read it either, and would put it into the dead-letter queue.
    Unreadable(String),
}

/// An object for scripts.
#[derive(Serialize)]
struct Line<'a> {
    version: u32,
    key: &'a str,
    stored_at: Option<Timestamp>,
    delivery: &'a str,
    /// Why it is to be processed.
    state: String,
    event: Option<&'a str>,
    kind: Option<&'static str>,
    phase: Option<&'static str>,
    id: Option<&'a str>,
    reference: Option<&'a str>,
}

impl Inbox {
    async fn of(stack: &Stack) -> Self {
        let aws = stack.aws().await;
        let s3 = aws_sdk_s3::config::Builder::from(&aws)
            // The emulated AWS has no host name for each bucket.
            .force_path_style(aws.endpoint_url().is_some())
            .build();
        let s3 = aws_sdk_s3::Client::from_conf(s3);
        Self {
            objects: S3Inbox::new(s3.clone(), stack.inbox.clone()),
            s3,
            bucket: stack.inbox.clone(),
            ledger: DynamoLedger::new(aws_sdk_dynamodb::Client::new(&aws), stack.table.clone()),
        }
    }

    /// All objects, oldest first.
    async fn list(&self) -> Result<Vec<Object>> {
        let mut pages = self.s3.list_objects_v2().bucket(&self.bucket).prefix(PREFIX).into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(aws_sdk_s3::Error::from);
            let page = page.with_context(|| format!("cannot list the inbox {}", self.bucket))?;
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let stored_at = object.last_modified.and_then(|at| Timestamp::from_second(at.secs()).ok());
                Some(Object { key: object.key?, stored_at })
            }));
        }
        objects.sort_by(|one, other| (one.stored_at, &one.key).cmp(&(other.stored_at, &other.key)));
        Ok(objects)
    }

    /// What became of each object, in their order.
    async fn look_into(&self, objects: impl IntoIterator<Item = Object>) -> Result<Vec<Found>> {
        let found = objects.into_iter().map(async |object| self.look_into_one(object).await);
        stream::iter(found).buffered(READS_AT_A_TIME).try_collect().await
    }

    async fn look_into_one(&self, object: Object) -> Result<Found> {
        let unreadable = |object, why: String| Found { object, state: State::Unreadable(why), seen: None };
        let place = ObjectRef { bucket: self.bucket.clone(), key: object.key.clone() };
        let envelope = match self.objects.fetch(&place).await {
            Ok(sealed) => Envelope::open(&sealed),
            Err(NotFetched::Permanent(why)) => return Ok(unreadable(object, why.to_owned())),
            Err(NotFetched::Transient(why)) => bail!("cannot read {} in the inbox: {why}", object.key),
        };
        let Envelope { delivery, body } = match envelope {
            Ok(envelope) => envelope,
            Err(why @ NotAnEnvelope::Newer) => bail!("{} in the inbox: {why}", object.key),
            Err(why) => return Ok(unreadable(object, why.to_string())),
        };
        let webhook = match Webhook::parse(&body, delivery.topic.as_ref()) {
            Ok(webhook) => webhook,
            Err(why) => return Ok(unreadable(object, why.to_string())),
        };
        let update = Update::new(&webhook, delivery);
        let item = self.ledger.get(&update.key()).await.context("cannot read the ledger")?;
        let state = state(item.as_ref(), &update);
        Ok(Found { object, state, seen: Some(update.observation) })
    }
}

/// What became of a webhook, according to the ledger's item. `None`: there is no item.
fn state(item: Option<&Item>, update: &Update) -> State {
    match Item::step(item, update) {
        Ok(Step::Duplicate | Step::Stale) => {
            let waits = item.is_some_and(|item| !item.pending_of(&update.delivery).is_empty());
            if waits { State::NotPublished } else { State::Processed }
        }
        Ok(Step::Write(_)) | Err(NotApplied::OutboxFull | NotApplied::OtherAccount) => State::NotInLedger,
    }
}

impl Object {
    /// The delivery's id, which a key ends with.
    fn delivery(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Processed => f.write_str("processed"),
            Self::NotInLedger => f.write_str("not in the ledger"),
            Self::NotPublished => f.write_str("its events are not published"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl Found {
    fn line(&self) -> Line<'_> {
        let stage = self.seen.as_ref().map(|seen| seen.stage);
        Line {
            version: VERSION,
            key: &self.object.key,
            stored_at: self.object.stored_at,
            delivery: self.object.delivery(),
            state: self.state.to_string(),
            event: self.seen.as_ref().map(|seen| seen.event.as_str()),
            kind: stage.map(|stage| stage.kind().as_str()),
            phase: stage.map(Stage::phase),
            id: self.seen.as_ref().map(|seen| seen.id.as_str()),
            reference: self.seen.as_ref().and_then(|seen| seen.reference.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::envelope::{Delivery, Environment};

    use super::*;

    fn invoice(delivery: &str, status: &str) -> Update {
        let body = format!(
            r#"{{"id":"i","external_id":"o","user_id":"u","merchant_name":"m","currency":"IDR","status":"{status}",
                "amount":100,"paid_amount":100,"updated":"2026-01-02T03:00:00Z"}}"#
        );
        let delivery = Delivery {
            id: delivery.to_owned(),
            received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        Update::new(&Webhook::parse(body.as_bytes(), None).unwrap(), delivery)
    }

    fn after(known: Option<&Item>, update: &Update) -> Item {
        match Item::step(known, update).unwrap() {
            Step::Write(item) => *item,
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn a_webhook_is_processed_if_it_would_change_nothing_and_its_events_are_out() {
        let paid = invoice("d-1", "PAID");
        assert_eq!(state(None, &paid), State::NotInLedger);
        let mut item = after(None, &paid);
        assert_eq!(state(Some(&item), &paid), State::NotPublished);
        assert_eq!(state(Some(&item), &invoice("d-2", "PAID")), State::Processed, "its events are not its own");
        item.outbox.clear();
        assert_eq!(state(Some(&item), &paid), State::Processed);
        assert_eq!(state(Some(&item), &invoice("d-3", "SETTLED")), State::NotInLedger);
        let settled = after(Some(&item), &invoice("d-3", "SETTLED"));
        assert_eq!(state(Some(&settled), &paid), State::Processed, "an older fact changes nothing");
    }
}
