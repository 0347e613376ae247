//! The client against the fake, and against answers that no fake should give.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use shared::{envelope::Environment, webhook::Webhook};
use xendit::{
    Client, Error, Limits, SecretKey, Unavailable,
    lists::{InvoicesBy, Period},
    objects::ObjectRef,
    simulate::Simulation,
};

use self::support::{Answers, KEY, World, eventually};

const LIMITS: Limits = Limits { attempt: Duration::from_secs(2), total: Duration::from_secs(5), attempts: 3 };

const INVOICE: &str = r#"{"id":"i-1","external_id":"order-1","user_id":"acc","merchant_name":"M","status":"PAID","amount":1000,
        "paid_amount":1000,"currency":"IDR"}"#;

/// A client of a server with these answers.
async fn client_of(answers: &[&str]) -> (Client, Answers) {
    let answers = Answers::start(answers).await;
    let client = Client::new(&answers.url, SecretKey::new(KEY).unwrap()).unwrap().with_limits(LIMITS);
    (client, answers)
}

fn invoice() -> ObjectRef {
    ObjectRef::of(&Webhook::parse(INVOICE.as_bytes(), None).unwrap()).unwrap()
}

async fn read_of(answer: &str) -> Error {
    let (client, answers) = client_of(&[answer]).await;
    let error = client.with_limits(Limits { attempts: 1, ..LIMITS }).read(&invoice()).await.unwrap_err();
    assert_eq!(answers.calls(), 1);
    error
}

fn http(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nrequest-id: abc-1\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn each_simulated_payment_is_told_by_a_webhook_and_confirmed_by_the_api() {
    let world = World::start().await;
    let simulations = [
        (Simulation::VirtualAccount, "fva_paid"),
        (Simulation::QrCode, "qr.payment"),
        (Simulation::PaymentRequest, "payment.capture"),
    ];
    for (simulation, event) in simulations {
        let money = "IDR 15000".parse().unwrap();
        let created = world.client.create(simulation, event, money).await.unwrap();
        // A new virtual account is not known at once.
        eventually(async || world.client.pay(&created).await.ok()).await;
        let body = world.webhook(|webhook| webhook.entry().is_some_and(|entry| entry.event == event)).await;
        let webhook = Webhook::parse(body.as_bytes(), None).unwrap();
        let (told, read) = (webhook.observe(), world.client.read(&ObjectRef::of(&webhook).unwrap()).await.unwrap());
        assert_eq!((read.stage, &read.id, &read.paid), (told.stage, &told.id, &told.paid), "{event}");
        assert_eq!((&read.captures, &read.reference, &read.scope), (&told.captures, &told.reference, &told.scope));
        assert_eq!(told.drift, [], "{event}");
        assert_eq!(read.drift, [], "{event}");
    }
}

#[tokio::test]
async fn transactions_and_invoices_are_listed_to_the_last_page() {
    let world = World::start().await;
    world.put("/_fake/limit", &json!(10_000)).await;
    let from = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
    let mut paid = Vec::new();
    for order in 0..205 {
        let body = json!({ "external_id": format!("order-{order}"), "amount": 1000 + order });
        let id = world.post("/v2/invoices", &body).await["id"].as_str().unwrap().to_owned();
        world.post("/_fake/pay", &json!({ "id": id })).await;
        paid.push(id);
    }
    let period = Period { from, to: jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1) };
    let rows = world.client.transactions(&"IDR".parse().unwrap(), period).all().await.unwrap();
    let of_invoices: Vec<_> = rows.iter().rev().map(|row| row.invoice.clone().unwrap()).collect();
    assert_eq!(of_invoices, paid);
    assert_eq!(rows[0].money.to_string(), "IDR 1204");
    assert!(rows.iter().all(|row| row.is_money_in && row.status == "SUCCESS"));
    assert!(world.client.transactions(&"PHP".parse().unwrap(), period).all().await.unwrap().is_empty());
    for by in [InvoicesBy::Created, InvoicesBy::Paid] {
        let invoices = world.client.invoices(by, period).all().await.unwrap();
        assert_eq!(invoices.iter().rev().map(|invoice| invoice.id.clone()).collect::<Vec<_>>(), paid);
    }
    assert!(world.client.invoices(InvoicesBy::Expired, period).all().await.unwrap().is_empty());
    let rest = world.client.invoices(InvoicesBy::Created, period).after(paid[2].clone()).all().await.unwrap();
    assert_eq!(rest.len(), 2, "a run continues where another stopped");
}

#[tokio::test]
async fn disputes_are_listed_as_observations() {
    let world = World::start().await;
    let created =
        world.client.create(Simulation::PaymentRequest, "order-1", "IDR 5000".parse().unwrap()).await.unwrap();
    world.client.pay(&created).await.unwrap();
    let body = world.webhook(|webhook| webhook.text_at("payment_id").is_some()).await;
    let payment = Webhook::parse(body.as_bytes(), None).unwrap().observe().id;
    let body = json!({ "scenario": "CREATE_DISPUTE", "payment_id": payment, "amount": "5000.00", "currency": "IDR",
        "channel_code": "QRIS", "product_type": "QR", "deadline": "5m" });
    world.post("/v1/disputes/simulate", &body).await;
    let (from, to) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
    let disputes = world.client.disputes(Period { from, to }).all().await.unwrap();
    assert_eq!(disputes.len(), 1);
    assert_eq!(disputes[0].event, "dispute.action_required");
    assert_eq!(disputes[0].requested.as_ref().unwrap().to_string(), "IDR 5000.00");
}

