//! `make sim`: runs seeds until one finds a violation, and then prints how to replay it.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tests::sim::{Fault, Report, Scene, run};

/// They take a few minutes on two cores.
const SEEDS: u64 = 50_000;

const USAGE: &str = "usage: sim [SEEDS] | sim --seed SEED";

#[derive(Default)]
struct Totals {
    faults: BTreeMap<Fault, u64>,
    invocations: u64,
    violations: Vec<(u64, String)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.is_empty()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments.as_slice() {
        [] => search(SEEDS),
        ["--seed", seed] => number(seed).map_or_else(usage, replay),
        [seeds] => number(seeds).map_or_else(usage, search),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    println!("{USAGE}");
    ExitCode::FAILURE
}

/// Runs new seeds until one fails.
fn search(seeds: u64) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let from = now * 1_000_000;
    let began = Instant::now();
    let (completed, totals) = run_all(from, seeds);
    print(completed, began.elapsed(), &totals);
    match totals.violations.first() {
        Some((seed, _)) => replay(*seed),
        None => ExitCode::SUCCESS,
    }
}

/// Replays one seed and prints its timeline.
fn replay(seed: u64) -> ExitCode {
    let report = run(seed, Scene::Any, None, true);
    report.timeline.iter().for_each(|line| println!("{line}"));
    if let Some(what) = report.violation {
        println!("\nseed {seed}: {what}\nreplay: make sim SEED={seed}");
        ExitCode::FAILURE
    } else {
        println!("\nseed {seed}: no violation");
        ExitCode::SUCCESS
    }
}

/// Runs seeds on all cores until one fails. Returns how many were run.
fn run_all(from: u64, seeds: u64) -> (u64, Totals) {
    let (next, totals) = (AtomicU64::new(0), Mutex::new(Totals::default()));
    let worker = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= seeds {
                return;
            }
            let Report { violation, faults, invocations, .. } = run(from + n, Scene::Any, None, false);
            let Ok(mut totals) = totals.lock() else { return };
            totals.invocations += invocations;
            for (fault, times) in faults {
                *totals.faults.entry(fault).or_default() += times;
            }
            if let Some(what) = violation {
                totals.violations.push((from + n, what));
                next.store(seeds, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let completed = next.load(Ordering::Relaxed).min(seeds);
    (completed, totals.into_inner().unwrap_or_default())
}

fn print(seeds: u64, took: Duration, totals: &Totals) {
    let rate = u128::from(seeds) * 1000 / took.as_millis().max(1);
    println!("{seeds} seeds in {} s: {rate} a second; {} invocations", took.as_secs(), totals.invocations);
    for (fault, times) in &totals.faults {
        println!("  {:<16} {times:>10}", format!("{fault:?}"));
    }
    println!("{} violations", totals.violations.len());
}
