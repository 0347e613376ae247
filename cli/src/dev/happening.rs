//! Happening: what happens in a running local stack, as values. `tracker` puts them on one broadcast channel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use axum::body::Bytes;
use jiff::Timestamp;
use ledger::{item::Item, state::State, update::Update};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::{
    domain_event::Detail,
    envelope::{Delivery, Environment},
    outcome::Processed,
    topic::Topic,
    webhook::Webhook,
};

use super::local_aws::LocalAws;

/// Something that happened in the local stack.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The gateway answered a request. An acknowledged webhook has its result later; every other request has it at once.
    Request(Arc<Request>),
    /// The result of a request is known.
    Result(Arc<Row>),
    /// A domain event was published on the bus.
    Event(Arc<Event>),
}

impl Happening {
    /// Whether it is the result of a bundled webhook.
    pub(super) fn is_result_of_a_sample(&self) -> bool {
        matches!(self, Self::Result(row) if row.webhook.is_some())
    }
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Lambda's request id, which is the delivery id of an acknowledged webhook. The functions' logs have it.
    pub(crate) id: String,
    /// The name of the bundled webhook. `None`: another client sent the request.
    pub(crate) sample: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The headers without the callback token.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
    pub(crate) status: u16,
    pub(crate) answer: Bytes,
    pub(crate) took: Duration,
}

/// A webhook and its result: one line of the report, and with `--json` one object.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The name of the bundled webhook. `None`: another client sent the webhook.
    pub(crate) webhook: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// Lambda's request id, under which the receiver's log has a refused request too.
    pub(crate) request: String,
    /// The delivery id. `None`: the receiver did not acknowledge the webhook.
    pub(crate) delivery: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) phase: Option<&'static str>,
    pub(crate) id: Option<String>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    /// What the processor did with the webhook. `None`: nothing yet, or nothing that is known.
    pub(crate) outcome: Option<Processed>,
    /// Whether the ledger holds the webhook's fact or a newer one.
    pub(crate) in_ledger: bool,
    /// Why the message is in the dead-letter queue. `None`: it is not there.
    pub(crate) parked: Option<String>,
    /// The types of the domain events that were published for the webhook.
    pub(crate) published: Vec<String>,
    /// Why the result could not be read from the emulated AWS. `None`: it was read.
    pub(crate) problem: Option<String>,
    /// It was found nowhere while somebody else looked into the dead-letter queue, which hides messages.
    #[serde(skip)]
    pub(super) is_in_doubt: bool,
}

/// A domain event on the bus.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The same each time the event is published.
    pub(crate) id: String,
    /// Such as `invoice.paid`.
    pub(crate) detail_type: String,
    /// The delivery that caused it.
    pub(crate) delivery: String,
    /// The whole event as EventBridge passes it to a target, as JSON.
    pub(crate) json: String,
}

impl Event {
    /// Reads an event as EventBridge passes it to a target. `None`: it is none of this system's.
    pub(super) fn read(json: String) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Published {
            detail_type: String,
            detail: Box<RawValue>,
        }

        let Published { detail_type, detail } = serde_json::from_str(&json).ok()?;
        let Detail { id, delivery_id: delivery, .. } = Detail::read(detail.get())?;
        Some(Self { id, detail_type, delivery, json })
    }
}

