//! Gateway: plays API Gateway's HTTP API in front of the receiver, with the two routes of template.yaml.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

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

use super::functions::{Function, Functions};

/// The port that is tried first, so that the URL stays the same from run to run.
const USUAL_PORT: u16 = 8787;

/// The largest payload that an HTTP API accepts.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Content types whose bodies API Gateway passes on as text. It encodes all others as base64, also where there is none.
const TEXTUAL: [&str; 4] = ["text/", "application/json", "application/xml", "application/javascript"];

/// Headers that API Gateway does not pass on: they are about one connection, or it moves them elsewhere.
const DROPPED: [HeaderName; 5] =
    [header::CONNECTION, header::COOKIE, header::TE, header::TRANSFER_ENCODING, header::UPGRADE];

/// Names the bundled webhook of a request, for the report. The functions do not see it.
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
    /// The delivery's id, if the receiver acknowledged the webhook.
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
                TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port} is in use"))?
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

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let Some(route) = Route::of(&path).filter(|_| method == Method::POST) else {
        return message(StatusCode::NOT_FOUND, "Not Found");
    };
    let event = event(&route, &path, uri.query(), &headers, &body).to_string();
    let (response, delivery) = match shared.functions.invoke(Function::Receiver, event).await {
        Ok(answer) => translate(&answer),
        Err(_) => (message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"), None),
    };
    let sample = headers.get(SAMPLE_HEADER).and_then(|name| name.to_str().ok()).map(str::to_owned);
    let status = response.status().as_u16();
    let _ = shared.arrived.send(Arrival { sample, path, status, delivery, body: body.to_vec() });
    response
}

/// A route of template.yaml.
#[derive(Debug, PartialEq, Eq)]
struct Route<'a> {
    key: &'static str,
    topic: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// The route of a decoded path.
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
/// The path is decoded, and the query string is not. Header names are in lower case. Repeated headers and repeated query
/// parameters are joined by commas. Fields without a value are left out.
fn event(route: &Route<'_>, path: &str, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Value {
    let one = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = one(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_textual = TEXTUAL.iter().any(|kind| content_type.starts_with(kind));
    let text = std::str::from_utf8(body).ok().filter(|_| is_textual);
    let now = Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": path,
        "rawQueryString": query.unwrap_or_default(),
        "headers": passed_on(headers, body.len()),
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
                "userAgent": one(header::USER_AGENT).unwrap_or_default(),
            },
            "requestId": uuid::Uuid::new_v4().to_string(),
            "routeKey": route.key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now.as_millisecond(),
        },
        "isBase64Encoded": text.is_none() && !body.is_empty(),
    });
    let mut insert = |key: &str, value: Value| {
        if let Value::Object(fields) = &mut event {
            fields.insert(key.to_owned(), value);
        }
    };
    if let Some(cookies) = one(header::COOKIE) {
        insert("cookies", cookies.split("; ").collect());
    }
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        let parameters = form_urlencoded::parse(query.as_bytes());
        insert("queryStringParameters", json!(joined(parameters.map(|(k, v)| (k.into_owned(), v.into_owned())))));
    }
    if let Some(topic) = route.topic {
        insert("pathParameters", json!({ "topic": topic }));
    }
    if !body.is_empty() {
        insert("body", text.map_or_else(|| BASE64.encode(body), str::to_owned).into());
    }
    event
}

/// The headers that a function gets: those of the request, and those that API Gateway adds.
fn passed_on(headers: &HeaderMap, body_bytes: usize) -> BTreeMap<String, String> {
    let is_passed_on = |name: &HeaderName| !DROPPED.contains(name) && name != SAMPLE_HEADER;
    let sent = headers.iter().filter(|(name, _)| is_passed_on(name));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut all = joined(sent.map(|(name, value)| (name.as_str().to_owned(), text(value))));
    all.insert("content-length".to_owned(), body_bytes.to_string());
    all.insert("x-amzn-trace-id".to_owned(), "Root=1-00000000-000000000000000000000000".to_owned());
    all.insert("x-forwarded-port".to_owned(), "443".to_owned());
    all.insert("x-forwarded-proto".to_owned(), "https".to_owned());
    let forwarded = all.entry("x-forwarded-for".to_owned()).or_default();
    *forwarded = [&*forwarded, "127.0.0.1"].into_iter().filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", ");
    all
}

