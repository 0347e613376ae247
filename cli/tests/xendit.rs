//! Tests the local stack together with the Xendit that it plays: what is created and paid there arrives in the ledger.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::webhook::Webhook;
use xendit::{Client, SecretKey, objects::ObjectRef, simulate::Simulation};

use self::local::{Stack, errors, json};

/// A test key that no output may show.
const KEY: &str = "xnd_development_a-secret-of-the-tests";

/// Calls the fake by hand.
fn post(stack: &Stack, path: &str, body: &Value) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = STANDARD.encode(format!("{}:", stack.text("xendit_api_key")));
    let request = ureq::post(format!("{}{path}", stack.text("xendit_api_url")));
    let request = request.header("authorization", format!("Basic {key}")).content_type("application/json");
    let text = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_is_paid_at_the_fake_xendit_is_in_the_ledger_and_can_be_read_back() {
    let stack = Stack::start("xendit");
    let known = |reference: &str, phase: &str| {
        let output = stack.run(&["wait", "--reference", reference, "--phase", phase]);
        assert!(output.status.success(), "{output:?}");
        json(&stack.run(&["payment", reference, "--json"]))
    };

    let invoice = post(&stack, "/v2/invoices", &json!({ "external_id": "order-of-a-test", "amount": 125_000 }));
    post(&stack, "/_fake/pay", &json!({ "id": invoice["id"] }));
    let story = known("order-of-a-test", "paid");
    assert_eq!((&story["id"], &story["kind"]), (&invoice["id"], &"invoice".into()), "{story}");
    assert_eq!(story["paid"], json!({ "amount": "125000", "currency": "IDR" }), "{story}");

    let webhook = json!({ "id": invoice["id"], "external_id": "order-of-a-test", "user_id": "u", "merchant_name": "m",
        "status": "PAID", "amount": 125_000 });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = SecretKey::new(stack.text("xendit_api_key")).unwrap();
    let client = Client::new(stack.text("xendit_api_url"), key).unwrap();
    let object = ObjectRef::of(&Webhook::parse(webhook.to_string().as_bytes(), None).unwrap()).unwrap();
    let read = runtime.block_on(client.read(&object)).unwrap();
    assert_eq!((read.stage.as_str(), read.paid.unwrap().to_string()), ("invoice.paid", "IDR 125000".to_owned()));

    runtime.block_on(async {
        let money = "IDR 7500".parse().unwrap();
        let created = client.create(Simulation::QrCode, "qr-of-a-test", money).await.unwrap();
        client.pay(&created).await.unwrap();
    });
    assert_eq!(known("qr-of-a-test", "succeeded")["paid"]["amount"], "7500");
    let asked = |reference: &str| json(&stack.run(&["payment", reference, "--xendit", "--json"]))["xendit"].clone();
    let agrees = |stage: &str, amount: &str| json!({ "stage": stage, "paid": { "amount": amount, "currency": "IDR" }, "differs_in": [] });
    assert_eq!(asked("qr-of-a-test"), agrees("payment.succeeded", "7500"));
    post(&stack, "/_fake/settle", &json!({ "id": invoice["id"] }));
    assert_eq!(asked("order-of-a-test"), agrees("invoice.settled", "125000"), "Xendit may know more");

    // Somebody who has the token claims more than was paid, and money that never came.
    let plan = json!([{ "event": "invoice", "do": { "amount": 900_000 } }]);
    let plan_url = format!("{}/_fake/webhooks", stack.text("xendit_api_url"));
    ureq::put(plan_url).content_type("application/json").send(plan.to_string()).unwrap();
    let invoice = post(&stack, "/v2/invoices", &json!({ "external_id": "misstated-order", "amount": 1000 }));
    post(&stack, "/_fake/pay", &json!({ "id": invoice["id"] }));
    assert_eq!(known("misstated-order", "paid")["paid"]["amount"], "900000");
    assert_eq!(asked("misstated-order")["differs_in"], json!(["what was paid"]));
    let mut forged = webhook;
    (forged["id"], forged["external_id"]) = ("forged".into(), "forged-order".into());
    (forged["paid_amount"], forged["currency"]) = (1000.into(), "IDR".into());
    post(&stack, "/_fake/webhooks", &json!({ "event": "invoice", "body": forged }));
    known("forged-order", "paid");
    assert!(asked("forged-order")["error"].as_str().unwrap().contains("404"));
    let output = stack.run(&["payment", "misstated-order", "--xendit"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Xendit      DIFFERS in what was paid: invoice.paid, IDR 1000"), "{text}");
}

fn dev(arguments: &[&str], key: Option<&str>) -> Output {
    let state = std::env::temp_dir().join(format!("xendit-hooks-api-{}", std::process::id()));
    let mut command: Command = local::command(&state, &[&["dev", "--json", "--port", "0"], arguments].concat());
    command.env_remove("XENDIT_API_KEY");
    if let Some(key) = key {
        command.env("XENDIT_API_KEY", key);
    }
    command.output().unwrap()
}

#[test]
fn another_xendit_is_named_without_its_key() {
    let output = dev(&["--once", "--xendit-api-url", "http://127.0.0.1:9"], Some(KEY));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let ready: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(ready["xendit_api_url"], "http://127.0.0.1:9");
    assert!(ready["xendit_api_key"].is_null(), "{ready}");
    assert!(!text.contains(KEY) && !errors(&output).contains(KEY));
}

#[test]
fn another_xendit_needs_a_test_key_before_anything_is_built() {
    let start = Instant::now();
    for (url, key, expected) in [
        ("http://127.0.0.1:9", None, "XENDIT_API_KEY"),
        ("http://127.0.0.1:9", Some("xnd_production_a-secret"), "live key"),
        ("http://127.0.0.1:9", Some("xnd_public_development_a-secret"), "public API key"),
        ("nowhere", Some(KEY), "not a URL"),
    ] {
        let output = dev(&["--once", "--xendit-api-url", url], key);
        let text = errors(&output);
        assert!(!output.status.success() && text.contains(expected) && !text.contains("a-secret"), "{text}");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}
