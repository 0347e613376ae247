//! Reply: what a route answers, and what it reads of a request.

use std::fmt::Display;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use shared::money::Amount;

/// What a route answers.
pub(super) type Answer = Result<(StatusCode, Json<Value>), Refusal>;

/// 200 with an object.
#[expect(clippy::unnecessary_wraps, reason = "what a route ends with")]
pub(super) fn ok(body: Value) -> Answer {
    Ok((StatusCode::OK, Json(body)))
}

/// 201 with an object.
#[expect(clippy::unnecessary_wraps, reason = "what a route ends with")]
pub(super) fn created(body: Value) -> Answer {
    Ok((StatusCode::CREATED, Json(body)))
}

/// An error of Xendit's.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self { status, code, message: message.to_string() }
    }

    pub(super) fn invalid(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "API_VALIDATION_ERROR", message)
    }

    pub(super) fn not_found(code: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "The requested resource was not found")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "error_code": self.code, "message": self.message, "errors": [] });
        (self.status, Json(body)).into_response()
    }
}

/// The object in a request's body.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input(pub(super) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Input {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let malformed = || Refusal::new(StatusCode::BAD_REQUEST, "INVALID_JSON_FORMAT", "The body is not JSON");
        let body = Bytes::from_request(request, state).await.map_err(|_| malformed())?;
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        serde_json::from_slice(&body).map(Self).map_err(|_| malformed())
    }
}

impl Input {
    /// A text that must be there.
    pub(super) fn text(&self, key: &str) -> Result<String, Refusal> {
        self.optional(key).ok_or_else(|| Refusal::invalid(format!("{key} is required")))
    }

    /// A text that may be missing.
    pub(super) fn optional(&self, key: &str) -> Option<String> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// A number above zero that must be there.
    pub(super) fn amount(&self, key: &str) -> Result<Value, Refusal> {
        let invalid = || Refusal::invalid(format!("{key} must be a number above 0"));
        let value = self.0.get(key).filter(|value| value.is_number()).ok_or_else(invalid)?;
        let amount = amount(value).ok_or_else(invalid)?;
        let zero = amount.to_string().bytes().all(|byte| matches!(byte, b'0' | b'.'));
        if amount.is_negative() || zero { Err(invalid()) } else { Ok(value.clone()) }
    }

    /// A value as it was sent, or null.
    pub(super) fn get(&self, key: &str) -> Value {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// Whether a flag is set.
    pub(super) fn is(&self, key: &str) -> bool {
        self.0.get(key) == Some(&Value::Bool(true))
    }
}

/// An amount, exactly.
pub(super) fn amount(value: &Value) -> Option<Amount> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.to_string().parse().ok(),
    }
}