impl Request {
    /// Whether the receiver stored the webhook.
    pub(crate) fn is_acknowledged(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Row {
    /// The row of a request whose result is not known.
    pub(super) fn new(request: &Request) -> Self {
        Self {
            webhook: request.sample.clone(),
            at: request.at,
            method: request.method.clone(),
            path: request.path.clone(),
            status: request.status,
            request: request.id.clone(),
            delivery: request.is_acknowledged().then(|| request.id.clone()),
            event: None,
            kind: None,
            phase: None,
            id: None,
            amount: None,
            currency: None,
            outcome: None,
            in_ledger: false,
            parked: None,
            published: Vec::new(),
            problem: None,
            is_in_doubt: false,
        }
    }

    /// The row of an acknowledged webhook whose message was deleted from the queue.
    ///
    /// It derives what the ledger must hold from the request at the gateway, not from the message.
    pub(super) async fn complete(request: &Request, published: Vec<String>, aws: &LocalAws) -> Self {
        let mut row = Self { published, ..Self::new(request) };
        if let Err(error) = row.look_up(request, aws).await {
            row.problem = Some(format!("{error:#}"));
        }
        row
    }

    async fn look_up(&mut self, request: &Request, aws: &LocalAws) -> Result<()> {
        let topic = request.path.strip_prefix("/webhook/").and_then(|topic| topic.parse::<Topic>().ok());
        let Ok(webhook) = Webhook::parse(&request.body, topic.as_ref()) else {
            return self.look_up_parked(request, aws).await;
        };
        let delivery = Delivery {
            id: request.id.clone(),
            received_at: request.at,
            environment: Environment::Test,
            token: "local".to_owned(),
            topic: topic.clone(),
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        let update = Update::new(&webhook, delivery);
        let key = update.key();
        let state = State::from(&update.observation);
        let seen = update.observation;
        let money = state.paid_in_all().or(seen.requested);
        self.amount = money.as_ref().map(|money| money.amount.to_string());
        self.currency = money.map(|money| money.currency.to_string());
        self.event = Some(seen.event);
        self.kind = Some(seen.stage.kind().as_str());
        self.phase = Some(seen.stage.phase());
        self.id = Some(seen.id);
        match aws.item(&key).await? {
            Some(item) if item.state.clone().merge(state.clone()) == item.state => {
                self.in_ledger = true;
                self.outcome = Some(outcome(&item, &request.id, &state));
                Ok(())
            }
            _ => self.look_up_parked(request, aws).await,
        }
    }

    async fn look_up_parked(&mut self, request: &Request, aws: &LocalAws) -> Result<()> {
        let were_hidden = aws.are_dead_letters_hidden().await?;
        self.parked = aws.parked(&request.id).await?;
        self.outcome = self.parked.as_ref().map(|_| Processed::Parked);
        self.is_in_doubt = self.parked.is_none() && (were_hidden || aws.are_dead_letters_hidden().await?);
        Ok(())
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.delivery.is_some()
    }

    /// Whether the webhook was acknowledged, its message is gone, and nothing holds it: a bug in the functions.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_acknowledged() && !self.in_ledger && self.parked.is_none() && self.problem.is_none()
    }
}

/// What the processor did with a delivery that says `state`, according to the item that holds the same or more.
fn outcome(item: &Item, delivery: &str, state: &State) -> Processed {
    if item.is_conflict_of(delivery) {
        Processed::Conflict
    } else if item.history.iter().any(|entry| entry.delivery == delivery) {
        Processed::Applied
    } else if state.compare(&item.state).is_lt() {
        Processed::Stale
    } else {
        Processed::Duplicate
    }
}

#[cfg(test)]
mod tests {
    use super::{super::local_aws::Names, *};

    #[tokio::test]
    async fn an_error_of_the_emulated_aws_is_a_problem_of_one_row_and_no_loss() {
        let nowhere = serde_json::json!({
            "endpoint": "http://127.0.0.1:9", "queue_url": "", "dlq_url": "", "published_url": "",
            "forwarded_url": "", "tap_queue_url": "", "replay_queue_url": "", "archive": "", "inbox": "", "table": "t", "bus": "",
        });
        let aws = LocalAws::connect(serde_json::from_value::<Names>(nowhere).unwrap());
        for body in [r#"{"event":"x"}"#, "not JSON"] {
            let request = Request {
                id: "d-1".to_owned(),
                sample: None,
                at: Timestamp::UNIX_EPOCH,
                method: "POST".to_owned(),
                path: "/webhook".to_owned(),
                headers: BTreeMap::new(),
                body: body.into(),
                status: 200,
                answer: Bytes::new(),
                took: Duration::ZERO,
            };
            let row = Row::complete(&request, Vec::new(), &aws).await;
            assert!(row.problem.is_some() && !row.is_lost() && row.outcome.is_none(), "{row:?}");
        }
    }
}
