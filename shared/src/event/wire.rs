//! Wire: a webhook once it is read, whichever product sent it and in whatever form: what stands around the thing, the
//! keys that most things have, and the thing's own.
//!
//! **Invariant:** the envelope's `created` is the time of the delivery attempt in many products. It is read for the
//! one product whose things carry no time at all.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    body::{Body, Digits, Field, Text},
    catalogue::{self, Entry},
    product::{Head, Named, Product},
};
use crate::{
    lifecycle::Stage,
    money::{Currency, Money},
    observation::{Drift, Observation, Unknown},
};

/// What one product tells of: the keys that are its own, and what they mean.
///
/// A field is typed where something acts on it. Everything else stays in the body, which travels whole.
pub(super) trait Thing: fmt::Debug + DeserializeOwned {
    /// The phases of its kind.
    type Phase: Copy + fmt::Debug + Into<Stage> + 'static;

    /// The product's webhooks.
    const PRODUCT: Product<Self::Phase>;

    /// The currency of amounts beside which none is named, where the product was sold in one country only.
    const CURRENCY: Option<fn() -> Currency> = None;

    /// What the webhook says. An error is why it does not say enough to be acted on.
    fn observe(wire: &Wire<Self>, drift: &mut Vec<Drift>) -> Result<Observation, Unknown>;
}

/// A webhook that has been read.
#[derive(Debug)]
pub(super) struct Wire<T: Thing> {
    event: &'static Named<T::Phase>,
    /// What stands around the thing. Nothing, where the body is the thing.
    pub(super) around: Around,
    /// What most things have.
    pub(super) common: Common,
    /// What this one has besides.
    pub(super) thing: T,
}

/// The keys around the thing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Around {
    business_id: Field<Text>,
    pub(super) created: Field<Timestamp>,
}

/// The keys that several products use with one meaning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    // The account: the newer word, the older ones.
    business_id: Field<Text>,
    user_id: Field<Text>,
    owner_id: Field<Text>,
    // The merchant's reference: the newer word, the older one.
    reference_id: Field<Text>,
    external_id: Field<Text>,
    pub(super) status: Field<Text>,
    // The channel: the newer word, the older one.
    channel_code: Field<Text>,
    bank_code: Field<Text>,
    failure_code: Field<Text>,
    pub(super) currency: Field<Currency>,
    // The times: the usual words, those of disputes and bill payments.
    updated: Field<Timestamp>,
    updated_at: Field<Timestamp>,
    created: Field<Timestamp>,
    created_at: Field<Timestamp>,
}

impl<T: Thing> Wire<T> {
    /// Reads a body that is one of this product's webhooks; `None` if it is not.
    pub(super) fn read(head: Head<'_>, body: &Body<'_>) -> Option<Result<Self, Unknown>> {
        let event = T::PRODUCT.event(head)?;
        Some(T::PRODUCT.form.inside(body).and_then(|inside| {
            let around = if inside.is_some() { body.object()? } else { Around::default() };
            let object = inside.as_ref().unwrap_or(body);
            Ok(Self { event, around, common: object.object()?, thing: object.object()? })
        }))
    }

    /// The phase that the event's name and the thing's status stand for.
    pub(super) fn phase(&self, drift: &mut Vec<Drift>) -> Result<T::Phase, Unknown> {
        self.phase_of(&self.common.status, "status", drift)
    }

    /// The same for a thing whose status is under another key.
    pub(super) fn phase_of(
        &self,
        status: &Field<Text>,
        path: &'static str,
        drift: &mut Vec<Drift>,
    ) -> Result<T::Phase, Unknown> {
        self.event.phase(status, path, drift)
    }

    /// What the catalogue says of it.
    pub(super) fn entry(&self) -> Entry {
        catalogue::entry::<T>(self.event)
    }

    /// The exact name of the event.
    pub(super) fn event_name(&self) -> &'static str {
        self.event.name
    }

    /// The observation, but for the money.
    pub(super) fn observation(&self, id: String, phase: T::Phase, drift: &mut Vec<Drift>) -> Observation {
        let common = &self.common;
        let mut observation = Observation::new(self.event.name, phase.into(), id);
        // The envelope's account is Xendit's answer to "whose", where the thing names another.
        observation.account = first(
            [
                (&self.around.business_id, "business_id"),
                (&common.business_id, "business_id"),
                (&common.user_id, "user_id"),
                (&common.owner_id, "owner_id"),
            ],
            drift,
        );
        observation.reference =
            first([(&common.reference_id, "reference_id"), (&common.external_id, "external_id")], drift);
        observation.channel = first([(&common.channel_code, "channel_code"), (&common.bank_code, "bank_code")], drift);
        observation.status = common.status.text("status", drift);
        observation.failure_code = common.failure_code.text("failure_code", drift);
        observation.occurred_at = self
            .updated(drift)
            .or_else(|| common.created.time("created", drift).or_else(|| common.created_at.time("created_at", drift)));
        observation
    }

    /// When the thing was updated last.
    pub(super) fn updated(&self, drift: &mut Vec<Drift>) -> Option<Timestamp> {
        let common = &self.common;
        common.updated.time("updated", drift).or_else(|| common.updated_at.time("updated_at", drift))
    }

    /// An amount in the thing's currency, or in the one that the product implies where none is named. A currency that
    /// cannot be read is not one that is missing.
    pub(super) fn money(&self, amount: &Field<Digits>, path: &'static str, drift: &mut Vec<Drift>) -> Option<Money> {
        let amount = amount.seen(path, drift)?.0;
        let currency = match (&self.common.currency, T::CURRENCY) {
            (Field::Absent, Some(implied)) => implied(),
            (told, _) => told.seen("currency", drift)?.clone(),
        };
        Some(Money { amount, currency })
    }
}

/// The first of several fields that says anything.
fn first<const N: usize>(fields: [(&Field<Text>, &'static str); N], drift: &mut Vec<Drift>) -> Option<String> {
    fields.into_iter().find_map(|(field, path)| field.text(path, drift))
}
