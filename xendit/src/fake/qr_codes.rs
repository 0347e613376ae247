//! QR codes of 2022-07-31. Both calls need that version: without it, Xendit's older API answers, which knows no such code.
//!
//! A payment of a code cannot be read back. A code that was paid is inactive, as is one that expired.
//!
//! Documented in Xendit's PHP and Java SDKs.

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, at, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, created, ok},
    sender::{Hook, envelope},
};

const VERSION: &str = "2022-07-31";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/qr_codes", post(create))
        .route("/qr_codes/{id}", get(read))
        .route("/qr_codes/{id}/payments/simulate", post(simulate))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    if caller.header("api-version") != Some(VERSION) {
        // What the older API would miss in such a body.
        return Err(Refusal::invalid("external_id is required"));
    }
    let (qr_id, kind) = (id("qr_"), input.text("type")?);
    let code = json!({
        "id": qr_id,
        "business_id": caller.account,
        "reference_id": input.text("reference_id")?,
        "type": kind,
        "currency": input.text("currency")?,
        "amount": if kind == "DYNAMIC" { input.amount("amount")? } else { Value::Null },
        "channel_code": "ID_DANA",
        "status": "ACTIVE",
        "qr_string": "00020101021226660014ID.LINKAJA.WWW-FAKE",
        "expires_at": at(Timestamp::now() + SignedDuration::from_hours(48)),
        "metadata": input.get("metadata"),
        "created": now(),
        "updated": now(),
    });
    xendit.books().add(Family::QrCode, &caller.account, &qr_id, code.clone());
    created(code)
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::QrCode, &id)?.clone())
}

async fn simulate(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>, input: Input) -> Answer {
    if caller.header("api-version") != Some(VERSION) {
        return Err(Refusal::not_found("DATA_NOT_FOUND"));
    }
    let code = xendit.books().get(&caller, Family::QrCode, &id)?.clone();
    let amount = if code["type"] == "STATIC" { input.amount("amount")? } else { code["amount"].clone() };
    if code["status"] != "ACTIVE" {
        return Err(Refusal::invalid("the QR code is inactive"));
    }
    let payment = xendit.pay_code(&code, &amount);
    ok(json!({ "status": "SUCCEEDED", "qr_id": id, "payment_detail": payment["payment_detail"] }))
}

impl Xendit {
    /// A payer scans a code.
    pub(super) fn pay_code(self: &Shared, code: &Value, amount: &Value) -> Value {
        let payment_id = id("qrpy_");
        let account = code["business_id"].as_str().unwrap_or_default();
        let payment = json!({
            "id": payment_id,
            "business_id": account,
            "currency": code["currency"],
            "amount": amount,
            "status": "SUCCEEDED",
            "created": now(),
            "qr_id": code["id"],
            "qr_string": code["qr_string"],
            "reference_id": code["reference_id"],
            "type": code["type"],
            "channel_code": code["channel_code"],
            "expires_at": code["expires_at"],
            "metadata": code["metadata"],
            "payment_detail": { "receipt_id": "000111666", "source": "GOPAY" },
        });
        let url = {
            let mut books = self.books();
            if code["type"] == "DYNAMIC" {
                books.change(code["id"].as_str().unwrap_or_default(), |code| {
                    code.insert("status".to_owned(), "INACTIVE".into());
                });
            }
            books.move_money(
                account,
                &Movement {
                    product_id: payment_id.trim_start_matches("qrpy_").to_owned(),
                    reference: &code["reference_id"],
                    kind: "PAYMENT",
                    status: "SUCCESS",
                    category: "QR_CODE",
                    channel: &"QRIS".into(),
                    currency: &code["currency"],
                    amount,
                    is_money_in: true,
                    product_data: Value::Null,
                },
            );
            books.callback_url(account, "qr_code")
        };
        self.send(Hook {
            event: "qr.payment",
            reference: code["reference_id"].clone(),
            body: envelope("qr.payment", account, &payment),
            version: Some(VERSION),
            url,
        });
        payment
    }
}
