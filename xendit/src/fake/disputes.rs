//! Disputes, which exist in test mode only once they are simulated.
//!
//! Documented at docs.xendit.co/apidocs/list-all-disputes-1, get-dispute-details-1 and
//! simulate-a-dispute-sandbox-only-1.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::{
    Shared,
    books::{Family, at, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, created, ok},
    sender::Hook,
};

/// The most simulations in 24 hours.
const MAX_SIMULATIONS: usize = 5;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/disputes", get(list))
        .route("/v1/disputes/simulate", post(simulate))
        .route("/v1/disputes/{id}", get(read))
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Dispute, &id)?.clone())
}

/// Pages by the id of the last dispute.
async fn list(State(xendit): State<Shared>, caller: Caller, Query(query): Query<BTreeMap<String, String>>) -> Answer {
    let time = |name: &str| query.get(name).and_then(|text| text.parse::<Timestamp>().ok());
    let (after, before) = (time("created_after"), time("created_before"));
    let limit = query.get("limit").map_or(Ok(10), |limit| limit.parse::<usize>());
    let limit = limit.ok().filter(|limit| (1..=100).contains(limit)).ok_or_else(|| Refusal::invalid("limit"))?;
    let books = xendit.books();
    let is_asked_for = |dispute: &&Value| {
        let created = dispute["created_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let fits = |name: &str, field: &str| query.get(name).is_none_or(|value| dispute[field] == value.as_str());
        created.is_some_and(|at| after.is_none_or(|after| after <= at) && before.is_none_or(|before| at <= before))
            && fits("payment_id", "payment_id")
            && fits("status", "status")
            && fits("currency", "currency")
    };
    let all: Vec<_> = books.list(&caller.account, Family::Dispute).filter(is_asked_for).collect();
    let start = query.get("cursor").map_or(0, |cursor| {
        all.iter().position(|dispute| dispute["id"] == cursor.as_str()).map_or(all.len(), |index| index + 1)
    });
    let page: Vec<_> = all.iter().skip(start).take(limit).collect();
    let has_more = start + page.len() < all.len();
    let next = page.last().filter(|_| has_more).map(|dispute| dispute["id"].clone());
    ok(json!({ "data": page, "pagination": { "next_cursor": next, "has_more": has_more } }))
}

async fn simulate(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    match input.text("scenario")?.as_str() {
        "CREATE_DISPUTE" => create(&xendit, &caller, &input),
        scenario @ ("DISPUTE_WON" | "DISPUTE_LOST") => {
            let dispute_id = input.text("dispute_id")?;
            let status = scenario.trim_start_matches("DISPUTE_").to_owned();
            let dispute = {
                let mut books = xendit.books();
                books.get(&caller, Family::Dispute, &dispute_id)?;
                books.change(&dispute_id, |dispute| {
                    let initial = dispute.get("amount").map(|amount| amount["initial"].clone()).unwrap_or_default();
                    let terminal = if status == "LOST" { initial.clone() } else { "0.00".into() };
                    dispute.insert("status".to_owned(), status.clone().into());
                    dispute.insert("amount".to_owned(), json!({ "initial": initial, "terminal": terminal }));
                })
            };
            let event = if status == "WON" { "dispute.won" } else { "dispute.lost" };
            xendit.send(hook(event, &dispute));
            Ok((StatusCode::ACCEPTED, Json(json!({ "dispute_id": dispute_id, "created_at": now() }))))
        }
        _ => Err(Refusal::invalid("scenario")),
    }
}

fn create(xendit: &Shared, caller: &Caller, input: &Input) -> Answer {
    let payment_id = input.text("payment_id")?;
    let dispute_id = id("mi-dspt-");
    let dispute = {
        let mut books = xendit.books();
        if books.list(&caller.account, Family::Dispute).count() >= MAX_SIMULATIONS {
            let message = "At most five disputes can be simulated in 24 hours";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", message));
        }
        let unknown = || Refusal::new(StatusCode::BAD_REQUEST, "PAYMENT_NOT_FOUND", "The payment is unknown");
        let payment = books.get(caller, Family::Payment, &payment_id).map_err(|_| unknown())?.clone();
        let dispute = json!({
            "id": dispute_id,
            "channel_code": input.text("channel_code")?,
            "status": "ACTION_REQUIRED",
            "status_reason": null,
            "currency": input.text("currency")?,
            "amount": { "initial": input.text("amount")?, "terminal": null },
            "created_at": now(),
            "updated_at": now(),
            "due_date": at(Timestamp::now() + (14 * 24).hours()),
            "related_disputes": [],
            "payment_id": payment_id,
            "reference_id": payment["reference_id"],
        });
        books.add(Family::Dispute, &caller.account, &dispute_id, dispute.clone());
        dispute
    };
    xendit.send(hook("dispute.action_required", &dispute));
    created(json!({ "dispute_id": dispute_id, "created_at": now() }))
}

fn hook(event: &'static str, dispute: &Value) -> Hook {
    let mut body = dispute.clone();
    body["event"] = event.into();
    Hook { event, reference: dispute["reference_id"].clone(), body, version: None, url: None }
}
