//! Resource: how the objects of one of Xendit's products are read: where the id, the amounts and the times are, and what
//! each status means. One table for each product, in `products/`.
//!
//! What a webhook adds (the event's name, the wrapper around the object) is read in `webhook`.

use jiff::Timestamp;

use crate::{
    channel,
    lifecycle::{Order, Stage},
    money::{Amount, Currency, Money},
    object::{Field, Fields},
    observation::{Mark, Observation, Unknown},
};

/// Far above the attempts that a cycle can have: a plan retries up to ten times, and people force a few more.
const MAX_ATTEMPTS: u64 = 100;

/// One product's objects. A field is a path of keys such as `amount.initial`. If several are listed, the first that can be
/// read is used; of ids and statuses, the first that is present.
pub(crate) struct Resource {
    /// What identifies the object. The first is the usual one.
    pub(crate) id: &'static [&'static str],
    /// The scope of the id, if it is not globally unique.
    pub(crate) scope: Option<&'static str>,
    /// Xendit's word for the stage.
    pub(crate) status: &'static [&'static str],
    /// What each status means.
    pub(crate) statuses: &'static [(&'static str, Stage)],
    /// The merchant's own reference.
    pub(crate) reference: &'static [&'static str],
    /// The bank, wallet, outlet or network.
    pub(crate) channel: &'static [&'static str],
    /// When the object last changed.
    pub(crate) times: &'static [&'static str],
    /// Time fields specific to a stage.
    pub(crate) moments: &'static [(Stage, &'static str)],
    /// What makes a second event in the same stage news.
    pub(crate) marked_by: MarkedBy,
    /// The amount fields and their roles.
    pub(crate) amounts: &'static [(Role, &'static str)],
    /// The parts in which a payment was collected.
    pub(crate) captures: Captures,
    /// The field that names the currency.
    pub(crate) currency: &'static str,
    /// The currency assumed where none is stated, for products sold in one country.
    pub(crate) only_currency: Option<&'static str>,
    /// Amounts are whole numbers of minor units.
    pub(crate) in_minor_units: bool,
    /// The object is an account, and so belongs to itself.
    pub(crate) is_account: bool,
    /// The wrapper's `created` is the time of the event, for an object without `updated`. In other products it is the time of
    /// the delivery attempt.
    pub(crate) timed_by_wrapper: bool,
}

/// What several products have in common: the newer key first, then the older ones.
pub(crate) const COMMON: Resource = Resource {
    id: &["id"],
    scope: None,
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
    is_account: false,
    timed_by_wrapper: false,
};

/// The fields that may name the object's account, newest first.
const ACCOUNT: &[&str] = &["business_id", "user_id", "owner_id"];

