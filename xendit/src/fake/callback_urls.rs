//! Callback URLs: where webhooks go. They can be set, and neither read nor removed.
//!
//! Documented at docs.xendit.co/apidocs/set-webhook-url.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde_json::json;

use super::{
    Shared,
    gate::Caller,
    reply::{Answer, Input, Refusal, ok},
};

/// The types of the page's enumeration. Its prose also names `payout`, of which nobody knows whether it is accepted.
const TYPES: [&str; 22] = [
    "invoice",
    "fva_status",
    "fva_paid",
    "ro_fpc_paid",
    "regional_ro_paid",
    "ewallet",
    "payment_method",
    "payment_method_v2",
    "direct_debit",
    "qr_code",
    "recurring",
    "payment_succeeded",
    "payment_awaiting_capture",
    "payment_pending",
    "payment_failed",
    "capture_succeeded",
    "capture_failed",
    "payment_request_completed",
    "disbursement",
    "ph_disbursement",
    "batch_disbursement",
    "report",
];

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/callback_urls/{type}", post(set))
}

/// The URL is not called. At Xendit it must be https with a public name; here plain HTTP to this machine will do.
async fn set(State(xendit): State<Shared>, caller: Caller, Path(callback_type): Path<String>, input: Input) -> Answer {
    if !TYPES.contains(&callback_type.as_str()) {
        return Err(Refusal::invalid("type must be one of the callback types"));
    }
    let url = input.text("url")?;
    if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1:") {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "INVALID_URL_FORMAT", "The url is not a valid URL"));
    }
    xendit.books().set_callback_url(&caller.account, &callback_type, &url);
    ok(json!({
        "status": "SUCCESSFUL",
        "user_id": caller.account,
        "url": url,
        "environment": "TEST",
        "callback_token": xendit.settings.token,
    }))
}
