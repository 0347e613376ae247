//! Sim: the real cores of both functions in a world of their own: one seed, one thread, virtual time, and a fault
//! wherever there can be one. The same seed does the same again, to the last line of its timeline.
//!
//! In reading order: `plan` is what a seed will do; `world` the clock, chance, and all that AWS holds; `wires` the
//! functions' ports; `lambda` what runs them; `judge` what must be true all along.
//!
//! A story has four acts. Things fail; then they stop failing, and everything drains in bounded time; then people do
//! what the runbook says, once and once more; and after sixty days everything is sent again, and nothing is new.

mod judge;
mod lambda;
mod plan;
mod wires;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use jiff::SignedDuration;
use lambda_http::http::Request;
use receiver::verify::TOKEN_HEADER;
use tokio::task::JoinSet;

pub use self::plan::{Fault, Scene};
use self::{
    judge::Judge,
    lambda::{Lambda, TOKENS},
    plan::Plan,
    world::World,
};
use crate::xendit;

/// The waits between Xendit's attempts.
const LADDER: [SignedDuration; 6] = [
    SignedDuration::from_mins(15),
    SignedDuration::from_mins(45),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(3),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(12),
];

/// How long everything may take once nothing fails any more. The longest wait between two receives is 15 minutes.
const DRAINS_WITHIN: SignedDuration = SignedDuration::from_hours(4);

/// What became of a seed.
#[derive(Debug)]
pub struct Report {
    /// The first thing that was not true.
    pub violation: Option<String>,
    /// How often what happened.
    pub faults: BTreeMap<Fault, u64>,
    /// How many invocations of functions there were.
    pub invocations: u64,
    /// What each actor did, when that was asked for.
    pub timeline: Vec<String>,
}

/// Plays a seed.
pub fn run(seed: u64, scene: Scene, traced: bool) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut dice = Rng::with_seed(seed);
        let plan = Plan::draw(&mut dice, scene);
        let start = world::START.parse().unwrap();
        let judge = Judge::new(xendit::facts(&mut dice, plan.subjects, start));
        let world = World::new(dice, plan, judge, traced);
        world.with(|state| {
            let plan = format!("{:?}", state.plan);
            state.note(&"plan", || plan);
        });
        tokio::select! {
            biased;
            () = world.over() => {}
            () = story(&world) => {}
        }
        world.with(|state| Report {
            violation: state.judge.violation.take(),
            faults: std::mem::take(&mut state.faults),
            invocations: state.invocations,
            timeline: state.take_timeline(),
        })
    })
}

/// The four acts.
async fn story(world: &World) {
    let lambda = Lambda::new(world.clone());
    tokio::task::spawn_local(lambda.clone().poll());
    let mut deliveries = trouble(world, &lambda);
    let (trouble, off) = world.with(|state| (state.plan.trouble, state.plan.processor_off));
    let quiet = trouble.max(off.map_or(trouble, |(_, to)| to));
    tokio::time::sleep(quiet.try_into().unwrap()).await;
    world.note(&"world", || "nothing fails any more".to_owned());
    while deliveries.join_next().await.is_some() {}

    drained(world).await;
    // What Xendit's dashboard does not show as completed is sent again by hand.
    let missing =
        world.with(|state| (0..state.judge.facts.len()).filter(|fact| !state.judge.stored.contains(fact)).collect());
    again(world, &lambda, missing).await;
    drained(world).await;
    let letters = lambda.redrive();
    drained(world).await;
    world.with(|state| {
        let calm = state.plan.calm;
        let table = std::mem::take(&mut state.table);
        state.judge.final_verdict(&table, calm);
        state.table = table;
    });

    let told = world.with(|state| state.judge.told());
    world.note(&"operator", || "redrives the same letters once more".to_owned());
    world.with(|state| {
        for letter in &letters {
            let now = state.now;
            state.send(Arc::clone(&letter.body), &letter.delivery, now);
        }
    });
    drained(world).await;
    tokio::time::sleep(Duration::from_hours(60 * 24)).await;
    world.note(&"xendit", || "sixty days later".to_owned());
    let all = world.with(|state| (0..state.judge.facts.len()).collect());
    again(world, &lambda, all).await;
    drained(world).await;
    world.with(|state| {
        if state.judge.told() != told {
            state.judge.violated(format!("{told:?} events, and {:?} after old news", state.judge.told()));
        }
    });
}

