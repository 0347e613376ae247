//! Gateway: replaces API Gateway's HTTP API, in front of the receiver, with the two routes of template.yaml. Also sends the
//! bundled webhooks to it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use receiver::verify::TOKEN_HEADER;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::webhook::Webhook;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc::UnboundedSender},
    task::JoinHandle,
};
use uuid::Uuid;

use super::{
    access_log::{Access, AccessLog, Invoked},
    happening::Request,
    runtime_api::{Lambda, NoResponse},
    tracker::News,
};
use crate::samples::Sample;

/// The port that is tried first, so that the URL is usually the same in each run.
const DEFAULT_PORT: u16 = 8787;

/// The largest request body that an HTTP API accepts.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// How many requests API Gateway accepts at once: the default of `ThrottleBurst` in template.yaml.
const THROTTLE_BURST: usize = 500;

/// How long a request waits for the receiver: as long as Xendit waits. API Gateway's timeout in template.yaml is shorter, but
/// on AWS no request waits for another one's function.
const TIMEOUT: Duration = Duration::from_secs(30);

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
    pub(super) port: u16,
    server: JoinHandle<()>,
}

/// What every request needs.
#[derive(Clone)]
struct Context {
    receiver: Lambda,
    /// How long to wait for it.
    timeout: Duration,
    in_flight: Arc<Semaphore>,
    access_log: Option<AccessLog>,
    news: UnboundedSender<News>,
}

impl Gateway {
    /// Finds the port, before anything else starts.
    pub(super) async fn listen(port: Option<u16>) -> Result<TcpListener> {
        if let Some(port) = port {
            let listener = TcpListener::bind(("127.0.0.1", port)).await;
            return listener.with_context(|| {
                format!("cannot listen on port {port}; stop what uses it, or choose another one with --port")
            });
        }
        match TcpListener::bind(("127.0.0.1", DEFAULT_PORT)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind("127.0.0.1:0").await.context("cannot find a free port"),
        }
    }

