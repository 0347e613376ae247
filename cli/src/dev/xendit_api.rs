//! Xendit's API of the local stack: a fake, whose webhooks go to the gateway, or the one at `--xendit-api-url`.

use std::env;

use anyhow::{Context as _, Result, ensure};
use shared::envelope::Environment;
use xendit::{Client, SecretKey, fake::Fake};

use crate::fake_xendit::{self, KEY, KEY_VARIABLE};

pub(super) enum XenditApi {
    Fake(Fake),
    /// Its key is in the environment, and stays there.
    At(String),
}

/// An error if the API at an address cannot be used: not after the build.
pub(super) fn check(url: Option<&str>) -> Result<()> {
    let Some(url) = url else { return Ok(()) };
    let key = env::var(KEY_VARIABLE).with_context(|| {
        format!("--xendit-api-url needs the key in {KEY_VARIABLE}; create a test key in Xendit's dashboard")
    })?;
    let key = SecretKey::new(&key).with_context(|| format!("cannot use {KEY_VARIABLE}"))?;
    ensure!(
        key.environment() != Some(Environment::Live),
        "{KEY_VARIABLE} is a live key; the local stack is for Xendit's test mode, so give it a test key"
    );
    Client::new(url, key).context("cannot use --xendit-api-url")?;
    Ok(())
}

impl XenditApi {
    /// Starts a fake, unless there is an API at an address.
    pub(super) async fn open(url: Option<String>, gateway: &str, token: &str) -> Result<Self> {
        if let Some(url) = url {
            return Ok(Self::At(url));
        }
        let fake = fake_xendit::start_for(format!("{gateway}/webhook/{{topic}}"), token.to_owned());
        Ok(Self::Fake(fake.await?))
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Fake(fake) => &fake.url,
            Self::At(url) => url,
        }
    }

    /// The fake's key.
    pub(super) fn shown_key(&self) -> Option<String> {
        matches!(self, Self::Fake(_)).then(|| KEY.to_owned())
    }
}