#[tokio::test]
async fn a_callback_url_is_set_and_its_token_stays_out_of_debug_output() {
    let world = World::start().await;
    let set = world.client.set_callback_url("invoice", "https://shop.test/webhook").await.unwrap();
    assert_eq!((set.environment, set.url.as_str()), (Environment::Test, "https://shop.test/webhook"));
    assert_eq!(*set.token, support::TOKEN);
    assert!(!format!("{set:?}").contains(support::TOKEN));
    let refused = world.client.set_callback_url("no_such_type", "https://shop.test").await.unwrap_err();
    assert!(matches!(refused, Error::Rejected(_)), "{refused}");
}

#[tokio::test]
async fn planned_faults_become_the_errors_that_they_are_and_a_read_survives_a_single_one() {
    let world = World::start().await;
    let id = world.post("/v2/invoices", &json!({ "external_id": "order-1", "amount": 1000 })).await["id"].clone();
    let webhook = INVOICE.replace("i-1", id.as_str().unwrap());
    let object = ObjectRef::of(&Webhook::parse(webhook.as_bytes(), None).unwrap()).unwrap();
    let plan = async |fault: serde_json::Value, times: u32| {
        world.put("/_fake/faults", &json!([{ "path": "/v2/invoices/", "fault": fault, "times": times }])).await;
    };
    for fault in ["limited", "server_error", "empty"] {
        plan(json!(fault), 1).await;
        assert_eq!(world.client.read(&object).await.unwrap().stage.as_str(), "invoice.pending", "{fault}");
    }
    let errors = [
        ("not_found", "NotFound"),
        ("limited", "Limited"),
        ("server_error", "Unavailable(Failed"),
        ("empty", "Unavailable(Failed"),
        ("html", "Unavailable(Html"),
        ("redirect", "Unavailable(Redirect"),
        ("forbidden", "Refused"),
        ("truncated", "Unreadable"),
    ];
    for (fault, expected) in errors {
        plan(json!(fault), 9).await;
        let error = world.client.read(&object).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{fault}: {error:?}");
    }
    world.post("/_fake/pay", &json!({ "id": id })).await;
    plan(json!("stale"), 1).await;
    assert_eq!(world.client.read(&object).await.unwrap().stage.as_str(), "invoice.pending");
    assert_eq!(world.client.read(&object).await.unwrap().stage.as_str(), "invoice.paid");
    plan(json!({ "slow_ms": 2000 }), 9).await;
    let quick = Limits { attempt: Duration::from_millis(50), total: Duration::from_millis(200), attempts: 9 };
    let start = Instant::now();
    let error = world.client.clone().with_limits(quick).read(&object).await.unwrap_err();
    assert_eq!(error, Error::Unavailable(Unavailable::Unanswered("no answer in time")));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn another_key_is_refused_and_another_account_sees_nothing() {
    let world = World::start().await;
    let id = world.post("/v2/invoices", &json!({ "external_id": "order-1", "amount": 1000 })).await["id"].clone();
    let webhook = INVOICE.replace("i-1", id.as_str().unwrap());
    let object = ObjectRef::of(&Webhook::parse(webhook.as_bytes(), None).unwrap()).unwrap();
    let stranger = Client::new(&world.fake.url, SecretKey::new("xnd_development_other").unwrap()).unwrap();
    let Error::Refused(answered) = stranger.read(&object).await.unwrap_err() else { panic!("not refused") };
    assert_eq!((answered.status, answered.code.as_deref()), (401, Some("INVALID_API_KEY")));
    let sub_account = world.client.for_account("5785e6334d7b410667d355c4").unwrap();
    assert!(matches!(sub_account.read(&object).await, Err(Error::NotFound(_))));
    assert!(world.client.read(&object).await.is_ok());
    assert!(world.client.for_account("two\nlines").is_none() && world.client.for_account("").is_none());
}

#[tokio::test]
async fn a_used_up_limit_is_kept_without_another_call() {
    let last = format!(
        "HTTP/1.1 200 OK\r\nrate-limit-remaining: 0\r\nrate-limit-reset: 58.37\r\ncontent-length: {}\r\n\r\n{INVOICE}",
        INVOICE.len()
    );
    let (client, answers) = client_of(&[&last]).await;
    client.read(&invoice()).await.unwrap();
    let Error::Limited(Some(after)) = client.read(&invoice()).await.unwrap_err() else { panic!("not limited") };
    assert!(after > Duration::from_secs(57) && after <= Duration::from_secs(59), "{after:?}");
    assert_eq!(answers.calls(), 1, "the second call was not made");
    client.for_account("another").unwrap().read(&invoice()).await.unwrap();
    assert_eq!(answers.calls(), 2, "another account has a limit of its own");
}

#[tokio::test]
async fn a_limit_that_is_reset_soon_is_waited_for() {
    let limited = "HTTP/1.1 429 Too Many\r\nrate-limit-reset: 0.2\r\ncontent-length: 0\r\n\r\n";
    let (client, answers) = client_of(&[limited, &http("200 OK", INVOICE)]).await;
    let start = Instant::now();
    client.read(&invoice()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(answers.calls(), 2);
    let (client, answers) =
        client_of(&["HTTP/1.1 429 Too Many\r\nrate-limit-reset: 58\r\ncontent-length: 0\r\n\r\n"]).await;
    let error = client.read(&invoice()).await.unwrap_err();
    assert_eq!(error, Error::Limited(Some(Duration::from_secs(58))));
    assert_eq!(answers.calls(), 1, "it does not wait longer than it may");
}

#[tokio::test]
async fn what_changes_something_is_never_repeated() {
    let (client, answers) = client_of(&[&http("500 Error", r#"{"error_code":"SERVER_ERROR"}"#)]).await;
    let error = client.set_callback_url("invoice", "https://shop.test").await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)));
    assert_eq!(answers.calls(), 1);
    let error = client.read(&invoice()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)));
    assert_eq!(answers.calls(), 4, "and a read is, three times in all");
}

