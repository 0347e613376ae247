//! Measure: the recipes. Each starts processes, gives them work, and writes down what the kernel or cachegrind counted.
//!
//! Whatever is compared is run in turns, one of each, so that a busy moment of the machine hits all alike.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    cloud::Cloud,
    events::Events,
    function::{Ended, Function, Subject},
};

/// What `rivals/hello` says to everybody.
const HELLO: &str = r#"{"body":"{}","statusCode":200}"#;

/// The sizes of bodies that are tried. The largest still fits a message of 1 MiB with its quotes escaped.
pub const BODIES: [usize; 7] = [1_000, 3_000, 9_000, 30_000, 90_000, 300_000, 900_000];

/// The sizes of batches that are tried.
pub const BATCHES: [u64; 4] = [1, 10, 100, 1_000];

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How often each process is started anew.
    pub rounds: usize,
    /// How many requests a warm receiver is given.
    pub requests: u32,
    /// How many requests it must bear without growing.
    pub endurance: u32,
}

/// One figure, measured several times.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// In the order in which they were measured.
    pub samples: Vec<f64>,
}

impl Figure {
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// A quantile, by the nearest sample.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub fn at(&self, quantile: f64) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// All figures, by what was measured and of whom.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Figures(pub BTreeMap<String, BTreeMap<String, Figure>>);

impl Figures {
    pub fn note(&mut self, measure: impl Into<String>, of: &str, value: f64) {
        self.0.entry(measure.into()).or_default().entry(of.to_owned()).or_default().samples.push(value);
    }

