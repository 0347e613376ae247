//! Sender: sends webhooks as Xendit does, repeats those that failed, and lets some go wrong by plan.
//!
//! Xendit's pages disagree on whether a webhook is repeated that was not answered in time. Here it is not, which is the worse
//! case.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::webhook::catalogue;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Settings, books::now};
use crate::https::{self, Https};

/// The waits before the further attempts: the last one is a day after the first.
const WAITS: [Duration; 6] = [
    Duration::from_mins(15),
    Duration::from_mins(45),
    Duration::from_hours(2),
    Duration::from_hours(3),
    Duration::from_hours(6),
    Duration::from_hours(12),
];

/// How long Xendit waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A webhook to send.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    /// Its name in the catalogue.
    pub(super) event: &'static str,
    /// The merchant's reference, by which a plan chooses.
    pub(super) reference: Value,
    pub(super) body: Value,
    /// The header `api-version`.
    pub(super) version: Option<&'static str>,
    /// The URL that was set by API, or with the request.
    pub(super) url: Option<String>,
}

/// What goes wrong with some webhooks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// Only webhooks of this name.
    event: Option<String>,
    /// Only webhooks about this reference.
    reference: Option<String>,
    #[serde(rename = "do")]
    action: Action,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// It is never sent.
    Never,
    /// It is sent twice under one id, as after an answer that was lost.
    Twice,
    /// It is sent twice under two ids, as after a provider's outage.
    TwiceWithNewId,
    /// It is sent this many milliseconds later.
    LateMs(u64),
    /// It states another amount than the books.
    Amount(Value),
}

/// A webhook that was sent, or was not.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Delivery {
    id: String,
    event: &'static str,
    url: Option<String>,
    /// As on Xendit's dashboard.
    status: &'static str,
    /// When it was tried, and what was answered: an HTTP status or an error.
    attempts: Vec<(Value, String)>,
}

/// Sends webhooks.
pub(super) struct Sender {
    http: Https,
    token: String,
    webhooks_to: Option<String>,
    speed: u32,
    plan: Mutex<Vec<Rule>>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            http: https::client(),
            token: settings.token.clone(),
            webhooks_to: settings.webhooks_to.clone(),
            speed: settings.speed.max(1),
            plan: Mutex::default(),
            deliveries: Mutex::default(),
        }
    }

    /// Plans what goes wrong, in place of the plan before.
    pub(super) fn plan(&self, rules: Vec<Rule>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// All webhooks so far.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a webhook until it is accepted or given up.
    pub(super) async fn deliver(&self, mut hook: Hook) {
        let action = {
            let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.iter().find(|rule| rule.fits(&hook)).map(|rule| rule.action.clone())
        };
        let id = Uuid::new_v4().to_string();
        match action {
            None => {}
            Some(Action::Never) => {
                self.note(&id, &hook, "Pending");
                return;
            }
            Some(Action::Twice) => self.repeat(&hook, &id).await,
            Some(Action::TwiceWithNewId) => self.repeat(&hook, &Uuid::new_v4().to_string()).await,
            Some(Action::LateMs(milliseconds)) => sleep(Duration::from_millis(milliseconds)).await,
            Some(Action::Amount(amount)) => misstate(&mut hook.body, &amount),
        }
        self.repeat(&hook, &id).await;
    }

    async fn repeat(&self, hook: &Hook, id: &str) {
        let index = self.note(id, hook, "Pending");
        let Some(url) = self.url(hook) else { return self.end(index, "URL Not Set") };
        for wait in WAITS.into_iter().map(Some).chain([None]) {
            let (status, answer) = match timeout(TIMEOUT, self.post(hook, id, &url)).await {
                Ok(Ok(status @ 200..300)) => ("Completed", status.to_string()),
                Ok(Ok(status)) => ("Failed", status.to_string()),
                Ok(Err(error)) => ("Failed", error.to_owned()),
                Err(_) => ("Timeout", "ETIMEDOUT".to_owned()),
            };
            self.with(index, |delivery| {
                delivery.status = status;
                delivery.attempts.push((now(), answer));
            });
            match wait {
                Some(wait) if status == "Failed" => sleep(wait / self.speed).await,
                _ => return,
            }
        }
    }

    async fn post(&self, hook: &Hook, id: &str, url: &str) -> Result<u16, &'static str> {
        let mut body = hook.body.clone();
        // In the products with an envelope, the time of the attempt.
        if let Value::Object(fields) = &mut body
            && fields.contains_key("data")
        {
            fields.insert("created".to_owned(), now());
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/plain, */*")
            .header("user-agent", "axios/1.10.0")
            .header("x-callback-token", &self.token)
            .header("webhook-id", id);
        if let Some(version) = hook.version {
            request = request.header("api-version", version);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string()))).map_err(|_| "EINVAL")?;
        let answer = self.http.request(request).await.map_err(|_| "ECONNREFUSED")?;
        Ok(answer.status().as_u16())
    }

    /// Where a webhook goes: to the URL that was set for it, or to the one for its topic.
    fn url(&self, hook: &Hook) -> Option<String> {
        let topic = || catalogue().find(|entry| entry.event == hook.event).map_or(String::new(), |entry| entry.topic());
        hook.url.clone().or_else(|| Some(self.webhooks_to.as_ref()?.replace("{topic}", &topic())))
    }

    fn note(&self, id: &str, hook: &Hook, status: &'static str) -> usize {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        let url = self.url(hook);
        deliveries.push(Delivery { id: id.to_owned(), event: hook.event, url, status, attempts: Vec::new() });
        deliveries.len() - 1
    }

    fn end(&self, index: usize, status: &'static str) {
        self.with(index, |delivery| delivery.status = status);
    }

    fn with(&self, index: usize, change: impl FnOnce(&mut Delivery)) {
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(delivery) = deliveries.get_mut(index) {
            change(delivery);
        }
    }
}

impl Rule {
    fn fits(&self, hook: &Hook) -> bool {
        self.event.as_deref().is_none_or(|event| event == hook.event)
            && self.reference.as_deref().is_none_or(|reference| hook.reference == reference)
    }
}

/// The body of a webhook with an envelope. `created` is set when it is sent.
pub(super) fn envelope(event: &str, account: &str, data: &Value) -> Value {
    json!({ "event": event, "business_id": account, "created": null, "data": data })
}

/// States another amount as what was paid.
fn misstate(body: &mut Value, amount: &Value) {
    let paid = ["paid_amount", "capture_amount", "destination_amount", "refund_amount", "amount"];
    if let Some(key) = paid.into_iter().find(|key| has(body, key)) {
        set(body, key, amount);
    }
}

fn has(body: &Value, key: &str) -> bool {
    match body {
        Value::Object(fields) => {
            fields.get(key).is_some_and(|value| !value.is_null()) || fields.values().any(|value| has(value, key))
        }
        Value::Array(list) => list.iter().any(|value| has(value, key)),
        _ => false,
    }
}

fn set(body: &mut Value, key: &str, amount: &Value) {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    *value = amount.clone();
                } else {
                    set(value, key, amount);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| set(value, key, amount)),
        _ => {}
    }
}
