//! Sending: sends webhooks to the stack, as Xendit does, and finds out which delivery became of each.
//!
//! **Invariant:** nothing is sent but to the stack's own URL, whatever is in the body.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use axum::body::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use receiver::verify::TOKEN_HEADER;
use serde::Serialize;
use shared::envelope::Delivery as Metadata;
use tokio::time::timeout;

use super::store::{Delivery, Store};
use crate::stack::Stack;

/// Xendit's own timeout.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is sent.
pub(super) struct Webhook {
    pub(super) body: Bytes,
    /// The last part of the URL. Empty: none.
    pub(super) topic: String,
    /// The `webhook-id`.
    pub(super) id: String,
    pub(super) headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    pub(super) status: u16,
    /// The delivery that it became, if that is known yet.
    pub(super) delivery: Option<String>,
}

impl Webhook {
    /// A body, as Xendit sends it.
    pub(super) fn new(body: String, topic: String) -> Self {
        Self {
            body: body.into(),
            topic,
            id: uuid::Uuid::new_v4().to_string(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        }
    }

    /// A delivery again, as Xendit's dashboard resends it: the same bytes under the same `webhook-id`. `None`: its body is not
    /// known.
    pub(super) fn again(delivery: &Delivery) -> Option<Self> {
        let Metadata { topic, webhook_id, content_type, api_version, .. } = &delivery.metadata;
        let headers = [("content-type", content_type), ("api-version", api_version)];
        let header = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), value.clone()?));
        Some(Self {
            body: delivery.body.clone()?,
            topic: topic.as_ref().map(ToString::to_string).unwrap_or_default(),
            id: webhook_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            headers: headers.into_iter().filter_map(header).collect(),
        })
    }

    /// Sends it, and waits until the store knows the delivery, or for so long.
    pub(super) async fn send(self, stack: &Stack, store: &Store, patience: Duration) -> Result<Sent> {
        let (before, id) = (store.newest(), self.id.clone());
        let mut revisions = store.revisions();
        let token = stack.token.clone().unwrap_or_default();
        let url = self.url(&stack.url);
        let status = tokio::task::spawn_blocking(move || self.post(&url, &token)).await??;
        let arrived = async {
            loop {
                if let Some(delivery) = store.sent_after(before, &id) {
                    return Some(delivery);
                }
                revisions.changed().await.ok()?;
            }
        };
        let delivery: Option<Arc<Delivery>> = timeout(patience, arrived).await.ok().flatten();
        Ok(Sent { status, delivery: delivery.map(|delivery| delivery.id().to_owned()) })
    }

    fn url(&self, url: &str) -> String {
        match self.topic.as_str() {
            "" => url.to_owned(),
            topic => format!("{url}/{}", utf8_percent_encode(topic, NON_ALPHANUMERIC)),
        }
    }

    fn post(self, url: &str, token: &str) -> Result<u16> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        let agent = ureq::Agent::new_with_config(config.max_redirects(0).proxy(None).build());
        let request = agent.post(url).header(TOKEN_HEADER, token).header("webhook-id", self.id);
        let request = self.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let response = request.send(&self.body[..]).with_context(|| format!("no response from {url}"))?;
        Ok(response.status().as_u16())
    }
}
