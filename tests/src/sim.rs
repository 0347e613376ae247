//! Sim: simulates the real cores of both functions from one seed, on one thread, in virtual time, with injected faults. A
//! seed is deterministic: it produces the same timeline each time.
//!
//! In reading order: `plan` draws the faults of a seed; `world` holds the clock, the random numbers and the contents of
//! AWS; `ports` are the functions' ports; `lambda` runs the functions; `judge` checks the invariants; `flaw` breaks them, to
//! test the judge. `situation` plays what an operator has to recognise, and `meter` measures it as CloudWatch does.
//!
//! A run has four phases. First, faults are injected. Then the faults stop, and everything must drain in bounded time. Then
//! an operator follows the runbook, twice. After sixty days everything is sent again, and nothing new may be published.

mod flaw;
mod judge;
mod lambda;
mod meter;
mod plan;
mod ports;
mod situation;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use jiff::SignedDuration;
use lambda_http::http::Request;
use receiver::verify::TOKEN_HEADER;
use tokio::task::JoinSet;

pub use self::{
    flaw::Flaw,
    plan::{Fault, Scene},
    situation::Situation,
};
use self::{
    judge::Judge,
    lambda::{Lambda, TOKENS},
    plan::Plan,
    world::World,
};
use crate::xendit;

/// The waits between Xendit's retries.
const RETRY_DELAYS: [SignedDuration; 6] = [
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(45),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(3),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(12),
];

/// The limit to drain everything after the faults have stopped. The longest delay between two receives is 15 minutes.
const DRAINS_WITHIN: SignedDuration = SignedDuration::from_hours(4);

/// The result of a seed.
#[derive(Debug)]
pub struct Report {
    /// The first violation.
    pub violation: Option<String>,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u64>,
    /// The number of invocations.
    pub invocations: u64,
    /// What each actor did. Empty unless traced.
    pub timeline: Vec<String>,
}

/// Runs a seed. `flaw`: a bug that the functions have in this run.
pub fn run(seed: u64, scene: Scene, flaw: Option<Flaw>, traced: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut rng = Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng, scene);
        let start = world::START.parse().unwrap();
        let judge = Judge::new(xendit::facts(&mut rng, plan.subjects, start));
        let world = World::new(rng, plan, judge, traced);
        world.with(|state| {
            let plan = format!("{:?}", state.plan);
            state.note(&"plan", || plan);
        });
        tokio::select! {
            biased;
            () = world.over() => {}
            () = story(&world, flaw) => {}
        }
        world.with(|state| Report {
            violation: state.judge.violation.take(),
            faults: std::mem::take(&mut state.faults),
            invocations: state.invocations,
            timeline: state.take_timeline(),
        })
    })
}

/// The four phases.
async fn story(world: &World, flaw: Option<Flaw>) {
    let lambda = Lambda::new(world.clone(), flaw);
    tokio::task::spawn_local(lambda.clone().poll());
    let mut deliveries = send_everything(world, &lambda);
    let (fault_period, off) = world.with(|state| (state.plan.fault_period, state.plan.processor_off));
    let quiet = fault_period.max(off.map_or(fault_period, |(_, to)| to));
    tokio::time::sleep(quiet.try_into().unwrap()).await;
    world.note(&"world", || "no more faults".to_owned());
    while deliveries.join_next().await.is_some() {}

    drained(world).await;
    // An operator resends what Xendit's dashboard does not show as completed.
    let missing =
        world.with(|state| (0..state.judge.facts.len()).filter(|fact| !state.judge.stored.contains(fact)).collect());
    resend(world, &lambda, missing).await;
    drained(world).await;
    let letters = lambda.redrive();
    drained(world).await;
    world.with(|state| {
        let calm = state.plan.calm;
        state.judge.final_verdict(&state.table.items, calm);
    });

    let published = world.with(|state| state.judge.event_counts());
    world.note(&"operator", || "redrives the same dead letters again".to_owned());
    world.with(|state| {
        for letter in &letters {
            let delivery = state.deliveries[&letter.id].clone();
            state.send(Arc::clone(&letter.body), &delivery);
        }
    });
    drained(world).await;
    tokio::time::sleep(Duration::from_hours(60 * 24)).await;
    world.note(&"xendit", || "sixty days later".to_owned());
    let all = world.with(|state| (0..state.judge.facts.len()).collect());
    resend(world, &lambda, all).await;
    drained(world).await;
    world.with(|state| {
        let after = state.judge.event_counts();
        if after != published {
            state.judge.violated(format!("duplicates were published: {published:?} before, {after:?} after"));
        }
    });
}

/// Waits until the queue is empty. A violation if that takes too long.
async fn drained(world: &World) {
    let began = world.now();
    loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let left = world.with(|state| state.sqs.messages.len() + state.pending_notifications.len());
        if left == 0 {
            // Let running invocations end.
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        }
        if world.now().duration_since(began) > DRAINS_WITHIN {
            world.with(|state| state.judge.violated(format!("{left} messages do not drain")));
        }
    }
}

