//! Webhook: recognises which Xendit event a body is, and reads what it says.
//!
//! Recognition is by the exact event name; for the older webhooks, which have none, by an ordered list of tests on the
//! body's keys; and by the topic in the URL's path where neither says enough. Never by a prefix and never by a status:
//! both have cost others money.
//!
//! To add a webhook: an event in its product's table in `products/`; for a new product, a table and a line in
//! `products::ALL`; without an event name, a line in `BY_KEYS` too.

mod catalogue;

use jiff::Timestamp;

pub use self::catalogue::{Entry, catalogue};
pub use crate::object::Unreadable;
use crate::{
    lifecycle::{Stage, UnknownPhase},
    object::{Field, Fields, Object},
    observation::{Observation, Unknown},
    products,
    resource::Resource,
    topic::Topic,
};

/// The webhooks of one product that have one form.
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
    /// What is particular about an event of this product, beyond its tables.
    pub(crate) adjust: Option<fn(&mut Observation, &Envelope)>,
}

/// The keys around an object, where there is an envelope.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    account: Option<String>,
    /// In many products this is the time of the delivery attempt.
    pub(crate) created: Option<Timestamp>,
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
    /// The same, and this key holds an object: two products share the event's name.
    FlatWith(&'static str),
    /// `{event, business_id, created, data}`, the form of all newer products.
    Enveloped,
    /// The object is under the first of these that leads to one.
    Under(&'static [Place]),
}

/// A place in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The keys that lead there.
    pub(crate) path: &'static [&'static str],
    /// The key of an object in there that holds the rest of the fields.
    pub(crate) rest: Option<&'static str>,
}

/// One event: its name, and what it says about the stage.
#[derive(Debug)]
pub(crate) struct Event {
    /// The exact value of `event`; for the older webhooks, which have none, our name for the webhook.
    pub(crate) name: &'static str,
    says: Says,
}

/// How an event says which stage its subject has reached.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// By its name, for the first of these stages. A status may be missing, but must name one of them.
    ByName(&'static [Stage]),
    /// By the status, which must name one of these stages; any of the resource's where the list is empty.
    ByStatus(&'static [Stage]),
    /// By its name alone: the status is one of another lifecycle.
    Regardless(Stage),
    /// By a rule of its own, which ends in one of these stages.
    By(&'static [Stage], Rule),
}

/// A rule that finds the stage in an object's fields.
type Rule = fn(&mut Fields<'_, '_>) -> Result<Stage, Unknown>;

impl Event {
    /// An event whose name stands for the first of these stages, and whose status may say one of the others.
    pub(crate) const fn new(name: &'static str, stages: &'static [Stage]) -> Self {
        Self { name, says: Says::ByName(stages) }
    }

    /// An event whose status decides.
    pub(crate) const fn by_status(name: &'static str) -> Self {
        Self { name, says: Says::ByStatus(&[]) }
    }

    /// An event whose status decides between these stages.
    pub(crate) const fn by_status_among(name: &'static str, stages: &'static [Stage]) -> Self {
        Self { name, says: Says::ByStatus(stages) }
    }

    /// An event whose name decides, whatever the status.
    pub(crate) const fn regardless(name: &'static str, stage: Stage) -> Self {
        Self { name, says: Says::Regardless(stage) }
    }

    /// An event with a rule of its own.
    pub(crate) const fn by(name: &'static str, stages: &'static [Stage], rule: Rule) -> Self {
        Self { name, says: Says::By(stages, rule) }
    }

    /// The stage. Never a guess: without a usable status, and without a name that stands for a stage, it is unknown.
    fn stage(&self, resource: &Resource, fields: &mut Fields<'_, '_>) -> Result<Stage, Unknown> {
        let field = resource.status_field();
        let (told, stages) = match self.says {
            Says::Regardless(stage) => return Ok(stage),
            Says::By(_, rule) => return rule(fields),
            Says::ByStatus(stages) => (resource.stage(fields)?, stages),
            Says::ByName(stages) => (resource.stage(fields)?.or_else(|| stages.first().copied()), stages),
        };
        let stage = told.ok_or(Unknown::Missing(field))?;
        if stages.is_empty() || stages.contains(&stage) {
            return Ok(stage);
        }
        fields.note(field, "a value that contradicts the event's name");
        Err(Unknown::Value(field))
    }
}

impl Product {
    /// The event of this product that a name stands for. `is_told`: the body says so itself.
    fn event(&self, name: &str, is_told: bool) -> Option<&'static Event> {
        let fits = !(is_told && matches!(self.form, Form::Unnamed));
        self.events.iter().find(|event| fits && event.name == name)
    }

    /// The object inside a body. `None`: the body is the object.
    fn object<'a>(&self, body: &Object<'a>) -> Result<Option<Object<'a>>, Unknown> {
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

type Test = fn(&Object<'_>) -> bool;

/// The tests of bodies without an event name. The order matters: the products share most of their keys.
const BY_KEYS: &[(&str, Test)] = &[
    ("fva_paid", |it| it.has("callback_virtual_account_id")),
    ("fva_status", |it| it.has_all(&["is_closed", "account_number"])),
    ("ro_fpc_paid", |it| it.has("fixed_payment_code_id") || it.has("fixed_payment_code_payment_id")),
    ("batch_disbursement", |it| it.has("total_uploaded_count") || it.has_list("disbursements")),
    ("cardless_credit", |it| it.has("cardless_credit_type")),
    ("ewallet_2019", |it| it.has_all(&["callback_authentication_token", "ewallet_type"])),
    ("report", |it| it.text_starts_with("id", "report_") || it.has_all(&["filter", "format"])),
    ("ph_disbursement", |it| {
        it.has("connector_reference") || it.has_all(&["idempotency_key", "channel_code", "account_number"])
    }),
    ("disbursement", |it| {
        it.has("disbursement_description")
            || (it.has_all(&["bank_code", "account_holder_name"]) && !it.has("merchant_name"))
    }),
    ("payout_link", |it| it.has_all(&["merchant_name", "expiration_timestamp"]) && !it.has("user_id")),
    ("invoice", |it| it.has_all(&["external_id", "user_id", "merchant_name"])),
];

/// The keys that a webhook without an event name cannot do without. With them, the topic may decide.
const BY_TOPIC: &[(&str, &[&str])] = &[
    ("invoice", &["id", "external_id", "user_id", "amount", "status"]),
    ("fva_paid", &["payment_id", "account_number", "amount"]),
    ("fva_status", &["id", "account_number", "status"]),
    ("disbursement", &["id", "external_id", "bank_code", "amount", "status"]),
    ("ph_disbursement", &["id", "reference_id", "channel_code", "amount", "status"]),
];

/// A webhook's body, with the event that it was recognised as.
#[derive(Debug)]
pub struct Webhook<'a> {
    body: Object<'a>,
    event: Result<Recognised<'a>, Unknown>,
}

/// A body that is known to be of one product.
struct Recognised<'a> {
    product: &'static Product,
    event: &'static Event,
    /// The object inside the body. `None`: the body is the object.
    inside: Option<Object<'a>>,
}

