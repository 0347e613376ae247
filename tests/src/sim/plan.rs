//! Plan: what one seed will do to the system. Drawn before anything happens.
//!
//! Each seed has only some kinds of trouble, at rates of its own: a world in which everything fails at once hides what
//! two faults do alone.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::SignedDuration;

/// A fault that a single step can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A call to AWS never arrives, and times out.
    RequestLost,
    /// A call is carried out, and its answer is lost.
    ReplyLost,
    /// A call is carried out after its sender has given up.
    CarriedOutLate,
    /// A call is throttled, or answered 5xx.
    Refused,
    /// A sandbox thaws with a dead connection: its first call fails.
    ConnectionDead,
    /// One entry of a publication is rejected inside a 200.
    EntryRejected,
    /// A sandbox dies between two steps.
    Killed,
    /// A sandbox's clock steps, forward or back.
    ClockStepped,
    /// An invocation is refused for want of concurrency.
    Throttled,
    /// SQS hands a message out twice.
    HandedOutTwice,
    /// A deletion that was answered for was none.
    DeletionLost,
    /// S3 tells of an object twice, or much later.
    ToldOddly,
    /// A request never reaches API Gateway: Xendit waits for 30 s, and may never try again.
    PostLost,
    /// Xendit never sees the answer: a reset, or its 30 s.
    AnswerLost,
    /// The code panics on a message, until the bug is mended.
    Panicked,
    /// A message kills every sandbox that takes it, until the bug is mended.
    KilledByMessage,
    /// A service is down.
    Outage,
}

impl Fault {
    const RANDOM: &[Self] = &[
        Self::RequestLost,
        Self::ReplyLost,
        Self::CarriedOutLate,
        Self::Refused,
        Self::ConnectionDead,
        Self::EntryRejected,
        Self::Killed,
        Self::ClockStepped,
        Self::Throttled,
        Self::HandedOutTwice,
        Self::DeletionLost,
        Self::ToldOddly,
        Self::PostLost,
        Self::AnswerLost,
        Self::Panicked,
        Self::KilledByMessage,
    ];
}

/// What the functions call.
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
    /// SQS, for what the processor does with messages.
    Source,
}

impl Service {
    const ALL: &[Self] = &[Self::Queue, Self::Bucket, Self::Table, Self::Bus, Self::Source];
}

/// What a seed is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Whatever the seed says, this included: nothing at all, or several of the others at once.
    Any,
    /// Nothing fails. Duplicates, disorder and many sandboxes at once are no failures.
    Calm,
    /// The token is rotated at Xendit, and hours later here.
    RotatedAtXenditFirst,
    /// The new token is accepted here before Xendit has it, and the old one refused some time after.
    RotatedHereFirst,
    /// The processor is switched off for three days.
    ProcessorOff,
    /// Five hundred old webhooks are sent again at once.
    Burst,
    /// Clocks are off by up to five minutes, and step.
    Clocks,
}

/// What one seed will do.
#[derive(Debug)]
pub(super) struct Plan {
    /// Nothing fails.
    pub(super) calm: bool,
    /// How many of a thousand steps meet a fault.
    pub(super) odds: BTreeMap<Fault, u32>,
    /// Which services are down, from when to when.
    pub(super) outages: Vec<(Service, SignedDuration, SignedDuration)>,
    /// Whether clocks are off.
    pub(super) skewed: bool,
    /// When Xendit has the new token, when it is accepted here, and when the old one is refused.
    pub(super) rotation: Option<(SignedDuration, SignedDuration, SignedDuration)>,
    /// From when to when the processor is off.
    pub(super) processor_off: Option<(SignedDuration, SignedDuration)>,
    /// When five hundred webhooks are sent again.
    pub(super) burst: Option<SignedDuration>,
    /// Until when things fail.
    pub(super) trouble: SignedDuration,
    /// How many things Xendit tells of.
    pub(super) subjects: usize,
}

impl Plan {
    /// What a seed will do in a scene.
    pub(super) fn draw(dice: &mut Rng, scene: Scene) -> Self {
        let calm = scene == Scene::Calm || (scene == Scene::Any && dice.u32(..5) == 0);
        let trouble = SignedDuration::from_mins(dice.i64(30..24 * 60));
        let mut plan = Self {
            calm,
            odds: BTreeMap::new(),
            outages: Vec::new(),
            skewed: !calm && (scene == Scene::Clocks || dice.u32(..3) == 0),
            rotation: None,
            processor_off: None,
            burst: None,
            trouble,
            subjects: dice.usize(2..10),
        };
        if calm {
            return plan;
        }
        for fault in Fault::RANDOM {
            if dice.u32(..3) == 0 {
                plan.odds.insert(*fault, *dice.choice(&[2, 10, 40, 150]).unwrap());
            }
        }
        if scene == Scene::Clocks {
            plan.odds.insert(Fault::ClockStepped, 100);
        }
        for _ in 0..dice.u32(..3) {
            let from = SignedDuration::from_mins(dice.i64(0..trouble.as_mins()));
            let length = SignedDuration::from_mins(*dice.choice(&[1, 5, 30, 120]).unwrap());
            plan.outages.push((*dice.choice(Service::ALL).unwrap(), from, from + length));
        }
        let rare = |dice: &mut Rng| scene == Scene::Any && dice.u32(..10) == 0;
        let at = SignedDuration::from_mins(dice.i64(5..trouble.as_mins()));
        let gap = SignedDuration::from_mins(dice.i64(1..8 * 60));
        if scene == Scene::RotatedAtXenditFirst || rare(dice) {
            plan.rotation = Some((at, at + gap, at + gap));
        } else if scene == Scene::RotatedHereFirst || rare(dice) {
            // The old one has to stay for as long as the slowest request may be under way.
            plan.rotation = Some((at + gap, at, at + gap + SignedDuration::from_mins(5)));
        }
        if scene == Scene::ProcessorOff || rare(dice) {
            plan.processor_off = Some((at, at + SignedDuration::from_hours(72)));
        }
        if scene == Scene::Burst || (scene == Scene::Any && dice.u32(..200) == 0) {
            plan.burst = Some(at);
        }
        plan
    }
}
