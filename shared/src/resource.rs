//! Resource: how the objects of one of Xendit's products are read, from a webhook's body or from its API alike: where the
//! id, the amounts and the times are, and what each status means. One table for each product, in `products/`.
//!
//! What a webhook adds to the object (its event's name, the envelope around it) is `webhook`'s.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    channel,
    lifecycle::Stage,
    money::{Amount, Currency, Money},
    object::{Field, Fields},
    observation::{Mark, Observation, Unknown},
};

/// Far above the attempts that a cycle can have: a plan retries up to ten times, and people force a few more.
const MAX_ATTEMPTS: u64 = 100;

/// One product's objects. A field is a path of keys such as `amount.initial`; of several, the first that is there counts.
pub(crate) struct Resource {
    /// What identifies the object. The first is the usual one.
    pub(crate) id: &'static [&'static str],
    /// What the id is unique within, where it is not unique by itself.
    pub(crate) within: Option<&'static str>,
    /// Xendit's word for the stage.
    pub(crate) status: &'static [&'static str],
    /// What each status means.
    pub(crate) statuses: &'static [(&'static str, Stage)],
    /// The merchant's own reference.
    pub(crate) reference: &'static [&'static str],
    /// The bank, wallet, outlet or network.
    pub(crate) channel: &'static [&'static str],
    /// When something happened to the object last.
    pub(crate) times: &'static [&'static str],
    /// The time of a stage that has one of its own.
    pub(crate) moments: &'static [(Stage, &'static str)],
    /// What makes a second event in the same stage news.
    pub(crate) marked_by: MarkedBy,
    /// What each amount is.
    pub(crate) amounts: &'static [(Role, &'static str)],
    /// The parts in which a payment was collected.
    pub(crate) captures: Captures,
    /// The field that names the currency.
    pub(crate) currency: &'static str,
    /// The currency of a product that is sold in one country only, where no other is named.
    pub(crate) only_currency: Option<&'static str>,
    /// Amounts are whole numbers of minor units.
    pub(crate) in_minor_units: bool,
}

/// What several products have in common: the newer key first, then the older ones.
pub(crate) const COMMON: Resource = Resource {
    id: &["id"],
    within: None,
    status: &["status"],
    statuses: &[],
    reference: &["reference_id", "external_id"],
    channel: &["channel_code", "bank_code"],
    times: &["updated", "updated_at", "created", "created_at"],
    moments: &[],
    marked_by: MarkedBy::Nothing,
    amounts: &[],
    captures: Captures::None,
    currency: "currency",
    only_currency: None,
    in_minor_units: false,
};

/// The accounts that an object may name as its own: the newer word first.
const ACCOUNT: &[&str] = &["business_id", "user_id", "owner_id"];

/// What an amount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one amount of an object: paid once money has moved, else requested.
    Only,
    /// Paid, once money has moved.
    Paid,
    /// Paid, whatever the stage.
    Result,
    /// Requested.
    Requested,
}

/// The parts in which a payment is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Captures {
    /// There are none.
    None,
    /// A list of objects, each with an id and an amount.
    List { list: &'static str, id: &'static str, amount: &'static str },
    /// The object is one of them.
    One { id: &'static str, amount: &'static str },
}

