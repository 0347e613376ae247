//! Targets: what the functions should reach, each computed from the figures.
//!
//! **Invariant:** this file contains no results. A target without its figures is reported as not measured.

use anyhow::Result;

use crate::{
    cost::{self, Prices},
    measure::{BACKLOG, BATCH, CONCURRENCY, Figures, STORE_DELAY},
};

/// One target and the figure for it.
pub struct Target {
    pub id: &'static str,
    pub what: &'static str,
    /// In the unit of the limit.
    pub measured: Result<f64>,
    pub limit: f64,
}

/// How many messages the processor works on at a time.
const IN_FLIGHT: f64 = 10.0;

/// The calls of a batch, one after the other: its items are written together, its events published, its items cleared.
const CALLS_IN_SEQUENCE: f64 = 3.0;

/// All targets. Each is met if the figure is not above the limit.
pub fn all(figures: &Figures, prices: &Prices) -> Vec<Target> {
    let ratio = |measure: &str, ours: &str, theirs: &str| -> Result<f64> {
        Ok(figures.median(measure, ours)? / figures.median(measure, theirs)?)
    };
    let of = |measure: &str, subject: &str| figures.median(measure, subject);
    let target = |id, what, measured, limit| Target { id, what, measured, limit };
    let cost = || cost::ours(figures, prices);
    vec![
        target(
            "P1",
            "Receiver: CPU from exec to the first answer, relative to idiomatic",
            ratio("cold cpu ms", "receiver", "idiomatic"),
            1.0 / 8.0,
        ),
        target("P1", "The same, relative to Python", ratio("cold cpu ms", "receiver", "python"), 1.0 / 40.0),
        target(
            "P2",
            "Receiver: instructions from exec to the first answer, in millions",
            of("cold instructions", "receiver").map(|n| n / 1e6),
            6.0,
        ),
        target(
            "P3",
            "Receiver: CPU from exec to ready and connected, relative to hello",
            ratio("ready cpu ms", "receiver", "hello"),
            2.5,
        ),
        target("P3", "The same, wall time", ratio("ready wall ms", "receiver", "hello"), 2.5),
        target(
            "P4",
            "Receiver: CPU per warm webhook, relative to idiomatic",
            ratio("warm cpu µs", "receiver", "idiomatic"),
            0.6,
        ),
        target("P4", "The same, relative to Python", ratio("warm cpu µs", "receiver", "python"), 0.2),
        target("P5", "Receiver: instructions of a refusal, relative to an acceptance", refusal(figures), 0.6),
        target("P5", "Receiver: bytes sent to AWS for 100 refusals", of("bytes sent refused", "receiver"), 0.0),
        target("P6", "Receiver: peak memory after many requests, MB", of("memory after many MB", "receiver"), 8.0),
        target("P6", "Receiver: memory growth over them, MB", of("memory growth MB", "receiver"), 0.1),
        target("P7", "Receiver: size of the binary, MB", of("binary MB", "receiver"), 5.0),
        target("P7", "Receiver: size of the zip, MB", of("zip MB", "receiver"), 2.0),
        target(
            "P8",
            "Processor: CPU per message in batches of 10, relative to Powertools",
            per_message(figures, 10),
            0.1,
        ),
        target("P8", "The same in batches of 100", per_message(figures, 100), 0.1),
        target("P8", "The same in batches of 1,000", per_message(figures, 1_000), 0.1),
        target(
            "P8",
            "Processor: CPU per message, the highest of these three relative to their middle",
            flatness(figures),
            1.15,
        ),
        target(
            "P9",
            "Processor: wall time of a batch of 10, relative to ⌈N/10⌉ times that of one message",
            wall(figures, 10),
            1.3,
        ),
        target("P9", "The same for a batch of 100", wall(figures, 100), 1.3),
        target("P9", "The same for a batch of 1,000", wall(figures, 1_000), 1.3),
        target(
            "P10",
            "Processor: AWS calls for a new subject, alone in its batch",
            of("calls fresh and alone", "processor"),
            3.0,
        ),
        target("P10", "The same in a batch of 100", of("calls fresh", "processor"), 3.0),
        target("P10", "Processor: AWS calls for a duplicate", of("calls duplicate", "processor"), 1.0),
        target("P10", "Processor: AWS calls for an older phase", of("calls stale", "processor"), 1.0),
        target("P11", "Log bytes per webhook, both functions together", log_bytes(figures), 800.0),
        target(
            "P11",
            "Log lines per webhook of each function",
            of("log lines per webhook", "receiver").and_then(|r| Ok(r.max(of("log lines per webhook", "processor")?))),
            1.0,
        ),
        target(
            "P12",
            "Receiver: CPU per byte of a body of 900 KB, relative to 90 KB",
            growth(figures, "receiver"),
            1.15,
        ),
        target("P12", "The same for the processor", growth(figures, "processor"), 1.15),
        target("P13", "DynamoDB write units for a new subject", of("write units fresh", "processor"), 3.0),
        target("P13", "The same for a duplicate", of("write units duplicate", "processor"), 1.0),
        target("P13", "The same for a second phase", of("write units second phase", "processor"), 2.0),
        target("P14", "Dollars per million webhooks", cost().map(|(total, _)| total), 6.7),
        target("P14", "The same with access logs and archive", cost().map(|(_, total)| total), 7.1),
        target(
            "P15",
            "POST to event on the bus, warm: p50, relative to the calls' own time",
            journey(figures, "p50"),
            1.2,
        ),
        target("P15", "The same, p99", journey(figures, "p99"), 1.2),
        target(
            "P15",
            "The same, p99 relative to the Python pair",
            ratio("journey ms warm, p99", "xendit-hooks", "python and powertools"),
            0.7,
        ),
        target(
            "P15",
            "POST to event on the bus, cold: p99 relative to the Python pair",
            cold_journey(figures),
            1.0 / 3.0,
        ),
        target(
            "P16",
            "Processor: CPU from exec to the first message done, relative to Powertools",
            ratio("first message cpu ms", "processor", "powertools"),
            1.0 / 8.0,
        ),
        target("P17", "Wall time of a backlog of 10,000, relative to the calls' own time", backlog(figures), 1.3),
        target("P17", "AWS calls per webhook of the backlog", of("calls of a backlog", "processor"), 2.2),
    ]
}

