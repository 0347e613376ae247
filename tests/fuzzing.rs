//! Runs the fuzz targets on their seeds, their regressions, and a fixed set of mutations. `make fuzz` searches further, by
//! coverage.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: an unexpected value must fail the test")]

use std::{collections::BTreeSet, fs, panic, path::Path};

use fastrand::Rng;
use tests::fuzzing::{BATCH, ENVELOPE, NOTIFICATION, TARGETS, TOKEN, Target, WEBHOOK};

/// The mutations for each target. They take a second or two without optimisation.
const MUTATIONS: usize = 2_000;

#[test]
fn a_request_is_accepted_only_with_exactly_one_accepted_token() {
    replay(&TOKEN);
}

#[test]
fn any_body_survives_the_queue_and_any_text_opens_without_a_panic() {
    replay(&ENVELOPE);
}

#[test]
fn any_body_is_read_without_a_panic_and_applies_once_in_any_order() {
    replay(&WEBHOOK);
}

#[test]
fn any_lambda_event_leaves_each_message_done_parked_or_retried() {
    replay(&BATCH);
}

#[test]
fn only_a_notification_of_s3_is_read_as_one() {
    replay(&NOTIFICATION);
}

#[test]
fn every_target_has_a_cargo_fuzz_binary() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let files = fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect());
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in TARGETS.map(|target| target.name) {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

/// Checks a target's inputs, and shows the first that fails.
fn replay(target: &Target) {
    let inputs = target.inputs();
    let mut rng = Rng::with_seed(0);
    let mutations: Vec<_> = (0..MUTATIONS).map(|_| mutate(&inputs, &mut rng)).collect();
    for input in inputs.iter().chain(&mutations) {
        let held = panic::catch_unwind(|| (target.check)(input)).is_ok();
        assert!(held, "{} fails for {}", target.name, input.escape_ascii());
    }
}

/// An input with up to four changes, as a fuzzer makes them.
fn mutate(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(inputs).unwrap().clone();
    for _ in 0..rng.usize(1..=4) {
        let from = rng.usize(0..=input.len());
        let to = input.len().min(from + rng.usize(0..16));
        match rng.u8(0..6) {
            // Replace a range with random bytes.
            0 => input[from..to].fill_with(|| rng.u8(..)),
            // Replace a range with one byte of JSON syntax.
            1 => drop(input.splice(from..to, [*rng.choice(br#""{}[],:\0-.eE"#).unwrap()])),
            // Remove a range.
            2 => drop(input.drain(from..to)),
            // Append a copy of a range.
            3 => input.extend_from_within(from..to),
            // Truncate.
            4 => input.truncate(from),
            // Append the end of another input.
            _ => {
                let other = rng.choice(inputs).unwrap();
                input.truncate(from);
                input.extend_from_slice(&other[from.min(other.len())..]);
            }
        }
    }
    input
}
