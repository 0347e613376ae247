//! Gateway: plays API Gateway's HTTP API in front of the receiver, with the template's two routes, payload format 2.0.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, Response, StatusCode, Uri, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use receiver::verify::TOKEN_HEADER;
use serde::Deserialize;
use serde_json::json;
use shared::event::Event;
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender, task::JoinHandle};

use super::{USUAL_PORT, children::Functions};

/// The most that an HTTP API takes.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// As long as Lambda lets the longest-running function run, with a margin.
const INVOCATION_LIMIT: Duration = Duration::from_secs(40);

/// Tells the gateway which bundled webhook a request is, for the report. The functions know nothing of it.
const SAMPLE_HEADER: &str = "x-bundled-webhook";

pub(super) struct Gateway {
    pub(super) url: String,
    server: JoinHandle<()>,
}

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) sample: Option<String>,
    pub(super) path: String,
    pub(super) status: u16,
    /// The delivery's id, when the receiver acknowledged.
    pub(super) delivery: Option<String>,
    pub(super) body: Vec<u8>,
}

#[derive(Clone)]
struct Shared {
    functions: Functions,
    arrived: UnboundedSender<Arrival>,
}

impl Gateway {
    pub(super) async fn open(
        port: Option<u16>,
        functions: Functions,
        arrived: UnboundedSender<Arrival>,
    ) -> Result<Self> {
        let listener = match port {
            Some(port) => {
                TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port} is taken"))?
            }
            None => match TcpListener::bind(("127.0.0.1", USUAL_PORT)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind("127.0.0.1:0").await.context("there is no free port")?,
            },
        };
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Shared { functions, arrived });
        let server = tokio::spawn(async move {
            // It ends only when it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, server })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().to_owned();
    if method != Method::POST || !is_route(&path) {
        return plain(StatusCode::NOT_FOUND, r#"{"message":"Not Found"}"#);
    }
    let event = event(&uri, &headers, &body);
    let (response, delivery) = match invoke(shared.functions.invocations("receiver"), event).await {
        Ok(answer) => translate(&answer),
        Err(_) => (plain(StatusCode::SERVICE_UNAVAILABLE, r#"{"message":"Service Unavailable"}"#), None),
    };
    let sample = headers.get(SAMPLE_HEADER).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let _ = shared.arrived.send(Arrival { sample, path, status, delivery, body: body.to_vec() });
    response
}

/// `POST /webhook` and `POST /webhook/{topic}`, as in template.yaml.
fn is_route(path: &str) -> bool {
    path == "/webhook" || path.strip_prefix("/webhook/").is_some_and(|topic| !topic.is_empty() && !topic.contains('/'))
}

/// The event that a function gets from an HTTP API: names in lower case, repeated headers joined by commas.
fn event(uri: &Uri, headers: &HeaderMap, body: &[u8]) -> String {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != SAMPLE_HEADER) {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined.entry(name.as_str()).and_modify(|all| *all = format!("{all},{value}")).or_insert(value.into_owned());
    }
    let content_type = joined.get("content-type").map_or("", String::as_str);
    let textual = ["text/", "application/json", "application/xml", "application/javascript"];
    let text = std::str::from_utf8(body).ok().filter(|_| textual.iter().any(|kind| content_type.starts_with(kind)));
    let now = Timestamp::now();
    json!({
        "version": "2.0",
        "routeKey": "POST /webhook",
        "rawPath": uri.path(),
        "rawQueryString": uri.query().unwrap_or_default(),
        "headers": joined,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": "POST", "path": uri.path(), "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1", "userAgent": "",
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": "POST /webhook",
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "body": text.map_or_else(|| BASE64.encode(body), str::to_owned),
        "isBase64Encoded": text.is_none(),
    })
    .to_string()
}

/// The function's answer as HTTP, and the delivery's id when it acknowledged.
fn translate(answer: &[u8]) -> (Response<Body>, Option<String>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        status_code: u16,
        #[serde(default)]
        body: Option<String>,
    }
    #[derive(Deserialize)]
    struct Acknowledged {
        id: String,
    }

    let parsed: Option<(StatusCode, String)> = serde_json::from_slice::<Answer>(answer)
        .ok()
        .and_then(|answer| Some((StatusCode::from_u16(answer.status_code).ok()?, answer.body.unwrap_or_default())));
    let Some((status, body)) = parsed else {
        return (plain(StatusCode::INTERNAL_SERVER_ERROR, r#"{"message":"Internal Server Error"}"#), None);
    };
    let id = serde_json::from_str(&body).ok().filter(|_| status.is_success()).map(|Acknowledged { id }| id);
    (plain(status, &body), id)
}

fn plain(status: StatusCode, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    if !body.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    }
    response
}

/// Invokes a function with an event and returns what it returned. A function error is an error.
pub(super) async fn invoke(url: String, event: String) -> Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || {
        let config = ureq::Agent::config_builder().timeout_global(Some(INVOCATION_LIMIT)).build();
        let mut answer = ureq::Agent::new_with_config(config).post(&url).send(event)?;
        if answer.headers().contains_key("x-amz-function-error") {
            bail!("the function failed");
        }
        let limit = u64::try_from(MAX_BODY_BYTES)?;
        Ok(answer.body_mut().with_config().limit(limit).read_to_vec()?)
    })
    .await?
}

/// Sends the bundled webhooks one after the other, each to its product's URL. What becomes of them is seen at the gateway.
pub(super) fn send_all(files: &[PathBuf], url: &str, token: &str) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(config);
    let name = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    for file in files {
        let Ok(body) = std::fs::read(file) else { continue };
        let request = agent.post(url_for(&body, url)).header(TOKEN_HEADER, token);
        let request = request.header("content-type", "application/json").header(SAMPLE_HEADER, name(file));
        let _ = request.header("webhook-id", uuid::Uuid::new_v4().to_string()).send(&body[..]);
    }
}

/// Where Xendit would send a body: to its product's topic, or to the plain URL if nobody knows the product.
fn url_for(body: &[u8], url: &str) -> String {
    let entry = Event::parse(body, None).ok().and_then(|event| event.entry());
    entry.map_or_else(|| url.to_owned(), |entry| format!("{url}/{}", entry.topic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_goes_to_the_topic_of_its_product() {
        let to = |body: &str| url_for(body.as_bytes(), "http://localhost/webhook");
        let named = r#"{"event":"payment.succeeded","data":{"id":"py-1","status":"SUCCEEDED"}}"#;
        assert_eq!(to(named), "http://localhost/webhook/payment_succeeded");
        assert_eq!(to(r#"{"external_id":"e","user_id":"u","merchant_name":"m"}"#), "http://localhost/webhook/invoice");
        assert_eq!(to(r#"{"event":"moon.landed"}"#), "http://localhost/webhook");
        assert_eq!(to("no JSON"), "http://localhost/webhook");
    }
}
