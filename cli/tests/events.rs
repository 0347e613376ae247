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
    assert_eq!(
        events(&[]).unwrap().lines().count(),
        all.len() + 1,
        "the table must have a header and one line per webhook"
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
}