/// What an amount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one amount of an object: paid once money has moved, else requested.
    PaidOrRequested,
    /// Paid, once money has moved.
    Paid,
    /// What it came to, once it has ended.
    Outcome,
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
    /// `occurred_at`, whichever field it came from.
    Time,
    /// The sum of several counts that only grow.
    Attempts(&'static [&'static str]),
    /// A digest of a field's raw value.
    Content(&'static str),
    /// The time of the last update, and the reason.
    UpdatedAndReason(&'static str),
}

impl Resource {
    /// The keys at the top of the object that identify it, date it, or hold its state and its money.
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
        let paths = lists.into_iter().flatten().copied().chain(self.scope).chain([self.currency, "failure_code"]);
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

    /// Reads an object whose stage is known. The caller sets `drift`, because it may read more.
    pub(crate) fn observe(
        &self,
        fields: &mut Fields<'_, '_>,
        event: &str,
        stage: Stage,
    ) -> Result<Observation, Unknown> {
        let mut seen = Observation::new(event, stage, fields.id(self.id)?);
        seen.scope = self.scope.map(|path| fields.id(&[path])).transpose()?;
        seen.account = fields.first_text(ACCOUNT);
        seen.reference = fields.first_text(self.reference);
        seen.channel = fields.first_text(self.channel);
        seen.status = fields.first_text(self.status);
        seen.failure_code = fields.text("failure_code");
        seen.changed_at = self.moment(fields, stage).or_else(|| self.last_change(fields));
        seen.occurred_at = seen.changed_at.or_else(|| self.creation(fields, stage));
        seen.money_at = stage
            .money_stage()
            .and_then(|money| if money == stage { seen.changed_at } else { self.moment(fields, money) });
        seen.mark = self.mark(fields, seen.occurred_at);
        self.read_amounts(fields, &mut seen)?;
        Ok(seen)
    }

    /// The time of a stage that has a field of its own.
    fn moment(&self, fields: &mut Fields<'_, '_>, stage: Stage) -> Option<Timestamp> {
        let (_, path) = self.moments.iter().find(|(of, _)| *of == stage)?;
        fields.time(path)
    }

    /// When the object last changed.
    fn last_change(&self, fields: &mut Fields<'_, '_>) -> Option<Timestamp> {
        self.times.iter().filter(|path| !is_creation(path)).find_map(|path| fields.time(path))
    }

    /// When the object was created: all that some webhooks say. Where times decide which of two webhooks is newer, this is no
    /// substitute: the webhook would look older than it is.
    fn creation(&self, fields: &mut Fields<'_, '_>, stage: Stage) -> Option<Timestamp> {
        let is_usable = |path: &&&str| is_creation(path) && stage.kind().order() == Order::ByRank;
        self.times.iter().filter(is_usable).find_map(|path| fields.time(path))
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
            MarkedBy::UpdatedAndReason(path) => updated(fields).map(|updated| match fields.text(path) {
                Some(reason) => Mark::AtBecause(updated, reason),
                None => Mark::At(updated),
            }),
        }
    }

    fn read_amounts(&self, fields: &mut Fields<'_, '_>, seen: &mut Observation) -> Result<(), Unknown> {
        let currency = self.currency(fields, seen.channel.as_deref());
        let moved = seen.stage.moved_money();
        for (role, path) in self.amounts {
            let money = fields.amount(path).and_then(|amount| self.money(fields, path, amount, currency.as_ref()));
            match role {
                Role::PaidOrRequested | Role::Paid if moved => seen.paid = money,
                Role::Outcome if !seen.stage.is_open() => seen.paid = money,
                Role::PaidOrRequested | Role::Requested => seen.requested = money,
                Role::Paid | Role::Outcome => {}
            }
        }
        if moved {
            self.read_captures(fields, currency.as_ref(), seen)?;
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
            // A malformed currency has already been reported.
            if !fields.has(self.currency) {
                fields.note(self.currency, "missing beside an amount");
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
        let Some(amount) = amount.minor_to_major(digits) else {
            fields.note(path, "a fraction of a minor unit");
            return None;
        };
        if digits > 0 {
            // The page says minor units, but its example equates 63 (USD 0.63) with IDR 1,000,000.
            fields.note(path, "doubtful minor units: the API's page contradicts itself");
        }
        Some(Money { amount, currency })
    }

    /// The stated currency, or else the only possible one.
    fn currency(&self, fields: &mut Fields<'_, '_>, channel: Option<&str>) -> Option<Currency> {
        match fields.currency(self.currency) {
            Field::Value(currency) => Some(currency),
            Field::Malformed(_) => None,
            Field::Absent => {
                let only = self.only_currency.and_then(|code| code.parse().ok());
                only.or_else(|| channel::currency_of_channel(channel?)).or_else(|| {
                    let country = fields.first_text(&["country", "country_code"])?;
                    channel::currency_of_channel_in(channel?, &country)
                })
            }
        }
    }

    fn read_captures(
        &self,
        fields: &mut Fields<'_, '_>,
        currency: Option<&Currency>,
        seen: &mut Observation,
    ) -> Result<(), Unknown> {
        match self.captures {
            Captures::None => {}
            Captures::One { id, amount } => {
                // Without it, a second capture could not be distinguished from a duplicate.
                let id = fields.id(&[id])?;
                let money = fields.amount(amount).and_then(|value| self.money(fields, amount, value, currency));
                add_capture(fields, amount, seen, Some(id), money);
            }
            Captures::List { list, .. } if !fields.has(list) => {}
            Captures::List { list, id, amount } => {
                let Some(captures) = fields.list(list) else {
                    add_capture(fields, list, seen, None, None);
                    return Ok(());
                };
                for capture in captures {
                    let mut part = fields.of_another(&capture);
                    let (id, value) = (part.text(id), part.amount(amount));
                    fields.add_drift(part.into_drift());
                    let money = value.and_then(|value| self.money(fields, list, value, currency));
                    add_capture(fields, list, seen, id, money);
                }
            }
        }
        Ok(())
    }
}

fn add_capture(
    fields: &mut Fields<'_, '_>,
    path: &'static str,
    seen: &mut Observation,
    id: Option<String>,
    money: Option<Money>,
) {
    let has_another_amount = |id: &String| seen.captures.get(id).is_some_and(|known| Some(known) != money.as_ref());
    match (id.filter(|id| !has_another_amount(id)), money) {
        (Some(id), Some(money)) => drop(seen.captures.insert(id, money)),
        (id, _) => {
            fields.note(path, "a capture that cannot be read");
            seen.unread_captures.insert(id.unwrap_or_else(|| "?".to_owned()));
        }
    }
}

fn is_creation(path: &str) -> bool {
    path.starts_with("created")
}

/// When the object was updated last.
fn updated(fields: &mut Fields<'_, '_>) -> Option<Timestamp> {
    fields.first_time(&["updated", "updated_at"])
}
