//! Runs a fixed set of seeds of the simulation. `make sim` runs new ones.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use tests::sim::{Fault, Flaw, Report, Scene, run};

/// Runs seeds of a scene, and fails on the first violation.
fn run_all(scene: Scene, seeds: std::ops::Range<u64>) -> Vec<Report> {
    seeds
        .map(|seed| {
            let report = run(seed, scene, None, false);
            if let Some(what) = &report.violation {
                let timeline = run(seed, scene, None, true).timeline.join("\n");
                panic!("{timeline}\n\nseed {seed} of {scene:?}: {what}");
            }
            report
        })
        .collect()
}

#[test]
fn under_any_faults_nothing_is_lost_and_event_ids_are_stable() {
    let reports = run_all(Scene::Any, 0..40);
    let hit = |fault: Fault| reports.iter().filter(|report| report.faults.contains_key(&fault)).count();
    for fault in [Fault::Killed, Fault::ReplyLost, Fault::TakesEffectLate, Fault::EntryRejected, Fault::Outage] {
        assert!(hit(fault) > 0, "{fault:?} never happens");
    }
}

#[test]
fn without_faults_every_event_is_published_exactly_once() {
    let reports = run_all(Scene::Calm, 0..10);
    assert!(reports.iter().all(|report| report.faults.is_empty()));
}

#[test]
fn rotating_the_token_at_xendit_first_loses_nothing() {
    run_all(Scene::RotatedAtXenditFirst, 0..3);
}

#[test]
fn rotating_the_token_here_first_loses_nothing() {
    run_all(Scene::RotatedHereFirst, 0..3);
}

#[test]
fn a_processor_outage_of_three_days_loses_nothing() {
    run_all(Scene::ProcessorOff, 0..3);
}

#[test]
fn a_burst_of_500_resends_drains() {
    let reports = run_all(Scene::Burst, 0..2);
    assert!(reports.iter().any(|report| report.invocations > 500));
}

#[test]
fn clocks_that_are_off_or_step_back_lose_nothing() {
    let reports = run_all(Scene::Clocks, 0..5);
    assert!(reports.iter().any(|report| report.faults.contains_key(&Fault::ClockStepped)));
}

#[test]
fn a_seed_is_deterministic() {
    for seed in 0..4 {
        let (one, two) = (run(seed, Scene::Any, None, true), run(seed, Scene::Any, None, true));
        assert!(one.timeline.len() > 20);
        assert_eq!(one.timeline, two.timeline, "seed {seed}");
    }
}

#[test]
fn the_judge_notices_every_flaw() {
    // What the judge says of each, in the first seed in which it matters.
    let flaws = [
        (Flaw::TokenNotChecked, "is not authentic"),
        (Flaw::BodyRewritten, "was stored with another body"),
        (Flaw::EnqueueErrorIgnored, "was acknowledged but not stored"),
        (Flaw::KeyOfTheDelivery, "was written under the key"),
        (Flaw::VersionIgnored, "was written with version"),
        (Flaw::WriteNotAwaited, "was published before it was written"),
        (Flaw::ClearedBeforePublished, "was cleared before it was published"),
        (Flaw::ForgottenAfterAMonth, "was written a second time"),
        (Flaw::ImpliedMoneyNotPublished, "has 0 invoice.paid events"),
        (Flaw::RejectionIgnored, "was cleared before it was published"),
        (Flaw::IdPerPublication, "was published with another id, type or body"),
        (Flaw::ParkingErrorIgnored, "is unreadable and was lost"),
        (Flaw::NotParked, "is unreadable and was lost"),
        (Flaw::NeverParked, "was received too often without a fault"),
        (Flaw::WholeBatchSucceeds, "is gone but"),
    ];
    for (flaw, verdict) in flaws {
        let violations = (0..200).filter_map(|seed| run(seed, Scene::Any, Some(flaw), false).violation);
        let mut seen = violations.take(20);
        assert!(seen.any(|what| what.contains(verdict)), "{flaw:?} was not noticed as one that {verdict}");
    }
}
