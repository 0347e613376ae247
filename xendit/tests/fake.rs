//! The fake against what Xendit documents, called without the client.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::webhook::Webhook;

use self::support::{TOKEN, World, eventually};

const QR: &str = "api-version: 2022-07-31";
const V3: &str = "api-version: 2024-11-11";

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Calls with the right key.
async fn call(world: &World, method: &str, path: &str, headers: &[&str], body: &Value) -> (u16, Value) {
    let key = World::key();
    let headers = [&[&*key], headers].concat();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, _, answer) = world.call(method, path, &headers, &body).await;
    (status, answer)
}

/// The code of a refusal.
async fn refusal(world: &World, method: &str, path: &str, headers: &[&str], body: &Value) -> (u16, String) {
    let (status, answer) = call(world, method, path, headers, body).await;
    (status, answer["error_code"].as_str().unwrap_or_default().to_owned())
}

/// The first webhook of an event.
async fn hook(world: &World, event: &str) -> Value {
    let is = |webhook: &Webhook<'_>| webhook.entry().is_some_and(|entry| entry.event == event);
    serde_json::from_str(&world.webhook(is).await).unwrap()
}

/// The requests of an event, in the order of arrival.
fn requests_to<'a>(requests: &'a [String], topic: &str) -> Vec<&'a String> {
    requests.iter().filter(|request| request.starts_with(&format!("POST /{topic} "))).collect()
}

#[tokio::test]
async fn every_call_needs_the_key_as_user_and_tells_the_limit() {
    let world = World::start().await;
    for headers in [&[][..], &["authorization: Basic eDo="][..]] {
        let (status, _, body) = world.call("GET", "/v2/invoices", headers, "").await;
        assert_eq!((status, &body["error_code"]), (401, &"INVALID_API_KEY".into()));
    }
    let (status, head, _) = world.call("GET", "/v2/invoices", &[&World::key()], "").await;
    assert_eq!(status, 200);
    for line in ["rate-limit-limit: 60", "rate-limit-remaining: 59", "rate-limit-reset: ", "request-id: "] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
}

#[tokio::test]
async fn the_61st_call_of_an_endpoint_within_a_minute_is_refused_and_other_endpoints_are_not() {
    let world = World::start().await;
    for _ in 0..60 {
        assert_eq!(call(&world, "GET", "/v2/invoices", &[], &Value::Null).await.0, 200);
    }
    let (status, head, body) = world.call("GET", "/v2/invoices", &[&World::key()], "").await;
    assert_eq!((status, &body["error_code"]), (429, &"RATE_LIMIT_EXCEEDED".into()));
    assert!(head.contains("rate-limit-remaining: 0"), "{head}");
    assert_eq!(call(&world, "GET", "/v2/invoices/x", &[], &Value::Null).await.0, 404);
    assert_eq!(call(&world, "GET", "/v2/invoices", &["for-user-id: sub"], &Value::Null).await.0, 200);
}

#[tokio::test]
async fn an_unknown_object_is_404_under_the_name_of_its_product() {
    let world = World::start().await;
    for (path, headers, code) in [
        ("/v2/invoices/x", &[][..], "INVOICE_NOT_FOUND_ERROR"),
        ("/callback_virtual_accounts/x", &[], "CALLBACK_VIRTUAL_ACCOUNT_NOT_FOUND_ERROR"),
        ("/disbursements/x", &[], "DIRECT_DISBURSEMENT_NOT_FOUND_ERROR"),
        ("/disbursements?external_id=x", &[], "DIRECT_DISBURSEMENT_NOT_FOUND_ERROR"),
        ("/ewallets/charges/x", &[], "DATA_NOT_FOUND"),
        ("/v3/payments/x", &[V3], "DATA_NOT_FOUND"),
        ("/v2/payouts/x", &[], "DATA_NOT_FOUND"),
    ] {
        assert_eq!(refusal(&world, "GET", path, headers, &Value::Null).await, (404, code.to_owned()), "{path}");
    }
    assert_eq!(call(&world, "GET", "/v2/payouts?reference_id=x", &[], &Value::Null).await, (200, json!([])));
}