    /// Starts the server. `news` receives each request once it is answered.
    pub(super) fn open(
        listener: TcpListener,
        receiver: Lambda,
        access_log: AccessLog,
        news: UnboundedSender<News>,
    ) -> Result<Self> {
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let in_flight = Arc::new(Semaphore::new(THROTTLE_BURST));
        let router = router(Context { receiver, timeout: TIMEOUT, in_flight, access_log: Some(access_log), news });
        let server = tokio::spawn(async move {
            // Runs until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, port: address.port(), server })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(context: Context) -> Router {
    Router::new().fallback(handle).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(context)
}

/// Answers a request. What has begun is finished and reported, even if the client does not wait for it.
async fn handle(
    State(context): State<Context>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    let answer = tokio::spawn(answer(context, method, uri, headers, body));
    answer.await.unwrap_or_else(|_| from_gateway(StatusCode::INTERNAL_SERVER_ERROR))
}

async fn answer(
    context: Context,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response<Body> {
    let (at, start) = (Timestamp::now(), Instant::now());
    let id = Uuid::new_v4().to_string();
    let path = percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    let (body, response) = match body {
        Ok(body) => {
            let response = respond(&context, &id, &method, &path, uri.query(), &headers, &body).await;
            (body, response)
        }
        Err(rejection) => (Bytes::new(), from_gateway(rejection.status())),
    };
    let (parts, answer) = response.into_parts();
    let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap_or_default();
    let took = start.elapsed();
    if let Some(access_log) = &context.access_log {
        let route = Route::of(&path).filter(|_| method == Method::POST).map(|route| route.key);
        let invoked = parts.extensions.get::<Invoked>().copied();
        access_log.write(&Access { id: &id, route, status: parts.status.as_u16(), took, invoked });
    }
    let request = Request {
        id,
        sample: headers.get(SAMPLE_HEADER).map(text),
        at,
        method: method.to_string(),
        path,
        headers: without_token(&headers),
        body,
        status: parts.status.as_u16(),
        answer: answer.clone(),
        took,
    };
    let _ = context.news.send(News::Answered(request));
    Response::from_parts(parts, Body::from(answer))
}

/// Invokes the receiver, and returns its response. Where there is none, API Gateway answers.
async fn respond(
    context: &Context,
    id: &str,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let Some(route) = Route::of(path).filter(|_| *method == Method::POST) else {
        return from_gateway(StatusCode::NOT_FOUND);
    };
    let Ok(_permit) = context.in_flight.try_acquire() else {
        return from_gateway(StatusCode::TOO_MANY_REQUESTS);
    };
    let event = event(&route, id, path, query, headers, body).to_string();
    let response = context.receiver.invoke(id.to_owned(), event);
    let (mut response, invoked) = match tokio::time::timeout(context.timeout, response).await {
        Ok(Ok(output)) => (to_http(&output), Ok(())),
        Ok(Err(NoResponse::TooLarge)) => (from_gateway(StatusCode::PAYLOAD_TOO_LARGE), Err("too large")),
        Ok(Err(NoResponse::Failed)) => (from_gateway(StatusCode::INTERNAL_SERVER_ERROR), Err("failed")),
        Ok(Err(NoResponse::TimedOut)) => (from_gateway(StatusCode::INTERNAL_SERVER_ERROR), Err("timed out")),
        Ok(Err(NoResponse::Throttled)) => (from_gateway(StatusCode::SERVICE_UNAVAILABLE), Err("Rate Exceeded")),
        Err(_) => (from_gateway(StatusCode::SERVICE_UNAVAILABLE), Err("no answer in time")),
    };
    response.extensions_mut().insert(Invoked(invoked));
    response
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
fn event(route: &Route<'_>, id: &str, path: &str, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> Value {
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
            "requestId": id,
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

/// The HTTP response for what the receiver returned.
fn to_http(output: &[u8]) -> Response<Body> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Output {
        status_code: u16,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        body: Option<String>,
    }

    let invalid = || from_gateway(StatusCode::INTERNAL_SERVER_ERROR);
    let Ok(Output { status_code, headers, body }) = serde_json::from_slice(output) else { return invalid() };
    let response = Response::builder().status(status_code);
    let response = headers.iter().fold(response, |response, (name, value)| response.header(name, value));
    response.body(Body::from(body.unwrap_or_default())).unwrap_or_else(|_| invalid())
}

/// A response that API Gateway makes itself.
fn from_gateway(status: StatusCode) -> Response<Body> {
    let text = match status {
        // Not the newer name, `Payload Too Large`.
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        _ => status.canonical_reason().unwrap_or_default(),
    };
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
        let _ = request.header("webhook-id", Uuid::new_v4().to_string()).send(sample.body);
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

    use receiver::api_gateway;

    use super::*;

    const PATH: &str = "/webhook/invoice";

    fn event_of(headers: &[(&str, &str)], body: &[u8]) -> Value {
        let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut all = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            let _: bool = all.append(name, value);
        }
        event(&Route::of(PATH).unwrap(), "d-1", PATH, Some("a=1&a=b%20c"), &all, body)
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
            let request = serde_json::from_str::<api_gateway::Event>(&event.to_string()).unwrap().into_request();
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
        let response = to_http(output.as_bytes());
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        assert_eq!(to_http(br#"{"statusCode":401,"body":""}"#).status(), 401);
        for invalid in ["", "null", r#"{"statusCode":1}"#, r#"{"statusCode":200,"headers":{"a b":"c"}}"#] {
            assert_eq!(to_http(invalid.as_bytes()).status(), 500, "{invalid}");
        }
    }

    /// A gateway that accepts this many requests at once, in front of a receiver that never takes one.
    async fn gateway(burst: usize) -> (Router, tokio::sync::mpsc::UnboundedReceiver<News>) {
        let (news, told) = tokio::sync::mpsc::unbounded_channel();
        let timeout = Duration::from_millis(200);
        let receiver = Lambda::start(timeout).await.unwrap();
        (
            router(Context { receiver, timeout, in_flight: Arc::new(Semaphore::new(burst)), access_log: None, news }),
            told,
        )
    }

    async fn post(router: &Router, path: &str, body: Vec<u8>) -> (u16, String) {
        let request = axum::http::Request::post(path).header("content-type", "application/json").body(Body::from(body));
        let mut router = router.clone();
        let response = tower_service::Service::call(&mut router, request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn reported(told: &mut tokio::sync::mpsc::UnboundedReceiver<News>) -> Request {
        match tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap() {
            Some(News::Answered(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn said(status: u16, message: &str) -> (u16, String) {
        (status, json!({ "message": message }).to_string())
    }

    #[tokio::test]
    async fn what_api_gateway_and_lambda_do_not_accept_is_answered_and_reported() {
        let (router, mut told) = gateway(1).await;
        let megabytes = |n: usize| vec![b'x'; n * 1024 * 1024];
        assert_eq!(post(&router, "/other", Vec::new()).await, said(404, "Not Found"));
        assert_eq!(post(&router, PATH, megabytes(11)).await, said(413, "Request Entity Too Large"));
        assert_eq!(post(&router, PATH, megabytes(7)).await, said(413, "Request Entity Too Large"));
        // API Gateway itself reads no more than it accepts.
        for (status, body) in [(404, 0), (413, 0), (413, 7 * 1024 * 1024)] {
            let request = reported(&mut told).await;
            assert_eq!((request.status, request.body.len()), (status, body));
        }
    }

    #[tokio::test]
    async fn a_request_whose_client_has_gone_is_reported_too() {
        let (router, mut told) = gateway(1).await;
        let client = post(&router, PATH, Vec::new());
        assert!(tokio::time::timeout(Duration::from_millis(20), client).await.is_err());
        assert_eq!(reported(&mut told).await.status, 503);
    }

    #[tokio::test]
    async fn more_requests_than_the_gateway_accepts_at_once_are_throttled_and_the_rest_time_out() {
        let (router, _told) = gateway(2).await;
        let all = (0..3).map(|_| post(&router, PATH, Vec::new()));
        let mut answers = futures_util::future::join_all(all).await;
        answers.sort_unstable();
        let unavailable = said(503, "Service Unavailable");
        assert_eq!(answers, [said(429, "Too Many Requests"), unavailable.clone(), unavailable]);
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
