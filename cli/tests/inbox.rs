//! Tests `xendit-hooks inbox plan` and `inbox sweep` with a local stack: webhooks in the inbox whose notification never came are
//! processed once, and nothing else is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{collections::BTreeSet, fs, process::Stdio, thread, time::Duration};

use serde_json::{Value, json};

use self::local::{
    Stack,
    aws::{Aws, Bucket, envelope, is_applied_once, published},
    errors, fingerprint, journal, json, steps,
};

/// How many webhooks are lost. `OBJECTS=300` changes it.
const LOST: usize = 20;

const PLAN: [&str; 5] = ["inbox", "plan", "--older-than", "0s", "--json"];

#[test]
fn a_sweep_brings_back_what_was_never_processed_once_and_nothing_else() {
    let stack = Stack::start("inbox");
    let aws = Aws::of(&stack);
    let bucket = aws.without_notifications(&stack);
    aws.take(stack.text("dlq_url"), |_| true);
    two_kills_in_the_middle_change_nothing(&stack, &aws, &bucket);
    a_plan_that_became_stale_is_refused(&stack, &aws, &bucket);
}

fn two_kills_in_the_middle_change_nothing(stack: &Stack, aws: &Aws, bucket: &Bucket<'_>) {
    let (dlq, queue, tap) = (stack.text("dlq_url"), stack.text("queue_url"), aws.tap(stack.text("bus")));
    let empty = stack.run(&["inbox", "plan"]);
    assert!(empty.status.code() == Some(3) && errors(&empty).contains("The inbox of `local` is empty"), "{empty:?}");

    // Processed from the queue; the object is of another delivery.
    aws.send(queue, &envelope("known"), None);
    is_applied_once(stack, &["known".to_owned()]);
    bucket.put("again", &envelope("known").replace("delivery-known", "again"));
    // Its notification came, and is a dead letter.
    let dead = bucket.put("dead", &envelope("dead"));
    aws.send(dlq, &bucket.notification(&dead), Some("timeout"));
    let unreadable = bucket.put("unreadable", &envelope("x").replace(r#""body":"{"#, r#""body":"{{"#));
    let lost = std::env::var("OBJECTS").map_or(LOST, |number| number.parse().unwrap());
    let mut names: Vec<_> = (0..lost).map(|number| number.to_string()).collect();
    let mut keys: BTreeSet<_> =
        names.iter().map(|name| bucket.put(&format!("delivery-{name}"), &envelope(name))).collect();
    // Too large for a message.
    let padded = envelope("large").replace("Toko", &"Toko ".repeat(500_000));
    keys.insert(bucket.put("delivery-large", &padded));
    names.push("large".to_owned());
    keys.insert(unreadable.clone());

    let young = stack.run(&["inbox", "plan"]);
    assert!(errors(&young).contains("Not chosen: 24 not looked into, because of their age."), "{young:?}");
    assert_eq!(young.status.code(), Some(3));
    let text = String::from_utf8(stack.run(&["inbox", "plan", "--older-than", "0s"]).stdout).unwrap();
    assert!(text.contains(&format!("\n{} of {} objects in the inbox:\n", keys.len(), keys.len() + 2)), "{text}");
    assert!(text.contains(&format!("  {:>5}  not in the ledger\n", names.len())), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let plan = json(&stack.run(&PLAN));
    let planned = plan["objects"].as_array().unwrap();
    let planned_keys: BTreeSet<_> = planned.iter().map(|it| it["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(planned_keys, keys);
    assert_eq!((&plan["processed"], &plan["dead_letters"], &plan["queued"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(planned.iter().find(|it| it["key"] == json!(unreadable)).unwrap()["event"], Value::Null);
    assert_eq!(json(&stack.run(&PLAN))["objects"], plan["objects"], "planning changes nothing");
    assert_eq!((aws.counts(queue), aws.counts(dlq)), ((0, 0), (1, 0)), "planning sends and hides nothing");

    let sweep = ["inbox", "sweep", fingerprint(&plan), "--rate", "10", "--reason", "SQS was down", "--json"];
    let journal = journal(&plan);
    for end in [lost / 5, lost / 2] {
        let mut child = stack.command(&sweep).stdout(Stdio::null()).spawn().unwrap();
        while steps(&journal, "sent") < end && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let sent = steps(&journal, "sent");
        assert!((end..lost).contains(&sent), "killed in the middle: {sent} of {lost}");
    }
    let killed_at = steps(&journal, "sent");
    let result = json(&stack.run(&sweep));
    let count = |key: &str| usize::try_from(result[key].as_u64().unwrap()).unwrap();
    assert_eq!((count("planned"), count("sent_before")), (keys.len(), killed_at), "{result}");
    assert_eq!(count("sent") + count("not_needed"), keys.len() - killed_at, "{result}");
    assert!(count("perhaps_sent_twice") + count("not_needed") <= 2, "at most one for each kill: {result}");
    assert!(fs::read_to_string(&journal).unwrap().contains(r#""reason":"SQS was down""#));
    let again = stack.run(&sweep);
    assert!(again.status.code() == Some(3) && errors(&again).contains("the plan is done"), "{again:?}");

    is_applied_once(stack, &names);
    let mut events = published(aws, &tap);
    events.sort();
    let mut all: Vec<_> = names.iter().chain([&"known".to_owned()]).map(|name| format!("invoice-{name}")).collect();
    all.sort();
    assert_eq!(events, all, "one event for each");
    let after = json(&stack.run(&PLAN));
    assert_eq!((&after["fingerprint"], &after["objects"]), (&Value::Null, &json!([])), "nothing is left");
    assert_eq!(after["dead_letters"], json!(2), "the unreadable one came with its reason: {after}");
}

fn a_plan_that_became_stale_is_refused(stack: &Stack, aws: &Aws, bucket: &Bucket<'_>) {
    let [late, gone] = ["late", "gone"].map(|name| bucket.put(&format!("delivery-{name}"), &envelope(name)));
    let plan = json(&stack.run(&PLAN));
    assert_eq!(plan["objects"].as_array().unwrap().len(), 2, "{plan}");
    let is_refused = |why: &str| {
        let output = stack.run(&["inbox", "sweep", fingerprint(&plan)]);
        assert!(output.status.code() == Some(3) && errors(&output).contains(why), "{why}: {output:?}");
        assert_eq!(steps(&journal(&plan), "sending"), 0, "nothing is sent");
    };
    aws.send(stack.text("queue_url"), &bucket.notification(&late), None);
    is_applied_once(stack, &["late".to_owned()]);
    is_refused("nothing was sent now: of its objects, 0 are gone, and 1 were processed meanwhile");
    bucket.delete(&gone);
    is_refused("of its objects, 1 are gone, and 1 were processed meanwhile");
    let other = stack.run(&["dlq", "redrive", fingerprint(&plan)]);
    assert!(errors(&other).contains("the plan is for another command: `xendit-hooks inbox sweep`"), "{other:?}");
}
