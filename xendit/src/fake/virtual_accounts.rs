//! Fixed virtual accounts and the payments into them.
//!
//! Documented in Xendit's Node and Go SDKs, with their tests, and in recorded traffic.

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
    books::{Family, Movement, digits, hex_id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, amount, ok},
    sender::Hook,
};

/// How long a new account is pending. Simulating a payment meanwhile finds nothing, as at Xendit.
const ACTIVATION: Duration = Duration::from_millis(200);

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/callback_virtual_accounts", post(create))
        .route("/callback_virtual_accounts/{id}", get(read))
        // The segment is `external_id=…`.
        .route("/callback_virtual_accounts/{reference}/simulate_payment", post(simulate))
        // The segment is `payment_id=…`.
        .route("/callback_virtual_account_payments/{payment}", get(read_payment))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let id = hex_id();
    let is_closed = input.is("is_closed");
    let mut account = json!({
        "id": id,
        "owner_id": caller.account,
        "external_id": input.text("external_id")?,
        "bank_code": input.text("bank_code")?,
        "merchant_code": "88608",
        "name": input.text("name")?,
        "account_number": format!("88608{}", digits(10)),
        "is_closed": is_closed,
        "is_single_use": input.is("is_single_use"),
        "expiration_date": "2057-11-24T00:00:00.000Z",
        "currency": "IDR",
        "country": "ID",
        "status": "PENDING",
    });
    if is_closed {
        account["expected_amount"] = input.amount("expected_amount")?;
    }
    xendit.books().add(Family::VirtualAccount, &caller.account, &id, account.clone());
    xendit.later(ACTIVATION, move |xendit| xendit.set_account(&id, "ACTIVE"));
    ok(account)
}

/// Without `created` and `updated`, as recorded.
async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::VirtualAccount, &id)?.clone())
}

async fn read_payment(State(xendit): State<Shared>, caller: Caller, Path(payment): Path<String>) -> Answer {
    let id = payment.strip_prefix("payment_id=").ok_or_else(|| Refusal::not_found("NOT_FOUND"))?;
    ok(xendit.books().get(&caller, Family::VirtualAccountPayment, id)?.clone())
}

async fn simulate(State(xendit): State<Shared>, caller: Caller, Path(reference): Path<String>, input: Input) -> Answer {
    let not_found = || Refusal::not_found("CALLBACK_VIRTUAL_ACCOUNT_NOT_FOUND_ERROR");
    let reference = reference.strip_prefix("external_id=").ok_or_else(not_found)?;
    let account = {
        let books = xendit.books();
        let mut accounts = books.list(&caller.account, Family::VirtualAccount);
        accounts.find(|account| account["external_id"] == reference && account["status"] != "PENDING").cloned()
    };
    let account = account.ok_or_else(not_found)?;
    let paid = input.amount("amount")?;
    if account["status"] == "INACTIVE" {
        let message = "The virtual account is inactive";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "CALLBACK_VIRTUAL_ACCOUNT_INACTIVE_ERROR", message));
    }
    if account["is_closed"] == true && amount(&account["expected_amount"]) != amount(&paid) {
        return Err(Refusal::invalid("amount must be the expected amount"));
    }
    xendit.pay_account(&account, &paid);
    ok(json!({ "status": "COMPLETED", "message": format!(
        "Payment for the Fixed VA with external id {reference} is currently being processed. Please ensure that you have set \
         a callback URL for VA payments via Dashboard Settings and contact us if you do not receive a VA payment callback \
         within the next 5 mins."
    ) }))
}

impl Xendit {
    fn set_account(self: &Shared, id: &str, status: &str) {
        let account = self.books().change(id, |account| {
            account.insert("status".to_owned(), status.into());
        });
        let mut body = account.clone();
        body["created"] = now();
        body["updated"] = now();
        self.tell_of_account("fva_status", &account, body);
    }

    /// A payer transfers to an account.
    pub(super) fn pay_account(self: &Shared, account: &Value, paid: &Value) {
        let (record, payment_id, at) = (hex_id(), hex_id(), now());
        let owner = account["owner_id"].as_str().unwrap_or_default();
        let id = account["id"].as_str().unwrap_or_default();
        let payment = json!({
            "id": record,
            "payment_id": payment_id,
            "callback_virtual_account_id": id,
            "external_id": account["external_id"],
            "account_number": account["account_number"],
            "bank_code": account["bank_code"],
            "merchant_code": account["merchant_code"],
            "amount": paid,
            "currency": account["currency"],
            "sender_name": "FAKE PAYER",
            "transaction_timestamp": at,
        });
        {
            let mut books = self.books();
            books.add(Family::VirtualAccountPayment, owner, &payment_id, payment.clone());
            books.move_money(
                owner,
                &Movement {
                    // The record's id, not the payment's.
                    product_id: record,
                    reference: &account["external_id"],
                    kind: "PAYMENT",
                    status: "SUCCESS",
                    category: "VIRTUAL_ACCOUNT",
                    channel: &account["bank_code"],
                    currency: &account["currency"],
                    amount: paid,
                    is_money_in: true,
                    product_data: Value::Null,
                },
            );
        }
        let mut body = payment;
        body["owner_id"] = owner.into();
        body["created"] = at.clone();
        body["updated"] = at;
        self.tell_of_account("fva_paid", account, body);
        if account["is_single_use"] == true {
            self.set_account(id, "INACTIVE");
        }
    }

    fn tell_of_account(self: &Shared, event: &'static str, account: &Value, body: Value) {
        let url = self.books().callback_url(account["owner_id"].as_str().unwrap_or_default(), event);
        self.send(Hook { event, reference: account["external_id"].clone(), body, version: None, url });
    }
}