fn refusal(figures: &Figures) -> Result<f64> {
    Ok(figures.median("refused instructions", "receiver")? / figures.median("warm instructions", "receiver")?)
}

fn per_message(figures: &Figures, size: u64) -> Result<f64> {
    let measure = format!("cpu µs per message at {size}");
    Ok(figures.median(&measure, "processor")? / figures.median(&measure, "powertools")?)
}

fn flatness(figures: &Figures) -> Result<f64> {
    let all = [10, 100, 1_000].map(|size| figures.median(&format!("cpu µs per message at {size}"), "processor"));
    let all = all.into_iter().collect::<Result<Vec<_>>>()?;
    let [low, high] = [f64::min, f64::max].map(|pick| all.iter().copied().reduce(pick).unwrap_or(f64::NAN));
    Ok(high / f64::midpoint(low, high))
}

#[expect(clippy::cast_precision_loss, reason = "batches are small")]
fn wall(figures: &Figures, size: u64) -> Result<f64> {
    let wall = |size: u64| figures.median(&format!("wall ms of {size} at 5 ms"), "processor");
    Ok(wall(size)? / (wall(1)? * (size as f64 / IN_FLIGHT).ceil()))
}

fn log_bytes(figures: &Figures) -> Result<f64> {
    let of = |subject| figures.median("log bytes per webhook", subject);
    Ok(of("receiver")? + of("processor")?)
}

fn growth(figures: &Figures, subject: &str) -> Result<f64> {
    let at = |size: u32| figures.median(&format!("cpu µs at {size} B"), subject);
    Ok(at(900_000)? / at(90_000)? / 10.0)
}

fn journey(figures: &Figures, quantile: &str) -> Result<f64> {
    let ms = figures.median(&format!("journey ms warm, {quantile}"), "xendit-hooks")?;
    Ok(ms / (figures.median("journey calls", "xendit-hooks")? * delay_ms()))
}

fn cold_journey(figures: &Figures) -> Result<f64> {
    let p99 = |of| Ok::<_, anyhow::Error>(figures.figure("journey ms cold", of)?.at(0.99));
    Ok(p99("xendit-hooks")? / p99("python and powertools")?)
}

#[expect(clippy::cast_precision_loss, reason = "the backlog is small")]
fn backlog(figures: &Figures) -> Result<f64> {
    let batches_of_each = BACKLOG as f64 / BATCH as f64 / CONCURRENCY as f64;
    let own_ms = batches_of_each * CALLS_IN_SEQUENCE * delay_ms();
    Ok(figures.median("wall ms of a backlog at 5 ms", "processor")? / own_ms)
}

/// How long each call takes, in milliseconds.
pub fn delay_ms() -> f64 {
    STORE_DELAY.as_secs_f64() * 1e3
}
