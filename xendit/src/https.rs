//! HTTPS: one pool of connections, over rustls on ring. It follows no redirect, and leaves time limits to its callers.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// An HTTP client. Clones share its connections.
pub(crate) type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts Mozilla's authorities. Plain HTTP is spoken to a URL that says so.
pub(crate) fn client() -> Https {
    let mut authorities = RootCertStore::empty();
    authorities.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    #[expect(clippy::expect_used, reason = "an error means a provider without any cipher suite for a version")]
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).build(tls)
}
