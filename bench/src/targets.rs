//! Targets: what the functions are meant to reach, each computed from measured figures.
//!
//! **Invariant:** nothing in here is a result. A target whose figures were not measured says so.

use anyhow::Result;

use crate::measure::Figures;

/// One target, held against what was measured.
pub struct Target {
    pub id: &'static str,
    pub what: &'static str,
    /// What was measured, in the unit of the limit.
    pub measured: Result<f64>,
    pub limit: f64,
}

/// How many messages the processor works on at a time.
const IN_FLIGHT: f64 = 10.0;

/// All targets. Each is met when the measured figure is not above the limit.
pub fn all(figures: &Figures) -> Vec<Target> {
    let ratio = |measure: &str, ours: &str, theirs: &str| -> Result<f64> {
        Ok(figures.median(measure, ours)? / figures.median(measure, theirs)?)
    };
    let of = |measure: &str, subject: &str| figures.median(measure, subject);
    let target = |id, what, measured, limit| Target { id, what, measured, limit };
    vec![
        target(
            "P1",
            "receiver, CPU from exec to first answer, of idiomatic",
            ratio("cold cpu ms", "receiver", "idiomatic"),
            1.0 / 8.0,
        ),
        target("P1", "the same, of Python", ratio("cold cpu ms", "receiver", "python"), 1.0 / 40.0),
        target(
            "P2",
            "receiver, instructions from exec to first answer, M",
            of("cold instructions", "receiver").map(|n| n / 1e6),
            6.0,
        ),
        target(
            "P3",
            "receiver, CPU until it is ready and connected, of hello",
            ratio("ready cpu ms", "receiver", "hello"),
            2.5,
        ),
        target("P3", "the same, wall", ratio("ready wall ms", "receiver", "hello"), 2.5),
        target(
            "P4",
            "receiver, CPU of a warm webhook, of idiomatic",
            ratio("warm cpu µs", "receiver", "idiomatic"),
            0.6,
        ),
        target("P4", "the same, of Python", ratio("warm cpu µs", "receiver", "python"), 0.2),
        target("P5", "receiver, instructions of a refusal, of an acceptance", refusal(figures), 0.6),
        target("P5", "bytes sent to AWS for 100 refusals", of("bytes sent refused", "receiver"), 0.0),
        target("P6", "receiver, peak memory after many requests, MB", of("memory after many MB", "receiver"), 8.0),
        target("P6", "receiver, growth over them, MB", of("memory growth MB", "receiver"), 0.1),
        target("P7", "receiver, binary, MB", of("binary MB", "receiver"), 5.0),
        target("P7", "receiver, zip, MB", of("zip MB", "receiver"), 2.0),
        target("P8", "processor, CPU per message in batches of 10, of Powertools", per_message(figures, 10), 0.1),
        target("P8", "the same of 100", per_message(figures, 100), 0.1),
        target("P8", "the same of 1,000", per_message(figures, 1_000), 0.1),
        target("P8", "the most per message of 10, 100 and 1,000 over the mean of them", flatness(figures), 1.15),
        target("P9", "wall of a batch of 10, over ⌈N/10⌉ messages' round trips", wall(figures, 10), 1.3),
        target("P9", "the same of 100", wall(figures, 100), 1.3),
        target("P9", "the same of 1,000", wall(figures, 1_000), 1.3),
        target("P10", "AWS calls for a message that is fresh and alone", of("calls fresh and alone", "processor"), 3.0),
        target("P10", "the same, each of 100", of("calls fresh", "processor"), 3.0),
        target("P10", "duplicate", of("calls duplicate", "processor"), 1.0),
        target("P10", "stale", of("calls stale", "processor"), 1.0),
        target("P11", "bytes logged per webhook by both functions", log_bytes(figures), 800.0),
        target(
            "P11",
            "lines logged per webhook by each function",
            of("log lines per webhook", "receiver").and_then(|r| Ok(r.max(of("log lines per webhook", "processor")?))),
            1.0,
        ),
        target(
            "P12",
            "receiver, memory over the base for 1 MB, in bodies",
            of("memory over base at 900000 B", "receiver"),
            3.0,
        ),
        target("P12", "processor, the same", of("memory over base at 900000 B", "processor"), 3.0),
        target("P12", "receiver, CPU per byte of 900 KB, of that of 90 KB", growth(figures, "receiver"), 1.15),
        target("P12", "processor, the same", growth(figures, "processor"), 1.15),
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
