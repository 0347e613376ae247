//! Plan: the faults that one seed injects, drawn before the simulation starts.
//!
//! Each seed has only some faults, at rates of its own. If everything failed at once, the effect of two faults together
//! would be hidden.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::SignedDuration;

/// A fault that can hit a single step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A call to AWS never arrives, and times out.
    RequestLost,
    /// A call takes effect, but its reply is lost.
    ReplyLost,
    /// A call takes effect after the caller timed out.
    TakesEffectLate,
    /// A call is throttled, or answered 5xx.
    Refused,
    /// A sandbox thaws with a dead connection: its first call fails.
    ConnectionDead,
    /// One entry of a `PutEvents` call is rejected inside a 200.
    EntryRejected,
    /// A sandbox dies between two steps.
    Killed,
    /// A sandbox's clock steps, forward or back.
    ClockStepped,
    /// An invocation is refused because the concurrency limit is reached.
    Throttled,
    /// SQS delivers a message twice.
    DeliveredTwice,
    /// SQS confirms a deletion, but keeps the message.
    DeletionLost,
    /// S3 sends a notification twice, or late.
    OddNotification,
    /// A request never reaches API Gateway. Xendit waits for 30 s, and may not retry.
    PostLost,
    /// Xendit never sees the answer: the connection is reset, or its 30 s are over.
    AnswerLost,
    /// The code panics on a message, until the bug is fixed.
    Panicked,
    /// A message kills every sandbox that receives it, until the bug is fixed.
    KilledByMessage,
    /// A service is down.
    Outage,
}

impl Fault {
    const RANDOM: &[Self] = &[
        Self::RequestLost,
        Self::ReplyLost,
        Self::TakesEffectLate,
        Self::Refused,
        Self::ConnectionDead,
        Self::EntryRejected,
        Self::Killed,
        Self::ClockStepped,
        Self::Throttled,
        Self::DeliveredTwice,
        Self::DeletionLost,
        Self::OddNotification,
        Self::PostLost,
        Self::AnswerLost,
        Self::Panicked,
        Self::KilledByMessage,
    ];
}

/// A service that the functions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// SQS, for new messages.
    Queue,
    /// S3.
    Bucket,
    /// DynamoDB.
    Table,
    /// EventBridge.
    Bus,
    /// SQS, when the processor delays or parks messages.
    Source,
}

impl Service {
    const ALL: &[Self] = &[Self::Queue, Self::Bucket, Self::Table, Self::Bus, Self::Source];
}

/// The scenario of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Drawn from the seed: no faults at all, or any mix of faults and of the other scenes.
    Any,
    /// No faults. Duplicates, disorder and concurrency are not faults.
    Calm,
    /// The token is rotated at Xendit, and hours later here.
    RotatedAtXenditFirst,
    /// The new token is accepted here before Xendit uses it, and the old one is refused some time later.
    RotatedHereFirst,
    /// The processor is off for three days.
    ProcessorOff,
    /// Five hundred old webhooks are resent at once.
    Burst,
    /// Clocks are off by up to five minutes, and step.
    Clocks,
}

/// The faults and special conditions of one seed.
#[derive(Debug)]
pub(super) struct Plan {
    /// Whether there are no faults at all.
    pub(super) calm: bool,
    /// The rate of each fault, per thousand steps.
    pub(super) rates: BTreeMap<Fault, u32>,
    /// Outages: the service, the start and the end.
    pub(super) outages: Vec<(Service, SignedDuration, SignedDuration)>,
    /// Whether the sandboxes' clocks are off.
    pub(super) skewed: bool,
    /// When Xendit starts to use the new token, when it is accepted here, and when the old one is refused.
    pub(super) rotation: Option<(SignedDuration, SignedDuration, SignedDuration)>,
    /// When the processor is off, from start to end.
    pub(super) processor_off: Option<(SignedDuration, SignedDuration)>,
    /// When five hundred webhooks are resent.
    pub(super) burst: Option<SignedDuration>,
    /// How long faults are injected.
    pub(super) fault_period: SignedDuration,
    /// The number of subjects.
    pub(super) subjects: usize,
}

impl Plan {
    /// Draws the plan of a seed.
    pub(super) fn draw(rng: &mut Rng, scene: Scene) -> Self {
        let calm = scene == Scene::Calm || (scene == Scene::Any && rng.u32(..5) == 0);
        let fault_period = SignedDuration::from_mins(rng.i64(30..24 * 60));
        let mut plan = Self {
            calm,
            rates: BTreeMap::new(),
            outages: Vec::new(),
            skewed: !calm && (scene == Scene::Clocks || rng.u32(..3) == 0),
            rotation: None,
            processor_off: None,
            burst: None,
            fault_period,
            subjects: rng.usize(2..10),
        };
        if calm {
            return plan;
        }
        for fault in Fault::RANDOM {
            if rng.u32(..3) == 0 {
                plan.rates.insert(*fault, *rng.choice(&[2, 10, 40, 150]).unwrap());
            }
        }
        if scene == Scene::Clocks {
            plan.rates.insert(Fault::ClockStepped, 100);
        }
        for _ in 0..rng.u32(..3) {
            let from = SignedDuration::from_mins(rng.i64(0..fault_period.as_mins()));
            let length = SignedDuration::from_mins(*rng.choice(&[1, 5, 30, 120]).unwrap());
            plan.outages.push((*rng.choice(Service::ALL).unwrap(), from, from + length));
        }
        let rare = |rng: &mut Rng| scene == Scene::Any && rng.u32(..10) == 0;
        let at = SignedDuration::from_mins(rng.i64(5..fault_period.as_mins()));
        let gap = SignedDuration::from_mins(rng.i64(1..8 * 60));
        if scene == Scene::RotatedAtXenditFirst || rare(rng) {
            plan.rotation = Some((at, at + gap, at + gap));
        } else if scene == Scene::RotatedHereFirst || rare(rng) {
            // The old token stays accepted until the slowest request in flight is over.
            plan.rotation = Some((at + gap, at, at + gap + SignedDuration::from_mins(5)));
        }
        if scene == Scene::ProcessorOff || rare(rng) {
            plan.processor_off = Some((at, at + SignedDuration::from_hours(72)));
        }
        if scene == Scene::Burst || (scene == Scene::Any && rng.u32(..200) == 0) {
            plan.burst = Some(at);
        }
        plan
    }
}
