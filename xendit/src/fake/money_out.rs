//! Money out: payouts v2, and the legacy disbursements of Indonesia. In test mode they finish by themselves; some account
//! numbers and names make them fail.
//!
//! Documented at docs.xendit.co/apidocs/create-payout, get-payout and get-all-payouts, and docs/test-scenarios-payouts;
//! disbursements in Xendit's Node SDK and at xendisburse/apis/testing-disbursements.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, hex_id, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, ok},
    sender::{Hook, envelope},
};

/// How long a payout takes.
const PROCESSING: Duration = Duration::from_millis(100);

/// How long after its success a payout is reversed. At Xendit up to five minutes.
const REVERSAL: Duration = Duration::from_millis(500);

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/payouts", post(create_payout).get(payouts))
        .route("/v2/payouts/{id}", get(read_payout))
        .route("/disbursements", post(create_disbursement).get(disbursements))
        .route("/disbursements/{id}", get(read_disbursement))
}

async fn create_payout(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let key = caller.header("idempotency-key").filter(|key| (1..=100).contains(&key.len()));
    let key =
        key.ok_or_else(|| Refusal::invalid("the header Idempotency-key is required, with at most 100 characters"))?;
    let request = Value::Object(input.0.clone());
    let earlier = xendit.books().repeated(&caller.account, key, &request)?.map(str::to_owned);
    if let Some(id) = earlier {
        return ok(xendit.books().get(&caller, Family::Payout, &id)?.clone());
    }
    let properties = input.get("channel_properties");
    let account_number = properties["account_number"].as_str().unwrap_or_default().to_owned();
    let payout_id = id("disb-");
    let payout = json!({
        "id": payout_id,
        "reference_id": input.text("reference_id")?,
        "business_id": caller.account,
        "amount": input.amount("amount")?,
        "currency": input.text("currency")?,
        "channel_code": input.text("channel_code")?,
        "channel_properties": properties,
        "description": input.get("description"),
        "status": "ACCEPTED",
        "created": now(),
        "updated": now(),
        "estimated_arrival_time": now(),
        "metadata": input.get("metadata"),
    });
    {
        let mut books = xendit.books();
        books.add(Family::Payout, &caller.account, &payout_id, payout.clone());
        books.remember(&caller.account, key, request, &payout_id);
        books.move_money(&caller.account, &movement(&payout_id, &payout["reference_id"], &payout));
    }
    xendit.later(PROCESSING, move |xendit| match account_number.as_str() {
        // These stay as they are.
        "131313" => {}
        "141414" => drop(xendit.books().change(&payout_id, |payout| set_status(payout, "REQUESTED"))),
        "123456" => xendit.finish_payout(&payout_id, "FAILED", Some("TEMPORARY_TRANSFER_ERROR")),
        "999999" => xendit.finish_payout(&payout_id, "FAILED", Some("REJECTED_BY_CHANNEL")),
        "121212" => xendit.finish_payout(&payout_id, "FAILED", Some("INVALID_DESTINATION")),
        "654321" => {
            xendit.finish_payout(&payout_id, "SUCCEEDED", None);
            xendit.later(REVERSAL, move |xendit| xendit.finish_payout(&payout_id, "REVERSED", None));
        }
        _ => xendit.finish_payout(&payout_id, "SUCCEEDED", None),
    });
    ok(payout)
}

async fn read_payout(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Payout, &id)?.clone())
}

/// A bare array, as the page says; `[]` for an unknown reference.
async fn payouts(
    State(xendit): State<Shared>,
    caller: Caller,
    Query(query): Query<BTreeMap<String, String>>,
) -> Answer {
    let reference = query.get("reference_id").ok_or_else(|| Refusal::invalid("reference_id is required"))?;
    let books = xendit.books();
    let payouts = books.list(&caller.account, Family::Payout);
    let payouts: Vec<_> = payouts.filter(|payout| payout["reference_id"] == reference.as_str()).cloned().collect();
    ok(payouts.into())
}

