//! AWS: calls to the services of which this tool makes only a few: CloudWatch, its logs, Lambda and SNS.
//!
//! They are built from the SDK's own parts: its credentials, its signer, its retries, its HTTPS client. The crates for these
//! four services are large, and every first build of the local stack would compile them, which uses none of them.
//!
//! **Invariant:** an error names the call and AWS's error code. It never quotes the request or the answer.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow};
use aws_config::{Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime::client::{
    orchestrator::operation::Operation,
    retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier},
};
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpRequest, HttpResponse, OrchestratorError},
    result::SdkError,
};
use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};
use axum::http::{Request, header::CONTENT_TYPE};
use serde_json::Value;

/// For one attempt. A query or a page of log lines takes a second at most.
const ATTEMPT: Duration = Duration::from_secs(10);

/// For all attempts.
const TOTAL: Duration = Duration::from_secs(30);

/// CloudWatch Logs allows only a few reads in a second.
const ATTEMPTS: u32 = 5;

/// A service, by its host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    CloudWatch,
    Lambda,
    Logs,
    Sns,
}

impl Service {
    /// The first part of the host name, and the name that signatures contain.
    const fn host(self) -> &'static str {
        match self {
            Self::CloudWatch => "monitoring",
            Self::Lambda => "lambda",
            Self::Logs => "logs",
            Self::Sns => "sns",
        }
    }

    /// The name in permissions.
    const fn in_permissions(self) -> &'static str {
        match self {
            Self::CloudWatch => "cloudwatch",
            Self::Lambda | Self::Logs | Self::Sns => self.host(),
        }
    }
}

/// The connection to one service.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    service: Service,
    send: Operation<HttpRequest, String, ErrorMetadata>,
    credentials: SharedCredentialsProvider,
    region: Region,
    url: String,
}

impl Caller {
    /// The service in the configuration's region, at its endpoint or else at AWS's own.
    pub(crate) fn new(aws: &SdkConfig, service: Service) -> Result<Self> {
        let region = aws.region().context("no AWS region is set")?.clone();
        let credentials = aws.credentials_provider().context("there are no AWS credentials")?;
        let domain = if region.as_ref().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = match aws.endpoint_url() {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{}.{region}.{domain}", service.host()),
        };
        let limits = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(TOTAL).build();
        let send = Operation::builder()
            .service_name(service.host())
            .operation_name("call")
            .http_client(aws.http_client().context("there is no HTTP client")?)
            .endpoint_url(&url)
            // The request is signed already.
            .no_auth()
            .standard_retry(&RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .timeout_config(limits)
            .with_connection_poisoning()
            .serializer(|request: HttpRequest| Ok(request))
            .deserializer(answer)
            .build();
        Ok(Self { service, send, credentials, region, url })
    }

    /// Calls an operation of CloudWatch or of its logs.
    pub(crate) async fn json(&self, operation: &str, input: &Value) -> Result<Value> {
        let (content_type, target) = match self.service {
            Service::CloudWatch => ("application/x-amz-json-1.0", "GraniteServiceVersion20100801"),
            _ => ("application/x-amz-json-1.1", "Logs_20140328"),
        };
        let target = format!("{target}.{operation}");
        let headers = [(CONTENT_TYPE.as_str(), content_type), ("x-amz-target", &*target)];
        let answer = self.call(operation, "POST", "/", &headers, input.to_string()).await?;
        self.read(operation, &answer)
    }

    /// Calls an operation of Lambda that only reads.
    pub(crate) async fn get(&self, operation: &str, path: &str) -> Result<Value> {
        let answer = self.call(operation, "GET", path, &[], String::new()).await?;
        self.read(operation, &answer)
    }

    /// Calls an operation of SNS. The answer is XML.
    pub(crate) async fn query(&self, operation: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let fixed = [("Action", operation), ("Version", "2010-03-31")];
        let body =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(fixed).extend_pairs(parameters).finish();
        let headers = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        self.call(operation, "POST", "/", &headers, body).await
    }

    fn read(&self, operation: &str, answer: &str) -> Result<Value> {
        serde_json::from_str(answer).ok().with_context(|| format!("{}: AWS's answer is not JSON", self.name(operation)))
    }

    /// The name of the permission to call an operation.
    fn name(&self, operation: &str) -> String {
        format!("{}:{operation}", self.service.in_permissions())
    }

    async fn call(
        &self,
        operation: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<String> {
        let request = self.request(method, path, headers, body).await?;
        self.send.invoke(request).await.map_err(|error| {
            let name = self.name(operation);
            match error {
                SdkError::ServiceError(refusal) => match refusal.err().code().unwrap_or("no error code") {
                    code if code.starts_with("AccessDenied") || code == "AuthorizationError" => {
                        anyhow!("no permission for {name}")
                    }
                    code => anyhow!("{name}: {code}"),
                },
                SdkError::TimeoutError(_) => anyhow!("{name}: no answer in time"),
                SdkError::DispatchFailure(_) => anyhow!("{name}: no connection"),
                _ => anyhow!("{name}: the answer was cut off"),
            }
        })
    }

    /// A signed request.
    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Result<HttpRequest> {
        let found = self.credentials.provide_credentials().await;
        let identity = found.context("there are no AWS credentials; set AWS_PROFILE, or run `aws sso login`")?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region.as_ref())
            .name(self.service.host())
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = format!("{}{path}", self.url);
        let signable =
            SignableRequest::new(method, &url, headers.iter().copied(), SignableBody::Bytes(body.as_bytes()))?;
        let (signature, _) = sign(signable, &parameters)?.into_parts();
        // The endpoint adds the rest of the URL.
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(SdkBody::from(body))?;
        signature.apply_to_request_http1x(&mut request);
        Ok(request.try_into()?)
    }
}

/// The body of a success, or AWS's error code.
fn answer(response: &HttpResponse) -> Result<String, OrchestratorError<ErrorMetadata>> {
    let text = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    if response.status().is_success() {
        return Ok(text.into_owned());
    }
    let code = response.headers().get("x-amzn-errortype").map(str::to_owned).or_else(|| error_code(&text));
    let code = code.unwrap_or_else(|| response.status().as_u16().to_string());
    // As in `com.amazonaws.logs#ResourceNotFoundException` and `ResourceNotFoundException:http://…`.
    let code = code.split(':').next().and_then(|code| code.rsplit('#').next()).unwrap_or_default();
    Err(OrchestratorError::operation(ErrorMetadata::builder().code(code).build()))
}

/// The code in an error that is JSON or XML.
fn error_code(text: &str) -> Option<String> {
    if let Ok(error) = serde_json::from_str::<Value>(text) {
        return error.get("__type")?.as_str().map(str::to_owned);
    }
    xml_value(text, "Code").map(str::to_owned)
}

/// The text between the first two tags of a name.
pub(crate) fn xml_value<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_code_is_found_in_json_and_in_xml() {
        for (text, code) in [
            (
                r#"{"__type":"com.amazonaws.logs#ThrottlingException","message":"m"}"#,
                Some("com.amazonaws.logs#ThrottlingException"),
            ),
            (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AuthorizationError</Code></Error></ErrorResponse>",
                Some("AuthorizationError"),
            ),
            ("<html>", None),
            ("{}", None),
        ] {
            assert_eq!(error_code(text).as_deref(), code, "{text}");
        }
    }
}
