//! Reports: asked for, made, and told of by a webhook.
//!
//! Documented at docs.xendit.co/apidocs/generate-report and get-report.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use super::{
    Shared,
    books::{Family, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, ok},
    sender::Hook,
};

/// How long a report takes. At Xendit that is not documented.
const PROCESSING: Duration = Duration::from_millis(200);

/// The longest range, in hours.
const MAX_HOURS: i64 = 92 * 24;

const TYPES: [&str; 4] = ["BALANCE_HISTORY", "TRANSACTIONS", "UPCOMING_TRANSACTIONS", "DETAILED_TRANSACTIONS"];

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/reports", post(create)).route("/reports/{id}", get(read))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let kind = input.text("type")?;
    if !TYPES.contains(&kind.as_str()) {
        return Err(Refusal::invalid("type"));
    }
    let filter = input.get("filter");
    let time = |key: &str| filter[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (from, to) = time("from").zip(time("to")).ok_or_else(|| Refusal::invalid("filter needs from and to"))?;
    if from + MAX_HOURS.hours() <= to {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "DATE_RANGE_TOO_BIG", "The range must be below 92 days"));
    }
    let report_id = id("report_");
    let report = json!({
        "id": report_id,
        "type": kind,
        "filter": filter,
        "format": input.optional("format").unwrap_or_else(|| "CSV".to_owned()),
        "status": "PENDING",
        "currency": input.optional("currency").unwrap_or_else(|| "IDR".to_owned()),
        "business_id": caller.account,
        "created": now(),
        "updated": now(),
    });
    xendit.books().add(Family::Report, &caller.account, &report_id, report.clone());
    xendit.later(PROCESSING, move |xendit| {
        let report = xendit.books().change(&report_id, |report| {
            report.insert("status".to_owned(), "COMPLETED".into());
            report.insert("url".to_owned(), "https://reports.invalid/fake.csv".into());
        });
        let url = xendit.books().callback_url(report["business_id"].as_str().unwrap_or_default(), "report");
        xendit.send(Hook { event: "report", reference: report["id"].clone(), body: report, version: None, url });
    });
    ok(report)
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Report, &id)?.clone())
}
