//! Callback URLs: where Xendit sends webhooks. They can be set, and not read.

use serde::Deserialize;
use serde_json::json;
use shared::envelope::Environment;
use zeroize::Zeroizing;

use crate::{
    client::{Call, Client},
    error::Error,
};

/// What Xendit answers when a URL was set.
///
/// **Invariant:** the callback token is in no `Debug` output, and erased when this is dropped.
pub struct Set {
    /// The account's business id.
    pub account: String,
    /// The environment of the key.
    pub environment: Environment,
    /// The URL that is set now.
    pub url: String,
    /// The callback token of the account in this environment. Take its digest, and drop it.
    pub token: Zeroizing<String>,
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, environment, url, token: _ } = self;
        f.debug_struct("Set")
            .field("account", account)
            .field("environment", environment)
            .field("url", url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Sets the URL of a type of webhooks, as `shared::webhook::Entry::callback_type` names it.
    pub async fn set_callback_url(&self, callback_type: &str, url: &str) -> Result<Set, Error> {
        #[derive(Deserialize)]
        struct Answer {
            user_id: String,
            url: String,
            environment: String,
            callback_token: String,
        }

        let path = format!("/callback_urls/{callback_type}");
        let answer: Answer =
            self.json(&Call::post("/callback_urls/{type}", path, None, &json!({ "url": url }))).await?;
        let environment = match answer.environment.as_str() {
            "TEST" => Environment::Test,
            "LIVE" => Environment::Live,
            _ => return Err(Error::unreadable("unknown environment")),
        };
        if answer.url != url {
            return Err(Error::Contradicts("the URL"));
        }
        Ok(Set { account: answer.user_id, environment, url: answer.url, token: Zeroizing::new(answer.callback_token) })
    }
}