#[tokio::test]
async fn the_payments_api_and_qr_codes_need_their_version_on_every_call() {
    let world = World::start().await;
    let request = json!({ "reference_id": "o", "type": "PAY", "country": "ID", "currency": "IDR", "request_amount": 1,
        "channel_code": "QRIS", "channel_properties": {} });
    let (status, code) = refusal(&world, "POST", "/v3/payment_requests", &[], &request).await;
    assert_eq!((status, code.as_str()), (400, "API_VALIDATION_ERROR"));
    let code = json!({ "reference_id": "o", "type": "DYNAMIC", "currency": "IDR", "amount": 1500 });
    let (status, created) = call(&world, "POST", "/qr_codes", &[QR], &code).await;
    assert_eq!((status, &created["status"]), (201, &"ACTIVE".into()));
    let simulate = format!("/qr_codes/{}/payments/simulate", created["id"].as_str().unwrap());
    let (status, code) = refusal(&world, "POST", &simulate, &[], &json!({ "amount": 1500 })).await;
    assert_eq!((status, code.as_str()), (404, "DATA_NOT_FOUND"), "simulating without the version");
    let by_reference = refusal(&world, "POST", "/qr_codes/o/payments/simulate", &[QR], &json!({ "amount": 1 })).await;
    assert_eq!(by_reference.0, 404);
    let (status, paid) = call(&world, "POST", &simulate, &[QR], &json!({ "amount": 1500 })).await;
    assert_eq!((status, &paid["status"], &paid["qr_id"]), (200, &"SUCCEEDED".into(), &created["id"]));
    let hook = hook(&world, "qr.payment").await;
    assert_eq!(hook["data"]["qr_id"], created["id"]);
    let requests = world.receiver.requests();
    assert!(requests_to(&requests, "qr_code")[0].contains(QR), "the webhook names the version too");
}

#[tokio::test]
async fn a_webhook_carries_the_token_and_an_id_and_only_keys_that_xendit_sends() {
    let world = World::start().await;
    let invoice = world.post("/v2/invoices", &json!({ "external_id": "order-1", "amount": 510_000 })).await;
    world.post("/_fake/pay", &json!({ "id": invoice["id"] })).await;
    let body = hook(&world, "invoice").await;
    assert_eq!((&body["id"], &body["status"]), (&invoice["id"], &"PAID".into()));
    let request = world.receiver.last_request().to_lowercase();
    for line in [format!("x-callback-token: {TOKEN}"), "webhook-id: ".to_owned(), "application/json".to_owned()] {
        assert!(request.contains(&line), "{line} is missing in {request}");
    }
    assert!(request.starts_with("post /invoice http/1.1"));
    let sample: Value = serde_json::from_str(include_str!("../../events/webhooks/invoice.paid.json")).unwrap();
    let more: Vec<_> = keys(&body).difference(&keys(&sample)).copied().collect::<Vec<_>>();
    assert_eq!(more, ["bank_code", "payment_destination"], "both documented, and not in the sample");
    let read = world.get(&format!("/v2/invoices/{}", invoice["id"].as_str().unwrap())).await;
    assert!(read["payment_id"].is_null() && read["is_high"].is_null(), "the webhook alone has them: {read}");
}

/// Keys that are in a sample and may be missing elsewhere.
async fn assert_like(world: &World, event: &str, sample: &str) {
    let body = hook(world, event).await;
    let sample: Value = serde_json::from_str(sample).unwrap();
    let inside = |body: &Value| if body["data"].is_object() { body["data"].clone() } else { body.clone() };
    let (body, sample) = (inside(&body), inside(&sample));
    let missing: Vec<_> = keys(&sample).difference(&keys(&body)).copied().map(str::to_owned).collect();
    assert_eq!(missing, [""; 0], "{event}");
}

