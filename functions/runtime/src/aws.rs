//! The connection to AWS: region, credentials, HTTPS client and time limits, shared by all clients of a process.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// How long one call may take, all its tries together, and how it is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one try, from sending to the whole answer.
    pub attempt: Duration,
    /// For all tries together.
    pub total: Duration,
    /// How many tries at the most.
    pub attempts: u32,
}

impl Patience {
    /// As the SDK's time limits.
    pub fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.total)
            .build()
    }

    /// As the SDK's retries.
    pub fn retries(self) -> RetryConfig {
        RetryConfig::standard().with_max_attempts(self.attempts).with_initial_backoff(FIRST_BACKOFF)
    }
}

/// Time for TCP and TLS. In one region a connection takes milliseconds; a second is an outage.
const CONNECT: Duration = Duration::from_secs(1);

/// The wait before the second try; it doubles, with jitter, for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Configures the SDK from the variables that Lambda sets.
///
/// Only the environment is asked for region and credentials: in a function nothing else can answer, and looking
/// elsewhere costs time on the first request. `AWS_ENDPOINT_URL` is honoured, by which the same binaries run on a laptop.
pub async fn connect(patience: Patience) -> SdkConfig {
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .region(EnvironmentVariableRegionProvider::new())
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .timeout_config(patience.timeouts())
        .retry_config(patience.retries())
        .load()
        .await
}
