//! `fake-xendit`: plays Xendit in test mode on this machine. `dev` starts one too, whose webhooks go to the local stack.
//!
//! **Invariant:** only the fake's own key is ever shown. It opens nothing else.

use std::{env, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use xendit::fake::{Fake, Settings, TEST_CALLS_A_MINUTE};

use crate::{dev::TOKEN, token};

/// The key of the fake.
pub(crate) const KEY: &str = "xnd_development_xendit-hooks-local";

/// The variable with a key of Xendit's. The programs that `dev` starts do not inherit it.
pub(crate) const KEY_VARIABLE: &str = "XENDIT_API_KEY";

#[derive(Args)]
pub(crate) struct Options {
    /// The port. Default: a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Send webhooks to this URL, in which `{topic}` stands for the webhook's topic. Default: only to URLs that are set through
    /// the API. The callback token is the one in `XENDIT_CALLBACK_TOKEN`, or that of the local stack.
    #[arg(long, value_name = "URL")]
    webhooks_to: Option<String>,
    /// The most calls of one endpoint and account within a minute.
    #[arg(long, value_name = "NUMBER", default_value_t = TEST_CALLS_A_MINUTE)]
    calls_a_minute: usize,
    /// Repeat failed webhooks this many times faster than Xendit, whose waits are from 15 minutes to 12 hours.
    #[arg(long, value_name = "TIMES", default_value_t = 1)]
    speed: u32,
    /// Print one JSON object with the address and the key.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    tokio::runtime::Runtime::new().context("cannot start the async runtime")?.block_on(async {
        let settings = Settings {
            key: KEY.to_owned(),
            token: env::var(token::VARIABLE).unwrap_or_else(|_| TOKEN.to_owned()),
            webhooks_to: options.webhooks_to.clone(),
            calls_a_minute: options.calls_a_minute,
            speed: options.speed,
        };
        let fake = start(options.port, settings).await?;
        if options.json {
            anstream::println!("{}", json!({ "xendit_api_url": fake.url, "xendit_api_key": KEY }));
        } else {
            anstream::println!("XENDIT_API_URL={}\nXENDIT_API_KEY={KEY}", fake.url);
            anstream::eprintln!("Plays Xendit until Ctrl-C.");
        }
        tokio::signal::ctrl_c().await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts a fake at a port.
async fn start(port: u16, settings: Settings) -> Result<Fake> {
    Fake::start(port, settings)
        .await
        .with_context(|| format!("cannot listen on port {port}; stop what uses it, or choose another one with --port"))
}

/// Starts a fake whose webhooks go to a URL.
pub(crate) async fn start_for(webhooks_to: String, token: String) -> Result<Fake> {
    let settings = Settings {
        key: KEY.to_owned(),
        token,
        webhooks_to: Some(webhooks_to),
        calls_a_minute: TEST_CALLS_A_MINUTE,
        speed: 1,
    };
    start(0, settings).await
}
