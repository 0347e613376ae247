//! Situation: what an operator has to recognise on the dashboard. Twelve hours of both functions under ordinary traffic, of
//! which the last ones are broken, with everything that CloudWatch gets to see: log lines and metrics.
//!
//! **Invariant:** a situation is the same each time.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use lambda_http::http::Request;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

use super::{
    deliver,
    judge::Judge,
    lambda::Lambda,
    meter::Meter,
    plan::{Fault, Plan, Service},
    world::{self, World},
};
use crate::xendit;

/// How long CloudWatch looks back, as the dashboard does.
const SHOWN: SignedDuration = SignedDuration::from_hours(12);

/// In the hours that are shown, and in the one before.
const WEBHOOKS: usize = 13 * 120;

/// What has happened to a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// Nothing.
    Healthy,
    /// The callback token was changed at Xendit, and not here.
    TokenChanged,
    /// A webhook URL was removed at Xendit: nothing comes in.
    Silence,
    /// DynamoDB is down.
    LedgerDown,
    /// SQS takes no new messages, so webhooks are stored in S3.
    QueueDown,
    /// A deployment crashes on every webhook.
    ProcessorCrashes,
    /// The processor's trigger was disabled.
    TriggerDisabled,
    /// Xendit's webhooks have a new format. Some cannot be read at all.
    FormatChanged,
    /// Somebody sends more requests than API Gateway lets through, without a token.
    Flood,
}

impl Situation {
    /// Every situation.
    pub const ALL: &[Self] = &[
        Self::Healthy,
        Self::TokenChanged,
        Self::Silence,
        Self::LedgerDown,
        Self::QueueDown,
        Self::ProcessorCrashes,
        Self::TriggerDisabled,
        Self::FormatChanged,
        Self::Flood,
    ];

    /// The name, for files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::TokenChanged => "token-changed",
            Self::Silence => "silence",
            Self::LedgerDown => "ledger-down",
            Self::QueueDown => "queue-down",
            Self::ProcessorCrashes => "processor-crashes",
            Self::TriggerDisabled => "trigger-disabled",
            Self::FormatChanged => "format-changed",
            Self::Flood => "flood",
        }
    }

    /// How long before the end it begins.
    const fn lasts(self) -> SignedDuration {
        SignedDuration::from_mins(match self {
            Self::Healthy => 0,
            Self::TokenChanged => 4 * 60,
            Self::Silence => 7 * 60,
            Self::LedgerDown | Self::QueueDown => 55,
            Self::ProcessorCrashes => 75,
            Self::TriggerDisabled => 90,
            Self::FormatChanged => 3 * 60,
            Self::Flood => 6,
        })
    }

    /// The faults. `begins` and `ends` count from the start of the simulation.
    fn plan(self, begins: SignedDuration, ends: SignedDuration) -> Plan {
        let during = |service| vec![(service, begins, ends)];
        Plan {
            calm: false,
            rates: BTreeMap::from_iter((self == Self::ProcessorCrashes).then_some((Fault::KilledByMessage, 0))),
            outages: match self {
                Self::LedgerDown => during(Service::Table),
                Self::QueueDown => during(Service::Queue),
                _ => Vec::new(),
            },
            skewed: false,
            rotation: (self == Self::TokenChanged).then_some((begins, SignedDuration::MAX, SignedDuration::MAX)),
            processor_off: (self == Self::TriggerDisabled).then_some((begins, ends)),
            burst: None,
            fault_period: ends,
            subjects: WEBHOOKS,
        }
    }

    /// Plays it, and returns what CloudWatch has in the end.
    pub fn play(self) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, self.run())
    }

    async fn run(self) -> Value {
        let start: Timestamp = world::START.parse().unwrap();
        let shown_from = "2026-01-02T04:00:00Z".parse::<Timestamp>().unwrap();
        let end = shown_from + SHOWN;
        let (ends, begins) = (end.duration_since(start), end.duration_since(start) - self.lasts());

        let mut rng = Rng::with_seed(1);
        let times = arrivals(&mut rng, ends);
        let mut facts = xendit::day(&mut rng, WEBHOOKS, start - SignedDuration::from_mins(10));
        for (fact, _) in facts.iter_mut().zip(&times).filter(|(_, at)| **at >= begins) {
            match self {
                Self::ProcessorCrashes => fact.as_killer(),
                Self::FormatChanged => fact.in_another_format(fact.subject % 4 > 0),
                _ => {}
            }
        }
        let world = World::new(rng, self.plan(begins, ends), Judge::new(facts), false);
        world.with(|state| state.meter = Some(Meter::new(start)));
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_timer(VirtualTime(world.clone()))
            .with_writer({
                let lines = lines.clone();
                move || lines.clone()
            })
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);

        let lambda = Lambda::new(world.clone(), None);
        tokio::task::spawn_local(lambda.clone().poll());
        tokio::task::spawn_local(sample(world.clone()));
        for (fact, at) in times.into_iter().enumerate() {
            if self == Self::Silence && at >= begins {
                break;
            }
            let (world, lambda) = (world.clone(), lambda.clone());
            tokio::task::spawn_local(async move {
                sleep(at.try_into().unwrap()).await;
                deliver(&world, &lambda, fact).await;
            });
        }
        if self == Self::Flood {
            tokio::task::spawn_local(flood(lambda.clone(), begins));
        }
        sleep(ends.try_into().unwrap()).await;
        let (points, access_log) = world.with(|state| {
            // Whatever breaks, no webhook is lost, and none is applied twice.
            assert_eq!(state.judge.violation, None, "{self:?}");
            state.meter.as_mut().unwrap().take()
        });
        let (receiver, processor) = lines.take().into_iter().partition(is_receivers);
        let logs = json!({ "ReceiverLogs": without_target(receiver), "ProcessorLogs": without_target(processor),
            "AccessLogs": access_log });
        json!({ "situation": self.name(), "from": shown_from, "to": end, "points": points, "lines": logs })
    }
}

/// When webhooks are sent, in order.
fn arrivals(rng: &mut Rng, until: SignedDuration) -> Vec<SignedDuration> {
    let longest = i64::try_from(until.as_millis()).unwrap();
    let mut times: Vec<_> = (0..WEBHOOKS).map(|_| SignedDuration::from_millis(rng.i64(0..longest))).collect();
    times.sort_unstable();
    times
}

/// Measures the queues at the end of each minute.
async fn sample(world: World) {
    loop {
        sleep(Duration::from_mins(1)).await;
        world.with(|state| {
            let now = state.now;
            if let Some(meter) = &mut state.meter {
                meter.sample(now, &state.sqs);
            }
        });
    }
}

/// Sends requests without a token for a minute and a half, more each second than API Gateway lets through.
async fn flood(lambda: Lambda, begins: SignedDuration) {
    sleep(begins.try_into().unwrap()).await;
    for _ in 0..15_000 {
        let request = Request::post("/webhook").body(b"{}".to_vec()).unwrap();
        let lambda = lambda.clone();
        tokio::task::spawn_local(async move { lambda.request(request, None, None).await });
        sleep(Duration::from_millis(6)).await;
    }
}

fn is_receivers(line: &Value) -> bool {
    line["target"].as_str().is_some_and(|target| target.starts_with("receiver"))
}

/// The functions do not log where in the code a line is.
fn without_target(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("target");
    }
    lines
}

struct VirtualTime(World);

impl FormatTime for VirtualTime {
    fn format_time(&self, text: &mut Writer<'_>) -> fmt::Result {
        write!(text, "{}", self.0.now())
    }
}

/// The log lines of both functions.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn take(&self) -> Vec<Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}
