//! View: what a page shows, as values. The API returns the same values as JSON.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use ledger::{
    item::{Entry, Item},
    state::State,
};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{envelope::Delivery as Metadata, lifecycle::Kind};

use super::{
    facts::{ChangedFact, Fact, changes, facts},
    fate::Fate,
    json::{Difference, Json},
    mask::Masks,
    reading::{Reading, update_of},
    store::{Delivery, Listed, Store},
};
use crate::{dev::Request, payment::published};

/// A command line may not be longer.
const MAX_CURL_BYTES: usize = 100 * 1024;

/// One line of the list.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) id: String,
    /// Counts the webhooks of this run.
    pub(super) number: u64,
    pub(super) received_at: Timestamp,
    /// The name of the bundled webhook that `dev` sent at its start.
    pub(super) sample: Option<String>,
    pub(super) fate: Fate,
    /// What there is to say about the fate.
    pub(super) reason: Option<String>,
    /// Xendit's name of the event.
    pub(super) event: String,
    /// The subject's key in the ledger.
    pub(super) key: Option<String>,
    pub(super) kind: Option<&'static str>,
    pub(super) phase: Option<&'static str>,
    pub(super) subject: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) amount: Option<String>,
    /// The types of the domain events that it caused, as far as they are known.
    pub(super) published: Vec<String>,
    /// How many it caused.
    pub(super) event_count: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    /// The newest first.
    pub(super) deliveries: Vec<Summary>,
    /// Whether there are older ones: ask for those before the last number.
    pub(super) more: bool,
    /// How many deliveries are kept, and how many older ones are not kept any more.
    pub(super) kept: usize,
    pub(super) forgotten: u64,
    pub(super) fates: BTreeMap<&'static str, usize>,
    /// Where a stream goes on.
    pub(super) revision: u64,
    /// What to know about the list.
    pub(super) note: Option<String>,
}

/// A payment, payout or refund in the ledger.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    pub(super) key: String,
    pub(super) stage: &'static str,
    pub(super) reference: Option<String>,
}

/// One delivery.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    #[serde(flatten)]
    pub(super) summary: Summary,
    /// The request and its answer. `None`: only the logs tell of it.
    #[serde(flatten)]
    pub(super) request: Option<Exchange>,
    /// `None`: it is not known here.
    pub(super) body: Option<String>,
    /// How many bytes of the body are not shown.
    pub(super) hidden_bytes: usize,
    /// The label of the token. Empty: it was refused.
    pub(super) token: String,
    /// The lines that the functions logged about it.
    pub(super) log: Vec<String>,
    /// What it was recognised as, and why. `None`: it cannot be read, or it was refused before anything read it.
    pub(super) reading: Option<Reading>,
    /// What it changed in the ledger.
    pub(super) changes: Vec<ChangedFact>,
    /// The domain events that it caused, as EventBridge passes them on.
    pub(super) events: Vec<Box<RawValue>>,
    /// The command that sends it again.
    pub(super) curl: Option<String>,
    pub(super) older: Option<String>,
    pub(super) newer: Option<String>,
}

/// A request and its answer.
#[derive(Debug, Serialize)]
pub(super) struct Exchange {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) status: u16,
    pub(super) answer: String,
    pub(super) took_ms: u128,
}

/// What is known about one payment, payout or refund.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    pub(super) key: String,
    /// What the ledger holds now.
    pub(super) facts: Vec<Fact>,
    /// Events that are not published yet.
    pub(super) unpublished: Vec<String>,
    /// The oldest first.
    pub(super) steps: Vec<Step>,
    /// Whether the console knows all webhooks that changed the subject. If not, a change may show too much as new.
    pub(super) is_complete: bool,
}

/// One webhook about a subject.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    #[serde(flatten)]
    pub(super) summary: Summary,
    pub(super) changes: Vec<ChangedFact>,
    /// Whether the console has the delivery. If not, only the ledger's history tells of it.
    pub(super) is_kept: bool,
    #[serde(skip)]
    pub(super) has_body: bool,
}

/// What differs between the bodies of two webhooks.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) a: Summary,
    pub(super) b: Summary,
    /// `None`: one of them is not JSON, or too large.
    pub(super) differences: Option<Vec<Difference>>,
    /// All webhooks about the subject of `a`.
    #[serde(skip)]
    pub(super) others: Vec<Summary>,
}