#[tokio::test]
async fn the_webhooks_have_the_keys_of_the_bundled_ones() {
    let world = World::start().await;
    let va = json!({ "external_id": "va-1", "bank_code": "BNI", "name": "A B", "expected_amount": 250_000,
        "is_closed": true, "is_single_use": true });
    let va = world.post("/callback_virtual_accounts", &va).await;
    world.post("/_fake/pay", &json!({ "id": va["id"] })).await;
    assert_like(&world, "fva_paid", include_str!("../../events/webhooks/fva.paid.json")).await;
    assert_like(&world, "fva_status", include_str!("../../events/webhooks/fva.updated.closed.json")).await;

    let code =
        json!({ "external_id": "ro-1", "retail_outlet_name": "ALFAMART", "name": "A B", "expected_amount": 9000 });
    let code = world.post("/fixed_payment_code", &code).await;
    let pay =
        json!({ "retail_outlet_name": "ALFAMART", "payment_code": code["payment_code"], "transfer_amount": 9000 });
    assert_eq!(world.post("/fixed_payment_code/simulate_payment", &pay).await["status"], "COMPLETED");
    assert_like(&world, "ro_fpc_paid", include_str!("../../events/webhooks/retail_outlet.paid.json")).await;
    let id = code["id"].as_str().unwrap();
    let payments = world.get(&format!("/fixed_payment_code/{id}/payments")).await;
    assert_eq!(payments["data"][0]["amount"], 9000);

    let code = json!({ "reference_id": "ro-2", "channel_code": "7ELEVEN", "customer_name": "A B", "amount": 500.25,
        "currency": "PHP", "market": "PH" });
    let code = world.post("/payment_codes", &code).await;
    let mut pay = json!({ "reference_id": "ro-2", "payment_code": code["payment_code"], "channel_code": "7ELEVEN",
        "amount": 500, "currency": "PHP", "market": "PH" });
    assert_eq!(call(&world, "POST", "/payment_codes/simulate_payment", &[], &pay).await.0, 400, "another amount");
    pay["amount"] = json!(500.25);
    world.post("/payment_codes/simulate_payment", &pay).await;
    assert_like(&world, "payment_code.payment", include_str!("../../events/webhooks/payment_code.payment.json")).await;

    let charge = json!({ "reference_id": "w-1", "currency": "IDR", "amount": 20_000, "checkout_method": "ONE_TIME_PAYMENT",
        "channel_code": "ID_OVO", "channel_properties": { "mobile_number": "+628123123123" } });
    let charge = world.post("/ewallets/charges", &charge).await;
    assert_eq!(charge["status"], "PENDING");
    assert_like(&world, "ewallet.capture", include_str!("../../events/webhooks/ewallet.capture.json")).await;
    let refunds = format!("/ewallets/charges/{}/refunds", charge["id"].as_str().unwrap());
    let refund = world.post(&refunds, &json!({ "reason": "OTHERS" })).await;
    assert_like(&world, "ewallet.refund", include_str!("../../events/webhooks/ewallet.refund.json")).await;
    let read = world.get(&format!("{refunds}/{}", refund["id"].as_str().unwrap())).await;
    assert_eq!((&read["status"], &read["refund_amount"]), (&"SUCCEEDED".into(), &20_000.into()));

    let request = json!({ "reference_id": "p-1", "type": "PAY", "country": "PH", "currency": "PHP",
        "request_amount": 10000.01, "channel_code": "GCASH", "channel_properties": {}, "metadata": {} });
    let request = world.post_with("/v3/payment_requests", &[V3], &request).await;
    let id = request["payment_request_id"].as_str().unwrap();
    let path = format!("/v3/payment_requests/{id}/simulate");
    let simulated = world.post_with(&path, &[V3], &json!({ "amount": 10000.01 })).await;
    assert_eq!(simulated["status"], "PENDING", "always");
    assert_like(&world, "payment.capture", include_str!("../../events/webhooks/payment.capture.json")).await;
    let refund = json!({ "payment_request_id": id, "amount": 10, "reason": "OTHERS", "reference_id": "r-1" });
    world.post("/refunds", &refund).await;
    assert_like(&world, "refund.succeeded", include_str!("../../events/webhooks/refund.succeeded.json")).await;

    let payout = json!({ "reference_id": "out-1", "channel_code": "ID_BCA", "amount": 10_000, "currency": "IDR",
        "description": "d", "channel_properties": { "account_number": "000000000099", "account_holder_name": "A B" } });
    world.post_with("/v2/payouts", &["idempotency-key: k"], &payout).await;
    assert_like(&world, "payout.succeeded", include_str!("../../events/webhooks/payout.succeeded.json")).await;

    let report = json!({ "type": "TRANSACTIONS", "currency": "IDR",
        "filter": { "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z" } });
    world.post("/reports", &report).await;
    assert_like(&world, "report", include_str!("../../events/webhooks/report.completed.json")).await;
}

