//! Client: one call of Xendit's API, with its time limits, its retries and its rate limit.
//!
//! **Invariant:** only reads are repeated. The key goes to the one address that the client was made for, and a live key only
//! over HTTPS.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use shared::envelope::Environment;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    error::{Error, Unavailable, is_html, reset},
    https::{self, Https},
    key::SecretKey,
};

/// The address of Xendit's API, for test and live alike: the key chooses.
pub const XENDIT: &str = "https://api.xendit.co";

/// The largest answer that is read. A page of a hundred invoices has a few hundred kilobytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The wait before the second attempt of a read. It doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);

const USER_AGENT: &str = concat!("xendit-hooks/", env!("CARGO_PKG_VERSION"));

/// How long a call may take, and how often a read is tried.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one attempt, from connecting to the whole answer.
    pub attempt: Duration,
    /// For all attempts together, with the waits between them.
    pub total: Duration,
    /// How many attempts at the most.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(10), total: Duration::from_secs(25), attempts: 3 }
    }
}

/// A client of Xendit's API for one account. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    /// The address, without a slash at the end.
    base: String,
    key: Arc<SecretKey>,
    account: Option<HeaderValue>,
    limits: Limits,
    http: Https,
    /// When the endpoints whose rate limit is used up can be called again.
    closed_until: Arc<Mutex<HashMap<&'static str, Instant>>>,
}

/// The text is no address for a client. Never quotes it: an address may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It is not a URL such as `https://api.xendit.co`.
    #[error("the address of Xendit's API is not a URL such as {XENDIT}, without a user or a query")]
    Malformed,
    /// A live key must not travel in the clear.
    #[error("a live key is sent over HTTPS only, and the address of Xendit's API is not an https URL")]
    InTheClear,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    /// The path without its variable parts. Xendit limits the rate for each endpoint.
    endpoint: &'static str,
    /// The path with its query.
    path: String,
    version: Option<&'static str>,
    body: Bytes,
}

impl Call {
    pub(crate) fn get(endpoint: &'static str, path: String, version: Option<&'static str>) -> Self {
        Self { method: Method::GET, endpoint, path, version, body: Bytes::new() }
    }

    pub(crate) fn post(
        endpoint: &'static str,
        path: String,
        version: Option<&'static str>,
        body: &serde_json::Value,
    ) -> Self {
        Self { method: Method::POST, endpoint, path, version, body: body.to_string().into() }
    }
}

impl Client {
    /// A client for Xendit's API at an address.
    pub fn new(address: &str, key: SecretKey) -> Result<Self, BadAddress> {
        let uri: Uri = address.parse().map_err(|_| BadAddress::Malformed)?;
        let is_plain = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => false,
            Some(scheme) if *scheme == Scheme::HTTP => true,
            _ => return Err(BadAddress::Malformed),
        };
        let authority = uri.authority().ok_or(BadAddress::Malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(BadAddress::Malformed);
        }
        if is_plain && key.environment() == Some(Environment::Live) {
            return Err(BadAddress::InTheClear);
        }
        Ok(Self {
            base: address.trim_end_matches('/').to_owned(),
            key: Arc::new(key),
            account: None,
            limits: Limits::default(),
            http: https::client(),
            closed_until: Arc::default(),
        })
    }

    /// The same client with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same client for a sub-account, by its business id. `None`: the id cannot be a header.
    #[must_use]
    pub fn for_account(&self, id: &str) -> Option<Self> {
        let account = HeaderValue::from_str(id).ok().filter(|_| !id.is_empty())?;
        // Each account has rate limits of its own.
        Some(Self { account: Some(account), closed_until: Arc::default(), ..self.clone() })
    }

    /// The environment of its key. `None`: the key does not say.
    pub fn environment(&self) -> Option<Environment> {
        self.key.environment()
    }

    /// Calls the API, and reads the answer as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let answer = self.call(call).await?;
        // The reason would quote the answer.
        serde_json::from_slice(&answer).map_err(|error| {
            Error::unreadable(if error.is_data() { "the JSON has another form" } else { "it is not JSON" })
        })
    }

    /// Calls the API. A read is repeated while that may help and while there is time.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, Error> {
        let end = Instant::now() + self.limits.total;
        let attempts = if call.method == Method::GET { self.limits.attempts } else { 1 };
        let (mut attempt, mut backoff) = (1, FIRST_BACKOFF);
        loop {
            let error = match self.attempt(call, end).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match &error {
                Error::Limited(Some(after)) => *after,
                Error::Limited(None) | Error::Unavailable(Unavailable::Unanswered(_) | Unavailable::Failed(_)) => {
                    backoff * fastrand::u32(50..=100) / 100
                }
                _ => return Err(error),
            };
            if attempt >= attempts || Instant::now() + wait >= end {
                return Err(error);
            }
            sleep(wait).await;
            attempt += 1;
            backoff *= 2;
        }
    }

    async fn attempt(&self, call: &Call, end: Instant) -> Result<Bytes, Error> {
        let now = Instant::now();
        if let Some(wait) = self.closed_for(call.endpoint, now) {
            return Err(Error::Limited(Some(wait)));
        }
        let time = self.limits.attempt.min(end.saturating_duration_since(now));
        match timeout(time, self.send(call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable(Unavailable::Unanswered("no answer in time"))),
        }
    }

    async fn send(&self, call: &Call) -> Result<Bytes, Error> {
        let unanswered = |reason| Error::Unavailable(Unavailable::Unanswered(reason));
        let request = self.request(call).map_err(|_| Error::unreadable("an id that cannot be part of a URL"))?;
        let answer = self.http.request(request).await.map_err(|_| unanswered("no connection"))?;
        let (head, body) = answer.into_parts();
        self.note_limit(call.endpoint, &head.headers);
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Error::unreadable("it is larger than 4 MB")
            } else {
                unanswered("the answer was cut off")
            }
        })?;
        let body = body.to_bytes();
        let status = head.status.as_u16();
        match status {
            200..300 if is_html(&body) => Err(Error::Unavailable(Unavailable::Html(status))),
            200..300 => Ok(body),
            _ => Err(Error::of(status, &head.headers, &body)),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder().method(&call.method).uri(format!("{}{}", self.base, call.path));
        if let Some(headers) = request.headers_mut() {
            headers.insert(header::AUTHORIZATION, self.key.authorization());
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            if let Some(account) = &self.account {
                headers.insert("for-user-id", account.clone());
            }
            if let Some(version) = call.version {
                headers.insert("api-version", HeaderValue::from_static(version));
            }
            if call.method == Method::POST {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        request.body(Full::new(call.body.clone()))
    }

    /// For how long an endpoint's rate limit is used up.
    fn closed_for(&self, endpoint: &str, now: Instant) -> Option<Duration> {
        let closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed.get(endpoint)?.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Remembers when an endpoint whose limit this call used up can be called again.
    fn note_limit(&self, endpoint: &'static str, headers: &HeaderMap) {
        let remaining = headers.get("rate-limit-remaining").and_then(|value| value.to_str().ok());
        if let (Some("0"), Some(after)) = (remaining.map(str::trim), reset(headers)) {
            let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            closed.insert(endpoint, Instant::now() + after);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).field("account", &self.account).finish_non_exhaustive()
    }
}
