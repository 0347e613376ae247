//! `make sim`: plays seeds until one shows something that is not true, and then says how to see it again.

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

/// A couple of minutes on two cores.
const SEEDS: u64 = 50_000;

const USAGE: &str = "usage: sim [SEEDS] | sim --seed SEED | sim --power SEEDS";

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
        ["--power", seeds] => number(seeds).map_or_else(usage, power),
        [seeds] => number(seeds).map_or_else(usage, search),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    println!("{USAGE}");
    ExitCode::FAILURE
}

/// New seeds each time, until one fails.
fn search(seeds: u64) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let from = now * 1_000_000;
    let began = Instant::now();
    let (played, totals) = play(from, seeds, true);
    print(played, began.elapsed(), &totals);
    match totals.violations.first() {
        Some((seed, _)) => replay(*seed),
        None => ExitCode::SUCCESS,
    }
}

/// The same seeds each time. Prints only how many of them fail.
fn power(seeds: u64) -> ExitCode {
    let (_, totals) = play(0, seeds, false);
    let first = totals.violations.iter().min().map_or("", |(_, what)| what);
    println!("{}\t{}", totals.violations.len(), first.chars().take(160).collect::<String>());
    ExitCode::SUCCESS
}

/// One seed, with everything that happens in it.
fn replay(seed: u64) -> ExitCode {
    let report = run(seed, Scene::Any, true);
    report.timeline.iter().for_each(|line| println!("{line}"));
    if let Some(what) = report.violation {
        println!("\nseed {seed}: {what}\nagain: make sim SEED={seed}");
        ExitCode::FAILURE
    } else {
        println!("\nseed {seed}: all is well");
        ExitCode::SUCCESS
    }
}

/// Plays seeds on all cores. How many were played.
fn play(from: u64, seeds: u64, until_one_fails: bool) -> (u64, Totals) {
    let (next, totals) = (AtomicU64::new(0), Mutex::new(Totals::default()));
    let worker = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= seeds {
                return;
            }
            let Report { violation, faults, invocations, .. } = run(from + n, Scene::Any, false);
            let Ok(mut totals) = totals.lock() else { return };
            totals.invocations += invocations;
            for (fault, times) in faults {
                *totals.faults.entry(fault).or_default() += times;
            }
            if let Some(what) = violation {
                totals.violations.push((from + n, what));
                if until_one_fails {
                    next.store(seeds, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let played = next.load(Ordering::Relaxed).min(seeds);
    (played, totals.into_inner().unwrap_or_default())
}

fn print(played: u64, took: Duration, totals: &Totals) {
    let rate = u128::from(played) * 1000 / took.as_millis().max(1);
    println!("{played} seeds in {} s: {rate} a second; {} invocations", took.as_secs(), totals.invocations);
    for (fault, times) in &totals.faults {
        println!("  {:<16} {times:>10}", format!("{fault:?}"));
    }
    println!("{} violations", totals.violations.len());
}
