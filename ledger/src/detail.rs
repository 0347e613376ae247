//! Detail: builds the domain event of a pending entry, and builds it again, to the byte, when its message is redelivered.

use shared::{
    domain_event::{CONFLICT, Capture, Detail, DomainEvent, SCHEMA_VERSION, Subject},
    envelope::Source,
    lifecycle::Stage,
    money::Money,
};

use crate::{
    item::{Item, Pending},
    state::State,
    stated::Stated,
    update::Update,
};

/// The most that a detail may hold. The bus takes 256 KB for an entry, with its source and its type.
const MAX_DETAIL_BYTES: usize = 200 * 1024;

/// How many contradicting amounts are listed.
const MAX_CONFLICTING: usize = 100;

/// Whether the event includes the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Included, if publishable.
    Included,
    /// The bus refused the event with it.
    Refused,
}

/// The event of an item's pending entry.
pub fn event(item: &Item, id: &str, pending: &Pending, update: &Update, body: Body) -> DomainEvent {
    let state = pending.state.as_deref().unwrap_or(&item.state);
    let mut detail = detail(state, id, pending, update);
    let is_of_this_body = pending.delivery == update.delivery.id;
    detail.body = update.body.clone().filter(|_| body == Body::Included && is_of_this_body);
    detail.body_omitted = detail.body.is_none();
    let mut json = write(&detail);
    if json.len() > MAX_DETAIL_BYTES {
        (detail.body, detail.body_omitted) = (None, true);
        json = write(&detail);
    }
    DomainEvent { id: id.to_owned(), detail_type: pending.detail_type.clone(), detail: json }
}

fn detail(state: &State, id: &str, pending: &Pending, update: &Update) -> Detail {
    let seen = &update.observation;
    let about = pending.stage.unwrap_or(state.stage);
    let captures = captures(state);
    // Late and mismatch flags belong only to events that announce money.
    let is_money = pending.detail_type != CONFLICT && about.money_stage().is_some();
    Detail {
        schema_version: SCHEMA_VERSION,
        id: id.to_owned(),
        environment: update.delivery.environment,
        source: Source::Webhook,
        account: state.account.clone(),
        subject: Subject {
            kind: state.stage.kind().as_str().to_owned(),
            scope: seen.scope.clone(),
            id: seen.id.clone(),
        },
        reference: state.reference.first().cloned(),
        phase: about.phase().to_owned(),
        previous_phase: pending.previous.map(|stage: Stage| stage.phase().to_owned()),
        update: pending.update,
        event: state.event.clone(),
        status: state.status.clone(),
        failure_code: state.failure_code.clone(),
        channel: state.channel.clone(),
        unknown_reason: seen.unknown.map(|reason| reason.to_string()),
        paid: state.paid_in_all(),
        requested: state.requested.only().cloned(),
        captures_omitted: state.captures_overflow || captures.len() < state.captures.len(),
        captures,
        conflicting_amounts: conflicting_amounts(state),
        conflicting_references: conflicting(&state.reference).cloned().collect(),
        paid_late: is_money && state.is_money_late(),
        amount_mismatch: is_money && state.differs_from_requested(),
        occurred_at: if about == state.stage { state.occurred_at } else { state.money_at },
        received_at: pending.received_at,
        delivery_id: pending.delivery.clone(),
        token_label: pending.token.clone(),
        version: pending.version,
        body: None,
        body_omitted: true,
    }
}

/// The captures. Amounts that contradict each other are listed apart.
fn captures(state: &State) -> Vec<Capture> {
    let capture = |(id, amounts): (&String, &Stated<Money>)| {
        let Money { amount, currency } = amounts.first()?.clone();
        Some(Capture { id: id.clone(), amount, currency })
    };
    state.captures.iter().filter_map(capture).collect()
}

/// All amounts that contradict each other; where a total is not the sum of its captures, that total.
fn conflicting_amounts(state: &State) -> Vec<Money> {
    let stated = [&state.paid, &state.requested].into_iter().chain(state.captures.values());
    let mut amounts: Vec<_> = stated.flat_map(conflicting).cloned().collect();
    if amounts.is_empty() && state.has_conflicting_captures() {
        let parts = state.captures.values().filter_map(Stated::first);
        amounts.extend(state.paid.first().into_iter().chain(parts).cloned());
    }
    amounts.truncate(MAX_CONFLICTING);
    amounts
}

fn conflicting<T: Ord>(stated: &Stated<T>) -> impl Iterator<Item = &T> {
    stated.answers().take(if stated.contradictions() > 0 { usize::MAX } else { 0 })
}

fn write(detail: &Detail) -> String {
    #[expect(clippy::expect_used, reason = "strings, numbers and JSON under string keys always serialise")]
    serde_json::to_string(detail).expect("a detail is always JSON")
}

#[cfg(test)]
mod tests;