#[tokio::test]
async fn magic_numbers_make_payouts_fail_and_be_reversed() {
    let world = World::start().await;
    let payout = |account: &str| {
        json!({ "reference_id": account, "channel_code": "ID_BCA", "amount": 1000, "currency": "IDR",
            "channel_properties": { "account_number": account, "account_holder_name": "A B" } })
    };
    let (status, code) = refusal(&world, "POST", "/v2/payouts", &[], &payout("1")).await;
    assert_eq!((status, code.as_str()), (400, "API_VALIDATION_ERROR"), "the idempotency key is required");
    let first = world.post_with("/v2/payouts", &["idempotency-key: k-1"], &payout("121212")).await;
    let again = world.post_with("/v2/payouts", &["idempotency-key: k-1"], &payout("121212")).await;
    assert_eq!(first["id"], again["id"]);
    let other = refusal(&world, "POST", "/v2/payouts", &["idempotency-key: k-1"], &payout("2")).await;
    assert_eq!(other.1, "DUPLICATE_ERROR");
    assert_eq!(hook(&world, "payout.failed").await["data"]["failure_code"], "INVALID_DESTINATION");
    world.post_with("/v2/payouts", &["idempotency-key: k-2"], &payout("654321")).await;
    assert_eq!(hook(&world, "payout.succeeded").await["data"]["reference_id"], "654321");
    assert_eq!(hook(&world, "payout.reversed").await["data"]["reference_id"], "654321");
    let rows = world.get("/transactions?currency=IDR").await;
    let statuses: Vec<_> = rows["data"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["REVERSED", "FAILED"]);
}

#[tokio::test]
async fn a_new_virtual_account_cannot_be_paid_at_once_nor_a_single_use_one_twice() {
    let world = World::start().await;
    let va = json!({ "external_id": "va-1", "bank_code": "BNI", "name": "A B", "expected_amount": 5000, "is_closed": true,
        "is_single_use": true });
    world.post("/callback_virtual_accounts", &va).await;
    let path = "/callback_virtual_accounts/external_id=va-1/simulate_payment";
    assert_eq!(call(&world, "POST", path, &[], &json!({ "amount": 5000 })).await.0, 404);
    hook(&world, "fva_status").await;
    assert_eq!(call(&world, "POST", path, &[], &json!({ "amount": 4999 })).await.0, 400);
    assert_eq!(call(&world, "POST", path, &[], &json!({ "amount": 5000 })).await.1["status"], "COMPLETED");
    let (status, code) = refusal(&world, "POST", path, &[], &json!({ "amount": 5000 })).await;
    assert_eq!((status, code.as_str()), (400, "CALLBACK_VIRTUAL_ACCOUNT_INACTIVE_ERROR"));
}

