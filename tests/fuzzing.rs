//! What `make fuzz` looks for by coverage, once over: all seeds, what was once found, and a few mutations of them,
//! always the same ones.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code: a surprise has to end the test")]

use std::{collections::BTreeSet, fs, panic, path::Path};

use fastrand::Rng;
use tests::fuzzing::{BATCH, ENVELOPE, NOTIFICATION, TARGETS, TOKEN, Target, WEBHOOK};

/// How many mutations of each target: a second or two, without optimisation.
const MUTATIONS: usize = 2_000;

#[test]
fn any_request_is_let_through_exactly_when_it_has_one_token_and_an_accepted_one() {
    replay(&TOKEN);
}

#[test]
fn any_body_travels_as_it_is_and_any_text_is_an_envelope_or_none() {
    replay(&ENVELOPE);
}

#[test]
fn any_body_is_read_without_a_panic_and_is_news_once_in_any_order() {
    replay(&WEBHOOK);
}

#[test]
fn any_event_of_lambda_leaves_each_message_done_parked_or_handed_back() {
    replay(&BATCH);
}

#[test]
fn any_message_is_taken_for_one_of_s3_only_when_it_is() {
    replay(&NOTIFICATION);
}

#[test]
fn every_target_is_one_of_cargo_fuzz() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let files = fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect());
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in TARGETS.map(|target| target.name) {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

/// Goes over a target's inputs, and shows the one that it fails for.
fn replay(target: &Target) {
    let inputs = target.inputs();
    let mut rng = Rng::with_seed(0);
    let mutations: Vec<_> = (0..MUTATIONS).map(|_| mutate(&inputs, &mut rng)).collect();
    for input in inputs.iter().chain(&mutations) {
        let held = panic::catch_unwind(|| (target.check)(input)).is_ok();
        assert!(held, "{} fails for {}", target.name, input.escape_ascii());
    }
}

/// An input with up to four changes of the kind that a fuzzer makes.
fn mutate(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(inputs).unwrap().clone();
    for _ in 0..rng.usize(1..=4) {
        let from = rng.usize(0..=input.len());
        let to = input.len().min(from + rng.usize(0..16));
        match rng.u8(0..6) {
            // One byte for each in a stretch.
            0 => input[from..to].fill_with(|| rng.u8(..)),
            // What has a meaning in JSON.
            1 => drop(input.splice(from..to, [*rng.choice(br#""{}[],:\0-.eE"#).unwrap()])),
            // A stretch is gone.
            2 => drop(input.drain(from..to)),
            // A stretch stands there twice.
            3 => input.extend_from_within(from..to),
            // The end is gone.
            4 => input.truncate(from),
            // The end is another's.
            _ => {
                let other = rng.choice(inputs).unwrap();
                input.truncate(from);
                input.extend_from_slice(&other[from.min(other.len())..]);
            }
        }
    }
    input
}