/// Joins the values of repeated names.
fn joined(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        all.entry(name).and_modify(|values| *values = format!("{values},{value}")).or_insert(value);
    }
    all
}

/// The function's answer as HTTP, and the delivery's id if it acknowledged the webhook.
fn translate(answer: &[u8]) -> (Response<Body>, Option<String>) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
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

    let internal = || message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    let Ok(Answer { status_code, headers, body }) = serde_json::from_slice(answer) else { return (internal(), None) };
    let body = body.unwrap_or_default();
    let id = serde_json::from_str(&body).ok().map(|Acknowledged { id }| id);
    let response = Response::builder().status(status_code);
    let response = headers.iter().fold(response, |response, (name, value)| response.header(name, value));
    let Ok(response) = response.body(Body::from(body)) else { return (internal(), None) };
    let id = id.filter(|_| response.status().is_success());
    (response, id)
}

/// An answer that comes from API Gateway itself.
fn message(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(json!({ "message": text }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sends the bundled webhooks one after the other, each to the URL of its product. The gateway sees the answers.
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

/// Where Xendit would send a body: to the topic of its product, or to the plain URL if the product is not known.
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
    fn an_event_has_the_form_of_api_gateways() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/api-token-right.json");
        let theirs: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let sent: Vec<_> = theirs["headers"]
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, value)| {
                (!name.starts_with("x-amzn") && !name.starts_with("x-forwarded")).then_some((&**name, value.as_str()?))
            })
            .collect();
        let ours = event_of(&sent, b"{}");
        let mut expected = keys(&theirs);
        expected.insert("queryStringParameters");
        assert_eq!(keys(&ours), expected);
        for part in ["headers", "requestContext", "pathParameters"] {
            assert_eq!(keys(&ours[part]), keys(&theirs[part]), "{part}");
        }
        assert_eq!(keys(&ours["requestContext"]["http"]), keys(&theirs["requestContext"]["http"]));
        assert_eq!((&ours["routeKey"], &ours["rawPath"]), (&theirs["routeKey"], &theirs["rawPath"]));
        assert_eq!(ours["rawQueryString"], "a=1&a=b%20c");
        assert_eq!(ours["queryStringParameters"], json!({ "a": "1,b c" }));
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
    fn headers_are_joined_moved_or_dropped() {
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
    fn an_answer_keeps_its_status_headers_and_body() {
        let answer = r#"{"statusCode":200,"headers":{"content-type":"application/json"},"body":"{\"id\":\"d-1\"}"}"#;
        let (response, id) = translate(answer.as_bytes());
        assert_eq!((response.status().as_u16(), id.as_deref()), (200, Some("d-1")));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(translate(br#"{"statusCode":401,"body":""}"#).0.status(), 401);
        for wrong in ["", "null", r#"{"statusCode":1}"#, r#"{"statusCode":200,"headers":{"a b":"c"}}"#] {
            let (response, id) = translate(wrong.as_bytes());
            assert_eq!((response.status().as_u16(), id), (500, None), "{wrong}");
        }
    }

    #[test]
    fn a_body_is_sent_to_the_topic_of_its_product() {
        let to = |body: &str| url_for(body.as_bytes(), "http://localhost/webhook");
        let named = r#"{"event":"payment.succeeded","data":{"id":"py-1","status":"SUCCEEDED"}}"#;
        assert_eq!(to(named), "http://localhost/webhook/payment_succeeded");
        assert_eq!(to(r#"{"external_id":"e","user_id":"u","merchant_name":"m"}"#), "http://localhost/webhook/invoice");
        assert_eq!(to(r#"{"event":"moon.landed"}"#), "http://localhost/webhook");
        assert_eq!(to("no JSON"), "http://localhost/webhook");
    }
}