impl Summary {
    pub(super) fn of(delivery: &Delivery, masks: &Masks) -> Self {
        let gist = &delivery.gist;
        Self {
            id: delivery.id().to_owned(),
            number: delivery.number,
            received_at: delivery.metadata.received_at,
            sample: delivery.request.as_ref().and_then(|it| it.sample.as_deref()).map(|sample| masks.text(sample)),
            fate: delivery.fate,
            reason: delivery.reason.clone(),
            event: gist.event.clone(),
            key: gist.key.as_ref().map(|key| masks.text(key.as_str())),
            kind: gist.kind,
            phase: gist.phase,
            subject: gist.subject.clone(),
            reference: gist.reference.clone(),
            currency: gist.currency.clone(),
            amount: gist.amount.clone(),
            published: delivery.events.iter().map(|event| event.detail_type.clone()).collect(),
            event_count: delivery.event_count,
        }
    }

    /// What the ledger tells of a delivery that changed a subject.
    fn of_entry(entry: &Entry, item: &Item, published: Vec<String>, masks: &Masks) -> Self {
        let fate = match entry.stage.kind() {
            _ if entry.conflict => Fate::Conflict,
            Kind::Unknown => Fate::Unknown,
            _ => Fate::Applied,
        };
        Self {
            id: masks.text(&entry.delivery),
            number: 0,
            received_at: entry.received_at,
            sample: None,
            fate,
            reason: None,
            event: masks.text(&entry.event),
            key: Some(masks.text(item.key.as_str())),
            kind: Some(entry.stage.kind().as_str()),
            phase: Some(entry.stage.phase()),
            subject: None,
            reference: item.reference.as_deref().map(|reference| masks.text(reference)),
            currency: None,
            amount: None,
            event_count: published.len(),
            published,
        }
    }
}

impl List {
    pub(super) fn of(listed: &Listed, store: &Store, note: Option<String>) -> Self {
        Self {
            note,
            deliveries: listed.deliveries.iter().map(|it| Summary::of(it, &store.masks)).collect(),
            more: listed.more,
            kept: listed.kept,
            forgotten: listed.forgotten,
            fates: store.counts().into_iter().map(|(fate, count)| (fate.word(), count)).collect(),
            revision: listed.revision,
        }
    }
}

impl Subject {
    pub(super) fn of(item: &Item, masks: &Masks) -> Self {
        Self {
            key: masks.text(item.key.as_str()),
            stage: item.state.stage.as_str(),
            reference: item.reference.as_deref().map(|reference| masks.text(reference)),
        }
    }
}

impl Details {
    /// `item`: the subject in the ledger. `url`: where the stack takes webhooks.
    pub(super) fn of(delivery: &Delivery, item: Option<&Item>, store: &Store, url: &str) -> Self {
        let masks = &store.masks;
        let [older, newer] = store.neighbours(delivery.number).map(|it| it.map(|it| it.id().to_owned()));
        let body = delivery.body.as_ref().filter(|_| delivery.is_acknowledged());
        let reading = body.and_then(|body| Reading::of(body, &delivery.metadata, masks));
        let changes = item.map(|item| replay(item, store, masks).changes.remove(delivery.id()).unwrap_or_default());
        let mut summary = Summary::of(delivery, masks);
        if let Some(item) = item {
            summary.learn(item, masks);
        }
        Self {
            request: delivery.request.as_ref().map(|request| Exchange::of(request, masks)),
            body: delivery.body.as_ref().map(|_| delivery.shown.to_string()),
            hidden_bytes: delivery.hidden_bytes,
            token: delivery.metadata.token.clone(),
            log: delivery.log.clone(),
            reading,
            changes: changes.unwrap_or_default(),
            events: delivery.events.iter().filter_map(|it| RawValue::from_string(it.json.clone()).ok()).collect(),
            curl: curl(delivery, masks, url),
            older,
            newer,
            summary,
        }
    }
}

impl Exchange {
    fn of(request: &Request, masks: &Masks) -> Self {
        let headers = request.headers.iter().map(|(name, value)| (name.clone(), masks.text(value)));
        Self {
            method: request.method.clone(),
            path: masks.text(&request.path),
            headers: headers.collect(),
            status: request.status,
            answer: masks.body(&request.answer),
            took_ms: request.took.as_millis(),
        }
    }
}

impl Summary {
    /// Adds what the ledger knows about a delivery whose body is not here.
    fn learn(&mut self, item: &Item, masks: &Masks) {
        if self.reference.is_none() {
            self.reference = item.reference.as_deref().map(|reference| masks.text(reference));
        }
        if self.published.is_empty() && self.event_count > 0 {
            let mut published = published(item);
            self.published = published.remove(&*self.id).unwrap_or_default();
        }
    }
}

