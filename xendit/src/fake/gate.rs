//! Gate: what happens to a call before its route: a planned fault, authentication, permissions, the rate limit.
//!
//! Documented at docs.xendit.co/apidocs/introduction and rate-limits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use uuid::Uuid;

use super::{ACCOUNT, Settings, Shared, reply::Refusal};

/// The window of the rate limit, which slides.
const WINDOW: Duration = Duration::from_mins(1);

/// What a fault page of a filter looks like.
const HTML: &str = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>blocked</body></html>";

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The business that the call acts for.
    pub(super) account: String,
    /// Whether it sees objects as they were before their last change.
    pub(super) is_stale: bool,
    headers: HeaderMap,
}

impl Caller {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// An error without this `api-version`. The schema says that it is optional, and practice that it is not.
    pub(super) fn needs_version(&self, version: &str) -> Result<(), Refusal> {
        if self.header("api-version") == Some(version) {
            return Ok(());
        }
        Err(Refusal::invalid(format!("the header api-version must be {version}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = <Extension<Self> as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Extension::from_request_parts(parts, state).await.map(|Extension(caller)| caller)
    }
}

/// What goes wrong with the next calls of a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// The beginning of the paths.
    path: String,
    /// The method. Default: any.
    method: Option<String>,
    /// How often. Default: once.
    #[serde(default = "once")]
    times: u32,
    #[serde(rename = "fault")]
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    /// 404, as soon after a creation.
    NotFound,
    /// 429 with its headers.
    Limited,
    /// 403: the key lacks the permission.
    Forbidden,
    /// 500.
    ServerError,
    /// 502 without a body.
    Empty,
    /// 403 with a filter's page.
    Html,
    /// 200, and half of the answer.
    Truncated,
    /// The answer, after this many milliseconds.
    SlowMs(u64),
    /// Objects as they were before their last change.
    Stale,
    /// 302 to another host.
    Redirect,
}

fn once() -> u32 {
    1
}

/// The faults to come, and the calls of the last minute.
pub(super) struct Gate {
    authorization: String,
    calls_a_minute: AtomicUsize,
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<BTreeMap<(String, String), VecDeque<Instant>>>,
}

/// How much of the rate limit is left.
struct Quota {
    limit: usize,
    remaining: usize,
    reset: Duration,
    is_exceeded: bool,
}

impl Gate {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            authorization: format!("Basic {}", STANDARD.encode(format!("{}:", settings.key))),
            calls_a_minute: settings.calls_a_minute.into(),
            faults: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// Plans faults in place of those before.
    pub(super) fn plan(&self, faults: Vec<Fault>) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Sets the most calls of one endpoint and account within a minute.
    pub(super) fn limit(&self, calls_a_minute: usize) {
        self.calls_a_minute.store(calls_a_minute, Ordering::Relaxed);
    }

    /// The fault of a call.
    fn fault(&self, method: &str, path: &str) -> Option<What> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.iter_mut().find(|fault| {
            fault.times > 0
                && path.starts_with(&fault.path)
                && fault.method.as_deref().is_none_or(|other| other == method)
        })?;
        fault.times -= 1;
        Some(fault.what)
    }

    /// Counts a call. One that is refused counts too.
    fn count(&self, endpoint: String, account: &str) -> Quota {
        let (now, limit) = (Instant::now(), self.calls_a_minute.load(Ordering::Relaxed));
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = calls.entry((endpoint, account.to_owned())).or_default();
        calls.retain(|at| now.duration_since(*at) < WINDOW);
        calls.push_back(now);
        let oldest = calls.front().map_or(Duration::ZERO, |oldest| now.duration_since(*oldest));
        Quota {
            limit,
            remaining: limit.saturating_sub(calls.len()),
            reset: WINDOW.saturating_sub(oldest),
            is_exceeded: calls.len() > limit,
        }
    }
}

impl Quota {
    /// Xendit's headers. The reset may have a fraction.
    fn add_to(&self, response: &mut Response) {
        let reset = format!("{}.{:02}", self.reset.as_secs(), self.reset.subsec_millis() / 10);
        let values = [
            ("rate-limit-limit", self.limit.to_string()),
            ("rate-limit-remaining", self.remaining.to_string()),
            ("rate-limit-reset", reset),
        ];
        for (name, value) in values {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

/// Lets a call through to its route, unless something is in its way.
pub(super) async fn enter(State(xendit): State<Shared>, mut request: Request, next: Next) -> Response {
    let fault = xendit.gate.fault(request.method().as_str(), request.uri().path());
    let headers = request.headers().clone();
    let account = headers.get("for-user-id").and_then(|id| id.to_str().ok()).unwrap_or(ACCOUNT).to_owned();
    let matched = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let endpoint = format!("{} {matched}", request.method());
    let mut response = if let Some(refusal) = refuse(&xendit, &headers, fault) {
        refusal
    } else {
        let quota = xendit.gate.count(endpoint, &account);
        let mut response = if quota.is_exceeded {
            too_many().into_response()
        } else {
            let is_stale = fault == Some(What::Stale);
            request.extensions_mut().insert(Caller { account, is_stale, headers });
            damage(next.run(request).await, fault).await
        };
        quota.add_to(&mut response);
        response
    };
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

/// The answer to a path that the fake does not know, and Xendit may.
pub(super) async fn no_route() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NOT_FOUND", "The fake has no such route")
}

fn too_many() -> Refusal {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", "You have exceeded the rate limit")
}

fn refuse(xendit: &Shared, headers: &HeaderMap, fault: Option<What>) -> Option<Response> {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if sent != Some(&xendit.gate.authorization) {
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "INVALID_API_KEY", "The API key is invalid");
        return Some(refusal.into_response());
    }
    Some(match fault? {
        What::NotFound => Refusal::not_found("DATA_NOT_FOUND").into_response(),
        What::Limited => {
            let mut response = too_many().into_response();
            let reset = Duration::from_millis(370);
            Quota { limit: 60, remaining: 0, reset, is_exceeded: true }.add_to(&mut response);
            response
        }
        What::Forbidden => {
            let message = "The API key is forbidden to perform this request";
            Refusal::new(StatusCode::FORBIDDEN, "REQUEST_FORBIDDEN_ERROR", message).into_response()
        }
        What::ServerError => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "SERVER_ERROR", "Error connecting to our server")
                .into_response()
        }
        What::Empty => StatusCode::BAD_GATEWAY.into_response(),
        What::Html => (StatusCode::FORBIDDEN, axum::response::Html(HTML)).into_response(),
        What::Redirect => (StatusCode::FOUND, [(header::LOCATION, "https://elsewhere.invalid/")]).into_response(),
        What::Truncated | What::SlowMs(_) | What::Stale => return None,
    })
}

/// Damages the route's own answer.
async fn damage(response: Response, fault: Option<What>) -> Response {
    match fault {
        Some(What::SlowMs(milliseconds)) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
        Some(What::Truncated) => {
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let half = body.slice(..body.len() / 2);
            return (head.status, [(header::CONTENT_TYPE, "application/json")], half).into_response();
        }
        _ => {}
    }
    response
}
