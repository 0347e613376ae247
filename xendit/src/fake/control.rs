//! Control: what Xendit does not have, under `/_fake`, without a key.
//!
//! | | |
//! |---|---|
//! | `POST /_fake/pay` | a payer pays: `{"id": …, "amount": …}`, with the id of an invoice, charge, request, account or code |
//! | `POST /_fake/expire` | a payment request expires: `{"id": …}` |
//! | `POST /_fake/settle` | the money of an invoice is settled: `{"id": …}` |
//! | `PUT /_fake/webhooks` | which webhooks go wrong: a list of `{"event": …, "reference": …, "do": …}` |
//! | `POST /_fake/webhooks` | sends a forged webhook: `{"event": …, "body": …}` |
//! | `GET /_fake/webhooks` | every webhook so far, with each attempt |
//! | `PUT /_fake/faults` | which calls go wrong: a list of `{"path": …, "method": …, "times": …, "fault": …}` |
//! | `PUT /_fake/limit` | the most calls of one endpoint and account within a minute: a number |
//! | `GET /_fake/books` | the transactions of all accounts, oldest first |

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::webhook::catalogue;

use super::{
    Shared,
    books::Family,
    gate::Fault,
    reply::{Answer, Input, Refusal, ok},
    sender::{Hook, Rule},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_fake/pay", post(pay))
        .route("/_fake/expire", post(expire))
        .route("/_fake/settle", post(settle))
        .route("/_fake/webhooks", put(plan_webhooks).post(forge).get(webhooks))
        .route("/_fake/faults", put(plan_faults))
        .route("/_fake/limit", put(limit))
        .route("/_fake/books", get(books))
}

async fn pay(State(xendit): State<Shared>, input: Input) -> Answer {
    let id = input.text("id")?;
    let found = xendit.books().find(&id).map(|(family, object)| (family, object.clone()));
    let (family, object) = found.ok_or_else(|| Refusal::not_found("DATA_NOT_FOUND"))?;
    let paid = |field: &str| match input.get("amount") {
        Value::Null => object[field].clone(),
        amount => amount,
    };
    match family {
        Family::Invoice => drop(xendit.pay_invoice(&id, &paid("amount"))?),
        Family::Charge => xendit.pay_charge(&id),
        Family::PaymentRequest => xendit.pay_request(&object, &paid("request_amount")),
        Family::VirtualAccount => xendit.pay_account(&object, &paid("expected_amount")),
        Family::QrCode => drop(xendit.pay_code(&object, &paid("amount"))),
        Family::FixedPaymentCode => xendit.pay_indonesian_code(&object, &paid("expected_amount")),
        Family::PaymentCode => xendit.pay_philippine_code(&object, &paid("amount")),
        _ => return Err(Refusal::invalid("nobody pays such an object")),
    }
    ok(json!({}))
}

async fn expire(State(xendit): State<Shared>, input: Input) -> Answer {
    let id = input.text("id")?;
    if !matches!(xendit.books().find(&id), Some((Family::PaymentRequest, _))) {
        return Err(Refusal::not_found("DATA_NOT_FOUND"));
    }
    xendit.expire_request(&id);
    ok(json!({}))
}

/// No webhook tells of it.
async fn settle(State(xendit): State<Shared>, input: Input) -> Answer {
    let id = input.text("id")?;
    let mut books = xendit.books();
    if !matches!(books.find(&id), Some((Family::Invoice, _))) {
        return Err(Refusal::not_found("DATA_NOT_FOUND"));
    }
    let invoice = books.change(&id, |invoice| {
        if invoice.contains_key("paid_at") {
            invoice.insert("status".to_owned(), "SETTLED".into());
        }
    });
    let of_invoice = |row: &&Value| row["product_data"]["payment_link_id"] == id.as_str();
    let row = books.all_transactions().iter().find(of_invoice).map(|row| row["product_id"].clone());
    if let Some(product_id) = row.as_ref().and_then(Value::as_str) {
        books.change_movement(product_id, |row| {
            row.insert("settlement_status".to_owned(), "SETTLED".into());
        });
    }
    ok(invoice)
}

async fn plan_webhooks(State(xendit): State<Shared>, Json(rules): Json<Vec<Rule>>) -> StatusCode {
    xendit.sender.plan(rules);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Forged {
    event: String,
    body: Value,
}

/// Somebody who has the token sends what Xendit never would.
async fn forge(State(xendit): State<Shared>, Json(forged): Json<Forged>) -> Answer {
    let known = catalogue().find(|entry| entry.event == forged.event);
    let event = known.ok_or_else(|| Refusal::invalid("event"))?.event;
    xendit.send(Hook { event, reference: Value::Null, body: forged.body, version: None, url: None });
    ok(json!({}))
}

async fn webhooks(State(xendit): State<Shared>) -> Answer {
    ok(json!(xendit.sender.deliveries()))
}

async fn plan_faults(State(xendit): State<Shared>, Json(faults): Json<Vec<Fault>>) -> StatusCode {
    xendit.gate.plan(faults);
    StatusCode::NO_CONTENT
}

async fn limit(State(xendit): State<Shared>, Json(calls_a_minute): Json<usize>) -> StatusCode {
    xendit.gate.limit(calls_a_minute);
    StatusCode::NO_CONTENT
}

async fn books(State(xendit): State<Shared>) -> Answer {
    ok(json!(xendit.books().all_transactions()))
}
