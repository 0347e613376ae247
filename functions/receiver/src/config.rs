//! Configuration: what the template gives the receiver.

use runtime::settings::{BadSetting, required};
use shared::{
    envelope::Environment,
    stack::{CALLBACK_TOKENS, ENVIRONMENT, INBOX_BUCKET, QUEUE_URL},
};

use crate::verify::Tokens;

/// The receiver's settings.
#[derive(Debug)]
pub struct Config {
    /// The accepted tokens.
    pub tokens: Tokens,
    /// The webhook queue.
    pub queue_url: String,
    /// The inbox.
    pub inbox_bucket: String,
    /// Which of Xendit's two environments this is.
    pub environment: Environment,
}

impl Config {
    /// Reads all settings. The first that is missing or wrong is the error.
    pub fn from_env() -> Result<Self, BadSetting> {
        Ok(Self {
            tokens: required(CALLBACK_TOKENS)?,
            queue_url: required(QUEUE_URL)?,
            inbox_bucket: required(INBOX_BUCKET)?,
            environment: required(ENVIRONMENT)?,
        })
    }
}