#[tokio::test]
async fn transactions_are_found_by_the_ids_that_xendit_gives_them() {
    let world = World::start().await;
    let va = json!({ "external_id": "va-1", "bank_code": "BNI", "name": "A B" });
    let va = world.post("/callback_virtual_accounts", &va).await;
    world.post("/_fake/pay", &json!({ "id": va["id"], "amount": 5000 })).await;
    let payment = hook(&world, "fva_paid").await;
    let code = json!({ "reference_id": "qr-1", "type": "DYNAMIC", "currency": "IDR", "amount": 1500 });
    let code = world.post_with("/qr_codes", &[QR], &code).await;
    world.post("/_fake/pay", &json!({ "id": code["id"] })).await;
    let scanned = hook(&world, "qr.payment").await;
    for (id, reference, amount) in [
        (payment["id"].as_str().unwrap(), "va-1", 5000),
        (scanned["data"]["id"].as_str().unwrap().strip_prefix("qrpy_").unwrap(), "qr-1", 1500),
    ] {
        let rows = world.get(&format!("/transactions?product_id={id}")).await;
        let row = &rows["data"][0];
        assert_eq!((&row["reference_id"], &row["amount"]), (&reference.into(), &amount.into()), "{rows}");
        assert_eq!((&row["status"], &row["cashflow"]), (&"SUCCESS".into(), &"MONEY_IN".into()));
    }
    let by_payment_id = format!("/transactions?product_id={}", payment["payment_id"].as_str().unwrap());
    assert_eq!(world.get(&by_payment_id).await["data"], json!([]), "not by the payment's own id");
    let both = world.get("/transactions?types=PAYMENT&types=REFUND&limit=1").await;
    assert_eq!((both["data"].as_array().unwrap().len(), &both["has_more"]), (1, &true.into()));
    let next = both["links"][0]["href"].as_str().unwrap();
    assert_eq!((both["links"][0]["rel"].as_str(), next.starts_with("/transactions?")), (Some("next"), true));
    assert_eq!(world.get(next).await["has_more"], false);
    let (status, code) = refusal(&world, "GET", "/transactions?no_such=1", &[], &Value::Null).await;
    assert_eq!((status, code.as_str()), (400, "API_VALIDATION_ERROR"));
}

#[tokio::test]
async fn money_that_comes_late_leaves_an_expired_request_expired() {
    let world = World::start().await;
    let request = json!({ "reference_id": "p-1", "type": "PAY", "country": "ID", "currency": "IDR", "request_amount": 5000,
        "channel_code": "QRIS", "channel_properties": {} });
    let request = world.post_with("/v3/payment_requests", &[V3], &request).await;
    let id = request["payment_request_id"].as_str().unwrap();
    world.post("/_fake/expire", &json!({ "id": id })).await;
    assert_eq!(hook(&world, "payment_request.expiry").await["data"]["status"], "EXPIRED");
    world.post("/_fake/pay", &json!({ "id": id })).await;
    let payment = hook(&world, "payment.capture").await;
    let (_, request) = call(&world, "GET", &format!("/v3/payment_requests/{id}"), &[V3], &Value::Null).await;
    assert_eq!(
        (&request["status"], &request["latest_payment_id"]),
        (&"EXPIRED".into(), &payment["data"]["payment_id"])
    );
}

#[tokio::test]
async fn a_callback_url_is_told_with_the_token_and_used_from_then_on() {
    let world = World::start().await;
    let url = format!("{}/elsewhere", world.receiver.url);
    let set = world.post("/callback_urls/invoice", &json!({ "url": url })).await;
    assert_eq!(keys(&set), BTreeSet::from(["status", "user_id", "url", "environment", "callback_token"]));
    assert_eq!((&set["status"], &set["environment"]), (&"SUCCESSFUL".into(), &"TEST".into()));
    let invoice = world.post("/v2/invoices", &json!({ "external_id": "o", "amount": 1 })).await;
    world.post("/_fake/pay", &json!({ "id": invoice["id"] })).await;
    hook(&world, "invoice").await;
    assert_eq!(requests_to(&world.receiver.requests(), "elsewhere").len(), 1);
    let bad = refusal(&world, "POST", "/callback_urls/invoice", &[], &json!({ "url": "shop" })).await;
    assert_eq!(bad, (400, "INVALID_URL_FORMAT".to_owned()));
}

