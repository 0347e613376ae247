//! Tests `xendit-hooks events`, and that docs/webhooks.md is up to date.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The output of `events`, or its error message.
fn events(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_xendit-hooks"))
        .arg("events")
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn lines(arguments: &[&str]) -> Vec<Value> {
    let text = events(arguments).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_page_is_up_to_date() {
    let page = fs::read_to_string(root().join("docs/webhooks.md")).unwrap();
    assert!(page == events(&["--markdown"]).unwrap(), "docs/webhooks.md is out of date; run `make docs`");
}

#[test]
fn a_webhook_is_listed_with_its_url_and_stages() {
    let all = lines(&["--json"]);
    let succeeded = all.iter().find(|line| line["event"] == "payment.succeeded").unwrap();
    assert_eq!(succeeded["topic"], "payment_succeeded");
    assert_eq!(succeeded["callback_type"], "payment_succeeded");
    assert_eq!(succeeded["stages"], serde_json::json!(["payment.succeeded"]));
    let invoice = all.iter().find(|line| line["event"] == "invoice").unwrap();
    assert_eq!((&invoice["named"], &invoice["without_status"]), (&false.into(), &Value::Null));
    assert_eq!(invoice["samples"][0], "invoice.expired");
    let list = events(&[]).unwrap();
    let words: Vec<_> = list.split_whitespace().map(|word| word.trim_matches(['(', ')', ','])).collect();
    for line in all.iter().filter(|line| line["event"].is_string()) {
        let event_and_stage = [&line["event"], &line["stages"][0]].map(|word| word.as_str().unwrap());
        assert!(words.windows(2).any(|pair| pair == event_and_stage), "{line} is not listed: {list}");
    }
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
}

#[test]
fn samples_and_stories_are_listed_and_shown_by_the_same_command() {
    let list = events(&[]).unwrap();
    let words: Vec<_> = list.split_whitespace().collect();
    for file in fs::read_dir(root().join("events/webhooks")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(words.contains(&name.trim_end_matches(".json")), "{name} is not listed");
    }
    assert!(words.contains(&"story:late") && words.contains(&"story:3mb"), "{list}");
    let story = lines(&["story:expired-then-paid", "--json"]).remove(0);
    assert_eq!(story["steps"], serde_json::json!(["invoice.expired", "invoice.paid"]));
    assert!(events(&["story:expired-then-paid"]).unwrap().ends_with("1. invoice.expired\n2. invoice.paid\n"));
    let sample = events(&["invoice.paid"]).unwrap();
    assert!(
        sample.contains("events/webhooks/invoice.paid.json") && !sample.contains("invoice.expired.json"),
        "{sample}"
    );
}

#[test]
fn products_are_found_by_part_of_their_name_in_upper_or_lower_case() {
    let retail = lines(&["--json", "--product", "RETAIL"]);
    assert!(retail.iter().any(|line| line["event"] == "ro_fpc_paid"));
    assert!(retail.iter().all(|line| line["product"].as_str().unwrap().to_lowercase().contains("retail")));
}

#[test]
fn a_webhook_is_shown_with_its_statuses_keys_and_sample_bodies() {
    let shown = events(&["invoice"]).unwrap();
    let body = fs::read_to_string(root().join("events/webhooks/invoice.paid.json")).unwrap();
    assert!(shown.contains("/webhook/invoice\n") && shown.contains("events/webhooks/invoice.paid.json"), "{shown}");
    assert!(shown.contains(body.trim_end()) && shown.contains("paid_amount"), "{shown}");
    let lists = |status: &str, stage: &str| {
        shown.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == [status, stage])
    };
    assert!(lists("SETTLED", "invoice.settled") && lists("COMPLETED", "invoice.paid"), "{shown}");
    assert!(!shown.contains("payout.succeeded"), "{shown}");
}

#[test]
fn an_unknown_name_is_an_error() {
    assert!(events(&["moon.landed"]).unwrap_err().contains("no such webhook"));
    for (name, meant) in
        [("paymnt.capture", "payment.capture"), ("invoice.payd", "invoice.paid"), ("story:payd", "story:paid")]
    {
        assert!(events(&[name]).unwrap_err().contains(&format!("did you mean `{meant}`?")), "{name}");
    }
}
