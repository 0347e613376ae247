//! Unified refunds of payments v3. In test mode they succeed by themselves.
//!
//! Documented in Xendit's Python SDK.

use std::time::Duration;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::json;

use super::{
    Shared, Xendit,
    books::{Family, Movement, id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, ok},
    sender::{Hook, envelope},
};

const PROCESSING: Duration = Duration::from_millis(100);

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/refunds", post(create)).route("/refunds/{id}", get(read))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let request_id = input.text("payment_request_id")?;
    let payment = {
        let books = xendit.books();
        books.get(&caller, Family::PaymentRequest, &request_id)?;
        let mut payments = books.list(&caller.account, Family::Payment);
        payments.find(|payment| payment["payment_request_id"] == request_id.as_str()).cloned()
    };
    let not_paid = || Refusal::new(StatusCode::BAD_REQUEST, "INELIGIBLE_TRANSACTION", "The request is not paid");
    let payment = payment.ok_or_else(not_paid)?;
    let refund_id = id("rfd-");
    let refund = json!({
        "id": refund_id,
        "payment_request_id": request_id,
        "payment_id": payment["payment_id"],
        "invoice_id": null,
        "payment_method_type": "EWALLET",
        "amount": input.amount("amount")?,
        "currency": payment["currency"],
        "country": payment["country"],
        "channel_code": payment["channel_code"],
        "status": "PENDING",
        "reason": input.text("reason")?,
        "reference_id": input.get("reference_id"),
        "failure_code": null,
        "refund_fee_amount": null,
        "metadata": input.get("metadata"),
        "created": now(),
        "updated": now(),
    });
    xendit.books().add(Family::Refund, &caller.account, &refund_id, refund.clone());
    xendit.later(PROCESSING, move |xendit| xendit.finish_refund(&refund_id));
    ok(refund)
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Refund, &id)?.clone())
}

impl Xendit {
    fn finish_refund(self: &Shared, id: &str) {
        let (refund, account) = {
            let mut books = self.books();
            let refund = books.change(id, |refund| {
                refund.insert("status".to_owned(), "SUCCEEDED".into());
            });
            let account = books.owner(id);
            books.move_money(
                &account,
                &Movement {
                    product_id: id.to_owned(),
                    reference: &refund["reference_id"],
                    kind: "REFUND",
                    status: "SUCCESS",
                    category: "EWALLET",
                    channel: &refund["channel_code"],
                    currency: &refund["currency"],
                    amount: &refund["amount"],
                    is_money_in: false,
                    product_data: json!({ "payment_request_id": refund["payment_request_id"] }),
                },
            );
            (refund, account)
        };
        let event = "refund.succeeded";
        let reference = refund["reference_id"].clone();
        self.send(Hook { event, reference, body: envelope(event, &account, &refund), version: None, url: None });
    }
}
