//! Measure: starts processes, gives them work, and records what the kernel, cachegrind and the stub have counted.
//!
//! Everything that is compared is run alternately, so that a busy moment of the machine affects all of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    cloud::{Cloud, Passed},
    events::{self, Events},
    function::{self, Ended, Function, PATIENCE, Subject},
};

/// The answer of `rivals/hello` to every request.
const HELLO: &str = r#"{"body":"{}","statusCode":200}"#;

/// The sizes of bodies. The largest fits into a message of 1 MiB with its quotes escaped.
pub const BODIES: [usize; 7] = [1_000, 3_000, 9_000, 30_000, 90_000, 300_000, 900_000];

/// The sizes of batches.
pub const BATCHES: [u64; 4] = [1, 10, 100, 1_000];

/// How long the stub takes for each call where latency is measured.
pub const STORE_DELAY: Duration = Duration::from_millis(5);

/// The backlog that is drained: so many webhooks, by as many processors at a time as template.yaml allows.
pub const BACKLOG: u64 = 10_000;
pub const CONCURRENCY: u64 = 5;

/// How many messages the poller puts into a batch at most (template.yaml).
pub const BATCH: u64 = 10;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// How many times each process is started.
    pub rounds: usize,
    /// How many requests a warm receiver gets.
    pub requests: u32,
    /// How many requests its memory must not grow over.
    pub endurance: u32,
    /// How many webhooks each warm pair gets, in each round.
    pub journeys: u64,
    /// How many pairs are started for one webhook each.
    pub cold_journeys: usize,
    /// How many times the backlog is drained.
    pub drains: usize,
}

/// A receiver and a processor that work together.
pub struct Pair {
    pub name: &'static str,
    pub receiver: Subject,
    pub processor: Subject,
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

    pub fn figure(&self, measure: &str, of: &str) -> Result<&Figure> {
        let figure = self.0.get(measure).and_then(|of_all| of_all.get(of));
        figure.with_context(|| format!("{measure} of {of} was not measured"))
    }

    pub fn median(&self, measure: &str, of: &str) -> Result<f64> {
        Ok(self.figure(measure, of)?.median())
    }
}

/// Cold starts and warm requests of all receivers, alternately.
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

/// The AWS calls and log lines of a webhook that is accepted, and the calls of one that is refused.
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

/// The processors' CPU per message over the size of the batch, alternately.
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
            cloud.clear_table();
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

/// The AWS calls, their sizes, the billed units and the log lines of messages: first phases, their duplicates, second
/// phases, and first phases that arrive after the second.
pub fn processor_calls(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const MESSAGES: u64 = 100;
    cloud.clear_table();
    let mut function = Function::start(subject)?;
    function.ready()?;
    let mut calls = |what: &str, batch: &str, messages: u64| -> Result<()> {
        cloud.take_seen();
        whole(&mut function, batch)?;
        let seen = cloud.take_seen();
        let mut note = |measure: String, sum: f64| figures.note(measure, subject.name, sum / count(messages));
        note(format!("calls {what}"), count(seen.total()));
        note(format!("write units {what}"), seen.units.written);
        note(format!("read units {what}"), seen.units.read);
        note(format!("bytes of an item {what}"), count(seen.item_bytes));
        note(format!("bytes of an event {what}"), count(seen.event_bytes));
        for (operation, asked) in &seen.by_operation {
            note(format!("bytes of {operation} {what}"), count(asked.bytes));
        }
        Ok(())
    };
    calls("fresh", &events.payments(0..MESSAGES), MESSAGES)?;
    let stored = cloud.stored_bytes_per_item();
    calls("duplicate", &events.payments(0..MESSAGES), MESSAGES)?;
    calls("second phase", &events.voids(0..MESSAGES), MESSAGES)?;
    calls("stale", &events.payments(0..MESSAGES), MESSAGES)?;
    let alone = MESSAGES..MESSAGES + 1;
    calls("fresh and alone", &events.payments(alone.clone()), 1)?;
    calls("duplicate and alone", &events.payments(alone.clone()), 1)?;
    calls("second phase and alone", &events.voids(alone), 1)?;
    let mut messages = 4 * MESSAGES + 3;
    for (kind, first, second) in events.others(0..MESSAGES) {
        calls(&format!("fresh, {kind}"), &first, MESSAGES)?;
        calls(&format!("second phase, {kind}"), &second, MESSAGES)?;
        messages += 2 * MESSAGES;
    }
    figures.note("bytes stored per subject", subject.name, stored);
    note_log(figures, subject.name, &function.stop()?.log, u32::try_from(messages)?, "processed")
}

