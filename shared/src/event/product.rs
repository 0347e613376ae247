//! Product: what Xendit says about the webhooks of one of its products. Each family has its own; recognition and the
//! catalogue are derived from them.

use super::body::{Body, Field, Text};
use crate::observation::{Drift, Unknown};

/// The webhooks of one product that are of one form.
pub(super) struct Product<P: 'static> {
    /// The product as the dashboard calls it.
    pub(super) name: &'static str,
    /// Where its URL is set.
    pub(super) url: Url,
    /// Where in the body the thing stands.
    pub(super) form: Form,
    /// Its events.
    pub(super) events: &'static [Named<P>],
}

impl<P> Product<P> {
    /// The event of this product that a head names.
    pub(super) fn event(&self, head: Head<'_>) -> Option<&'static Named<P>> {
        let name = match (head, self.form) {
            (Head::Told(_), Form::Unnamed) => return None,
            (Head::Told(name), Form::Flat | Form::Under(_)) | (Head::Inferred(name), _) => name,
        };
        self.events.iter().find(|event| event.name == name)
    }
}

/// Where the URL of a product's webhooks is set. Everything but `Request` can be set in the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Url {
    /// Through the callback-URL API as well, under this type.
    Api(&'static str),
    /// Through the callback-URL API as well, each event under a type of its own: its name with `_` for `.`.
    ApiByEvent,
    /// In the dashboard only. The topic is a name of ours.
    Dashboard(&'static str),
    /// With each request, as the retired products did. The topic is a name of ours.
    Request(&'static str),
}

/// Where in a body the thing stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// The body is the thing, and names no event.
    Unnamed,
    /// The body is the thing, with the event's name beside it.
    Flat,
    /// The thing is under the first of these paths that leads to an object.
    Under(&'static [&'static [&'static str]]),
}

impl Form {
    /// `{event, business_id, created, data}`, the form of all newer products.
    pub(super) const ENVELOPED: Self = Self::Under(&[&["data"]]);

    /// The object inside the body that is the thing; `None` if the body is.
    pub(super) fn inside<'a>(self, body: &Body<'a>) -> Result<Option<Body<'a>>, Unknown> {
        let Self::Under(paths) = self else { return Ok(None) };
        for path in paths {
            if let Some(object) = body.object_under(path)? {
                return Ok(Some(object));
            }
        }
        Err(Unknown::Missing("data"))
    }
}

/// What tells which event a body is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head<'a> {
    /// The body's `event`.
    Told(&'a str),
    /// Our name for what the body's keys or the topic stand for.
    Inferred(&'static str),
}

/// One event: its name, and which phase it says its subject has reached.
#[derive(Debug)]
pub(super) struct Named<P: 'static> {
    /// The exact value of `event`; for the older webhooks, which have none, our name of the webhook.
    pub(super) name: &'static str,
    /// The phase that the name alone stands for. `None`: the status decides.
    pub(super) phase: Option<P>,
    /// What each status means. A status that is not in here contradicts the name, or is new. `None`: the status is of
    /// another lifecycle.
    pub(super) statuses: Option<&'static [(&'static str, P)]>,
}

impl<P: Copy> Named<P> {
    /// An event whose name stands for a phase. The status may be missing, but must not contradict it.
    pub(super) const fn new(name: &'static str, phase: P, statuses: &'static [(&'static str, P)]) -> Self {
        Self { name, phase: Some(phase), statuses: Some(statuses) }
    }

    /// An event whose name decides.
    pub(super) const fn by_name(name: &'static str, phase: P) -> Self {
        Self { name, phase: Some(phase), statuses: None }
    }

    /// An event whose status decides.
    pub(super) const fn by_status(name: &'static str, statuses: &'static [(&'static str, P)]) -> Self {
        Self { name, phase: None, statuses: Some(statuses) }
    }

    /// The phase. Never a guess: without a usable status, and without a name that stands for a phase, it is unknown.
    pub(super) fn phase(&self, status: &Field<Text>, path: &'static str, drift: &mut Vec<Drift>) -> Result<P, Unknown> {
        let (Some(statuses), Field::Value(_) | Field::Odd(_)) = (self.statuses, status) else {
            return self.phase.ok_or(Unknown::Missing(path));
        };
        let status = status.seen(path, drift).ok_or(Unknown::Missing(path))?.as_str();
        let known = statuses.iter().find(|(word, _)| *word == status);
        known.map(|(_, phase)| *phase).ok_or_else(|| {
            drift.push(Drift { field: path, found: "an unknown value" });
            Unknown::Value(path)
        })
    }

    /// Every phase that the event can stand for.
    pub(super) fn phases(&self) -> impl Iterator<Item = P> {
        self.phase.into_iter().chain(self.statuses.into_iter().flatten().map(|(_, phase)| *phase))
    }
}
