//! Holds what the commands print for people, and their help, against a terminal of 80 columns.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod local;

use self::local::{Stack, command};

const COLUMNS: usize = 80;

/// Holds each line against the width. What must be copied or is the user's is longer: a word by itself, and a body in JSON.
#[track_caller]
fn assert_fits(what: &str, text: &str) {
    assert!(!text.trim().is_empty(), "{what} prints nothing");
    for line in text.lines() {
        let is_one_word = !line.trim().contains(' ') || line.trim_start().starts_with('"');
        assert!(
            line.chars().count() <= COLUMNS || is_one_word,
            "{what} prints a line of {}: {line}",
            line.chars().count()
        );
    }
}

/// The same, and without spaces at the ends of lines. (clap leaves some in a help text.)
#[track_caller]
fn assert_is_neat(what: &str, text: &str) {
    assert_fits(what, text);
    for line in text.lines() {
        assert_eq!(line, line.trim_end(), "{what} prints spaces at the end");
    }
}

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
    let list = list.lines().take_while(|line| !line.is_empty());
    // The description of a command is indented further.
    let names = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

#[test]
fn every_help_fits() {
    let mut paths = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let arguments: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let output = command(&std::env::temp_dir(), &arguments).env("COLUMNS", "80").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert_fits(&arguments.join(" "), &help);
        seen += 1;
        paths.extend(subcommands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
    assert!(seen > 12, "only {seen} helps were found");
}

#[test]
fn everything_that_is_printed_fits() {
    let stack = Stack::start("width");
    let events = command(&stack.state, &["events", "--json"]).output().unwrap();
    let events = String::from_utf8(events.stdout).unwrap();
    let names = |key: &str| -> Vec<String> {
        let lines = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter_map(|line| Some(line[key].as_str()?.to_owned())).collect()
    };
    assert_is_neat("events", &stack.told(&["events"]));
    for name in names("event").iter().chain(&names("story")) {
        // Then the sample, which is the user's text.
        let told = stack.told(&["events", name]);
        assert_is_neat(name, told.split("\nevents/webhooks/").next().unwrap());
    }
    let mut samples: Vec<_> = std::fs::read_dir("../events/webhooks").unwrap().map(|it| it.unwrap().path()).collect();
    samples.sort_unstable();
    for sample in &samples {
        let name = sample.file_stem().unwrap().to_str().unwrap();
        assert_is_neat(name, &stack.told(&["explain", name]));
    }
    for story in names("story") {
        let output = stack.run(&["trigger", &story]);
        assert_is_neat(&story, &String::from_utf8(output.stdout).unwrap());
    }
    let long = "remittance_payout.pending_compliance_assessment";
    let reference = "a-reference-that-is-quite-long-and-has-no-spaces-0123456789";
    for sample in [long, "payment.capture", "invoice.paid"] {
        let told = stack.told(&["trigger", sample, "--set", &format!("metadata={reference}")]);
        assert_is_neat(sample, &told);
        let id = told.lines().find_map(|line| line.strip_prefix("  id ")).unwrap().trim();
        assert_is_neat("payment", &stack.told(&["payment", id]));
    }
    stack.told(&["trigger", "story:paid", "--set", &format!("external_id={reference}")]);
    assert_is_neat("payment", &stack.told(&["payment", reference]));
    assert_is_neat("wait", &stack.told(&["wait", "--reference", reference, "--phase", "paid"]));
    assert_is_neat("dlq list", &stack.told(&["dlq", "list"]));
    assert_is_neat("dlq plan", &stack.told(&["dlq", "plan"]));
    let letters = stack.lines(&["dlq", "list"]);
    for letter in &letters {
        // Then the body.
        let told = stack.told(&["dlq", "show", letter["message_id"].as_str().unwrap()]);
        assert_is_neat("dlq show", told.split("\n\n").next().unwrap());
    }
}
