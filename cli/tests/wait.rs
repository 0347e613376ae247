//! Tests `xendit-hooks wait` with a local stack, and what needs none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use std::{thread, time::Duration};

use serde_json::json;

use self::local::{Stack, command, errors, json};

#[test]
fn a_phase_is_waited_for_and_the_exit_code_says_whether_it_was_reached() {
    let stack = Stack::start("wait");
    thread::scope(|threads| {
        threads.spawn(|| {
            thread::sleep(Duration::from_secs(2));
            assert!(stack.run(&["trigger", "invoice.paid", "--set", "external_id=order-1"]).status.success());
        });
        let output = stack.run(&["wait", "--reference", "order-1", "--phase", "paid", "--kind", "invoice", "--json"]);
        let told = json(&output);
        assert_eq!((output.status.code(), &told["version"], &told["reached"]), (Some(0), &json!(1), &json!(true)));
        assert_eq!((told["subjects"].as_array().unwrap().len(), &told["phase"]), (1, &json!("paid")));
        assert_eq!(told["subjects"][0]["stage"], "invoice.paid");
        assert!(told["waited_ms"].as_u64().unwrap() > 1000, "it was there before the webhook: {told}");
    });

    let wait = |reference: &str, phase: &str, more: &[&str]| {
        stack.run(&[&["wait", "--reference", reference, "--phase", phase, "--timeout", "1s"], more].concat())
    };
    let output = wait("order-1", "expired", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("invoice.paid  expired not reached  test#invoice#"), "{text}");
    assert!(errors(&output).contains("`order-1` did not reach `expired` within 1s"), "{output:?}");
    let other = wait("order-1", "succeeded", &["--kind", "payment", "--json"]);
    assert_eq!((other.status.code(), &json(&other)["subjects"]), (Some(1), &json!([])), "{other:?}");
    let unknown = wait("order-2", "paid", &[]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(errors(&unknown).contains("knows nothing with this reference"), "{unknown:?}");

    // A settled invoice was paid, whether or not that webhook came.
    let settled = ["trigger", "invoice.paid", "--set", "external_id=order-3", "--set", "status=SETTLED"];
    assert!(stack.run(&settled).status.success());
    let output = wait("order-3", "paid", &["--json"]);
    assert_eq!((output.status.code(), &json(&output)["subjects"][0]["stage"]), (Some(0), &json!("invoice.settled")));
    // One that was paid after it had expired was expired.
    assert!(stack.run(&["trigger", "story:expired-then-paid", "--set", "external_id=order-4"]).status.success());
    let output = wait("order-4", "expired", &["--json"]);
    assert_eq!((output.status.code(), &json(&output)["subjects"][0]["stage"]), (Some(0), &json!("invoice.paid")));
}

#[test]
fn a_wrong_option_and_a_missing_stack_have_exit_codes_of_their_own() {
    let nowhere = std::env::temp_dir().join("xendit-hooks-nowhere");
    for (arguments, code, told) in [
        (&["--phase", "payd"][..], 2, "invalid value 'payd'"),
        (&["--phase", "paid", "--timeout", "60"], 2, "a duration is written as"),
        (&["--phase", "paid", "--kind", "payout"], 2, "the kind `payout` has no phase `paid`; it has: pending, "),
        (&["--phase", "paid"], 3, "no local stack is running"),
    ] {
        let arguments = [&["wait", "--reference", "order-1"], arguments].concat();
        let output = command(&nowhere, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(errors(&output).contains(told), "{output:?}");
    }
}

#[test]
fn each_shell_gets_completions_for_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = command(&std::env::temp_dir(), &["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("redrive") && script.contains("reference"), "{shell}");
    }
}
