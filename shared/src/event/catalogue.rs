//! Catalogue: every webhook that is known, for people and tools to list. Derived from the tables by which webhooks
//! are recognised and from the structs into which they are read, so that it cannot say anything else.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};

use super::{
    product::{Form, Named, Product, Url},
    wire::{Common, Thing},
};
use crate::lifecycle::Stage;

/// One webhook that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The product, as the dashboard calls it.
    pub product: &'static str,
    /// The name under which it is observed.
    pub event: &'static str,
    /// Whether the name stands in the body's `event`. Otherwise it is ours, and the body is known by its keys.
    pub is_named: bool,
    /// What it can say.
    pub stages: Vec<Stage>,
    /// What the name alone stands for. `None`: the status decides.
    pub without_status: Option<Stage>,
    /// What each status means; any other is not known. `None`: the status does not matter.
    pub statuses: Option<Vec<(&'static str, Stage)>>,
    /// The keys of the thing that are read because it is this product's. What is under them is not listed.
    pub keys: &'static [&'static str],
    url: Url,
}

impl Entry {
    /// The keys that are read wherever a thing has them, whichever product's it is.
    pub fn common_keys() -> &'static [&'static str] {
        keys::<Common>()
    }

    /// The type under which the callback-URL API sets the webhook's URL. `None`: that is done elsewhere.
    pub fn callback_type(&self) -> Option<String> {
        match self.url {
            Url::Api(callback_type) => Some(callback_type.to_owned()),
            Url::ApiByEvent => Some(self.event.replace('.', "_")),
            Url::Dashboard(_) | Url::Request(_) => None,
        }
    }

    /// The topic for the path of the webhook's URL: the callback type where there is one.
    pub fn topic(&self) -> String {
        match self.url {
            Url::Api(topic) | Url::Dashboard(topic) | Url::Request(topic) => topic.to_owned(),
            Url::ApiByEvent => self.event.replace('.', "_"),
        }
    }
}

/// The entries of one product.
pub(super) fn entries<T: Thing>() -> impl Iterator<Item = Entry> {
    T::PRODUCT.events.iter().map(entry::<T>)
}

/// The entry of one event.
pub(super) fn entry<T: Thing>(event: &'static Named<T::Phase>) -> Entry {
    let Product { name, url, form, .. } = T::PRODUCT;
    let mut stages: Vec<Stage> = event.phases().map(Into::into).collect();
    stages.sort_unstable();
    stages.dedup();
    let meaning = |(word, phase): &(&'static str, T::Phase)| (*word, (*phase).into());
    Entry {
        product: name,
        event: event.name,
        is_named: !matches!(form, Form::Unnamed),
        stages,
        without_status: event.phase.map(Into::into),
        statuses: event.statuses.map(|statuses| statuses.iter().map(meaning).collect()),
        keys: keys::<T>(),
        url,
    }
}

/// The keys that a struct reads: its derived `Deserialize` tells them to whoever deserializes it.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    T::deserialize(Ask).err().map_or(&[], |Told(keys)| keys)
}

/// Deserializes nothing. Asked for a struct, it ends with the names of the fields.
struct Ask;

/// What `Ask` was told.
#[derive(Debug)]
struct Told(&'static [&'static str]);

impl<'de> Deserializer<'de> for Ask {
    type Error = Told;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Told> {
        Err(Told(fields))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Told> {
        Err(Told(&[]))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl serde::de::Error for Told {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Self(&[])
    }
}

impl std::error::Error for Told {}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}
