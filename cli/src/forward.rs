//! Forward: hands a domain event to an app on this machine, as an HTTP request with the event as EventBridge delivers it.
//! `listen` and `dev --forward-to` use it.

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, Error, Result, ensure};
use serde::Serialize;

/// How long an app may take to answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The part of an app's answer that is shown.
pub(crate) const MAX_SHOWN_CHARS: usize = 200;

/// An app that takes domain events.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) url: String,
    agent: ureq::Agent,
}

/// What an app did with an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// The app answered. It has the event only if the status is 2xx.
    Status {
        status: u16,
        /// The first line of a refusal.
        #[serde(skip_serializing_if = "String::is_empty")]
        text: String,
    },
    /// The app got the event and did not answer in time.
    TooSlow { error: String },
    /// The app cannot be reached.
    Unreachable { error: String },
}

impl Answer {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self, Self::Status { status: 200..300, .. })
    }
}

impl FromStr for App {
    type Err = Error;

    /// `localhost:3000/events` is as good as a whole URL.
    fn from_str(text: &str) -> Result<Self> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: ureq::http::Uri =
            url.parse().context("it is not a URL; write it like http://localhost:3000/events")?;
        ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()),
            "it is not an HTTP URL; write it like http://localhost:3000/events"
        );
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            // A redirect would turn the POST into a GET, such as of a login page that answers 200.
            .max_redirects(0)
            // The app is on this machine, whatever proxy leads to the internet.
            .proxy(None)
            .build();
        Ok(Self { url, agent: ureq::Agent::new_with_config(agent) })
    }
}

impl App {
    /// Posts an event, given as JSON, and waits for the answer.
    pub(crate) async fn post(&self, event: String) -> Result<Answer> {
        let Self { url, agent } = self.clone();
        let posted = tokio::task::spawn_blocking(move || {
            let mut response = agent.post(&url).header("content-type", "application/json").send(event)?;
            let text = response.body_mut().read_to_string().unwrap_or_default();
            Ok((response.status().as_u16(), text))
        });
        Ok(match posted.await? {
            Ok((status @ 200..300, _)) => Answer::Status { status, text: String::new() },
            Ok((status, text)) => {
                let line = text.lines().next().unwrap_or_default();
                Answer::Status { status, text: line.chars().take(MAX_SHOWN_CHARS).collect() }
            }
            Err(ureq::Error::Timeout(_)) => Answer::TooSlow { error: format!("no answer within {TIMEOUT:?}") },
            Err(error) => Answer::Unreachable { error: error.to_string() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_by_its_url_or_by_its_address() {
        for (text, url) in [
            ("http://localhost:3000/events", "http://localhost:3000/events"),
            ("localhost:3000/events", "http://localhost:3000/events"),
            ("https://app.test", "https://app.test"),
        ] {
            assert_eq!(text.parse::<App>().unwrap().url, url);
        }
        for text in ["", "/events", "ftp://localhost/events", "http://", "local host:3000"] {
            assert!(text.parse::<App>().is_err(), "{text}");
        }
    }
}
