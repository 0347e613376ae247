//! Tests `xendit-hooks replay plan` and `replay run` with a local stack: one consumer gets exactly the planned events again, each
//! once and byte for byte, and no other consumer gets any.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    thread,
    time::Duration,
};

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};

use self::local::{
    Stack,
    aws::{Aws, envelope, is_applied_once},
    errors, fingerprint, journal, json, steps,
};

/// How many events are replayed.
const ASKED: usize = 16;

#[test]
fn a_replay_hands_the_planned_events_to_one_consumer_once_and_nothing_to_others() {
    let stack = Stack::start("replay");
    let aws = Aws::of(&stack);
    let bus = stack.text("bus");
    // The emulated AWS replays to all rules, whatever is asked for. These leave out replays.
    let invoices =
        json!({ "source": ["xendit-hooks"], "detail-type": ["invoice.paid"], "replay-name": [{ "exists": false }] });
    let all = json!({ "source": ["xendit-hooks"], "replay-name": [{ "exists": false }] });
    let consumer = aws.consumer(bus, "orders", &invoices);
    let other = aws.consumer(bus, "reports", &all);
    let names: BTreeSet<_> = (0..ASKED).map(|number| number.to_string()).collect();
    for name in &names {
        aws.send(stack.text("queue_url"), &envelope(name), None);
    }
    is_applied_once(&stack, &names);
    let first = details(&aws.take(&consumer, |_| true));
    assert_eq!(first.len(), ASKED);
    aws.take(&other, |_| true);

    let plan = a_plan_is_the_exact_list(&stack, &aws, [&consumer, &other], &first);
    a_run_hands_out_each_event_once(&stack, &aws, [&consumer, &other], &plan, &first);
    a_plan_that_became_stale_is_refused(&stack, &aws, &consumer);
}

/// The details of events as they were written, by their ids.
fn details(messages: &[Message]) -> BTreeMap<String, Value> {
    let read = |message: &Message| {
        let event: Value = serde_json::from_str(message.body().unwrap()).unwrap();
        (event["detail"]["id"].as_str().unwrap().to_owned(), event["detail"].clone())
    };
    messages.iter().map(read).collect()
}

fn ids(plan: &Value) -> Vec<String> {
    plan["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn a_plan_is_the_exact_list(stack: &Stack, aws: &Aws, queues: [&str; 2], first: &BTreeMap<String, Value>) -> Value {
    let plan = |options: &[&str]| {
        let start = ["replay", "plan", "--rule", "orders", "--from", "1h"];
        stack.run(&[&start, options].concat())
    };
    let named = json(&plan(&["--subject", "order-7", "--json"]));
    assert_eq!(ids(&named).len(), 1, "{named}");
    assert_eq!(named["events"][0]["reference"], json!("order-7"));
    assert!(named["matched"].as_u64().unwrap() >= ASKED as u64, "{named}");
    let none = plan(&["--type", "payout.*"]);
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    assert!(errors(&none).contains("none fits"), "{none:?}");
    let unknown = stack.run(&["replay", "plan", "--rule", "nobody", "--from", "1h"]);
    assert!(errors(&unknown).contains("cannot read the rule `nobody`"), "{unknown:?}");
    let text = String::from_utf8(plan(&["--kind", "invoice"]).stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

    let whole = json(&plan(&["--json"]));
    // The samples of the stack published others.
    assert!(
        whole["events"].as_array().unwrap().iter().all(|event| event["type"] == "invoice.paid"),
        "as the rule says"
    );
    let mut planned = ids(&whole);
    planned.retain(|id| first.contains_key(id));
    assert_eq!(planned.iter().cloned().collect::<BTreeSet<_>>(), first.keys().cloned().collect());
    for queue in queues {
        assert_eq!(aws.counts(queue), (0, 0), "planning hands out nothing");
    }
    let rules = aws.rules(stack.text("bus"));
    assert!(rules.iter().all(|rule| !rule.starts_with("xendit-hooks-replay")), "{rules:?}");
    whole
}

fn a_run_hands_out_each_event_once(
    stack: &Stack,
    aws: &Aws,
    [consumer, other]: [&str; 2],
    plan: &Value,
    first: &BTreeMap<String, Value>,
) {
    let run = ["replay", "run", fingerprint(plan), "--rate", "10", "--reason", "the shop was down", "--json"];
    let journal = journal(plan);
    let planned = ids(plan).len();
    let mut child = stack.command(&run).stdout(Stdio::null()).spawn().unwrap();
    while steps(&journal, "removed") < planned / 3 && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let killed_at = steps(&journal, "removed");
    assert!((planned / 3..planned).contains(&killed_at), "killed in the middle: {killed_at} of {planned}");
    let result = json(&stack.run(&run));
    assert_eq!((&result["planned"], &result["handed_out_before"]), (&json!(planned), &json!(killed_at)), "{result}");
    assert_eq!(result["handed_out"], json!(planned - killed_at), "{result}");
    let twice = usize::try_from(result["perhaps_sent_twice"].as_u64().unwrap()).unwrap();
    assert!(twice <= 1, "{result}");
    let again = stack.run(&run);
    assert!(again.status.code() == Some(3) && errors(&again).contains("the plan is done"), "{again:?}");
    assert!(fs::read_to_string(&journal).unwrap().contains(r#""reason":"the shop was down""#));

    let messages = aws.take(consumer, |_| true);
    assert!((planned..=planned + twice).contains(&messages.len()), "{} of {planned}", messages.len());
    let replayed = details(&messages);
    for (id, detail) in first {
        assert_eq!(replayed[id], *detail, "the same event");
    }
    for message in &messages {
        let attribute = |name: &str| message.message_attributes().unwrap()[name].string_value().unwrap().to_owned();
        assert_eq!(attribute("replay"), fingerprint(plan));
        assert_eq!(attribute("replay_reason"), "the shop was down");
    }
    assert_eq!(aws.counts(other), (0, 0), "the other consumer got nothing");
    assert_eq!(aws.counts(stack.text("tap_queue_url")), (ASKED, 0), "and the tap got no event again");
}

fn a_plan_that_became_stale_is_refused(stack: &Stack, aws: &Aws, consumer: &str) {
    let plan =
        json(&stack.run(&["replay", "plan", "--rule", "orders", "--from", "1h", "--subject", "order-7", "--json"]));
    let is_refused = |why: &str| {
        let output = stack.run(&["replay", "run", fingerprint(&plan)]);
        assert!(output.status.code() == Some(3) && errors(&output).contains(why), "{why}: {output:?}");
        assert_eq!(aws.counts(consumer), (0, 0), "{why}: nothing is handed out");
    };
    aws.consumer(
        stack.text("bus"),
        "orders",
        &json!({ "source": ["xendit-hooks"], "detail-type": ["invoice.expired"] }),
    );
    is_refused("the rule `orders` has another pattern or queue");
}