impl std::fmt::Debug for Recognised<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.event.name)
    }
}

impl<'a> Webhook<'a> {
    /// Recognises a body.
    ///
    /// Total over JSON objects: what is not recognised is kept as unknown, with the reason. An error means that the
    /// bytes are not one JSON object in UTF-8. Retrying cannot help; keep them for a person.
    pub fn parse(bytes: &'a [u8], topic: Option<&Topic>) -> Result<Self, Unreadable> {
        let body = Object::read(bytes)?;
        let event = recognise(&body, topic);
        Ok(Self { body, event })
    }

    /// The body as text, without a byte order mark.
    pub fn text(&self) -> &'a str {
        self.body.text()
    }

    /// What the catalogue says about the event. `None`: it is not recognised.
    pub fn entry(&self) -> Option<Entry> {
        let Recognised { product, event, .. } = self.event.as_ref().ok()?;
        Some(Entry::of(product, event))
    }

    /// What the webhook says, and about which subject.
    ///
    /// Total: an event that is recognised but lacks what identifies the fact becomes an observation of
    /// `Kind::Unknown`, with the reason.
    pub fn observe(&self) -> Observation {
        let object = match &self.event {
            Ok(Recognised { inside: Some(inside), .. }) => inside,
            _ => &self.body,
        };
        let mut fields = Fields::of(object);
        let seen =
            self.event.as_ref().map_err(|reason| *reason).and_then(|event| event.observe(&self.body, &mut fields));
        let mut seen = seen.unwrap_or_else(|reason| self.unknown(reason));
        seen.drift = fields.into_drift();
        seen
    }

    fn unknown(&self, reason: Unknown) -> Observation {
        let stage = Stage::Unknown(UnknownPhase::Received);
        let mut seen = Observation::new(&self.body.event_name(), stage, self.body.fingerprint());
        seen.account = Fields::of(&self.body).text("business_id");
        seen.unknown = Some(reason);
        seen
    }
}

impl Recognised<'_> {
    fn observe(&self, body: &Object<'_>, fields: &mut Fields<'_, '_>) -> Result<Observation, Unknown> {
        let resource = self.product.resource;
        let stage = self.event.stage(resource, fields)?;
        let mut seen = resource.observe(fields, self.event.name, stage)?;
        let envelope = if self.inside.is_some() { Envelope::read(body, fields) } else { Envelope::default() };
        // The envelope's account is Xendit's answer to "whose", where the object names another.
        seen.account = envelope.account.clone().or(seen.account);
        if let Some(adjust) = self.product.adjust {
            adjust(&mut seen, &envelope);
        }
        Ok(seen)
    }
}

impl Envelope {
    fn read(body: &Object<'_>, fields: &mut Fields<'_, '_>) -> Self {
        let mut around = Fields::of(body);
        let envelope = Self { account: around.text("business_id"), created: around.first_time(&["created"]) };
        fields.adopt(around.into_drift());
        envelope
    }
}

fn recognise<'a>(body: &Object<'a>, topic: Option<&Topic>) -> Result<Recognised<'a>, Unknown> {
    if body.is_ambiguous() {
        return Err(Unknown::Ambiguous);
    }
    let (name, is_told) = match body.event() {
        Field::Value(name) => (name, true),
        Field::Odd(_) => return Err(Unknown::Event),
        Field::Absent if body.has("event_type") => return Err(Unknown::EventType),
        Field::Absent => {
            let name = by_keys(body).or_else(|| by_topic(body, topic?)).ok_or(Unknown::Shape)?;
            (name.to_owned(), false)
        }
    };
    let mut reason = Unknown::Event;
    for product in products::ALL {
        let Some(event) = product.event(&name, is_told) else { continue };
        match product.object(body) {
            Ok(inside) => return Ok(Recognised { product, event, inside }),
            // Two products may share a name: the next one's form may fit.
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

fn by_keys(body: &Object<'_>) -> Option<&'static str> {
    BY_KEYS.iter().find(|(_, fits)| fits(body)).map(|(name, _)| *name)
}

fn by_topic(body: &Object<'_>, topic: &Topic) -> Option<&'static str> {
    let (name, keys) = BY_TOPIC.iter().find(|(name, _)| *name == topic.as_str())?;
    body.has_all(keys).then_some(*name)
}

#[cfg(test)]
mod tests;
