//! Catalogue: every webhook that is known, for people and tools to list. Derived from the tables by which webhooks
//! are recognised, so that it cannot say anything else.

use super::{
    product::{Form, Product, Url},
    wire::Thing,
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
    url: Url,
}

impl Entry {
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
    let Product { name, url, form, events } = T::PRODUCT;
    events.iter().map(move |event| {
        let mut stages: Vec<Stage> = event.phases().map(Into::into).collect();
        stages.sort_unstable();
        stages.dedup();
        Entry { product: name, event: event.name, is_named: !matches!(form, Form::Unnamed), stages, url }
    })
}
