//! Product: the webhooks of one Xendit product, and where in their bodies the object is. The tables are in `products/`.

use crate::{
    lifecycle::Stage,
    object::{Fields, Object},
    observation::Unknown,
    resource::Resource,
};

/// The webhooks of one product that share a layout.
pub(crate) struct Product {
    /// The product as the dashboard calls it.
    pub(crate) name: &'static str,
    /// Where its URL is set.
    pub(crate) url: Url,
    /// Where in the body its object is.
    pub(crate) form: Form,
    /// How the object is read.
    pub(crate) resource: &'static Resource,
    /// Its events.
    pub(crate) events: &'static [Event],
}

/// Where the URL of a product's webhooks is set. All but `Request` can be set in the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Url {
    /// Through the callback-URL API as well, under this type.
    Api(&'static str),
    /// Through the callback-URL API as well, each event under a type of its own: its name with `_` for `.`.
    ApiByEvent,
    /// In the dashboard only. The topic is a name of ours.
    Dashboard(&'static str),
    /// With each request, as the retired products did. The topic is a name of ours.
    Request(&'static str),
}

/// Where in a body the object is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// The body is the object, and names no event.
    Unnamed,
    /// The body is the object, with the event's name beside it.
    Flat,
    /// As `Flat`, if this key holds an object. Separates products that share an event's name.
    FlatWith(&'static str),
    /// `{event, business_id, created, data}`, the form of all newer products.
    Enveloped,
    /// The object is at the first of these places that holds one.
    Under(&'static [Place]),
}

/// A place in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The keys that lead there.
    pub(crate) path: &'static [&'static str],
    /// A key inside the object whose object holds the remaining fields.
    pub(crate) rest: Option<&'static str>,
}

/// One event: its name, and what decides the stage.
#[derive(Debug)]
pub(crate) struct Event {
    /// The exact value of `event`; for the older webhooks, which have none, our name for the webhook.
    pub(crate) name: &'static str,
    pub(crate) stage_from: StageFrom,
}

/// What decides which stage a subject has reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StageFrom {
    /// The name stands for the first stage. A status is optional, but must map to one of them.
    ByName(&'static [Stage]),
    /// The status decides, and must map to one of these stages; to any, if the list is empty.
    ByStatus(&'static [Stage]),
    /// The name alone decides: the status belongs to another lifecycle.
    NameOnly(Stage),
    /// A rule decides, for one of these stages.
    Rule(&'static [Stage], Rule),
}

/// A rule that finds the stage in an object's fields.
pub(crate) type Rule = fn(&mut Fields<'_, '_>) -> Result<Stage, Unknown>;

impl Event {
    /// An event whose name stands for the first of these stages, and whose status may say one of the others.
    pub(crate) const fn new(name: &'static str, stages: &'static [Stage]) -> Self {
        Self { name, stage_from: StageFrom::ByName(stages) }
    }

    /// An event whose status decides.
    pub(crate) const fn by_status(name: &'static str) -> Self {
        Self { name, stage_from: StageFrom::ByStatus(&[]) }
    }

    /// An event whose status decides between these stages.
    pub(crate) const fn by_status_among(name: &'static str, stages: &'static [Stage]) -> Self {
        Self { name, stage_from: StageFrom::ByStatus(stages) }
    }

    /// An event whose name decides, whatever the status.
    pub(crate) const fn by_name_only(name: &'static str, stage: Stage) -> Self {
        Self { name, stage_from: StageFrom::NameOnly(stage) }
    }

    /// An event with a rule of its own.
    pub(crate) const fn by_rule(name: &'static str, stages: &'static [Stage], rule: Rule) -> Self {
        Self { name, stage_from: StageFrom::Rule(stages, rule) }
    }

    /// The stage. Never a guess: without a usable status, and without a name that stands for a stage, it is unknown.
    pub(crate) fn stage(&self, resource: &Resource, fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
        let field = resource.status_field();
        let (stage, stages) = match self.stage_from {
            StageFrom::NameOnly(stage) => return Ok(stage),
            StageFrom::Rule(_, rule) => return rule(fields),
            StageFrom::ByStatus(stages) => (resource.stage(fields)?, stages),
            StageFrom::ByName(stages) => (resource.stage(fields)?.or_else(|| stages.first().copied()), stages),
        };
        let stage = stage.ok_or(Unknown::Missing(field))?;
        if stages.is_empty() || stages.contains(&stage) {
            return Ok(stage);
        }
        fields.note(field, "a value that contradicts the event's name");
        Err(Unknown::Value(field))
    }

    /// Whether the event can report that its subject has reached a stage.
    pub(crate) fn may_report(&self, stage: Stage) -> bool {
        match self.stage_from {
            StageFrom::NameOnly(only) => only == stage,
            StageFrom::ByStatus([]) => true,
            StageFrom::ByName(stages) | StageFrom::ByStatus(stages) | StageFrom::Rule(stages, _) => {
                stages.contains(&stage)
            }
        }
    }
}

impl Product {
    /// The event of this product that a name stands for. `is_named`: the name comes from the body.
    pub(crate) fn event(&self, name: &str, is_named: bool) -> Option<&'static Event> {
        // A name of ours in a body's `event` is not Xendit's.
        let is_ours = matches!(self.form, Form::Unnamed);
        if is_named && is_ours { None } else { self.events.iter().find(|event| event.name == name) }
    }

    /// The object inside a body. `None`: the body is the object.
    pub(crate) fn object<'a>(&self, body: &Object<'a>) -> Result<Option<Object<'a>>, Unknown> {
        let places = match self.form {
            Form::Unnamed | Form::Flat => return Ok(None),
            Form::FlatWith(key) if body.has_object(key) => return Ok(None),
            Form::FlatWith(key) => return Err(Unknown::Missing(key)),
            Form::Enveloped => &[Place { path: &["data"], rest: None }],
            Form::Under(places) => places,
        };
        for Place { path, rest } in places {
            let Some(object) = body.object_under(path)? else { continue };
            let Some(rest) = rest else { return Ok(Some(object)) };
            if let Some(top) = object.object_under(&[rest])? {
                return Ok(Some(object.overlaid_with(top)));
            }
        }
        Err(Unknown::Missing("data"))
    }
}
