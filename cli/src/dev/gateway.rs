//! Gateway: replaces API Gateway's HTTP API, in front of the receiver, with the two routes of template.yaml. Also sends the
//! bundled webhooks to it.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use receiver::verify::TOKEN_HEADER;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::webhook::Webhook;
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender, task::JoinHandle};

use super::{
    functions::{Function, Functions},
    happening::Request,
    tracker::News,
};
use crate::samples::Sample;

/// The port that is tried first, so that the URL is usually the same in each run.
const DEFAULT_PORT: u16 = 8787;

/// The largest request body that an HTTP API accepts.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Content types whose bodies API Gateway forwards as text. It encodes all other bodies as base64, and also those without a
/// content type.
const TEXT_TYPES: [&str; 4] = ["text/", "application/json", "application/xml", "application/javascript"];

/// Headers that API Gateway does not forward: cookies have a field of their own, and the others belong to one connection.
const NOT_FORWARDED: [HeaderName; 5] =
    [header::CONNECTION, header::COOKIE, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// The header with the name of a bundled webhook, for the report. It is not forwarded to the receiver.
const SAMPLE_HEADER: &str = "x-bundled-webhook";

pub(super) struct Gateway {
    pub(super) url: String,
    server: JoinHandle<()>,
}

/// What every request needs.
#[derive(Clone)]
struct Context {
    functions: Functions,
    news: UnboundedSender<News>,
}

impl Gateway {
    /// Starts the server. `news` receives each request once it is answered.
    pub(super) async fn open(port: Option<u16>, functions: Functions, news: UnboundedSender<News>) -> Result<Self> {
        let listener = match port {
            Some(port) => TcpListener::bind(("127.0.0.1", port))
                .await
                .with_context(|| format!("cannot listen on port {port}; choose another one with --port"))?,
            None => match TcpListener::bind(("127.0.0.1", DEFAULT_PORT)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port")?,
            },
        };
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .fallback(handle)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Context { functions, news });
        let server = tokio::spawn(async move {
            // Runs until it is aborted.
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

/// Invokes the receiver with a request, and returns its response.
async fn handle(
    State(context): State<Context>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let (at, start) = (Timestamp::now(), Instant::now());
    let path = percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let Some(route) = Route::of(&path).filter(|_| method == Method::POST) else {
        return gateway_response(StatusCode::NOT_FOUND, "Not Found");
    };
    let event = event(&route, &path, uri.query(), &headers, &body).to_string();
    let (response, delivery) = match context.functions.invoke(Function::Receiver, event).await {
        Ok(output) => to_http(&output),
        Err(_) => (gateway_response(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"), None),
    };
    let (parts, answer) = response.into_parts();
    let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap_or_default();
    let request = Request {
        id: delivery.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        sample: headers.get(SAMPLE_HEADER).map(text),
        at,
        method: method.to_string(),
        path,
        headers: without_token(&headers),
        body,
        status: parts.status.as_u16(),
        answer: answer.clone(),
        took: start.elapsed(),
    };
    let _ = context.news.send(News::Answered(request));
    Response::from_parts(parts, Body::from(answer))
}

/// The headers that may be shown.
fn without_token(headers: &HeaderMap) -> BTreeMap<String, String> {
    let shown = headers.iter().filter(|(name, _)| *name != TOKEN_HEADER && *name != SAMPLE_HEADER);
    join_repeated(shown.map(|(name, value)| (name.as_str().to_owned(), text(value))))
}

/// One of the two routes in template.yaml.
#[derive(Debug, PartialEq, Eq)]
struct Route<'a> {
    key: &'static str,
    topic: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// The route for a decoded path.
    fn of(path: &'a str) -> Option<Self> {
        match path.strip_prefix("/webhook")? {
            "" => Some(Self { key: "POST /webhook", topic: None }),
            rest => {
                let topic = rest.strip_prefix('/').filter(|topic| !topic.is_empty() && !topic.contains('/'))?;
                Some(Self { key: "POST /webhook/{topic}", topic: Some(topic) })
            }
        }
    }
}

/// The event that an HTTP API passes to a function, in payload format 2.0.
///
/// The path is decoded; the query string is not. Header names are in lower case. The values of repeated headers and of
/// repeated query parameters are joined by commas. Fields without a value are omitted.
fn event(route: &Route<'_>, path: &str, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Value {
    let header_text = |name: HeaderName| headers.get(name).map(text);
    let content_type = header_text(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_text = TEXT_TYPES.iter().any(|prefix| content_type.starts_with(prefix));
    let text_body = std::str::from_utf8(body).ok().filter(|_| is_text);
    let now = Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": query.unwrap_or_default(),
        "headers": forwarded_headers(headers, body.len()),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "localhost",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": header_text(header::USER_AGENT).unwrap_or_default(),
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": route.key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": text_body.is_none() && !body.is_empty(),
    });
    let mut insert = |key: &str, value: Value| {
        if let Value::Object(fields) = &mut event {
            fields.insert(key.to_owned(), value);
        }
    };
    if let Some(cookies) = header_text(header::COOKIE) {
        insert("cookies", cookies.split("; ").collect());
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let parameters = form_urlencoded::parse(query.as_bytes());
        let parameters = parameters.map(|(name, value)| (name.into_owned(), value.into_owned()));
        insert("queryStringParameters", json!(join_repeated(parameters)));
    }
    if let Some(topic) = route.topic {
        insert("pathParameters", json!({ "topic": topic }));
    }
    if !body.is_empty() {
        insert("body", text_body.map_or_else(|| BASE64.encode(body), str::to_owned).into());
    }
    event
}

/// The headers in the event: those of the request, and those that API Gateway adds.
fn forwarded_headers(headers: &HeaderMap, body_bytes: usize) -> BTreeMap<String, String> {
    let is_forwarded = |name: &HeaderName| !NOT_FORWARDED.contains(name) && name != SAMPLE_HEADER;
    let sent = headers.iter().filter(|(name, _)| is_forwarded(name));
    let mut all = join_repeated(sent.map(|(name, value)| (name.as_str().to_owned(), text(value))));
    all.insert("content-length".to_owned(), body_bytes.to_string());
    all.insert("x-amzn-trace-id".to_owned(), "Root=1-00000000-000000000000000000000000".to_owned());
    all.insert("x-forwarded-port".to_owned(), "443".to_owned());
    all.insert("x-forwarded-proto".to_owned(), "https".to_owned());
    let addresses = all.entry("x-forwarded-for".to_owned()).or_default();
    if !addresses.is_empty() {
        addresses.push_str(", ");
    }
    addresses.push_str("127.0.0.1");
    all
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Joins the values of each name by commas.
fn join_repeated(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        all.entry(name).and_modify(|values| *values = format!("{values},{value}")).or_insert(value);
    }
    all
}

/// The HTTP response for what the receiver returned, and the delivery id if it acknowledged the webhook.
fn to_http(output: &[u8]) -> (Response<Body>, Option<String>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Output {
        status_code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<String>,
    }
    #[derive(Deserialize)]
    struct Acknowledged {
        id: String,
    }

    let invalid = || (gateway_response(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"), None);
    let Ok(Output { status_code, headers, body }) = serde_json::from_slice(output) else { return invalid() };
    let body = body.unwrap_or_default();
    let id = serde_json::from_str(&body).ok().map(|Acknowledged { id }| id);
    let response = Response::builder().status(status_code);
    let response = headers.iter().fold(response, |response, (name, value)| response.header(name, value));
    let Ok(response) = response.body(Body::from(body)) else { return invalid() };
    let id = id.filter(|_| response.status().is_success());
    (response, id)
}

/// A response that API Gateway makes itself.
fn gateway_response(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "message": text }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sends the bundled webhooks one after the other, each to the URL of its product. It ignores the responses, because the
/// gateway reports them.
pub(super) fn send_all(samples: &[Sample], url: &str, token: &str) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(config);
    for sample in samples {
        let request = agent.post(url_for(sample.body.as_bytes(), url)).header(TOKEN_HEADER, token);
        let request = request.header("content-type", "application/json").header(SAMPLE_HEADER, sample.name);
        let _ = request.header("webhook-id", uuid::Uuid::new_v4().to_string()).send(sample.body);
    }
}

/// The URL to which Xendit would send a body: with the topic of its product, or without one for an unknown webhook.
fn url_for(body: &[u8], url: &str) -> String {
    let entry = Webhook::parse(body, None).ok().and_then(|webhook| webhook.entry());
    entry.map_or_else(|| url.to_owned(), |entry| format!("{url}/{}", entry.topic()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use receiver::door;

    use super::*;

    const PATH: &str = "/webhook/invoice";

    fn event_of(headers: &[(&str, &str)], body: &[u8]) -> Value {
        let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            let _: bool = all.append(name, value);
        }
        event(&Route::of(PATH).unwrap(), PATH, Some("a=1&a=b%20c"), &all, body)
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn an_event_has_the_same_keys_as_one_from_api_gateway() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/api-token-right.json");
        let recorded: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let sent: Vec<_> = recorded["headers"]
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, value)| {
                (!name.starts_with("x-amzn") && !name.starts_with("x-forwarded")).then_some((&**name, value.as_str()?))
            })
            .collect();
        let event = event_of(&sent, b"{}");
        let mut expected = keys(&recorded);
        expected.insert("queryStringParameters");
        assert_eq!(keys(&event), expected);
        for part in ["headers", "requestContext", "pathParameters"] {
            assert_eq!(keys(&event[part]), keys(&recorded[part]), "{part}");
        }
        assert_eq!(keys(&event["requestContext"]["http"]), keys(&recorded["requestContext"]["http"]));
        assert_eq!((&event["routeKey"], &event["rawPath"]), (&recorded["routeKey"], &recorded["rawPath"]));
        assert_eq!(event["rawQueryString"], "a=1&a=b%20c");
        assert_eq!(event["queryStringParameters"], json!({ "a": "1,b c" }));
    }

    #[test]
    fn the_receiver_reads_the_request_that_was_sent() {
        let bodies: [(&str, &[u8], bool); 5] = [
            ("application/json", br#"{"a":1}"#, false),
            ("Application/JSON; charset=utf-8", br#"{"a":1}"#, false),
            ("application/json", b"\xFF\xFE", true),
            ("application/x-www-form-urlencoded", b"a=1", true),
            ("application/json", b"", false),
        ];
        for (content_type, body, is_base64) in bodies {
            let headers = [("content-type", content_type), ("x-callback-token", "t"), ("webhook-id", "w")];
            let event = event_of(&headers, body);
            assert_eq!(event["isBase64Encoded"], is_base64, "{content_type}");
            let request = serde_json::from_str::<door::Event>(&event.to_string()).unwrap().into_request();
            assert_eq!((request.method(), request.uri().path()), (&Method::POST, PATH));
            assert_eq!(request.body(), body, "{content_type}");
            for (name, value) in headers {
                assert_eq!(request.headers()[name], value);
            }
        }
        assert_eq!(event_of(&[], b"{}")["isBase64Encoded"], true, "without a content type");
    }

    #[test]
    fn headers_are_joined_moved_or_removed() {
        let event = event_of(
            &[
                ("x-callback-token", "a"),
                ("x-callback-token", "b"),
                ("x-forwarded-for", "192.0.2.1"),
                ("cookie", "c=1; d=2"),
                ("connection", "close"),
                (SAMPLE_HEADER, "invoice.paid"),
            ],
            b"{}",
        );
        assert_eq!(event["headers"]["x-callback-token"], "a,b");
        assert_eq!(event["headers"]["x-forwarded-for"], "192.0.2.1, 127.0.0.1");
        assert_eq!(event["cookies"], json!(["c=1", "d=2"]));
        for name in ["cookie", "connection", SAMPLE_HEADER] {
            assert!(event["headers"].get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn only_the_two_routes_of_the_template_exist() {
        let topic = |path| Route::of(path).map(|route| route.topic);
        assert_eq!(topic("/webhook"), Some(None));
        assert_eq!(topic("/webhook/Not A Topic"), Some(Some("Not A Topic")));
        for path in ["/", "/webhook/", "/webhooks", "/webhook/a/b"] {
            assert_eq!(topic(path), None, "{path}");
        }
    }

    #[test]
    fn a_response_keeps_its_status_headers_and_body() {
        let output = r#"{"statusCode":200,"headers":{"content-type":"application/json"},"body":"{\"id\":\"d-1\"}"}"#;
        let (response, id) = to_http(output.as_bytes());
        assert_eq!((response.status().as_u16(), id.as_deref()), (200, Some("d-1")));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(to_http(br#"{"statusCode":401,"body":""}"#).0.status(), 401);
        for invalid in ["", "null", r#"{"statusCode":1}"#, r#"{"statusCode":200,"headers":{"a b":"c"}}"#] {
            let (response, id) = to_http(invalid.as_bytes());
            assert_eq!((response.status().as_u16(), id), (500, None), "{invalid}");
        }
    }

    #[test]
    fn a_bundled_webhook_is_sent_to_the_url_of_its_product() {
        let url = |body: &str| url_for(body.as_bytes(), "http://localhost/webhook");
        let payment = r#"{"event":"payment.succeeded","data":{"id":"py-1","status":"SUCCEEDED"}}"#;
        assert_eq!(url(payment), "http://localhost/webhook/payment_succeeded");
        assert_eq!(url(r#"{"external_id":"e","user_id":"u","merchant_name":"m"}"#), "http://localhost/webhook/invoice");
        assert_eq!(url(r#"{"event":"moon.landed"}"#), "http://localhost/webhook");
        assert_eq!(url("no JSON"), "http://localhost/webhook");
    }
}
