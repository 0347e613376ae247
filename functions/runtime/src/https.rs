//! HTTPS: how the SDK reaches AWS. One pool of connections for all clients of a process, over rustls on ring.
//!
//! The SDK's own crate for this, `aws-smithy-http-client`, is the same hyper and the same rustls plus HTTP/2, proxies and system
//! roots. AWS's JSON services and S3 speak HTTP/1.1, and the rest made the receiver 4.95 MB instead of 4.16 (`binary MB` of
//! `make bench-gate`).

use std::sync::Arc;

use aws_smithy_runtime_api::client::{
    connection::{CaptureSmithyConnection, ConnectionMetadata},
    http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector as TcpConnector, capture_connection},
    },
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A client for the SDK that trusts these authorities. Plain HTTP is spoken to an endpoint whose URL says so.
///
/// Time limits are the SDK's, over a whole attempt: connecting is part of it.
pub(crate) fn client(authorities: RootCertStore) -> SharedHttpClient {
    #[expect(clippy::expect_used, reason = "an error means a provider without any cipher suite for a version")]
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    // A request is several writes, and none should wait for the previous one's acknowledgement.
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let connector = SharedHttpConnector::new(Https(Client::builder(TokioExecutor::new()).build(tls)));
    http_client_fn(move |_, _| connector.clone())
}

/// Hyper's client as the SDK's connector.
#[derive(Debug)]
struct Https(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Https {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // Lets the SDK discard a broken connection.
        let captured = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || {
                let captured = captured.clone();
                captured.connection_metadata().as_ref()?;
                let poison = move || {
                    if let Some(connection) = captured.connection_metadata().as_ref() {
                        connection.poison();
                    }
                };
                Some(ConnectionMetadata::builder().proxied(false).poison_fn(poison).build())
            });
        }
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            // Every transport error may be retried: at worst a repeated call stores or publishes a duplicate, which is recognised.
            let answer = answer.await.map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
