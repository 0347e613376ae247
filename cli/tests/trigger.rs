//! Tests `xendit-hooks trigger`, and what `payment` and `dlq` then tell, with a local stack.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    env,
    io::Write as _,
    process::{Output, Stdio},
};

use serde_json::{Value, json};

use self::local::{Stack, command, errors};

/// A webhook's fate, and the types of the events about it; `+` is an update.
type Told = (&'static str, &'static [&'static str]);

/// Each story, with what `trigger` prints about its webhooks.
const STORIES: [(&str, &[Told]); 14] = [
    ("paid", &[("applied", &["invoice.paid"])]),
    ("paid-twice", &[("applied", &["invoice.paid"]), ("duplicate", &[])]),
    ("expired-then-paid", &[("applied", &["invoice.expired"]), ("applied", &["invoice.paid"])]),
    ("late", &[("applied", &["payment.succeeded"]), ("older_news", &[])]),
    (
        "jumbled",
        &[
            ("applied", &["invoice.paid", "invoice.settled"]),
            ("older_news", &[]),
            ("applied", &["invoice.paid+", "invoice.settled+"]),
        ],
    ),
    ("two-amounts", &[("applied", &["invoice.paid"]), ("conflict", &["webhook.conflict"])]),
    (
        "partial-captures",
        &[("applied", &["payment.succeeded"]), ("applied", &["payment.succeeded+"]), ("duplicate", &[])],
    ),
    ("payout-reversed", &[("applied", &["payout.succeeded"]), ("applied", &["payout.reversed"])]),
    ("refund", &[("applied", &["payment.succeeded"]), ("applied", &["refund.succeeded"])]),
    (
        "dispute",
        &[
            ("applied", &["dispute.action_required"]),
            ("applied", &["dispute.under_review"]),
            ("applied", &["dispute.due_date_approaching"]),
            ("applied", &["dispute.won"]),
        ],
    ),
    ("unknown", &[("unknown", &["webhook.unknown"])]),
    ("wrong-token", &[("refused", &[])]),
    ("unreadable", &[("parked", &[])]),
    ("3mb", &[("applied", &["invoice.paid"])]),
];

/// Stories whose webhooks are about two subjects.
const TWO_SUBJECTS: [&str; 1] = ["refund"];

/// What `trigger` tells of a body that it reads from standard input.
fn send(stack: &Stack, body: &[u8]) -> Value {
    let mut command = stack.command(&["trigger", "-", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}

/// A command that finds no stack.
fn run(arguments: &[&str]) -> Output {
    let nowhere = env::temp_dir().join("xendit-hooks-nowhere");
    command(&nowhere, arguments).env("XENDIT_CALLBACK_TOKEN", "x").output().unwrap()
}

/// The types of the events about a delivery.
fn events(delivery: &Value) -> Vec<String> {
    let name = |event: &Value| {
        let update = if event["update"] == true { "+" } else { "" };
        format!("{}{update}", event["type"].as_str().unwrap())
    };
    delivery["events"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn what_becomes_of_each_webhook_is_told() {
    let stack = Stack::start("trigger");
    every_story_has_its_fates(&stack);
    each_webhook_is_about_something_new(&stack);
    a_webhook_that_is_sent_twice_is_a_duplicate(&stack);
    a_value_that_is_set_wins(&stack);
    a_body_is_read_from_standard_input_and_sent_as_it_is(&stack);
    a_refused_token_says_what_to_check(&stack);
    without_waiting_only_the_answer_is_told(&stack);
    a_payment_tells_its_story(&stack);
    dead_letters_are_listed_and_shown_and_stay(&stack);
}

fn every_story_has_its_fates(stack: &Stack) {
    for (name, steps) in STORIES {
        let deliveries = stack.lines(&["trigger", &format!("story:{name}")]);
        let told: Vec<_> = deliveries.iter().map(|it| (it["fate"].as_str().unwrap(), events(it))).collect();
        let expected: Vec<_> = steps
            .iter()
            .map(|(fate, events)| (*fate, events.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(told, expected, "{name}: {deliveries:?}");
        for delivery in &deliveries {
            assert_eq!((&delivery["version"], &delivery["story"]), (&json!(1), &json!(name)));
            assert!(delivery["id"] == deliveries[0]["id"] || TWO_SUBJECTS.contains(&name), "{name}: {deliveries:?}");
            if delivery["fate"] == "refused" {
                continue;
            }
            // The stack reads the events off the bus.
            let row = stack.row(&delivery["delivery"]);
            let published: Vec<_> = events(delivery).iter().map(|it| it.trim_end_matches('+').to_owned()).collect();
            assert_eq!(row["published"], json!(published), "{name}: {row}");
        }
    }
}

fn each_webhook_is_about_something_new(stack: &Stack) {
    let [one, two] = [(); 2].map(|()| stack.lines(&["trigger", "fva.paid"]).remove(0));
    assert_eq!((&one["fate"], &two["fate"]), (&json!("applied"), &json!("applied")));
    assert_ne!(one["id"], two["id"]);
    assert_ne!(one["reference"], two["reference"]);
    // The stack has sent each sample as it is.
    let old = stack.lines(&["trigger", "fva.paid", "--same-id"]).remove(0);
    assert_eq!((&old["fate"], &old["id"]), (&json!("duplicate"), &json!("1487156512722")));
}

fn a_webhook_that_is_sent_twice_is_a_duplicate(stack: &Stack) {
    let twice = stack.lines(&["trigger", "payout.failed", "--times", "2"]);
    assert_eq!((&twice[0]["fate"], &twice[1]["fate"]), (&json!("applied"), &json!("duplicate")));
    assert_eq!((&twice[0]["webhook_id"], &twice[0]["id"]), (&twice[1]["webhook_id"], &twice[1]["id"]));
}

fn a_value_that_is_set_wins(stack: &Stack) {
    let text = stack.told(&["trigger", "invoice.paid", "--set", "external_id=order-7"]);
    assert!(text.contains("applied      invoice.paid  IDR 510000\n"), "{text}");
    assert!(text.contains("reference    order-7\n") && text.contains("published    invoice.paid  event "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let story = stack.lines(&["trigger", "story:expired-then-paid", "--set", "external_id=order-8"]);
    assert!(story.iter().all(|delivery| delivery["reference"] == "order-8"), "{story:?}");
}

fn a_body_is_read_from_standard_input_and_sent_as_it_is(stack: &Stack) {
    let told = send(stack, b"\xff this is not text");
    assert_eq!((&told["fate"], &told["reason"]), (&json!("parked"), &json!("the body is not UTF-8 text")), "{told}");
    assert_eq!(told["webhook"], "standard input");
    assert_eq!(send(stack, br#"{"event":"gift_card.redeemed","data":{"id":"gc-1"}}"#)["webhook"], "gift_card.redeemed");
}

fn a_refused_token_says_what_to_check(stack: &Stack) {
    let output = stack.command(&["trigger", "invoice.paid"]).env("XENDIT_CALLBACK_TOKEN", "other").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && text.starts_with("401"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the stack `local` does not accept the token from XENDIT_CALLBACK_TOKEN"), "{text}");
}

fn without_waiting_only_the_answer_is_told(stack: &Stack) {
    let told = stack.lines(&["trigger", "invoice.paid", "--no-wait"]).remove(0);
    assert_eq!((&told["status"], &told["fate"]), (&json!(200), &json!("taken")));
    assert_eq!(told["events"], Value::Null);
    let url = stack.text("url");
    let told = stack.lines(&["trigger", "invoice.paid", "--url", url]).remove(0);
    assert_eq!(told["reason"], "only the answer of a URL is known; --stack tells more");
}

fn a_payment_tells_its_story(stack: &Stack) {
    let deliveries = stack.lines(&["trigger", "story:expired-then-paid", "--set", "external_id=order-9"]);
    let story = stack.lines(&["payment", "order-9"]).remove(0);
    assert_eq!((&story["version"], &story["stage"]), (&json!(1), &json!("invoice.paid")));
    assert_eq!((&story["id"], &story["paid_late"]), (&deliveries[0]["id"], &json!(true)));
    assert_eq!(story["paid"], json!({ "amount": "510000", "currency": "IDR" }));
    for (change, delivery) in story["history"].as_array().unwrap().iter().zip(&deliveries) {
        assert_eq!(change["delivery"], delivery["delivery"]);
        assert_eq!(events(change), events(delivery));
    }

    let text = stack.told(&["payment", "order-9"]);
    for line in [
        format!("Invoice {}", deliveries[0]["id"].as_str().unwrap()),
        "  reference   order-9".to_owned(),
        "  requested   IDR 510000".to_owned(),
        format!("{:23}published invoice.expired", ""),
        format!("{:23}published invoice.paid", ""),
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    assert!(text.contains("  state       paid, late: it had been given up on "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    stack.lines(&["trigger", "story:two-amounts", "--set", "external_id=order-10"]);
    let text = stack.told(&["payment", "order-10"]);
    assert!(text.contains("  CONFLICT    paid: IDR 510000 or IDR 500000\n"), "{text}");
    assert!(text.contains("conflict  delivery ") && text.contains("published webhook.conflict"), "{text}");

    let output = stack.run(&["payment", "order-11"]);
    assert!(!output.status.success() && errors(&output).contains("knows no `order-11`"), "{output:?}");
}

fn dead_letters_are_listed_and_shown_and_stay(stack: &Stack) {
    let parked = stack.lines(&["trigger", "story:unreadable", "--times", "11"]);
    // The stack itself looks for each of them, and hides the others meanwhile.
    for letter in &parked {
        stack.row(&letter["delivery"]);
    }
    let listed = stack.lines(&["dlq", "list"]);
    for letter in &parked {
        let found = listed.iter().find(|it| it["delivery"] == letter["delivery"]);
        assert_eq!(found.unwrap()["reason"], "the body is not JSON", "{listed:?}");
    }
    assert_eq!(stack.lines(&["dlq", "list"]), listed, "looking takes nothing away and hides nothing");

    let table = stack.told(&["dlq", "list"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let delivery = parked[0]["delivery"].as_str().unwrap();
    assert!(table.contains(&delivery[..8]), "{table}");

    let shown = stack.told(&["dlq", "show", &delivery[..8]]);
    assert!(shown.starts_with("reason        the body is not JSON\n"), "{shown}");
    assert!(
        shown.contains(&format!("delivery      {delivery}\n")) && shown.contains("token         local\n"),
        "{shown}"
    );
    assert!(shown.contains("\"items\": ["), "the body is shown: {shown}");
    assert!(stack.lines(&["dlq", "show", delivery])[0]["body"].as_str().unwrap().contains("\"items\""));

    let large = send(stack, &vec![b'x'; 2 * 1024 * 1024]);
    let delivery = large["delivery"].as_str().unwrap();
    let shown = stack.told(&["dlq", "show", delivery]);
    assert!(shown.contains("body          in the inbox:\n              s3://xendit-hooks-inbox/webhooks/"), "{shown}");
    assert!(shown.trim_end().ends_with(delivery), "{shown}");

    let output = stack.run(&["dlq", "show", "nothing"]);
    assert!(!output.status.success() && errors(&output).contains("no dead letter"), "{output:?}");
}

#[test]
fn a_mistyped_name_or_path_is_told_before_anything_is_sent() {
    for (name, meant) in [("invoice.payd", "`invoice.paid`"), ("story:payd", "`story:paid`"), ("late", "`story:late`")]
    {
        let output = run(&["trigger", name]);
        assert!(!output.status.success() && errors(&output).contains(&format!("did you mean {meant}?")), "{output:?}");
    }
    let nobody = ["--url", "http://127.0.0.1:9/webhook"];
    let output = run(&[&["trigger", "invoice.paid", "--set", "external_idd=x"], &nobody[..]].concat());
    assert!(errors(&output).starts_with("warning: the webhook had no `external_idd`"), "{output:?}");
    assert!(errors(&output).contains("did you mean `external_id`?"), "{output:?}");
    assert!(errors(&output).contains("no response from http://127.0.0.1:9/webhook"), "{output:?}");
}

#[test]
fn a_sample_is_explained_by_its_name() {
    let text = String::from_utf8(run(&["explain", "invoice.paid"]).stdout).unwrap();
    assert_eq!(
        text,
        "invoice.paid: invoice.paid  IDR 510000\n  event      invoice\n  id         6748105a77f16ebe0cc583a7\n  \
         reference  payment-link-example\n"
    );
}

#[test]
fn nothing_is_sent_to_a_live_stack_by_its_name() {
    let output = run(&["trigger", "invoice.paid", "--stack", "live"]);
    assert!(!output.status.success() && errors(&output).contains("would look like real money"), "{output:?}");
}

#[test]
fn nothing_can_be_sent_zero_times() {
    let output = run(&["trigger", "invoice.paid", "--times", "0"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(errors(&output).contains("0 is not in 1.."), "{output:?}");
}
