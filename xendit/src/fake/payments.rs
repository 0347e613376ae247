//! Payments v3: requests for money, and the payments of them.
//!
//! Documented at docs.xendit.co/apidocs/create-payment-request, get-payment-request, get-payment and
//! simulate-payment-test-mode.

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, id, now},
    gate::Caller,
    reply::{Answer, Input, created, ok},
    sender::{Hook, envelope},
};

const VERSION: &str = "2024-11-11";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v3/payment_requests", post(create))
        .route("/v3/payment_requests/{id}", get(read_request))
        .route("/v3/payment_requests/{id}/simulate", post(simulate))
        .route("/v3/payments/{id}", get(read_payment))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    caller.needs_version(VERSION)?;
    let request_id = id("pr-");
    let kind = input.text("type")?;
    let is_reusable = kind == "REUSABLE_PAYMENT_CODE";
    let request = json!({
        "payment_request_id": request_id,
        "business_id": caller.account,
        "reference_id": input.text("reference_id")?,
        "type": kind,
        "country": input.text("country")?,
        "currency": input.text("currency")?,
        "request_amount": if is_reusable { input.get("request_amount") } else { input.amount("request_amount")? },
        "capture_method": input.optional("capture_method").unwrap_or_else(|| "AUTOMATIC".to_owned()),
        "channel_code": input.text("channel_code")?,
        "channel_properties": input.get("channel_properties"),
        "actions": [{ "type": "PRESENT_TO_CUSTOMER", "descriptor": "QR_STRING", "value": "00020101021226-FAKE" }],
        "status": if is_reusable { "ACCEPTING_PAYMENTS" } else { "REQUIRES_ACTION" },
        "description": input.get("description"),
        "metadata": input.get("metadata"),
        "created": now(),
        "updated": now(),
    });
    xendit.books().add(Family::PaymentRequest, &caller.account, &request_id, request.clone());
    created(request)
}

async fn read_request(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.needs_version(VERSION)?;
    ok(xendit.books().get(&caller, Family::PaymentRequest, &id)?.clone())
}

async fn read_payment(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    caller.needs_version(VERSION)?;
    ok(xendit.books().get(&caller, Family::Payment, &id)?.clone())
}

/// Always answers PENDING: the payment is known by its webhook, or by reading the request.
async fn simulate(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>, input: Input) -> Answer {
    caller.needs_version(VERSION)?;
    let request = xendit.books().get(&caller, Family::PaymentRequest, &id)?.clone();
    let amount = input.amount("amount")?;
    xendit.pay_request(&request, &amount);
    ok(json!({ "status": "PENDING", "message": "The payment is being processed" }))
}

impl Xendit {
    /// A payer pays a request, even one that has expired. A reusable one goes on, and an expired one stays expired.
    pub(super) fn pay_request(self: &Shared, request: &Value, amount: &Value) {
        let (payment_id, at) = (id("py-"), now());
        let account = request["business_id"].as_str().unwrap_or_default();
        let mut payment = json!({
            "payment_id": payment_id,
            "business_id": account,
            "reference_id": request["reference_id"],
            "payment_request_id": request["payment_request_id"],
            "type": request["type"],
            "country": request["country"],
            "currency": request["currency"],
            "request_amount": request["request_amount"],
            "capture_method": request["capture_method"],
            "channel_code": request["channel_code"],
            "channel_properties": request["channel_properties"],
            "captures": [{ "capture_timestamp": at, "capture_id": id("cptr-"), "capture_amount": amount }],
            "status": "SUCCEEDED",
            "payment_details": {},
            "metadata": request["metadata"],
            "created": at,
            "updated": at,
        });
        if let Value::Object(fields) = &mut payment {
            fields.retain(|_, value| !value.is_null());
        }
        {
            let mut books = self.books();
            books.add(Family::Payment, account, &payment_id, payment.clone());
            books.change(request["payment_request_id"].as_str().unwrap_or_default(), |request| {
                if request.get("status").is_some_and(|status| status == "REQUIRES_ACTION") {
                    request.insert("status".to_owned(), "SUCCEEDED".into());
                }
                request.insert("latest_payment_id".to_owned(), payment_id.clone().into());
            });
            let channel = request["channel_code"].as_str().unwrap_or_default();
            let category = match channel {
                "QRIS" => "QR_CODE",
                "CARDS" => "CARDS",
                _ if channel.ends_with("VIRTUAL_ACCOUNT") => "VIRTUAL_ACCOUNT",
                _ => "EWALLET",
            };
            books.move_money(
                account,
                &Movement {
                    product_id: payment_id,
                    reference: &request["reference_id"],
                    kind: "PAYMENT",
                    status: "SUCCESS",
                    category,
                    channel: &request["channel_code"],
                    currency: &request["currency"],
                    amount,
                    is_money_in: true,
                    product_data: json!({ "payment_request_id": request["payment_request_id"] }),
                },
            );
        }
        self.tell_of_v3("payment.capture", account, &payment);
    }

    /// A request expires.
    pub(super) fn expire_request(self: &Shared, id: &str) {
        let request = self.books().change(id, |request| {
            request.insert("status".to_owned(), "EXPIRED".into());
        });
        let account = request["business_id"].as_str().unwrap_or_default();
        self.tell_of_v3("payment_request.expiry", account, &request);
    }

    /// These webhooks go where the dashboard says. No API sets their URL.
    fn tell_of_v3(self: &Shared, event: &'static str, account: &str, data: &Value) {
        let reference = data["reference_id"].clone();
        let mut body = envelope(event, account, data);
        body["api_version"] = "v3".into();
        self.send(Hook { event, reference, body, version: None, url: None });
    }
}