/// What makes a second event in the same stage news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkedBy {
    /// Nothing does.
    Nothing,
    /// The time of the last update.
    Updated,
    /// The time at which it happened, whatever the field.
    Time,
    /// The sum of several counts that only grow.
    Attempts(&'static [&'static str]),
    /// What a field holds, as it is written.
    Content(&'static str),
    /// The time of the last update, and the reason.
    UpdatedAndReason(&'static str),
}

impl Resource {
    /// Every key at the top of the object that is read.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        let marks = match self.marked_by {
            MarkedBy::Nothing | MarkedBy::Updated | MarkedBy::Time => &[][..],
            MarkedBy::Attempts(counts) => counts,
            MarkedBy::Content(ref field) | MarkedBy::UpdatedAndReason(ref field) => std::slice::from_ref(field),
        };
        let captures: &[&str] = match self.captures {
            Captures::None => &[],
            Captures::List { ref list, .. } => std::slice::from_ref(list),
            Captures::One { ref amount, .. } => std::slice::from_ref(amount),
        };
        let lists = [self.id, self.status, self.reference, self.channel, self.times, marks, captures, ACCOUNT];
        let paths = lists.into_iter().flatten().copied().chain(self.within).chain([self.currency, "failure_code"]);
        let paths = paths.chain(self.amounts.iter().map(|(_, path)| *path));
        let paths = paths.chain(self.moments.iter().map(|(_, path)| *path));
        let mut keys: Vec<_> = paths.filter_map(|path| path.split('.').next()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The stage that the status stands for. `None`: there is no status.
    pub(crate) fn stage(&self, fields: &mut Fields<'_, '_>) -> Result<Option<Stage>, Unknown> {
        let Some(path) = self.status.iter().copied().find(|path| fields.has(path)) else { return Ok(None) };
        let status = fields.text(path).ok_or(Unknown::Missing(path))?;
        if let Some((_, stage)) = self.statuses.iter().find(|(word, _)| *word == status) {
            return Ok(Some(*stage));
        }
        fields.note(path, "an unknown value");
        Err(Unknown::Value(path))
    }

    /// The usual field of the status.
    pub(crate) fn status_field(&self) -> &'static str {
        self.status.first().copied().unwrap_or_default()
    }

    /// What an object in a known stage says. Its `drift` is left to the caller, who may read on.
    pub(crate) fn observe(
        &self,
        fields: &mut Fields<'_, '_>,
        event: &str,
        stage: Stage,
    ) -> Result<Observation, Unknown> {
        let mut seen = Observation::new(event, stage, fields.id(self.id)?);
        seen.within = self.within.map(|path| fields.id(&[path])).transpose()?;
        seen.account = fields.first_text(ACCOUNT);
        seen.reference = fields.first_text(self.reference);
        seen.channel = fields.first_text(self.channel);
        seen.status = fields.first_text(self.status);
        seen.failure_code = fields.text("failure_code");
        let moment = self.moments.iter().find(|(of, _)| *of == stage).and_then(|(_, path)| fields.first_time(&[path]));
        seen.occurred_at = moment.or_else(|| fields.first_time(self.times));
        seen.mark = self.mark(fields, seen.occurred_at);
        self.count_money(fields, &mut seen)?;
        Ok(seen)
    }

    fn mark(&self, fields: &mut Fields<'_, '_>, occurred_at: Option<Timestamp>) -> Option<Mark> {
        match self.marked_by {
            MarkedBy::Nothing => None,
            MarkedBy::Updated => updated(fields).map(Mark::At),
            MarkedBy::Time => occurred_at.map(Mark::At),
            MarkedBy::Attempts(counts) => {
                let counts: Vec<_> = counts.iter().filter_map(|path| fields.count(path, MAX_ATTEMPTS)).collect();
                (!counts.is_empty()).then(|| Mark::Count(counts.iter().sum()))
            }
            MarkedBy::Content(path) => fields.fingerprint(path).map(Mark::Text),
            MarkedBy::UpdatedAndReason(path) => match (updated(fields), fields.text(path)) {
                (Some(updated), Some(reason)) => Some(Mark::AtBecause(updated, reason)),
                (Some(updated), None) => Some(Mark::At(updated)),
                (None, reason) => reason.map(Mark::Text),
            },
        }
    }

    fn count_money(&self, fields: &mut Fields<'_, '_>, seen: &mut Observation) -> Result<(), Unknown> {
        let currency = self.currency(fields, seen.channel.as_deref());
        let moved = seen.stage.moved_money();
        for (role, path) in self.amounts {
            let money = fields.amount(path).and_then(|amount| self.money(fields, path, amount, currency.as_ref()));
            match role {
                Role::Only | Role::Paid if moved => seen.paid = money,
                Role::Result => seen.paid = money,
                Role::Only | Role::Requested => seen.requested = money,
                Role::Paid => {}
            }
        }
        if moved {
            seen.captures = self.captures(fields, currency.as_ref())?;
        }
        Ok(())
    }

    fn money(
        &self,
        fields: &mut Fields<'_, '_>,
        path: &'static str,
        amount: Amount,
        currency: Option<&Currency>,
    ) -> Option<Money> {
        let Some(currency) = currency.cloned() else {
            // What is odd about a currency that is there has been noted.
            if !fields.has(self.currency) {
                fields.note(self.currency, "nothing, beside an amount");
            }
            return None;
        };
        if !self.in_minor_units {
            return Some(Money { amount, currency });
        }
        let Some(digits) = currency.minor_digits() else {
            fields.note(self.currency, "a currency that is not in ISO 4217");
            return None;
        };
        let Some(amount) = amount.from_minor_units(digits) else {
            fields.note(path, "a part of a minor unit");
            return None;
        };
        if digits > 0 {
            // Xendit's page says minor units, and has 63 of them, USD 0.63, as the worth of IDR 1,000,000.
            fields.note(path, "minor units by the API's page, which its own example contradicts");
        }
        Some(Money { amount, currency })
    }

    /// The currency that is named, or else the only one that it can be.
    fn currency(&self, fields: &mut Fields<'_, '_>, channel: Option<&str>) -> Option<Currency> {
        match fields.currency(self.currency) {
            Field::Value(currency) => Some(currency),
            Field::Odd(_) => None,
            Field::Absent => {
                let only = self.only_currency.and_then(|code| code.parse().ok());
                only.or_else(|| channel::currency_of_channel(channel?)).or_else(|| {
                    let country = fields.first_text(&["country", "country_code"])?;
                    channel.filter(|channel| channel::is_local(channel))?;
                    channel::currency_of_country(&country)
                })
            }
        }
    }

    /// The captures: all or none, since the sum of some would be mistaken for what was paid.
    fn captures(
        &self,
        fields: &mut Fields<'_, '_>,
        currency: Option<&Currency>,
    ) -> Result<BTreeMap<String, Money>, Unknown> {
        match self.captures {
            Captures::None => Ok(BTreeMap::new()),
            Captures::List { list, id, amount } => {
                Ok(self.list_of_captures(fields, list, id, amount, currency).unwrap_or_default())
            }
            Captures::One { id, amount } => {
                // Without it, a second capture could not be distinguished from a duplicate.
                let id = fields.id(&[id])?;
                let money = fields.amount(amount).and_then(|value| self.money(fields, amount, value, currency));
                Ok(money.map(|money| (id, money)).into_iter().collect())
            }
        }
    }

    fn list_of_captures(
        &self,
        fields: &mut Fields<'_, '_>,
        list: &'static str,
        id: &'static str,
        amount: &'static str,
        currency: Option<&Currency>,
    ) -> Option<BTreeMap<String, Money>> {
        let mut captures = BTreeMap::new();
        for capture in fields.list(list)? {
            let mut part = Fields::of(&capture);
            let read = part.text(id).zip(part.amount(amount));
            fields.adopt(part.into_drift());
            let Some((id, value)) = read else {
                fields.note(list, "a capture without an id or an amount");
                return None;
            };
            let money = self.money(fields, list, value, currency)?;
            if captures.insert(id, money).is_some() {
                fields.note(list, "the same capture twice");
                return None;
            }
        }
        Some(captures)
    }
}

/// When the object was updated last.
fn updated(fields: &mut Fields<'_, '_>) -> Option<Timestamp> {
    fields.first_time(&["updated", "updated_at"])
}