    pub fn median(&self, measure: &str, of: &str) -> Result<f64> {
        let figure = self.0.get(measure).and_then(|of_all| of_all.get(of));
        Ok(figure.with_context(|| format!("{measure} of {of} was not measured"))?.median())
    }
}

/// Cold starts and warm requests of all receivers, in turns.
pub fn receivers(figures: &mut Figures, subjects: &[Subject], events: &Events, effort: Effort) -> Result<()> {
    let request = events.request();
    for round in 0..effort.rounds {
        eprintln!("bench: receivers, round {} of {}", round + 1, effort.rounds);
        for subject in subjects {
            let mut function = Function::start(subject)?;
            let ready = function.ready()?;
            figures.note("ready wall ms", subject.name, ms(ready));
            figures.note("ready cpu ms", subject.name, ms(function.cpu()?));
            accepted(&mut function, &request)?;
            figures.note("cold cpu ms", subject.name, ms(function.cpu()?));
            function.ready()?;
            serve(&mut function, &request, effort.requests / 5)?;
            let before = function.cpu()?;
            let begun = Instant::now();
            serve(&mut function, &request, effort.requests)?;
            figures.note("warm wall µs", subject.name, us(begun.elapsed()) / f64::from(effort.requests));
            figures.note("warm cpu µs", subject.name, us(function.cpu()? - before) / f64::from(effort.requests));
            figures.note("memory MB", subject.name, mb(function.peak_memory()?));
            function.stop()?;
        }
    }
    Ok(())
}

/// Instructions of a receiver: from its start to its first answer, and per request after that.
pub fn receiver_instructions(figures: &mut Figures, subject: &Subject, events: &Events) -> Result<()> {
    const MORE: u32 = 100;
    let count = |requests: u32, forged: u32| {
        let mut function = Function::start_counted(subject)?;
        function.ready()?;
        serve(&mut function, &events.request(), requests)?;
        refuse(&mut function, &events.forged_request(), forged)?;
        instructions(function.stop()?)
    };
    let (first, base) = (count(1, 0)?, count(20, 0)?);
    let (accepted, refused) = (count(20 + MORE, 0)?, count(20, MORE)?);
    figures.note("cold instructions", subject.name, first);
    figures.note("warm instructions", subject.name, (accepted - base) / f64::from(MORE));
    figures.note("refused instructions", subject.name, (refused - base) / f64::from(MORE));
    Ok(())
}

fn instructions(ended: Ended) -> Result<f64> {
    Ok(count(ended.instructions.context("cachegrind did not say how many instructions there were")?))
}

/// Memory over many requests.
pub fn endurance(figures: &mut Figures, subject: &Subject, events: &Events, effort: Effort) -> Result<()> {
    let request = events.request();
    let mut function = Function::start(subject)?;
    function.ready()?;
    serve(&mut function, &request, effort.endurance / 10)?;
    let early = function.held_memory()?;
    serve(&mut function, &request, effort.endurance)?;
    figures.note("memory growth MB", subject.name, mb(function.held_memory()?) - mb(early));
    figures.note("memory after many MB", subject.name, mb(function.peak_memory()?));
    function.stop()?;
    Ok(())
}

/// What a webhook asks of AWS and logs when it is accepted, and when it is refused.
pub fn receiver_calls(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const WEBHOOKS: u32 = 100;
    let mut function = Function::start(subject)?;
    function.ready()?;
    cloud.take_seen();
    serve(&mut function, &events.request(), WEBHOOKS)?;
    figures.note("calls accepted", subject.name, count(cloud.take_seen().total()) / f64::from(WEBHOOKS));
    refuse(&mut function, &events.forged_request(), 100)?;
    let refused = cloud.take_seen();
    figures.note("calls refused", subject.name, count(refused.total()));
    figures.note("bytes sent refused", subject.name, count(refused.bytes()));
    let log = function.stop()?.log;
    note_log(figures, subject.name, &log, WEBHOOKS, "received")
}

/// The processors' CPU per message over the size of the batch, in turns.
pub fn processors(
    figures: &mut Figures,
    subjects: &[Subject],
    cloud: &Cloud,
    events: &Events,
    effort: Effort,
) -> Result<()> {
    // A batch of 1,000 in Python takes seconds.
    let rounds = effort.rounds.div_ceil(3);
    let mut ids = 0_u64..;
    for round in 0..rounds {
        eprintln!("bench: processors, round {} of {rounds}", round + 1);
        for subject in subjects {
            cloud.forget();
            let mut function = Function::start(subject)?;
            figures.note("processor ready wall ms", subject.name, ms(function.ready()?));
            for _ in 0..5 {
                whole(&mut function, &events.payments(take(&mut ids, 10)))?;
            }
            for size in BATCHES {
                let batches = (200 / size).max(1);
                let work: Vec<_> = (0..batches).map(|_| events.payments(take(&mut ids, size))).collect();
                let before = function.cpu()?;
                for batch in &work {
                    whole(&mut function, batch)?;
                }
                let messages = count(batches * size);
                figures.note(
                    format!("cpu µs per message at {size}"),
                    subject.name,
                    us(function.cpu()? - before) / messages,
                );
            }
            function.stop()?;
        }
    }
    Ok(())
}

/// Calls for a message that is fresh, a duplicate, or older news; and the lines logged of them. Three times, because how
/// many events go out in one call is a matter of moments.
pub fn processor_calls(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const MESSAGES: u64 = 100;
    const TIMES: u64 = 3;
    cloud.forget();
    let mut function = Function::start(subject)?;
    function.ready()?;
    let mut calls = |what: &str, batch: &str, messages: u64| -> Result<()> {
        cloud.take_seen();
        whole(&mut function, batch)?;
        let seen = cloud.take_seen();
        figures.note(format!("calls {what}"), subject.name, count(seen.total()) / count(messages));
        figures.note(format!("bytes of an item {what}"), subject.name, count(seen.item_bytes) / count(messages));
        for (operation, asked) in &seen.by_operation {
            figures.note(format!("bytes of {operation} {what}"), subject.name, count(asked.bytes) / count(messages));
        }
        Ok(())
    };
    for time in 0..TIMES {
        let ids = time * MESSAGES..(time + 1) * MESSAGES;
        calls("fresh", &events.payments(ids.clone()), MESSAGES)?;
        calls("duplicate", &events.payments(ids.clone()), MESSAGES)?;
        calls("further", &events.voids(ids.clone()), MESSAGES)?;
        calls("stale", &events.payments(ids), MESSAGES)?;
        let alone = TIMES * MESSAGES + time;
        calls("fresh and alone", &events.payments(alone..alone + 1), 1)?;
    }
    note_log(figures, subject.name, &function.stop()?.log, u32::try_from(TIMES * (4 * MESSAGES + 1))?, "processed")
}

/// Instructions of our processor for a message that comes alone. Ten at a time take turns by the clock, and the count
/// would not repeat.
pub fn processor_instructions(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const MORE: u64 = 50;
    let count_messages = |messages: u64| {
        cloud.forget();
        let mut function = Function::start_counted(subject)?;
        function.ready()?;
        for id in 0..messages {
            whole(&mut function, &events.payments(id..id + 1))?;
        }
        instructions(function.stop()?)
    };
    let (base, more) = (count_messages(10)?, count_messages(10 + MORE)?);
    figures.note("instructions per message", subject.name, (more - base) / count(MORE));
    Ok(())
}

/// How long a batch takes when every call takes 5 ms, in units of what one message takes alone.
pub fn processor_wall(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    cloud.forget();
    let mut function = Function::start(subject)?;
    function.ready()?;
    let mut ids = 0_u64..;
    for _ in 0..3 {
        whole(&mut function, &events.payments(take(&mut ids, 20)))?;
    }
    cloud.set_delay(Duration::from_millis(5));
    for _ in 0..5 {
        for size in BATCHES {
            let batch = events.payments(take(&mut ids, size));
            let begun = Instant::now();
            whole(&mut function, &batch)?;
            figures.note(format!("wall ms of {size} at 5 ms"), subject.name, ms(begun.elapsed()));
        }
    }
    cloud.set_delay(Duration::ZERO);
    function.stop()?;
    Ok(())
}

/// CPU and memory over the size of the body. Each size has a process of its own: memory is seldom given back.
pub fn body_curves(
    figures: &mut Figures,
    receiver: &Subject,
    processor: &Subject,
    events: &Events,
    effort: Effort,
) -> Result<()> {
    let times = effort.requests / 10;
    for size in BODIES {
        let request = events.request_of(size);
        let mut function = Function::start(receiver)?;
        function.ready()?;
        serve(&mut function, &events.request(), 20)?;
        let (base, before) = (function.peak_memory()?, function.cpu()?);
        serve(&mut function, &request, times)?;
        note_curve(figures, receiver.name, size, &function, (base, before), times)?;

        let mut function = Function::start(processor)?;
        function.ready()?;
        whole(&mut function, &events.payments(0..20))?;
        let work: Vec<_> = (0..times).map(|id| events.payment_of(size, 1_000 + u64::from(id))).collect();
        let (base, before) = (function.peak_memory()?, function.cpu()?);
        for batch in &work {
            whole(&mut function, batch)?;
        }
        note_curve(figures, processor.name, size, &function, (base, before), times)?;
    }
    Ok(())
}

fn note_curve(
    figures: &mut Figures,
    of: &str,
    size: usize,
    function: &Function,
    (base, before): (u64, Duration),
    times: u32,
) -> Result<()> {
    let grown = function.peak_memory()?.saturating_sub(base);
    let cpu = us(function.cpu()? - before) / f64::from(times);
    figures.note(format!("cpu µs at {size} B"), of, cpu);
    figures.note(format!("memory over base at {size} B"), of, count(grown) / count(size as u64));
    Ok(())
}

/// Gives a ready receiver requests one after the other, each accepted.
fn serve(function: &mut Function, request: &str, times: u32) -> Result<()> {
    for _ in 0..times {
        accepted(function, request)?;
        function.ready()?;
    }
    Ok(())
}

fn accepted(function: &mut Function, request: &str) -> Result<()> {
    let answer = function.invoke(request)?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(text.contains("200"), "a request was not accepted: {text}");
    Ok(())
}

/// The same with requests that must be refused. The one that trusts everybody is not asked to.
fn refuse(function: &mut Function, request: &str, times: u32) -> Result<()> {
    for _ in 0..times {
        let answer = function.invoke(request)?;
        let text = String::from_utf8_lossy(&answer);
        ensure!(text.contains("401") || text == HELLO, "a forged request was not refused: {text}");
        function.ready()?;
    }
    Ok(())
}

/// Gives a ready processor a batch, every message of which must be done.
fn whole(function: &mut Function, batch: &str) -> Result<()> {
    let answer = function.invoke(batch)?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(
        text.contains(r#""batchItemFailures":[]"#) || text.contains(r#""batchItemFailures": []"#),
        "messages failed: {text}"
    );
    function.ready()?;
    Ok(())
}

/// Every webhook has one line, and lines have a length.
fn note_log(figures: &mut Figures, of: &str, log: &str, webhooks: u32, word: &str) -> Result<()> {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(word)).collect();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    figures.note("log lines per webhook", of, count(lines.len() as u64) / f64::from(webhooks));
    figures.note("log bytes per webhook", of, count(bytes as u64) / f64::from(webhooks));
    Ok(())
}

fn take(ids: &mut std::ops::RangeFrom<u64>, size: u64) -> std::ops::Range<u64> {
    let from = ids.start;
    ids.start += size;
    from..ids.start
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn mb(bytes: u64) -> f64 {
    count(bytes) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
fn count(n: u64) -> f64 {
    n as f64
}
