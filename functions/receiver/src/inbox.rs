//! Inbox: the second store, for what the queue does not take: an envelope larger than one message, or any envelope while the
//! queue refuses or hangs. The port, and its adapter for S3.
//!
//! S3 itself notifies the webhook queue of each object, and the processor opens what it finds there (a claim check).
//!
//! The adapter builds its one call from the SDK's own parts: its signer, its retries, its HTTPS client. With `aws-sdk-s3`
//! the function would be a quarter larger, most of it tables for checksums that this call does not use.
//!
//! **Invariant:** `keep` returns `Ok` only after S3 has answered that it holds the object.

use std::{
    future::Future,
    iter,
    time::{Duration, SystemTime},
};

use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};
use lambda_http::http::{Request, header};
use runtime::{
    aws::{CallLimits, call_error},
    settings::BadSetting,
};
use shared::envelope::{Delivery, Envelope};

use crate::queue::NotStored;

/// For one `PutObject` with all attempts. The rest of the 6 s is the function's.
pub const KEEP_BUDGET: Duration = Duration::from_millis(2_500);

/// The content type of every object.
const CONTENT_TYPE: &str = "application/json";

/// A durable store for envelopes of any size.
pub trait Inbox {
    /// Stores an envelope. `Ok` means that it is stored; an error means that it may or may not be.
    fn keep(&self, envelope: &Envelope) -> impl Future<Output = Result<(), NotStored>> + Send;
}

/// An S3 bucket.
#[derive(Clone, Debug)]
pub struct S3Inbox {
    put: Operation<HttpRequest, (), ErrorMetadata>,
    credentials: SharedCredentialsProvider,
    region: Region,
    /// Of the bucket.
    url: String,
}

impl S3Inbox {
    /// The bucket of a name, at the configuration's endpoint or else at AWS's own.
    pub fn new(aws: &SdkConfig, limits: CallLimits, bucket: &str) -> Result<Self, BadSetting> {
        let (Some(region), Some(credentials), Some(https)) =
            (aws.region(), aws.credentials_provider(), aws.http_client())
        else {
            return Err(BadSetting {
                name: "AWS_REGION",
                problem: "is not set".to_owned(),
                holds: "the region that the function runs in; Lambda sets it",
            });
        };
        let url = match aws.endpoint_url() {
            // An emulated AWS has no host name for each bucket.
            Some(endpoint) => format!("{endpoint}/{bucket}"),
            None if region.as_ref().starts_with("cn-") => format!("https://{bucket}.s3.{region}.amazonaws.com.cn"),
            None => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        };
        let put = Operation::builder()
            .service_name("S3")
            .operation_name("PutObject")
            .http_client(https)
            .endpoint_url(&url)
            // The request is signed already.
            .no_auth()
            .standard_retry(&limits.retries())
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(limits.timeouts())
            .with_connection_poisoning()
            .serializer(|request: HttpRequest| Ok(request))
            .deserializer(confirmation)
            .build();
        Ok(Self { put, credentials, region: region.clone(), url })
    }

    /// A `PutObject`. S3 verifies the body against the signed digest.
    async fn request(&self, key: &str, body: String) -> Option<HttpRequest> {
        let url = format!("{}/{key}", self.url);
        let identity = self.credentials.provide_credentials().await.ok()?.into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        // S3 signs differently from other services.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region.as_ref())
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .ok()?
            .into();
        let headers = iter::once((header::CONTENT_TYPE.as_str(), CONTENT_TYPE));
        let signable = SignableRequest::new("PUT", &url, headers, SignableBody::Bytes(body.as_bytes())).ok()?;
        let (signature, _) = sign(signable, &parameters).ok()?.into_parts();
        // The endpoint adds the rest of the URL.
        let request = Request::put(format!("/{key}")).header(header::CONTENT_TYPE, CONTENT_TYPE);
        let mut request = request.body(SdkBody::from(body)).ok()?;
        signature.apply_to_request_http1x(&mut request);
        request.try_into().ok()
    }
}

impl Inbox for S3Inbox {
    async fn keep(&self, envelope: &Envelope) -> Result<(), NotStored> {
        let request = self.request(&key(&envelope.delivery), envelope.seal()).await;
        let request = request.ok_or(NotStored::Unreachable("the request could not be made"))?;
        let answer = tokio::time::timeout(KEEP_BUDGET, self.put.invoke(request)).await;
        answer.map_err(|_| NotStored::Unreachable("timeout"))?.map_err(|error| call_error(&error).into())
    }
}

/// Success, or S3's error code.
fn confirmation(response: &HttpResponse) -> Result<(), OrchestratorError<ErrorMetadata>> {
    if response.status().is_success() {
        return Ok(());
    }
    let text = response.body().bytes().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    let code = code.map_or_else(|| response.status().as_u16().to_string(), str::to_owned);
    Err(OrchestratorError::operation(ErrorMetadata::builder().code(code).build()))
}

/// A key for each delivery, by day, of characters that an S3 notification does not encode.
fn key(delivery: &Delivery) -> String {
    let id: String = delivery.id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("webhooks/{}/{id}", delivery.received_at.strftime("%F"))
}

#[cfg(test)]
mod tests {
    use shared::envelope::Environment;

    use super::*;

    #[test]
    fn a_key_holds_the_day_and_the_delivery_and_nothing_that_needs_encoding() {
        let delivery = Delivery {
            id: "8476a536-e9f4/../ +%".to_owned(),
            received_at: "2026-01-02T23:59:59Z".parse().unwrap(),
            environment: Environment::Test,
            token: "test".to_owned(),
            topic: None,
            webhook_id: None,
            api_version: None,
            content_type: None,
        };
        assert_eq!(key(&delivery), "webhooks/2026-01-02/8476a536-e9f4");
    }
}
