//! Tests `xendit-hooks dlq plan` and `dlq redrive` with a local stack: what is planned is moved once, and nothing else is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use aws_sdk_sqs::types::Message;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::local::{
    Stack,
    aws::{Aws, envelope, is_applied_once, published},
    command, errors, fingerprint, journal, json, register, steps,
};

const REASONS: [&str; 3] = ["the ledger did not answer", "a bug: the code panicked", "the bus did not answer"];

/// The reason of the letters that are moved, and the text that it is found by.
const ASKED: usize = 1;
const ASKED_TEXT: &str = "A BUG";

/// How many dead letters have each reason. `LETTERS=500 ASKED=200` changes the total and how many are asked for.
const OF_EACH: usize = 30;

/// The dead letters as they are listed, by their message ids.
fn listed(stack: &Stack) -> BTreeMap<String, Value> {
    let output = stack.run(&["dlq", "list", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let letters = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    letters.map(|letter| (letter["message_id"].as_str().unwrap().to_owned(), letter)).collect()
}

fn number(name: &str) -> Option<usize> {
    env::var(name).ok().map(|number| number.parse().unwrap())
}

#[test]
fn a_redrive_moves_what_is_planned_once_and_nothing_else() {
    let stack = Stack::start("redrive");
    thread::scope(|threads| {
        threads.spawn(|| {
            let aws = Aws::of(&stack);
            an_interruption_and_an_error_leave_the_rest_visible(&stack, &aws);
            a_message_keeps_its_bytes_and_its_reason(&stack, &aws);
            a_plan_that_does_not_fit_is_refused(&stack, &aws);
        });
        let aws = Aws::of(&stack);
        two_kills_in_the_middle_change_nothing(&stack, &aws);
        a_kill_between_two_steps_changes_nothing(&stack, &aws);
    });
}

fn two_kills_in_the_middle_change_nothing(stack: &Stack, aws: &Aws) {
    let (dlq, tap) = (stack.text("dlq_url"), aws.tap(stack.text("bus")));
    // What the samples left.
    aws.take(dlq, |_| true);
    let letters = number("LETTERS").unwrap_or(3 * OF_EACH);
    let asked = number("ASKED").unwrap_or(OF_EACH);
    // The reasons in turn, until there are enough of the one that is asked for.
    let mut names: [BTreeSet<String>; 3] = Default::default();
    let mut messages = BTreeSet::new();
    for number in 0..letters {
        let turn = number % 3;
        let which = if turn == ASKED && names[ASKED].len() == asked { 0 } else { turn };
        let which = if letters - number <= asked.saturating_sub(names[ASKED].len()) { ASKED } else { which };
        let name = format!("{which}-{number}");
        let id = aws.send(dlq, &envelope(&name), Some(REASONS[which]));
        names[which].insert(name);
        if which == ASKED {
            messages.insert(id);
        }
    }
    assert_eq!((names[ASKED].len(), names.iter().map(BTreeSet::len).sum()), (asked, letters));

    let before = listed(stack);
    let none = stack.run(&["dlq", "plan", "--reason", ASKED_TEXT, "--kind", "payout", "--json"]);
    assert_eq!((none.status.code(), &json(&none)["fingerprint"]), (Some(3), &Value::Null), "{none:?}");
    let text = stack.run(&["dlq", "plan", "--reason", ASKED_TEXT, "--limit", "3"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains(&format!("\n3 of {letters} dead letters:\n      3  {}\n", REASONS[ASKED])), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let plan = json(&stack.run(&["dlq", "plan", "--reason", ASKED_TEXT, "--kind", "invoice", "--json"]));
    let planned = plan["letters"].as_array().unwrap();
    assert_eq!(
        planned.iter().map(|it| it["message_id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(),
        messages
    );
    assert_eq!(plan["reasons"], json!([{ "reason": REASONS[ASKED], "count": asked }]));
    assert_eq!(aws.counts(dlq), (letters, 0), "planning hides nothing");
    assert!(listed(stack) == before, "planning changes nothing");

    let rate = if asked > OF_EACH { "50" } else { "10" };
    let redrive = ["dlq", "redrive", fingerprint(&plan), "--rate", rate, "--json"];
    let journal = journal(&plan);
    for end in [asked / 6, asked / 2] {
        let mut child = stack.command(&redrive).stdout(Stdio::null()).spawn().unwrap();
        let moved = || steps(&journal, "removed");
        while moved() < end && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((end..asked).contains(&moved()), "killed in the middle: {} of {asked}", moved());
        assert_eq!(aws.counts(dlq).0, letters - asked, "the planned ones are hidden, and no others");
    }
    let killed_at = steps(&journal, "removed");
    let result = json(&stack.run(&redrive));
    assert_eq!((&result["planned"], &result["moved_before"]), (&json!(asked), &json!(killed_at)), "{result}");
    assert_eq!(result["moved"], json!(asked - killed_at), "{result}");
    assert!(result["perhaps_sent_twice"].as_u64().unwrap() <= 2, "{result}");
    let again = stack.run(&redrive);
    assert!(again.status.code() == Some(3) && errors(&again).contains("the plan is done"), "{again:?}");

    is_applied_once(stack, &names[ASKED]);
    let all = names[ASKED].iter().map(|name| format!("invoice-{name}")).collect::<Vec<_>>();
    let mut events = published(aws, &tap);
    events.sort();
    assert_eq!(events, all, "one event for each");
    assert_eq!(aws.counts(dlq), (letters - asked, 0), "the others are visible");
    let mut left = before;
    left.retain(|id, _| !messages.contains(id));
    assert!(listed(stack) == left, "the others are untouched");
    for name in names[0].iter().chain(&names[2]).take(5) {
        assert!(!stack.run(&["payment", &format!("order-{name}")]).status.success(), "{name} was applied");
    }
    aws.take(dlq, |_| true);
}

/// A kill at each point of a move, as the queues and the journal are left by it.
fn a_kill_between_two_steps_changes_nothing(stack: &Stack, aws: &Aws) {
    let (dlq, queue) = (stack.text("dlq_url"), stack.text("queue_url"));
    let tap = aws.create_queue("tap");
    aws.take(&tap, |_| true);
    let names = ["sending", "sent-to-queue", "sent", "deleted", "not-begun"].map(str::to_owned);
    let ids = names.each_ref().map(|name| aws.send(dlq, &envelope(name), Some("why")));
    let plan = json(&stack.run(&["dlq", "plan", "--reason", "why", "--json"]));
    let line = |index: usize, step: &str| {
        json!({ "at": "2026-01-02T03:04:05Z", "step": step, "id": ids[index] }).to_string() + "\n"
    };
    let begun = (0..4).map(|index| line(index, "sending")).chain([line(2, "sent"), line(3, "sent")]);
    // The last line is cut short.
    fs::write(journal(&plan), begun.chain([r#"{"at":"2026-01-0"#.to_owned()]).collect::<String>()).unwrap();
    for name in &names[1..4] {
        aws.send(queue, &envelope(name), None);
    }
    aws.take(dlq, |message| message.message_id() == Some(&ids[3]));

    let result = stack.run(&["dlq", "redrive", fingerprint(&plan), "--rate", "50", "--json"]);
    let told = json(&result);
    assert_eq!((&told["moved"], &told["perhaps_sent_twice"]), (&json!(5), &json!(2)), "{result:?}");
    assert!(errors(&result).contains("1 of 5 planned dead letters are hidden or gone"), "{result:?}");
    is_applied_once(stack, &names);
    assert_eq!(aws.counts(dlq), (0, 0));
    let mut events = published(aws, &tap);
    events.sort();
    let mut all = names.map(|name| format!("invoice-{name}"));
    all.sort();
    assert_eq!(events, all, "one event for each");
}

/// A stack with queues of its own, which nothing polls, in the same AWS.
fn with_own_queues(stack: &Stack, aws: &Aws, name: &str) -> (PathBuf, String, String, fs::File) {
    let [dlq, queue] = ["dlq", "queue"].map(|kind| aws.create_queue(&format!("{name}-{kind}")));
    let mut ready = stack.ready.clone();
    ready["dlq_url"] = json!(dlq);
    ready["queue_url"] = json!(queue);
    let state = stack.state.join(name);
    let registered = register(&state, &ready);
    (state, dlq, queue, registered)
}

fn an_interruption_and_an_error_leave_the_rest_visible(stack: &Stack, aws: &Aws) {
    let (state, dlq, queue, _registered) = with_own_queues(stack, aws, "interrupted");
    for number in 0..20 {
        aws.send(&dlq, &envelope(&number.to_string()), Some("why"));
    }
    let plan = json(&command(&state, &["dlq", "plan", "--json"]).output().unwrap());
    let redrive = ["dlq", "redrive", fingerprint(&plan), "--rate", "5", "--json"];
    let moved = || steps(&journal(&plan), "removed");
    let goes_on = |output: &Output, why: &str| {
        let told = format!("{} of 20 dead letters are moved; the same command goes on: {why}", moved());
        assert!(output.status.code() == Some(1) && errors(output).contains(&told), "{told}: {output:?}");
        assert_eq!((aws.counts(&dlq), aws.counts(&queue).0), ((20 - moved(), 0), moved()), "nothing is hidden or lost");
    };
    let child = command(&state, &redrive).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while moved() < 3 {
        thread::sleep(Duration::from_millis(5));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    goes_on(&child.wait_with_output().unwrap(), "interrupted");

    let taken = aws.take(&queue, |_| true).len();
    aws.runtime.block_on(aws.sqs.delete_queue().queue_url(&queue).send()).unwrap();
    let output = command(&state, &redrive).output().unwrap();
    assert!(errors(&output).contains("cannot send to the webhook queue"), "{output:?}");
    assert_eq!(aws.counts(&dlq), (20 - taken, 0), "a dead letter is deleted only after it was sent");
    aws.create_queue("interrupted-queue");
    let told = json(&command(&state, &redrive).output().unwrap());
    assert_eq!((&told["moved"], &told["perhaps_sent_twice"]), (&json!(20 - taken), &json!(1)), "{told}");
    assert_eq!((aws.counts(&dlq), aws.counts(&queue)), ((0, 0), (20 - taken, 0)));
}

fn a_message_keeps_its_bytes_and_its_reason(stack: &Stack, aws: &Aws) {
    let (state, dlq, queue, _registered) = with_own_queues(stack, aws, "bytes");
    let bodies = [envelope("a"), " this is no envelope\t\u{e9}\n".to_owned(), envelope("b")];
    for (body, reason) in bodies.iter().zip([Some("why \u{e9}"), Some("the message is not an envelope"), None]) {
        aws.send(&dlq, body, reason);
    }
    let plan = json(&command(&state, &["dlq", "plan", "--json"]).output().unwrap());
    let redrive = command(&state, &["dlq", "redrive", fingerprint(&plan)]).output().unwrap();
    let text = String::from_utf8(redrive.stdout).unwrap();
    assert_eq!(text, "Moved 3 of 3 planned dead letters to the webhook queue.\n");
    let moved = aws.take(&queue, |_| true);
    let attribute = |message: &Message, name| {
        let value = message.message_attributes().and_then(|all| all.get(name)?.string_value());
        value.map(str::to_owned)
    };
    let earlier = |message: &Message| (message.body().unwrap().to_owned(), attribute(message, "earlier_reason"));
    let expected = [Some("why \u{e9}"), Some("the message is not an envelope"), None];
    let expected = bodies.into_iter().zip(expected.map(|reason| reason.map(str::to_owned)));
    assert_eq!(moved.iter().map(earlier).collect::<BTreeMap<_, _>>(), expected.collect());
    for message in &moved {
        assert_eq!(attribute(message, "redrive").as_deref(), Some(fingerprint(&plan)));
        assert_eq!(attribute(message, "reason"), None, "SQS would keep it if it moves the message by itself");
    }
    assert_eq!(aws.counts(&dlq), (0, 0));
}

fn a_plan_that_does_not_fit_is_refused(stack: &Stack, aws: &Aws) {
    let (state, dlq, queue, _registered) = with_own_queues(stack, aws, "refused");
    for name in ["a", "b", "c"] {
        aws.send(&dlq, &envelope(name), Some("why"));
    }
    let run = |state: &Path, fingerprint: &str| command(state, &["dlq", "redrive", fingerprint]).output().unwrap();
    let is_refused = |output: &Output, why: &str| {
        assert!(output.status.code() == Some(3) && errors(output).contains(why), "{why}: {output:?}");
        assert_eq!((aws.counts(&dlq).1, aws.counts(&queue)), (0, (0, 0)), "{why}: nothing is moved or hidden");
    };
    is_refused(&run(&state, "0123456789ab"), "there is no plan `0123456789ab`");

    let plan = json(&command(&state, &["dlq", "plan", "--json"]).output().unwrap());
    let file = Path::new(plan["file"].as_str().unwrap());
    let plans = stack.state.join("xendit-hooks/plans");
    fs::create_dir_all(&plans).unwrap();
    fs::copy(file, plans.join(file.file_name().unwrap())).unwrap();
    is_refused(&run(&stack.state, fingerprint(&plan)), "the plan is for the stack `local`");

    let mut old: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    old["created_at"] = json!("2026-01-02T03:04:05Z");
    let old = old.to_string();
    let named = hex::encode(&Sha256::digest(&old)[..6]);
    fs::write(file.with_file_name(format!("{named}.json")), old).unwrap();
    is_refused(&run(&state, &named), "the plan is more than a day old");

    aws.take(&dlq, |message| message.body() == Some(&envelope("b")));
    is_refused(&run(&state, fingerprint(&plan)), "the plan is stale, and nothing was moved now: 1 of its dead letters");
    assert_eq!(aws.counts(&dlq), (2, 0), "the others are there");
}
