//! Retail outlets: codes that are paid in cash, in Indonesia (`fixed_payment_code`) and in the Philippines (`payment_codes`).
//!
//! Documented in Xendit's Go and Java SDKs.

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, digits, hex_id, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, amount, ok},
    sender::Hook,
};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/fixed_payment_code", post(create_indonesian))
        .route("/fixed_payment_code/simulate_payment", post(simulate_indonesian))
        .route("/fixed_payment_code/{id}", get(read_indonesian))
        .route("/fixed_payment_code/{id}/payments", get(indonesian_payments))
        .route("/payment_codes", post(create_philippine))
        .route("/payment_codes/simulate_payment", post(simulate_philippine))
        .route("/payment_codes/{id}", get(read_philippine))
        .route("/payment_codes/{id}/payments", get(philippine_payments))
}

async fn create_indonesian(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let code_id = hex_id();
    let code = json!({
        "id": code_id,
        "owner_id": caller.account,
        "external_id": input.text("external_id")?,
        "retail_outlet_name": input.text("retail_outlet_name")?,
        "prefix": "TEST",
        "name": input.text("name")?,
        "payment_code": format!("TEST{}", digits(8)),
        "expected_amount": input.amount("expected_amount")?,
        "type": "USER",
        "is_single_use": input.is("is_single_use"),
        "expiration_date": "2057-11-24T00:00:00.000Z",
        "status": "ACTIVE",
    });
    xendit.books().add(Family::FixedPaymentCode, &caller.account, &code_id, code.clone());
    ok(code)
}

async fn read_indonesian(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::FixedPaymentCode, &id)?.clone())
}

/// `links` is one object here.
async fn indonesian_payments(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    let books = xendit.books();
    books.get(&caller, Family::FixedPaymentCode, &id)?;
    let payments = books.list(&caller.account, Family::FixedPaymentCodePayment);
    let payments: Vec<_> = payments.filter(|row| row["fixed_payment_code_id"] == id.as_str()).collect();
    ok(json!({ "data": payments, "has_more": false, "links": { "href": "", "rel": "", "method": "" } }))
}

async fn simulate_indonesian(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let (outlet, text) = (input.text("retail_outlet_name")?, input.text("payment_code")?);
    let paid = input.amount("transfer_amount")?;
    let code = {
        let books = xendit.books();
        let mut codes = books.list(&caller.account, Family::FixedPaymentCode);
        let is = |code: &&Value| code["payment_code"] == text.as_str() && code["retail_outlet_name"] == outlet.as_str();
        codes.find(is).cloned()
    };
    let code = code.ok_or_else(|| Refusal::not_found("FIXED_PAYMENT_CODE_NOT_FOUND_ERROR"))?;
    xendit.pay_indonesian_code(&code, &paid);
    ok(json!({ "status": "COMPLETED", "message": "Payment is being processed" }))
}

async fn create_philippine(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let code_id = id("pcode-");
    let code = json!({
        "id": code_id,
        "business_id": caller.account,
        "reference_id": input.text("reference_id")?,
        "channel_code": input.text("channel_code")?,
        "customer_name": input.text("customer_name")?,
        "amount": input.amount("amount")?,
        "currency": input.text("currency")?,
        "market": input.text("market")?,
        "payment_code": format!("FAKE{}", digits(8)),
        "is_single_use": input.is("is_single_use"),
        "status": "ACTIVE",
        "created_at": now(),
        "updated_at": now(),
    });
    xendit.books().add(Family::PaymentCode, &caller.account, &code_id, code.clone());
    ok(code)
}

async fn read_philippine(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::PaymentCode, &id)?.clone())
}

async fn philippine_payments(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    let books = xendit.books();
    books.get(&caller, Family::PaymentCode, &id)?;
    let payments = books.list(&caller.account, Family::PaymentCodePayment);
    let payments: Vec<_> = payments.filter(|row| row["payment_code_id"] == id.as_str()).collect();
    ok(json!({ "data": payments, "has_more": false, "links": [] }))
}

