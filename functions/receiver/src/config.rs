//! Configuration: what the template gives the receiver.

use runtime::settings::{BadSetting, setting};
use shared::envelope::Environment;

use crate::verify::Tokens;

/// The receiver's settings.
#[derive(Debug)]
pub struct Config {
    /// `CALLBACK_TOKENS`
    pub tokens: Tokens,
    /// `QUEUE_URL`
    pub queue_url: String,
    /// `INBOX_BUCKET`
    pub inbox_bucket: String,
    /// `ENVIRONMENT`
    pub environment: Environment,
}

impl Config {
    /// Reads all settings. The first that is missing or wrong is the error.
    pub fn from_env() -> Result<Self, BadSetting> {
        Ok(Self {
            tokens: setting(
                "CALLBACK_TOKENS",
                "label=digest pairs separated by commas, such as live=<64 hex digits>: \
                 `xendit-hooks token digest` makes the digest of a token",
            )?,
            queue_url: setting("QUEUE_URL", "the URL of the webhook queue")?,
            inbox_bucket: setting("INBOX_BUCKET", "the name of the S3 bucket that takes what the queue cannot")?,
            environment: setting("ENVIRONMENT", "`test` or `live`")?,
        })
    }
}
