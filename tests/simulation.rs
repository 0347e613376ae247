//! A few seeds of the simulation, always the same ones. `make sim` plays new ones, and as many as there is time for.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use tests::sim::{Fault, Report, Scene, run};

/// Plays some seeds of a scene. What they did, all together.
fn play(scene: Scene, seeds: std::ops::Range<u64>) -> Vec<Report> {
    seeds
        .map(|seed| {
            let report = run(seed, scene, false);
            if let Some(what) = &report.violation {
                let timeline = run(seed, scene, true).timeline.join("\n");
                panic!("{timeline}\n\nseed {seed} of {scene:?}: {what}");
            }
            report
        })
        .collect()
}

#[test]
fn whatever_fails_nothing_is_lost_or_told_twice_under_two_ids() {
    let reports = play(Scene::Any, 0..40);
    let met = |fault: Fault| reports.iter().filter(|report| report.faults.contains_key(&fault)).count();
    for fault in [Fault::Killed, Fault::ReplyLost, Fault::CarriedOutLate, Fault::EntryRejected, Fault::Outage] {
        assert!(met(fault) > 0, "{fault:?} never happens");
    }
}

#[test]
fn where_nothing_fails_everything_is_told_exactly_once() {
    let reports = play(Scene::Calm, 0..10);
    assert!(reports.iter().all(|report| report.faults.is_empty()));
}

#[test]
fn a_token_that_xendit_rotates_first_loses_nothing() {
    play(Scene::RotatedAtXenditFirst, 0..3);
}

#[test]
fn a_token_that_is_rotated_here_first_loses_nothing() {
    play(Scene::RotatedHereFirst, 0..3);
}

#[test]
fn a_processor_that_is_off_for_three_days_loses_nothing() {
    play(Scene::ProcessorOff, 0..3);
}

#[test]
fn a_burst_of_five_hundred_resends_drains() {
    let reports = play(Scene::Burst, 0..2);
    assert!(reports.iter().any(|report| report.invocations > 500));
}

#[test]
fn clocks_that_are_off_and_step_back_lose_nothing() {
    let reports = play(Scene::Clocks, 0..5);
    assert!(reports.iter().any(|report| report.faults.contains_key(&Fault::ClockStepped)));
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 0..4 {
        let (one, two) = (run(seed, Scene::Any, true), run(seed, Scene::Any, true));
        assert!(one.timeline.len() > 20);
        assert_eq!(one.timeline, two.timeline, "seed {seed}");
    }
}
