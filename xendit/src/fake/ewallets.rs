//! E-wallet charges and their refunds. OVO completes by itself in test mode; the others wait for a payer.
//!
//! Documented in Xendit's PHP and Node SDKs; the magic amounts in its test scenarios of e-wallets.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, created, ok},
    sender::{Hook, envelope},
};

/// How long OVO takes.
const PUSH: Duration = Duration::from_millis(100);

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/ewallets/charges", post(create))
        .route("/ewallets/charges/{id}", get(read))
        .route("/ewallets/charges/{id}/refunds", post(refund).get(refunds))
        .route("/ewallets/charges/{id}/refunds/{refund}", get(read_refund))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let charge_id = id("ewc_");
    let amount = input.amount("amount")?;
    // The magic amounts of the test scenarios.
    match amount.as_i64() {
        Some(10100) => {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "CHANNEL_NOT_ACTIVATED", "The channel is not activated"));
        }
        Some(10101) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(status, "CHANNEL_UNAVAILABLE", "The channel is unavailable"));
        }
        Some(10102) => {
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "SERVER_ERROR", "Unexpected error"));
        }
        _ => {}
    }
    // The URL that will be used: the account's, or the one of the request.
    let of_request = caller.header("callback-url").map(str::to_owned);
    let callback_url = of_request.or_else(|| xendit.books().callback_url(&caller.account, "ewallet"));
    let charge = json!({
        "id": charge_id,
        "business_id": caller.account,
        "reference_id": input.text("reference_id")?,
        "status": "PENDING",
        "currency": input.text("currency")?,
        "charge_amount": amount,
        "capture_amount": null,
        "refunded_amount": null,
        "checkout_method": input.text("checkout_method")?,
        "channel_code": input.text("channel_code")?,
        "channel_properties": input.get("channel_properties"),
        "actions": null,
        "is_redirect_required": input.optional("channel_code").as_deref() != Some("ID_OVO"),
        "callback_url": callback_url,
        "created": now(),
        "updated": now(),
        "void_status": null,
        "voided_at": null,
        "capture_now": true,
        "customer_id": null,
        "payment_method_id": null,
        "failure_code": null,
        "basket": null,
        "metadata": input.get("metadata"),
    });
    xendit.books().add(Family::Charge, &caller.account, &charge_id, charge.clone());
    if charge["channel_code"] == "ID_OVO" {
        xendit.later(PUSH, move |xendit| xendit.pay_charge(&charge_id));
    }
    created(charge)
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Charge, &id)?.clone())
}

async fn refund(State(xendit): State<Shared>, caller: Caller, Path(charge_id): Path<String>, input: Input) -> Answer {
    let charge = xendit.books().get(&caller, Family::Charge, &charge_id)?.clone();
    if charge["status"] != "SUCCEEDED" {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "INELIGIBLE_TRANSACTION", "The charge has not succeeded"));
    }
    let all = charge["capture_amount"].clone();
    let amount = if input.get("amount").is_null() { all } else { input.amount("amount")? };
    let refund_id = id("ewr_");
    let refund = json!({
        "id": refund_id,
        "charge_id": charge_id,
        "status": "PENDING",
        "currency": charge["currency"],
        "channel_code": charge["channel_code"],
        "capture_amount": charge["capture_amount"],
        "refund_amount": amount,
        "reason": input.get("reason"),
        "reference_id": charge["reference_id"],
        "failure_code": null,
        "created": now(),
        "updated": now(),
    });
    xendit.books().add(Family::ChargeRefund, &caller.account, &refund_id, refund.clone());
    xendit.later(PUSH, move |xendit| xendit.finish_charge_refund(&refund_id));
    ok(refund)
}

async fn refunds(State(xendit): State<Shared>, caller: Caller, Path(charge_id): Path<String>) -> Answer {
    let books = xendit.books();
    books.get(&caller, Family::Charge, &charge_id)?;
    let refunds = books.list(&caller.account, Family::ChargeRefund);
    let refunds: Vec<_> = refunds.filter(|refund| refund["charge_id"] == charge_id.as_str()).cloned().collect();
    ok(json!({ "data": refunds }))
}

async fn read_refund(
    State(xendit): State<Shared>,
    caller: Caller,
    Path((charge_id, refund)): Path<(String, String)>,
) -> Answer {
    let books = xendit.books();
    let refund = books.get(&caller, Family::ChargeRefund, &refund)?;
    let is_of_charge = refund["charge_id"] == charge_id.as_str();
    ok(is_of_charge.then(|| refund.clone()).ok_or_else(|| Refusal::not_found("DATA_NOT_FOUND"))?)
}

impl Xendit {
    /// A payer confirms a charge.
    pub(super) fn pay_charge(self: &Shared, id: &str) {
        let charge = {
            let mut books = self.books();
            let charge = books.change(id, |charge| {
                let amount = charge.get("charge_amount").cloned().unwrap_or_default();
                charge.extend([("status".to_owned(), "SUCCEEDED".into()), ("capture_amount".to_owned(), amount)]);
            });
            books.move_money(
                charge["business_id"].as_str().unwrap_or_default(),
                &Movement {
                    product_id: id.trim_start_matches("ewc_").to_owned(),
                    reference: &charge["reference_id"],
                    kind: "PAYMENT",
                    status: "SUCCESS",
                    category: "EWALLET",
                    channel: &charge["channel_code"],
                    currency: &charge["currency"],
                    amount: &charge["charge_amount"],
                    is_money_in: true,
                    product_data: Value::Null,
                },
            );
            charge
        };
        let account = charge["business_id"].as_str().unwrap_or_default();
        let url = charge["callback_url"].as_str().map(str::to_owned);
        self.tell_of_wallet("ewallet.capture", account, &charge, url);
    }

    fn finish_charge_refund(self: &Shared, id: &str) {
        let (refund, account) = {
            let mut books = self.books();
            let refund = books.change(id, |refund| {
                refund.insert("status".to_owned(), "SUCCEEDED".into());
            });
            let account = books.owner(id);
            books.change(refund["charge_id"].as_str().unwrap_or_default(), |charge| {
                charge.insert("refunded_amount".to_owned(), refund["refund_amount"].clone());
            });
            books.move_money(
                &account,
                &Movement {
                    product_id: id.trim_start_matches("ewr_").to_owned(),
                    reference: &refund["reference_id"],
                    kind: "REFUND",
                    status: "SUCCESS",
                    category: "EWALLET",
                    channel: &refund["channel_code"],
                    currency: &refund["currency"],
                    amount: &refund["refund_amount"],
                    is_money_in: false,
                    product_data: Value::Null,
                },
            );
            (refund, account)
        };
        let url = self.books().callback_url(&account, "ewallet");
        self.tell_of_wallet("ewallet.refund", &account, &refund, url);
    }

    fn tell_of_wallet(self: &Shared, event: &'static str, account: &str, data: &Value, url: Option<String>) {
        let reference = data["reference_id"].clone();
        self.send(Hook { event, reference, body: envelope(event, account, data), version: None, url });
    }
}