/// Until nothing is under way. That has to be soon.
async fn drained(world: &World) {
    let began = world.now();
    loop {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let left = world.with(|state| state.queue.len() + state.untold.len());
        if left == 0 {
            // Whatever was begun has ended, too.
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        }
        if world.now().duration_since(began) > DRAINS_WITHIN {
            world.with(|state| state.judge.violated(format!("{left} messages do not drain")));
        }
    }
}

/// The first act: everything that Xendit tells, by itself and by hand, with what strangers send in between.
fn trouble(world: &World, lambda: &Lambda) -> JoinSet<()> {
    let mut deliveries = JoinSet::new();
    let (facts, trouble, burst) = world.with(|state| (state.judge.facts.len(), state.plan.trouble, state.plan.burst));
    let longest = u64::try_from(trouble.as_millis()).unwrap();
    let mut moments = BTreeMap::new();
    for fact in 0..facts {
        // Much of what is told of one thing is told at once: that is when runs meet.
        let (from, to, copies) = world.with(|state| {
            let (subject, hurried) = (state.judge.facts[fact].subject, state.dice.bool());
            let moment = moments.entry(subject).or_insert_with(|| state.dice.u64(..longest));
            // A provider's duplicates are told of with a webhook-id of their own.
            let copies = *state.dice.choice(&[1, 1, 1, 2, 3]).unwrap();
            if hurried { (*moment, *moment + 200, copies) } else { (0, longest, copies) }
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
            again(&world, &lambda, burst).await;
        });
    }
    deliveries
}

/// Sends webhooks again by hand: all at once.
async fn again(world: &World, lambda: &Lambda, facts: Vec<usize>) {
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

/// One webhook, tried up to seven times.
async fn deliver(world: &World, lambda: &Lambda, fact: usize) {
    for n in 0..=LADDER.len() {
        match attempt(world, lambda, fact).await {
            Seen::Success => return,
            // By Xendit's older pages, what ran into its 30 s never comes again by itself.
            Seen::Silence if world.with(|state| state.dice.bool()) => return,
            Seen::Failure | Seen::Silence => {}
        }
        let Some(wait) = LADDER.get(n) else { return };
        tokio::time::sleep((*wait).try_into().unwrap()).await;
    }
}

/// What Xendit sees of an attempt.
enum Seen {
    Success,
    Failure,
    Silence,
}

async fn attempt(world: &World, lambda: &Lambda, fact: usize) -> Seen {
    const PATIENCE: u64 = 30_000;
    if world.strikes(Fault::PostLost, &"xendit") {
        world.pause(PATIENCE, PATIENCE).await;
        return Seen::Silence;
    }
    let (body, token, webhook) = world.with(|state| {
        let token = usize::from(state.plan.rotation.is_some_and(|(rotated, ..)| state.age() >= rotated));
        state.note(&"xendit", || format!("sends fact {fact}"));
        (state.judge.facts[fact].body(state.now), token, state.fresh())
    });
    let request = Request::post("/webhook")
        .header(TOKEN_HEADER, TOKENS[token])
        .header("webhook-id", format!("w-{webhook}"))
        .body(body.into_bytes());
    world.pause(5, 50).await;
    let status = lambda.request(request.unwrap(), Some(fact), Some(token)).await;
    world.pause(5, 50).await;
    if world.strikes(Fault::AnswerLost, &"xendit") {
        if world.with(|state| state.dice.bool()) {
            world.pause(PATIENCE, PATIENCE).await;
            return Seen::Silence;
        }
        return Seen::Failure;
    }
    if (200..300).contains(&status) { Seen::Success } else { Seen::Failure }
}

/// A stranger sends what Xendit might have sent, but for the token.
async fn forge(world: &World, lambda: &Lambda) {
    let request = world.with(|state| {
        let fact = state.dice.choice(&state.judge.facts).cloned();
        let body = fact.map_or_else(|| "{}".to_owned(), |fact| fact.body(state.now));
        let request = Request::post("/webhook");
        let request = match state.dice.u32(..5) {
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