async fn create_disbursement(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let disbursement_id = hex_id();
    let disbursement = json!({
        "id": disbursement_id,
        "user_id": caller.account,
        "external_id": input.text("external_id")?,
        "amount": input.amount("amount")?,
        "bank_code": input.text("bank_code")?,
        "account_holder_name": input.text("account_holder_name")?,
        "disbursement_description": input.text("description")?,
        "status": "PENDING",
    });
    let failure = match input.text("account_number")?.as_str() {
        "7654321" => Some("INVALID_DESTINATION"),
        "12121212" => Some("SWITCHING_NETWORK_ERROR"),
        "987654321" => Some("UNKNOWN_BANK_NETWORK_ERROR"),
        "321321321" => Some("TEMPORARY_BANK_NETWORK_ERROR"),
        "8787878" => Some("REJECTED_BY_BANK"),
        "1351357" => Some("TRANSFER_ERROR"),
        "868686" => Some("TEMPORARY_TRANSFER_ERROR"),
        _ => None,
    };
    {
        let mut books = xendit.books();
        books.add(Family::Disbursement, &caller.account, &disbursement_id, disbursement.clone());
        let movement = movement(&disbursement_id, &disbursement["external_id"], &disbursement);
        let (currency, channel) = (json!("IDR"), &disbursement["bank_code"]);
        books.move_money(&caller.account, &Movement { currency: &currency, channel, ..movement });
    }
    xendit.later(PROCESSING, move |xendit| xendit.finish_disbursement(&disbursement_id, failure));
    ok(disbursement)
}

/// Without times and currency.
async fn read_disbursement(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Disbursement, &id)?.clone())
}

/// A bare array; 404 for an unknown reference.
async fn disbursements(
    State(xendit): State<Shared>,
    caller: Caller,
    Query(query): Query<BTreeMap<String, String>>,
) -> Answer {
    let reference = query.get("external_id").ok_or_else(|| Refusal::invalid("external_id is required"))?;
    let books = xendit.books();
    let all = books.list(&caller.account, Family::Disbursement);
    let found: Vec<_> = all.filter(|one| one["external_id"] == reference.as_str()).cloned().collect();
    if found.is_empty() { Err(Refusal::not_found(Family::Disbursement.not_found())) } else { ok(found.into()) }
}

impl Xendit {
    fn finish_payout(self: &Shared, id: &str, status: &'static str, failure: Option<&str>) {
        let payout = {
            let mut books = self.books();
            books.change_movement(id, |row| set_status(row, status_of_row(status)));
            books.change(id, |payout| {
                set_status(payout, status);
                if let Some(code) = failure {
                    payout.insert("failure_code".to_owned(), code.into());
                }
            })
        };
        let event = match status {
            "SUCCEEDED" => "payout.succeeded",
            "REVERSED" => "payout.reversed",
            _ => "payout.failed",
        };
        let account = payout["business_id"].as_str().unwrap_or_default();
        let reference = payout["reference_id"].clone();
        self.send(Hook { event, reference, body: envelope(event, account, &payout), version: None, url: None });
    }

    fn finish_disbursement(self: &Shared, id: &str, failure: Option<&'static str>) {
        let status = if failure.is_some() { "FAILED" } else { "COMPLETED" };
        let disbursement = {
            let mut books = self.books();
            books.change_movement(id, |row| set_status(row, status_of_row(status)));
            books.change(id, |disbursement| {
                set_status(disbursement, status);
                if let Some(code) = failure {
                    disbursement.insert("failure_code".to_owned(), code.into());
                }
            })
        };
        let url = self.books().callback_url(disbursement["user_id"].as_str().unwrap_or_default(), "disbursement");
        let reference = disbursement["external_id"].clone();
        let mut body = disbursement;
        body["created"] = now();
        body["updated"] = now();
        self.send(Hook { event: "disbursement", reference, body, version: None, url });
    }
}

/// A payout's transaction exists from its creation on.
fn movement<'a>(id: &str, reference: &'a Value, object: &'a Value) -> Movement<'a> {
    Movement {
        product_id: id.to_owned(),
        reference,
        kind: "DISBURSEMENT",
        status: "PENDING",
        category: "BANK",
        channel: &object["channel_code"],
        currency: &object["currency"],
        amount: &object["amount"],
        is_money_in: false,
        product_data: Value::Null,
    }
}

fn set_status(object: &mut serde_json::Map<String, Value>, status: &str) {
    object.insert("status".to_owned(), status.into());
}

/// What the transaction of a payout in this status says.
fn status_of_row(status: &'static str) -> &'static str {
    match status {
        "SUCCEEDED" | "COMPLETED" => "SUCCESS",
        other => other,
    }
}