impl Story {
    pub(super) fn of(key: &str, about: &[Arc<Delivery>], item: Option<&Item>, store: &Store) -> Self {
        let masks = &store.masks;
        let replay = item.map(|item| replay(item, store, masks));
        let changes = |id: &str| replay.as_ref().and_then(|replay| replay.changes.get(id).cloned()).unwrap_or_default();
        let kept = about.iter().map(|it| {
            let mut summary = Summary::of(it, masks);
            if let Some(item) = item {
                summary.learn(item, masks);
            }
            Step { changes: changes(it.id()), summary, is_kept: true, has_body: it.body.is_some() }
        });
        let mut steps: Vec<_> = kept.collect();
        if let Some(item) = item {
            let mut published = published(item);
            for entry in item.history.iter().filter(|entry| about.iter().all(|it| it.id() != entry.delivery)) {
                let published = published.remove(entry.delivery.as_str()).unwrap_or_default();
                let summary = Summary::of_entry(entry, item, published, masks);
                steps.push(Step { summary, changes: Vec::new(), is_kept: false, has_body: false });
            }
        }
        steps.sort_by_key(|step| step.summary.received_at);
        Self {
            key: key.to_owned(),
            facts: item.map(|item| masked(facts(&item.state), masks)).unwrap_or_default(),
            unpublished: item.iter().flat_map(|item| item.outbox.values()).map(|it| it.detail_type.clone()).collect(),
            steps,
            is_complete: replay.as_ref().is_none_or(|replay| replay.is_complete),
        }
    }
}

impl Comparison {
    pub(super) fn of(a: &Delivery, b: &Delivery, store: &Store) -> Self {
        let others = a.gist.key.as_ref().map(|key| store.about(key)).unwrap_or_default();
        let whole = |it: &Delivery| it.body.is_some() && it.hidden_bytes == 0;
        let both = Json::parse(&a.shown).zip(Json::parse(&b.shown)).filter(|_| whole(a) && whole(b));
        Self {
            a: Summary::of(a, &store.masks),
            b: Summary::of(b, &store.masks),
            differences: both.map(|(a, b)| a.differences(&b)),
            others: others.iter().map(|it| Summary::of(it, &store.masks)).collect(),
        }
    }
}

/// An item's history, played again.
struct Replay {
    /// What each delivery changed.
    changes: BTreeMap<String, Vec<ChangedFact>>,
    is_complete: bool,
}

fn replay(item: &Item, store: &Store, masks: &Masks) -> Replay {
    let mut replay = Replay { changes: BTreeMap::new(), is_complete: item.forgotten == 0 };
    let mut known: Option<State> = None;
    for entry in &item.history {
        let update = store.get(&entry.delivery).and_then(|it| update_of(it.body.as_ref()?, &it.metadata));
        let Some(update) = update else {
            replay.is_complete = false;
            continue;
        };
        let seen = State::from(&update.observation);
        let after = known.clone().map_or_else(|| seen.clone(), |known| known.merge(seen.clone()));
        let mut changed = changes(known.as_ref(), &after);
        for value in changed.iter_mut().flat_map(|fact| [&mut fact.before, &mut fact.after]).flatten() {
            *value = masks.text(value);
        }
        replay.changes.insert(entry.delivery.clone(), changed);
        known = Some(after);
    }
    replay
}

fn masked(mut facts: Vec<Fact>, masks: &Masks) -> Vec<Fact> {
    for fact in &mut facts {
        fact.value = masks.text(&fact.value);
    }
    facts
}

/// The command that sends a delivery again. The token is not in it: the shell inserts it. `None`: the body is not text, or
/// too large for a command line.
fn curl(delivery: &Delivery, masks: &Masks, url: &str) -> Option<String> {
    let is_text = std::str::from_utf8(delivery.body.as_ref()?).is_ok();
    let body = Some(&delivery.shown).filter(|shown| is_text && shown.len() < MAX_CURL_BYTES)?;
    let url = match &delivery.metadata.topic {
        Some(topic) => format!("{url}/{topic}"),
        None => url.to_owned(),
    };
    let Metadata { content_type, webhook_id, api_version, .. } = &delivery.metadata;
    let headers = [("content-type", content_type), ("webhook-id", webhook_id), ("api-version", api_version)];
    let header = |(name, value): (&str, &Option<String>)| {
        Some(format!(" \\\n  -H {}", quote(&format!("{name}: {}", masks.text(value.as_ref()?)))))
    };
    let headers: String = headers.into_iter().filter_map(header).collect();
    let token = " \\\n  -H \"x-callback-token: $XENDIT_CALLBACK_TOKEN\"";
    Some(format!("curl -i {}{token}{headers} \\\n  --data-raw {}", quote(&url), quote(body)))
}

/// One word for a POSIX shell.
fn quote(text: &str) -> String {
    // `@` at the start of a body would read a file.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_word_whatever_it_holds() {
        for text in ["a'b", "$(rm -rf /)", "`x`", "a\nb", "\\", ""] {
            let output = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quote(text))).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
    }
}