#[tokio::test]
async fn a_refused_webhook_is_repeated_six_times_under_one_id() {
    let world = World::answering(&["HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n"]).await;
    let invoice = world.post("/v2/invoices", &json!({ "external_id": "o", "amount": 1 })).await;
    world.post("/_fake/pay", &json!({ "id": invoice["id"] })).await;
    eventually(async || (world.receiver.calls() == 7).then_some(())).await;
    let delivery = eventually(async || {
        let delivery = world.get("/_fake/webhooks").await[0].clone();
        (delivery["attempts"].as_array().unwrap().len() == 7).then_some(delivery)
    });
    assert_eq!(delivery.await["status"], "Failed");
    let ids: BTreeSet<_> = world.receiver.requests().iter().map(|request| id_of(request)).collect();
    assert_eq!(ids.len(), 1);
}

fn id_of(request: &str) -> String {
    request.lines().find_map(|line| line.strip_prefix("webhook-id: ")).unwrap().to_owned()
}

#[tokio::test]
async fn webhooks_go_wrong_by_plan() {
    let world = World::start().await;
    let plan = json!([
        { "reference": "never", "do": "never" },
        { "reference": "twice", "do": "twice" },
        { "reference": "renamed", "do": "twice_with_new_id" },
        { "reference": "late", "do": { "late_ms": 300 } },
        { "event": "invoice", "reference": "misstated", "do": { "amount": 1 } },
    ]);
    world.put("/_fake/webhooks", &plan).await;
    for reference in ["late", "never", "twice", "renamed", "misstated", "right"] {
        let invoice = world.post("/v2/invoices", &json!({ "external_id": reference, "amount": 1000 })).await;
        world.post("/_fake/pay", &json!({ "id": invoice["id"] })).await;
    }
    world
        .post("/_fake/webhooks", &json!({ "event": "invoice", "body": { "id": "forged", "external_id": "forged" } }))
        .await;
    eventually(async || (world.receiver.calls() == 8).then_some(())).await;
    let requests = world.receiver.requests();
    let of = |reference: &str| -> Vec<_> {
        let name = format!(r#""external_id":"{reference}""#);
        requests.iter().filter(|request| request.contains(&name)).cloned().collect()
    };
    let counts = ["late", "never", "twice", "renamed", "misstated", "right", "forged"].map(|name| of(name).len());
    assert_eq!(counts, [1, 0, 2, 2, 1, 1, 1]);
    assert!(requests.last().unwrap().contains("late"));
    let ids = |reference: &str| of(reference).iter().map(|request| id_of(request)).collect::<BTreeSet<_>>().len();
    assert_eq!((ids("twice"), ids("renamed")), (1, 2));
    assert!(of("misstated")[0].contains(r#""paid_amount":1,"#) && of("misstated")[0].contains(r#""amount":1000"#));
    let books = world.get("/_fake/books").await;
    let rows = books.as_array().unwrap();
    assert_eq!(rows.len(), 5 + 1, "the books hold what was paid, told or not, and nothing forged");
    assert!(rows.iter().all(|row| row["amount"] == 1000));
}

#[tokio::test]
async fn an_invoice_that_would_expire_after_all_times_is_rejected() {
    let world = World::start().await;
    let body = json!({ "external_id": "o-1", "amount": 100, "invoice_duration": i64::MAX });
    let (status, code) = refusal(&world, "POST", "/v2/invoices", &[], &body).await;
    assert_eq!((status, &*code), (400, "API_VALIDATION_ERROR"));
}