#[tokio::test]
async fn odd_answers_are_told_apart() {
    let html = http("502 Bad Gateway", "<html>502 Bad Gateway</html>");
    assert!(matches!(read_of(&html).await, Error::Unavailable(Unavailable::Failed(_))));
    let challenge = http("200 OK", "<!DOCTYPE html>Just a moment…");
    assert_eq!(read_of(&challenge).await, Error::Unavailable(Unavailable::Html(200)));
    assert!(matches!(read_of(&http("200 OK", &INVOICE[..60])).await, Error::Unreadable(_)));
    assert!(matches!(read_of(&http("200 OK", "")).await, Error::Unreadable(_)));
    assert_eq!(read_of(&http("200 OK", &INVOICE.replace("i-1", "i-2"))).await, Error::Contradicts("the id"));
    let cut = format!("HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{INVOICE}");
    assert_eq!(read_of(&cut).await, Error::Unavailable(Unavailable::Unanswered("the answer was cut off")));
    assert_eq!(read_of("").await, Error::Unavailable(Unavailable::Unanswered("no connection")));
    let huge = http("200 OK", &"x".repeat(5 * 1024 * 1024));
    assert_eq!(read_of(&huge).await, Error::Unreadable("it is larger than 4 MB".to_owned()));
    let error =
        read_of(&http("403 Forbidden", r#"{"error_code":"REQUEST_FORBIDDEN_ERROR","message":"a secret"}"#)).await;
    let text = error.to_string();
    assert!(text.contains("403 REQUEST_FORBIDDEN_ERROR, request abc-1") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_because_it_would_carry_the_key_elsewhere() {
    let (_, elsewhere) = client_of(&[&http("200 OK", INVOICE)]).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    assert_eq!(read_of(&redirect).await, Error::Unavailable(Unavailable::Redirect(302)));
    assert_eq!(elsewhere.calls(), 0);
}

#[tokio::test]
async fn a_call_carries_the_key_in_one_header_and_nowhere_else() {
    let (client, answers) = client_of(&[&http("200 OK", INVOICE)]).await;
    client.for_account("acc-1").unwrap().read(&invoice()).await.unwrap();
    let request = answers.last_request();
    let lines: Vec<_> = request.lines().map(str::to_lowercase).collect();
    assert_eq!(lines[0], "get /v2/invoices/i-1 http/1.1");
    for expected in ["for-user-id: acc-1", "accept: application/json"] {
        assert!(lines.iter().any(|line| line == expected), "{request}");
    }
    let keys = request.lines().filter(|line| line.to_lowercase().starts_with("authorization: basic ")).count();
    assert_eq!((keys, request.contains(KEY)), (1, false));
    assert!(!format!("{client:?}").contains(KEY));
}

#[test]
fn an_address_is_a_bare_url_and_a_live_key_needs_https() {
    let client = |address: &str, key: &str| Client::new(address, SecretKey::new(key).unwrap()).map(drop);
    for address in [xendit::XENDIT, "http://127.0.0.1:4000", "http://localhost:4000/", "https://x/xendit"] {
        assert_eq!(client(address, KEY), Ok(()), "{address}");
    }
    for address in ["", "api.xendit.co", "ftp://x", "https://u:p@x", "https://x?y"] {
        assert_eq!(client(address, KEY), Err(xendit::BadAddress::Malformed), "{address}");
    }
    assert_eq!(client("http://127.0.0.1:4000", "xnd_production_1"), Err(xendit::BadAddress::InTheClear));
    assert_eq!(client(xendit::XENDIT, "xnd_production_1"), Ok(()));
}
