//! Configuration: what the template gives the processor.

use runtime::settings::{BadSetting, setting};
use shared::envelope::Environment;

/// The processor's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `LEDGER_TABLE`
    pub ledger_table: String,
    /// `BUS_NAME`
    pub bus_name: String,
    /// `QUEUE_URL`
    pub queue_url: String,
    /// `DLQ_URL`
    pub dlq_url: String,
    /// `INBOX_BUCKET`
    pub inbox_bucket: String,
    /// `ENVIRONMENT`
    pub environment: Environment,
}

impl Config {
    /// Reads all settings. The first that is missing or wrong is the error.
    pub fn from_env() -> Result<Self, BadSetting> {
        Ok(Self {
            ledger_table: setting("LEDGER_TABLE", "the name of the DynamoDB table that is the ledger")?,
            bus_name: setting("BUS_NAME", "the name of the EventBridge bus that domain events go to")?,
            queue_url: setting("QUEUE_URL", "the URL of the webhook queue")?,
            dlq_url: setting("DLQ_URL", "the URL of the dead-letter queue")?,
            inbox_bucket: setting("INBOX_BUCKET", "the name of the S3 bucket that takes what the queue cannot")?,
            environment: setting("ENVIRONMENT", "`test` or `live`")?,
        })
    }
}