/// The billed units and the event of a fresh message, of a rival.
pub fn rival_units(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const MESSAGES: u64 = 10;
    cloud.clear_table();
    let mut function = Function::start(subject)?;
    function.ready()?;
    cloud.take_seen();
    whole(&mut function, &events.payments(0..MESSAGES))?;
    let seen = cloud.take_seen();
    figures.note("calls fresh", subject.name, count(seen.total()) / count(MESSAGES));
    figures.note("write units fresh", subject.name, seen.units.written / count(MESSAGES));
    figures.note("read units fresh", subject.name, seen.units.read / count(MESSAGES));
    figures.note("bytes of an event fresh", subject.name, count(seen.event_bytes) / count(MESSAGES));
    function.stop()?;
    Ok(())
}

/// Instructions of our processor for a message in a batch of its own. The count of ten at a time, which run concurrently,
/// would not repeat.
pub fn processor_instructions(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    const MORE: u64 = 50;
    let count_messages = |messages: u64| {
        cloud.clear_table();
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

/// How long a batch takes when every call takes 5 ms.
pub fn processor_wall(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events) -> Result<()> {
    cloud.clear_table();
    let mut function = Function::start(subject)?;
    function.ready()?;
    let mut ids = 0_u64..;
    for _ in 0..3 {
        whole(&mut function, &events.payments(take(&mut ids, 20)))?;
    }
    cloud.set_delay(STORE_DELAY);
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

/// From the POST of a webhook until its event is on the bus, through a receiver and a processor, when every call takes
/// 5 ms. The queue's poller is not part of it: here, the message is passed on as soon as the queue has stored it.
pub fn journeys(figures: &mut Figures, pairs: &[Pair], cloud: &Cloud, events: &Events, effort: Effort) -> Result<()> {
    cloud.clear_table();
    cloud.set_delay(STORE_DELAY);
    let passed = cloud.watch();
    let mut ids = 0_u64..;
    let mut next = || events.request_about(ids.next().unwrap_or_default());
    for round in 0..effort.cold_journeys {
        eprintln!("bench: cold starts of both functions, round {} of {}", round + 1, effort.cold_journeys);
        for pair in pairs {
            let request = next();
            let begun = Instant::now();
            let mut receiver = Function::start(&pair.receiver)?;
            receiver.give(&request)?;
            let message = queued(&passed)?;
            let mut processor = Function::start(&pair.processor)?;
            processor.give(&events::batch_of(&message, 0))?;
            let (published, _) = published(&passed)?;
            figures.note("journey ms cold", pair.name, ms(published - begun));
            receiver.ready()?;
            answered(&mut receiver)?;
            processor.ready()?;
            done(&mut processor)?;
            figures.note("first message cpu ms", pair.processor.name, ms(processor.cpu()?));
            receiver.stop()?;
            processor.stop()?;
        }
    }
    for round in 0..effort.rounds {
        eprintln!("bench: both functions, round {} of {}", round + 1, effort.rounds);
        let start = |pair: &Pair| -> Result<_> {
            let mut both = (Function::start(&pair.receiver)?, Function::start(&pair.processor)?);
            both.0.ready()?;
            both.1.ready()?;
            Ok(both)
        };
        let mut running = pairs.iter().map(start).collect::<Result<Vec<_>>>()?;
        let mut journeys: Vec<_> = pairs.iter().map(|_| Figure::default()).collect();
        for journey in 0..effort.journeys + effort.journeys / 5 {
            for ((pair, (receiver, processor)), times) in pairs.iter().zip(&mut running).zip(&mut journeys) {
                let request = next();
                cloud.take_seen();
                let begun = Instant::now();
                receiver.give(&request)?;
                processor.give(&events::batch_of(&queued(&passed)?, journey))?;
                let (published, calls) = published(&passed)?;
                // The first fifth is to warm up.
                if journey >= effort.journeys / 5 {
                    times.samples.push(ms(published - begun));
                }
                if journey == 0 {
                    figures.note("journey calls", pair.name, count(calls));
                }
                answered(receiver)?;
                receiver.ready()?;
                done(processor)?;
                processor.ready()?;
            }
        }
        for (pair, times) in pairs.iter().zip(&journeys) {
            figures.note("journey ms warm, p50", pair.name, times.at(0.5));
            figures.note("journey ms warm, p99", pair.name, times.at(0.99));
        }
        for (receiver, processor) in running {
            receiver.stop()?;
            processor.stop()?;
        }
    }
    cloud.set_delay(Duration::ZERO);
    Ok(())
}

/// The message that the queue has stored.
fn queued(passed: &Receiver<Passed>) -> Result<String> {
    match passed.recv_timeout(PATIENCE)? {
        Passed::Queue(message) => Ok(message),
        Passed::Bus { .. } => bail!("an event was published before its webhook was queued"),
    }
}

/// When the bus has stored an event, and how many calls there had been by then.
fn published(passed: &Receiver<Passed>) -> Result<(Instant, u64)> {
    match passed.recv_timeout(PATIENCE)? {
        Passed::Bus { at, calls } => Ok((at, calls)),
        Passed::Queue(_) => bail!("a message was queued instead of an event being published"),
    }
}

/// How long a backlog takes when every call takes 5 ms, and how many calls that are.
pub fn drain(figures: &mut Figures, subject: &Subject, cloud: &Cloud, events: &Events, effort: Effort) -> Result<()> {
    for round in 0..effort.drains {
        eprintln!("bench: a backlog, round {} of {}", round + 1, effort.drains);
        cloud.clear_table();
        let mut ids = 0_u64..;
        let mut functions = (0..CONCURRENCY).map(|_| Function::start(subject)).collect::<Result<Vec<_>>>()?;
        for function in &mut functions {
            function.ready()?;
            whole(function, &events.payments(take(&mut ids, BATCH)))?;
        }
        let backlog: Vec<_> = (0..BACKLOG / BATCH).map(|_| events.payments(take(&mut ids, BATCH))).collect();
        let backlog = Mutex::new(backlog.into_iter());
        let next = || backlog.lock().unwrap_or_else(PoisonError::into_inner).next();
        cloud.take_seen();
        cloud.set_delay(STORE_DELAY);
        let all_cpu = |functions: &[Function]| functions.iter().map(Function::cpu).sum::<Result<Duration>>();
        let (before, stub_before, begun) = (all_cpu(&functions)?, function::own_cpu()?, Instant::now());
        thread::scope(|scope| -> Result<()> {
            let work = |function: &mut Function| -> Result<()> {
                while let Some(batch) = next() {
                    whole(function, &batch)?;
                }
                Ok(())
            };
            let workers: Vec<_> = functions.iter_mut().map(|function| scope.spawn(move || work(function))).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a panic in a drain"))?)
        })?;
        figures.note("wall ms of a backlog at 5 ms", subject.name, ms(begun.elapsed()));
        cloud.set_delay(Duration::ZERO);
        figures.note("calls of a backlog", subject.name, count(cloud.take_seen().total()) / count(BACKLOG));
        figures.note("cpu ms of a backlog", subject.name, ms(all_cpu(&functions)? - before));
        figures.note("cpu ms of a backlog", "stub", ms(function::own_cpu()? - stub_before));
        for function in functions {
            function.stop()?;
        }
    }
    Ok(())
}

/// CPU and memory over the size of the body. Each size has its own process, because processes seldom return memory.
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

/// Gives a ready receiver requests, one after the other, each of which it must accept.
fn serve(function: &mut Function, request: &str, times: u32) -> Result<()> {
    for _ in 0..times {
        accepted(function, request)?;
        function.ready()?;
    }
    Ok(())
}

fn accepted(function: &mut Function, request: &str) -> Result<()> {
    function.give(request)?;
    answered(function)
}

/// Waits for the answer to a request that a receiver must accept.
fn answered(function: &mut Function) -> Result<()> {
    let answer = function.answer()?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(text.contains("200"), "a request was not accepted: {text}");
    Ok(())
}

/// The same with requests that must be refused. `hello` accepts every request.
fn refuse(function: &mut Function, request: &str, times: u32) -> Result<()> {
    for _ in 0..times {
        function.give(request)?;
        let answer = function.answer()?;
        let text = String::from_utf8_lossy(&answer);
        ensure!(text.contains("401") || text == HELLO, "a forged request was not refused: {text}");
        function.ready()?;
    }
    Ok(())
}

/// Gives a ready processor a batch, every message of which it must process.
fn whole(function: &mut Function, batch: &str) -> Result<()> {
    function.give(batch)?;
    done(function)?;
    function.ready()?;
    Ok(())
}

/// Waits for the answer to a batch that a processor must process.
fn done(function: &mut Function) -> Result<()> {
    let answer = function.answer()?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(
        text.contains(r#""batchItemFailures":[]"#) || text.contains(r#""batchItemFailures": []"#),
        "messages failed: {text}"
    );
    Ok(())
}

/// How many lines there are per webhook, and how long they are.
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