/// The first phase: sends all webhooks, with duplicates, forged requests and redrives in between.
fn send_everything(world: &World, lambda: &Lambda) -> JoinSet<()> {
    let mut deliveries = JoinSet::new();
    let (facts, fault_period, burst) =
        world.with(|state| (state.judge.facts.len(), state.plan.fault_period, state.plan.burst));
    let longest = u64::try_from(fault_period.as_millis()).unwrap();
    let mut times = BTreeMap::new();
    for fact in 0..facts {
        // Half of a subject's webhooks are sent at the same time, so that invocations race.
        let (from, to, copies) = world.with(|state| {
            let (subject, races) = (state.judge.facts[fact].subject, state.rng.bool());
            let time = times.entry(subject).or_insert_with(|| state.rng.u64(..longest));
            // Each duplicate of a provider has its own webhook-id.
            let copies = *state.rng.choice(&[1, 1, 1, 2, 3]).unwrap();
            if races { (*time, *time + 200, copies) } else { (0, longest, copies) }
        });
        for _ in 0..copies {
            let (world, lambda) = (world.clone(), lambda.clone());
            deliveries.spawn(async move {
                world.pause(from, to).await;
                deliver(&world, &lambda, fact).await;
            });
        }
    }
    for n in 0..6 {
        let (world, lambda) = (world.clone(), lambda.clone());
        deliveries.spawn(async move {
            world.pause(0, longest).await;
            if n % 2 == 0 {
                forge(&world, &lambda).await;
            } else {
                lambda.redrive();
            }
        });
    }
    if let Some(at) = burst.filter(|_| facts > 0) {
        let (world, lambda) = (world.clone(), lambda.clone());
        deliveries.spawn(async move {
            tokio::time::sleep(at.try_into().unwrap()).await;
            let burst = (0..500).map(|n| n % facts).collect();
            resend(&world, &lambda, burst).await;
        });
    }
    deliveries
}

/// Resends webhooks, all at once.
async fn resend(world: &World, lambda: &Lambda, facts: Vec<usize>) {
    let mut deliveries = JoinSet::new();
    for fact in facts {
        let (world, lambda) = (world.clone(), lambda.clone());
        deliveries.spawn(async move {
            world.pause(0, 2_000).await;
            deliver(&world, &lambda, fact).await;
        });
    }
    while deliveries.join_next().await.is_some() {}
}

/// Delivers a webhook, with Xendit's retries.
async fn deliver(world: &World, lambda: &Lambda, fact: usize) {
    for n in 0..=RETRY_DELAYS.len() {
        match attempt(world, lambda, fact).await {
            Seen::Success => return,
            // Xendit's older documentation says that a request that ran into its 30 s is not retried.
            Seen::Silence if world.with(|state| state.rng.bool()) => return,
            Seen::Failure | Seen::Silence => {}
        }
        let Some(wait) = RETRY_DELAYS.get(n) else { return };
        tokio::time::sleep((*wait).try_into().unwrap()).await;
    }
}

/// The result of an attempt, as Xendit sees it.
enum Seen {
    Success,
    Failure,
    Silence,
}

async fn attempt(world: &World, lambda: &Lambda, fact: usize) -> Seen {
    const TIMEOUT_MS: u64 = 30_000;
    if world.draws(Fault::PostLost, &"xendit") {
        world.pause(TIMEOUT_MS, TIMEOUT_MS).await;
        return Seen::Silence;
    }
    let (body, token, webhook) = world.with(|state| {
        let token = usize::from(state.plan.rotation.is_some_and(|(rotated, ..)| state.age() >= rotated));
        state.note(&"xendit", || format!("sends fact {fact}"));
        (state.judge.facts[fact].body(state.now), token, state.next_id())
    });
    let request = Request::post("/webhook")
        .header(TOKEN_HEADER, TOKENS[token])
        .header("webhook-id", format!("w-{webhook}"))
        .body(body.into_bytes());
    world.pause(5, 50).await;
    let status = lambda.request(request.unwrap(), Some(fact), Some(token)).await;
    world.pause(5, 50).await;
    if world.draws(Fault::AnswerLost, &"xendit") {
        if world.with(|state| state.rng.bool()) {
            world.pause(TIMEOUT_MS, TIMEOUT_MS).await;
            return Seen::Silence;
        }
        return Seen::Failure;
    }
    if (200..300).contains(&status) { Seen::Success } else { Seen::Failure }
}

/// Sends a webhook without an accepted token.
async fn forge(world: &World, lambda: &Lambda) {
    let request = world.with(|state| {
        let fact = state.rng.choice(&state.judge.facts).cloned();
        let body = fact.map_or_else(|| "{}".to_owned(), |fact| fact.body(state.now));
        let request = Request::post("/webhook");
        let request = match state.rng.u32(..5) {
            0 => request,
            1 => request.header(TOKEN_HEADER, ""),
            2 => request.header(TOKEN_HEADER, "a-token-that-xendit-never-had"),
            3 => request.header(TOKEN_HEADER, TOKENS[0]).header(TOKEN_HEADER, "another"),
            _ => request.header(TOKEN_HEADER, &TOKENS[0][..10]),
        };
        request.body(body.into_bytes()).unwrap()
    });
    lambda.request(request, None, None).await;
}
