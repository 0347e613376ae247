//! Invoices (payment links): created, paid by a payer, expired, settled.
//!
//! Their payment has no endpoint in test mode: a payer presses a button on the invoice's page.
//!
//! Documented in Xendit's archived reference of invoices and in its SDKs.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Shared, Xendit,
    books::{Family, Movement, at, hex_id, now},
    gate::Caller,
    reply::{Answer, Input, Refusal, ok},
    sender::Hook,
};

/// How long an invoice can be paid: a day, unless it says otherwise.
const DURATION_SECS: i64 = 86_400;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/invoices", post(create).get(list))
        .route("/v2/invoices/{id}", get(read))
        .route("/invoices/{id}/expire!", post(expire))
}

async fn create(State(xendit): State<Shared>, caller: Caller, input: Input) -> Answer {
    let (id, at_once) = (hex_id(), now());
    let duration = input.get("invoice_duration").as_i64().unwrap_or(DURATION_SECS);
    let expiry = Timestamp::now().checked_add(SignedDuration::from_secs(duration));
    let expiry = expiry.map_err(|_| Refusal::invalid("invoice_duration"))?;
    let invoice = json!({
        "id": id,
        "external_id": input.text("external_id")?,
        "user_id": caller.account,
        "status": "PENDING",
        "merchant_name": "Fake Merchant",
        "amount": input.amount("amount")?,
        "currency": input.optional("currency").unwrap_or_else(|| "IDR".to_owned()),
        "description": input.get("description"),
        "payer_email": input.get("payer_email"),
        "metadata": input.get("metadata"),
        "invoice_url": format!("https://checkout-staging.xendit.co/web/{id}"),
        "expiry_date": at(expiry),
        "created": at_once,
        "updated": at_once,
    });
    xendit.books().add(Family::Invoice, &caller.account, &id, invoice.clone());
    let wait = Duration::from_secs(u64::try_from(duration).unwrap_or_default());
    xendit.later(wait, move |xendit| drop(xendit.expire_invoice(&id)));
    ok(invoice)
}

async fn read(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    ok(xendit.books().get(&caller, Family::Invoice, &id)?.clone())
}

/// A bare array, newest first. One of a pair of dates alone has no effect.
async fn list(State(xendit): State<Shared>, caller: Caller, Query(query): Query<BTreeMap<String, String>>) -> Answer {
    let time = |name: &str| query.get(name).and_then(|text| text.parse::<Timestamp>().ok());
    let pair = |after: &str, before: &str| time(after).zip(time(before));
    let periods = [
        ("created", pair("created_after", "created_before")),
        ("paid_at", pair("paid_after", "paid_before")),
        ("expiry_date", pair("expired_after", "expired_before")),
    ];
    let is_within = |invoice: &Value| {
        periods.iter().all(|(field, period)| {
            let Some((after, before)) = period else { return true };
            let is_expiry = *field == "expiry_date";
            let at = invoice[*field].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            (!is_expiry || invoice["status"] == "EXPIRED") && at.is_some_and(|at| *after <= at && at <= *before)
        })
    };
    let is_asked_for = |invoice: &Value| {
        query.get("external_id").is_none_or(|reference| invoice["external_id"] == reference.as_str())
            && query
                .get("statuses")
                .is_none_or(|statuses| invoice["status"].as_str().is_some_and(|status| statuses.contains(status)))
    };
    let limit = query.get("limit").map_or(Ok(10), |limit| limit.parse::<usize>());
    let limit = limit.ok().filter(|limit| (1..=100).contains(limit)).ok_or_else(|| Refusal::invalid("limit"))?;
    let last = query.get("last_invoice_id");
    let books = xendit.books();
    let invoices = books.list(&caller.account, Family::Invoice);
    let invoices = invoices.skip_while(|invoice| last.is_some_and(|last| invoice["id"] != last.as_str()));
    let invoices = invoices.skip(usize::from(last.is_some()));
    let invoices = invoices.filter(|invoice| is_within(invoice) && is_asked_for(invoice));
    ok(invoices.take(limit).cloned().collect::<Vec<_>>().into())
}

async fn expire(State(xendit): State<Shared>, caller: Caller, Path(id): Path<String>) -> Answer {
    xendit.books().get(&caller, Family::Invoice, &id)?;
    let not_pending =
        || Refusal::new(StatusCode::BAD_REQUEST, "INVOICE_NOT_PENDING_ERROR", "Only a pending invoice can be expired");
    ok(xendit.expire_invoice(&id).ok_or_else(not_pending)?)
}

impl Xendit {
    /// Expires a pending invoice. A merchant has to switch this webhook on; here it is.
    fn expire_invoice(self: &Shared, id: &str) -> Option<Value> {
        let invoice = {
            let mut books = self.books();
            let mut is_pending = false;
            let invoice = books.change(id, |invoice| {
                is_pending = invoice.get("status").is_some_and(|status| status == "PENDING");
                if is_pending {
                    invoice.insert("status".to_owned(), "EXPIRED".into());
                }
            });
            is_pending.then_some(invoice)?
        };
        self.tell_of_invoice(&invoice, None);
        Some(invoice)
    }

    /// A payer pays an invoice, even one that has expired.
    pub(super) fn pay_invoice(self: &Shared, id: &str, amount: &Value) -> Result<Value, Refusal> {
        let payment_id = hex_id();
        let invoice = {
            let mut books = self.books();
            let mut is_paid = false;
            let invoice = books.change(id, |invoice| {
                is_paid = invoice.contains_key("paid_at");
                if is_paid {
                    return;
                }
                let paid = [
                    ("status", "PAID".into()),
                    ("paid_amount", amount.clone()),
                    ("paid_at", now()),
                    ("payment_method", "BANK_TRANSFER".into()),
                    ("payment_channel", "BCA".into()),
                    ("bank_code", "BCA".into()),
                    ("payment_destination", "381659999999999".into()),
                ];
                invoice.extend(paid.map(|(key, value)| (key.to_owned(), value)));
            });
            if is_paid {
                return Err(Refusal::invalid("the invoice is paid"));
            }
            let account = invoice["user_id"].as_str().unwrap_or_default().to_owned();
            books.move_money(
                &account,
                &Movement {
                    product_id: payment_id.clone(),
                    reference: &invoice["external_id"],
                    kind: "PAYMENT",
                    status: "SUCCESS",
                    category: "VIRTUAL_ACCOUNT",
                    channel: &"BCA".into(),
                    currency: &invoice["currency"],
                    amount,
                    is_money_in: true,
                    product_data: json!({ "payment_link_id": id }),
                },
            );
            invoice
        };
        self.tell_of_invoice(&invoice, Some(&payment_id));
        Ok(invoice)
    }

    /// The webhook has some fields that the API does not return.
    fn tell_of_invoice(self: &Shared, invoice: &Value, payment_id: Option<&str>) {
        let mut body = invoice.clone();
        if let Value::Object(fields) = &mut body {
            for key in ["invoice_url", "expiry_date", "metadata", "payer_email"] {
                fields.remove(key);
            }
            fields.retain(|_, value| !value.is_null());
            fields.insert("is_high".to_owned(), false.into());
            if let Some(id) = payment_id {
                fields.insert("payment_id".to_owned(), id.into());
            }
        }
        let account = invoice["user_id"].as_str().unwrap_or_default();
        let url = self.books().callback_url(account, "invoice");
        self.send(Hook { event: "invoice", reference: invoice["external_id"].clone(), body, version: None, url });
    }
}