/// Refuses another amount than the code's.
async fn simulate_philippine(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let text = input.text("payment_code")?;
    let paid = input.amount("amount")?;
    let code = {
        let books = xendit.books();
        books.list(&caller.account, Family::PaymentCode).find(|code| code["payment_code"] == text.as_str()).cloned()
    };
    let code = code.ok_or_else(|| Refusal::not_found("DATA_NOT_FOUND"))?;
    if amount(&code["amount"]) != amount(&paid) {
        return Err(Refusal::invalid("amount must be the code's amount"));
    }
    xendit.pay_philippine_code(&code, &paid);
    ok(json!({ "status": "COMPLETED" }))
}

impl Xendit {
    /// A payer pays at an Indonesian counter.
    pub(super) fn pay_indonesian_code(self: &Shared, code: &Value, paid: &Value) {
        let (payment_id, record) = (digits(13), hex_id());
        let account = code["owner_id"].as_str().unwrap_or_default();
        let payment = json!({
            "id": hex_id(),
            "payment_id": payment_id,
            "owner_id": account,
            "external_id": code["external_id"],
            "fixed_payment_code_id": code["id"],
            "fixed_payment_code_payment_id": record,
            "payment_code": code["payment_code"],
            "retail_outlet_name": code["retail_outlet_name"],
            "prefix": code["prefix"],
            "name": code["name"],
            "amount": paid,
            "status": "COMPLETED",
            "transaction_timestamp": now(),
        });
        let url = {
            let mut books = self.books();
            books.add(Family::FixedPaymentCodePayment, account, &record, payment.clone());
            let movement = movement(payment_id, &code["external_id"], &code["retail_outlet_name"], paid);
            books.move_money(account, &Movement { currency: &"IDR".into(), ..movement });
            books.callback_url(account, "ro_fpc_paid")
        };
        let reference = code["external_id"].clone();
        self.send(Hook { event: "ro_fpc_paid", reference, body: payment, version: None, url });
    }

    /// A payer pays at a Philippine counter.
    pub(super) fn pay_philippine_code(self: &Shared, code: &Value, paid: &Value) {
        let payment_id = id("pymt-");
        let account = code["business_id"].as_str().unwrap_or_default();
        let row = json!({
            "id": payment_id,
            "payment_code_id": code["id"],
            "payment_code": code["payment_code"],
            "channel_code": code["channel_code"],
            "currency": code["currency"],
            "amount": paid,
            "status": "COMPLETED",
            "remarks": "payment simulation",
            "created_at": now(),
            "updated_at": now(),
        });
        let body = json!({
            "event": "payment_code.payment",
            "id": payment_id,
            "payment_code_id": code["id"],
            "payment_code": code["payment_code"],
            "business_id": account,
            "reference_id": code["reference_id"],
            "channel_code": code["channel_code"],
            "country_code": code["market"],
            "currency": code["currency"],
            "amount": paid,
            "remarks": "payment simulation",
            "status": "COMPLETED",
            "created": row["created_at"],
        });
        let url = {
            let mut books = self.books();
            books.add(Family::PaymentCodePayment, account, &payment_id, row);
            let movement = movement(payment_id, &code["reference_id"], &code["channel_code"], paid);
            books.move_money(account, &Movement { currency: &code["currency"], ..movement });
            books.callback_url(account, "regional_ro_paid")
        };
        let reference = code["reference_id"].clone();
        self.send(Hook { event: "payment_code.payment", reference, body, version: None, url });
    }
}

fn movement<'a>(product_id: String, reference: &'a Value, channel: &'a Value, amount: &'a Value) -> Movement<'a> {
    Movement {
        product_id,
        reference,
        kind: "PAYMENT",
        status: "SUCCESS",
        category: "RETAIL_OUTLET",
        channel,
        currency: &Value::Null,
        amount,
        is_money_in: true,
        product_data: Value::Null,
    }
}
