//! Catalogue: every webhook that is known, for people and tools to list. Derived from the tables by which webhooks are
//! recognised and read, so that the two cannot disagree.

use crate::{
    lifecycle::Stage,
    product::{Event, Form, Product, StageFrom, Url},
    products,
};

/// A known webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The product, as the dashboard calls it.
    pub product: &'static str,
    /// The name under which it is observed.
    pub event: &'static str,
    /// Whether the name is in the body's `event`. Otherwise it is ours, and the body is recognised by its keys.
    pub is_named: bool,
    /// The stages that it can report.
    pub stages: Vec<Stage>,
    /// The stage that the name alone stands for. `None`: the status decides.
    pub without_status: Option<Stage>,
    /// What each status means; any other is unknown. `None`: the status does not matter.
    pub statuses: Option<Vec<(&'static str, Stage)>>,
    /// The keys at the top of the object that are read.
    pub keys: Vec<&'static str>,
    url: Url,
}

/// Every known webhook, product by product.
pub fn catalogue() -> impl Iterator<Item = Entry> {
    products::ALL.iter().flat_map(|product| product.events.iter().map(|event| Entry::of(product, event)))
}

impl Entry {
    pub(super) fn of(product: &Product, event: &Event) -> Self {
        let statuses_of = |stages: &[Stage]| -> Vec<_> {
            let is_allowed = |stage| stages.is_empty() || stages.contains(stage);
            product.resource.statuses.iter().filter(|(_, stage)| is_allowed(stage)).copied().collect()
        };
        let (without_status, statuses, allowed) = match event.stage_from {
            StageFrom::ByName(stages) => (stages.first().copied(), Some(statuses_of(stages)), stages),
            StageFrom::ByStatus(stages) => (None, Some(statuses_of(stages)), stages),
            StageFrom::NameOnly(stage) => (Some(stage), None, &[][..]),
            StageFrom::Rule(stages, _) => (None, None, stages),
        };
        let by_status = statuses.iter().flatten().map(|(_, stage)| *stage);
        let mut stages: Vec<_> = by_status.chain(allowed.iter().copied()).chain(without_status).collect();
        stages.sort_unstable();
        stages.dedup();
        Self {
            product: product.name,
            event: event.name,
            is_named: !matches!(product.form, Form::Unnamed),
            stages,
            without_status,
            statuses,
            keys: product.resource.keys(),
            url: product.url,
        }
    }

    /// The type under which the callback-URL API sets the webhook's URL. `None`: it is set elsewhere.
    pub fn callback_type(&self) -> Option<String> {
        match self.url {
            Url::Api(callback_type) => Some(callback_type.to_owned()),
            Url::ApiByEvent => Some(self.event.replace('.', "_")),
            Url::Dashboard(_) | Url::Request(_) => None,
        }
    }

    /// Whether each request sets the webhook's URL, as the retired products did. Any other URL can be set in the dashboard.
    pub const fn is_set_by_request(&self) -> bool {
        matches!(self.url, Url::Request(_))
    }

    /// The topic for the path of the webhook's URL: the callback type where there is one.
    pub fn topic(&self) -> String {
        match self.url {
            Url::Api(topic) | Url::Dashboard(topic) | Url::Request(topic) => topic.to_owned(),
            Url::ApiByEvent => self.event.replace('.', "_"),
        }
    }
}
