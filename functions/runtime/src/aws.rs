//! The connection to AWS: region, credentials, HTTPS client and time limits, shared by all clients of a process; and what
//! a failed call means.

use std::{borrow::Cow, env, fs, time::Duration};

use aws_config::{
    BehaviorVersion, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    meta::region::ProvideRegion as _,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{https, settings::BadSetting};

/// How long one call may take, and how often it is tried.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// For one attempt, from connecting to the whole answer. In one region a connection takes milliseconds.
    pub attempt: Duration,
    /// For all attempts together.
    pub total: Duration,
    /// How many attempts at the most.
    pub attempts: u32,
}

impl CallLimits {
    /// As the SDK's time limits.
    pub fn timeouts(self) -> TimeoutConfig {
        TimeoutConfig::builder().operation_attempt_timeout(self.attempt).operation_timeout(self.total).build()
    }

    /// As the SDK's retries.
    pub fn retries(self) -> RetryConfig {
        RetryConfig::standard().with_max_attempts(self.attempts).with_initial_backoff(FIRST_BACKOFF)
    }
}

/// The authorities that AWS's endpoints chain to, as Amazon Trust Services publishes them.
///
/// Compiled in: reading the system's store dominates a cold start, and no other authority should be trusted for our AWS
/// traffic.
const AMAZON_TRUST_SERVICES: &[u8] = include_bytes!("amazon_trust_services.pem");

/// A file of other authorities, as for the AWS CLI: for endpoints that are not AWS's.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The wait before the second attempt; it doubles, with jitter, for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Why a call failed. A printed SDK error may quote the request, so only this is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The service refused the call, with this code.
    #[error("{0}")]
    Refused(String),
    /// There was no answer. The call may have been carried out.
    #[error("{0}")]
    Unanswered(&'static str),
}

/// Why a call failed.
pub fn call_error<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> CallError {
    match error {
        SdkError::ServiceError(refusal) => {
            CallError::Refused(refusal.err().code().unwrap_or("no error code").to_owned())
        }
        SdkError::TimeoutError(_) => CallError::Unanswered("timeout"),
        SdkError::DispatchFailure(_) => CallError::Unanswered("no connection"),
        SdkError::ResponseError(_) => CallError::Unanswered("the answer was cut off"),
        _ => CallError::Unanswered("the request could not be made"),
    }
}

/// Configures the SDK from the variables that Lambda sets.
///
/// Region and credentials come from the environment only: in a function there is no other source, and looking elsewhere costs
/// time on the first request. `AWS_ENDPOINT_URL` is honoured, so that the same binaries run on a laptop.
pub async fn connect(limits: CallLimits) -> Result<SdkConfig, BadSetting> {
    let https = https::client(authorities(value(CA_BUNDLE).as_deref())?);
    // Not `aws_config::defaults`, which links and asks profile files, SSO, STS and instance metadata as well.
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(https)
        .region(EnvironmentVariableRegionProvider::new().region().await)
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .timeout_config(limits.timeouts())
        .retry_config(limits.retries());
    config.set_endpoint_url(value("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// An optional variable; empty counts as unset.
fn value(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The authorities to trust: those of a bundle, or else Amazon's.
fn authorities(bundle: Option<&str>) -> Result<RootCertStore, BadSetting> {
    let bad = |problem: String| BadSetting {
        name: CA_BUNDLE,
        problem: format!("is wrong ({problem})"),
        holds: "the path of a PEM file with the authorities to trust, or nothing",
    };
    let pem = match bundle {
        None => Cow::Borrowed(AMAZON_TRUST_SERVICES),
        Some(path) => fs::read(path).map_err(|error| bad(error.to_string()))?.into(),
    };
    let mut authorities = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&pem) {
        let authority = authority.map_err(|error| bad(error.to_string()))?;
        authorities.add(authority).map_err(|error| bad(error.to_string()))?;
    }
    if authorities.is_empty() {
        return Err(bad("no certificate in it".to_owned()));
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_are_those_of_amazon_in_mozillas_list_and_no_others() {
        let ours = CertificateDer::pem_slice_iter(AMAZON_TRUST_SERVICES).collect::<Result<Vec<_>, _>>().unwrap();
        let of_amazon = |root: &&CertificateDer<'static>| {
            let names: [&[u8]; 2] = [b"Amazon Root CA", b"Starfield Services Root Certificate Authority - G2"];
            names.iter().any(|name| root.windows(name.len()).any(|bytes| bytes == *name))
        };
        let theirs: Vec<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter(of_amazon).collect();
        assert_eq!(ours.len(), theirs.len());
        assert!(ours.iter().all(|root| theirs.contains(&root)));
    }

    #[test]
    fn a_bundle_that_cannot_be_read_or_holds_nothing_is_named() {
        for bundle in ["/no/such/bundle.pem", "/dev/null"] {
            let error = authorities(Some(bundle)).unwrap_err();
            assert_eq!(error.name, "AWS_CA_BUNDLE", "{bundle}");
        }
    }
}
