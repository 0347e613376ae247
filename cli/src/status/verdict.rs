//! Verdict: whether money is at risk, why, and what to do next: one answer from all facts.

use serde::Serialize;

use super::facts::{AlarmState, Facts};

/// How old a webhook in the queue may be: three of the four days that the queue keeps it.
const NEARLY_LOST_SECS: u64 = 3 * 86_400;

/// When webhooks are late: as `QueueAgeAlarm` has it.
const LATE_SECS: u64 = 900;

/// So many refused requests in an hour are not a scanner: as `WrongTokenAlarm` has it.
const MANY_REFUSED: u64 = 5;

/// The pages of the alarms that mean that a webhook may not be stored, that an amount may be wrong, or that a consumer does not
/// know about a payment, worst first.
const AT_RISK: [&str; 9] = [
    "server-errors",
    "receiver-errors",
    "receiver-throttles",
    "wrong-token",
    "no-token",
    "throttled",
    "silence",
    "conflict",
    "undelivered",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Money {
    /// A payment may be missed, or may be wrong, if nobody acts.
    AtRisk,
    /// Nothing is lost, but something waits for a person.
    Waiting,
    Safe,
    /// What was read is well, but not all could be read.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    pub(super) money: Money,
    /// In one or two sentences.
    pub(super) why: String,
    /// A command to type, or a page to read.
    pub(super) next: Option<String>,
}

impl Verdict {
    /// The worst that the facts say.
    pub(super) fn of(facts: &Facts) -> Self {
        lost_soon(facts).or_else(|| waiting(facts)).or_else(|| unreadable(facts)).unwrap_or_else(|| Self {
            money: Money::Safe,
            why: "Every webhook that came is processed or about to be.".to_owned(),
            next: None,
        })
    }

    fn new(money: Money, why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { money, why: why.into(), next: Some(next.into()) }
    }
}

fn page(runbook: &str) -> String {
    format!("docs/runbooks/{runbook}.md")
}

/// What may lose a webhook or an event, or make an amount wrong.
fn lost_soon(facts: &Facts) -> Option<Verdict> {
    let hour = facts.traffic.known().map(|traffic| traffic.hour).unwrap_or_default();
    let oldest = facts.oldest_secs.known().copied().unwrap_or_default();
    if hour.not_stored > 0 {
        let why = format!(
            "{} could not be stored in the last hour. Xendit sends them again for 24 hours.",
            webhooks(hour.not_stored)
        );
        return Some(Verdict::new(Money::AtRisk, why, page("server-errors")));
    }
    if hour.refused >= MANY_REFUSED && hour.accepted == 0 {
        let why = format!(
            "All {} requests of the last hour were refused, as after a change of the token at Xendit. Xendit sends them again \
             for 24 hours.",
            hour.refused
        );
        return Some(Verdict::new(Money::AtRisk, why, format!("xendit-hooks token rotate --stack {}", facts.stack)));
    }
    if oldest >= NEARLY_LOST_SECS {
        let why = format!("The oldest webhook has waited for {}. The queue keeps it for 4 days.", hours(oldest));
        return Some(Verdict::new(Money::AtRisk, why, page("queue-age")));
    }
    AT_RISK.iter().find_map(|runbook| {
        let mut ringing = facts.alarms.known()?.iter().filter(|alarm| alarm.state == AlarmState::Alarm);
        let alarm = ringing.find(|alarm| alarm.runbook() == Some(runbook))?;
        Some(Verdict::new(Money::AtRisk, alarm.meaning(), page(runbook)))
    })
}

/// What is not lost, but waits for a person.
fn waiting(facts: &Facts) -> Option<Verdict> {
    let oldest = facts.oldest_secs.known().copied().unwrap_or_default();
    if let Some(trigger) = facts.trigger.known().filter(|trigger| !trigger.is_enabled()) {
        let why = "Nothing is lost yet, but no webhook is processed: the processor's trigger is off. The queue keeps webhooks for \
                   4 days.";
        let next =
            format!("aws lambda update-event-source-mapping --enabled --region {} --uuid {}", facts.region, trigger.id);
        return Some(Verdict::new(Money::Waiting, why, next));
    }
    if let Some(letters) = facts.dead_letters.known().copied().filter(|letters| *letters > 0) {
        let why = format!(
            "Nothing is lost yet, but {} could not be processed. The dead-letter queue keeps each for 14 days.",
            webhooks(letters)
        );
        return Some(Verdict::new(Money::Waiting, why, format!("xendit-hooks dlq list --stack {}", facts.stack)));
    }
    if oldest > LATE_SECS {
        let why = format!("Nothing is lost yet, but webhooks are late: the oldest has waited for {}.", hours(oldest));
        return Some(Verdict::new(Money::Waiting, why, page("queue-age")));
    }
    if let Some(alarm) =
        facts.alarms.known().and_then(|alarms| alarms.iter().find(|alarm| alarm.state == AlarmState::Alarm))
    {
        let next = alarm
            .runbook()
            .map_or_else(|| format!("aws cloudwatch describe-alarms --alarm-names {}", alarm.name), page);
        return Some(Verdict::new(Money::Waiting, alarm.meaning(), next));
    }
    let subscriptions = facts.subscriptions.known().filter(|subscriptions| subscriptions.confirmed == 0)?;
    if subscriptions.pending > 0 {
        let why = "Nothing is wrong, but no alarm would reach anybody: the address for alarms is not confirmed.";
        return Some(Verdict::new(
            Money::Waiting,
            why,
            "click the link in the e-mail \"AWS Notification - Subscription Confirmation\"",
        ));
    }
    let why = "Nothing is wrong, but no alarm would reach anybody: nobody is subscribed.";
    Some(Verdict::new(Money::Waiting, why, "make deploy TO=… REGION=… EMAIL=you@example.com"))
}

/// What would have to be known to say that all is well.
fn unreadable(facts: &Facts) -> Option<Verdict> {
    let parts = [
        ("the log lines", facts.traffic.is_unreadable()),
        ("the queue", facts.queue.is_unreadable() || facts.oldest_secs.is_unreadable()),
        ("the dead-letter queue", facts.dead_letters.is_unreadable()),
        ("the alarms", facts.alarms.is_unreadable()),
        ("the trigger", facts.trigger.is_unreadable()),
        ("who is told about alarms", facts.subscriptions.is_unreadable()),
    ];
    let unreadable: Vec<_> =
        parts.into_iter().filter_map(|(part, is_unreadable)| is_unreadable.then_some(part)).collect();
    if unreadable.is_empty() {
        return None;
    }
    let why = format!("What could be read is well. Not readable: {}.", unreadable.join(", "));
    Some(Verdict::new(Money::Unknown, why, "docs/commands.md lists the permissions that `status` needs"))
}

fn webhooks(count: u64) -> String {
    if count == 1 { "1 webhook".to_owned() } else { format!("{count} webhooks") }
}

fn hours(seconds: u64) -> String {
    if seconds < 2 * 3600 { format!("{} minutes", seconds / 60) } else { format!("{} hours", seconds / 3600) }
}

#[cfg(test)]
mod tests {
    use super::{
        super::facts::{Alarm, Counts, Errors, Part, Queue, Subscriptions, Traffic, Trigger},
        *,
    };

    /// A deployed stack on a good day.
    fn well() -> Facts {
        let alarm = |name: &str, page: &str| Alarm {
            name: format!("xendit-hooks-live-{name}-1A2B"),
            state: AlarmState::Ok,
            description: format!("It is {name}. It has more to say. Runbook: docs/runbooks/{page}.md"),
        };
        Facts {
            stack: "live".to_owned(),
            region: "ap-southeast-1".to_owned(),
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            traffic: Part::Known(Traffic::default()),
            queue: Part::Known(Queue { waiting: 1, in_flight: 1, delayed: 0 }),
            oldest_secs: Part::Known(1),
            dead_letters: Part::Known(0),
            alarms: Part::Known(vec![
                alarm("DriftAlarm", "drift"),
                alarm("ServerErrorsAlarm", "server-errors"),
                alarm("ConflictAlarm", "conflict"),
                alarm("UndeliveredAlarm", "undelivered"),
            ]),
            trigger: Part::Known(Trigger { id: "u-1".to_owned(), state: "Enabled".to_owned() }),
            errors: Part::Known(Errors { receiver: 0, processor: 0 }),
            subscriptions: Part::Known(Subscriptions { confirmed: 1, pending: 0 }),
        }
    }

    fn ring(facts: &mut Facts, index: usize) {
        let Part::Known(alarms) = &mut facts.alarms else { panic!("no alarms") };
        alarms[index].state = AlarmState::Alarm;
    }

    fn hour(facts: &mut Facts, hour: Counts) {
        facts.traffic = Part::Known(Traffic { hour, day: hour, ..Traffic::default() });
    }

    fn no_permission<T>() -> Part<T> {
        Part::Unreadable("no permission for sqs:GetQueueAttributes".to_owned())
    }

    /// Each is worse than the ones before it: with all of them up to one, that one is told.
    #[test]
    fn the_worst_is_told_first() {
        type Situation = (fn(&mut Facts), Money, &'static str, &'static str);
        let situations: &[Situation] = &[
            (|_| {}, Money::Safe, "Every webhook that came is processed", ""),
            (|facts| facts.queue = no_permission(), Money::Unknown, "Not readable: the queue.", "docs/commands.md"),
            (
                |facts| facts.dead_letters = no_permission(),
                Money::Unknown,
                "the queue, the dead-letter queue.",
                "docs/commands.md",
            ),
            (
                |facts| facts.subscriptions = Part::Known(Subscriptions { confirmed: 0, pending: 0 }),
                Money::Waiting,
                "nobody is subscribed",
                "EMAIL=",
            ),
            (
                |facts| facts.subscriptions = Part::Known(Subscriptions { confirmed: 0, pending: 1 }),
                Money::Waiting,
                "is not confirmed",
                "Subscription Confirmation",
            ),
            (|facts| ring(facts, 0), Money::Waiting, "It is DriftAlarm.", "docs/runbooks/drift.md"),
            (
                |facts| facts.oldest_secs = Part::Known(901),
                Money::Waiting,
                "waited for 15 minutes",
                "docs/runbooks/queue-age.md",
            ),
            (
                |facts| facts.dead_letters = Part::Known(2),
                Money::Waiting,
                "2 webhooks could not be processed",
                "dlq list --stack live",
            ),
            (
                |facts| facts.trigger = Part::Known(Trigger { id: "u-1".to_owned(), state: "Disabled".to_owned() }),
                Money::Waiting,
                "the processor's trigger is off",
                "--enabled --region ap-southeast-1 --uuid u-1",
            ),
            (|facts| ring(facts, 3), Money::AtRisk, "It is UndeliveredAlarm.", "docs/runbooks/undelivered.md"),
            (|facts| ring(facts, 2), Money::AtRisk, "It is ConflictAlarm.", "docs/runbooks/conflict.md"),
            (|facts| ring(facts, 1), Money::AtRisk, "It is ServerErrorsAlarm.", "docs/runbooks/server-errors.md"),
            (
                |facts| facts.oldest_secs = Part::Known(3 * 86_400),
                Money::AtRisk,
                "waited for 72 hours",
                "docs/runbooks/queue-age.md",
            ),
            (
                |facts| hour(facts, Counts { refused: 5, ..Counts::default() }),
                Money::AtRisk,
                "All 5 requests of the last hour were refused",
                "token rotate --stack live",
            ),
            (
                |facts| hour(facts, Counts { not_stored: 1, accepted: 9, ..Counts::default() }),
                Money::AtRisk,
                "1 webhook could not be stored",
                "docs/runbooks/server-errors.md",
            ),
        ];
        let mut facts = well();
        for (happens, money, why, next) in situations {
            happens(&mut facts);
            let verdict = Verdict::of(&facts);
            assert_eq!(verdict.money, *money, "{verdict:?}");
            assert!(
                verdict.why.contains(why) && verdict.next.unwrap_or_default().contains(next),
                "{why}: {}",
                verdict.why
            );
        }
    }

    #[test]
    fn what_the_local_stack_does_not_have_is_not_wrong() {
        let mut facts = well();
        facts.alarms = Part::NotHere("none");
        facts.trigger = Part::NotHere("none");
        facts.errors = Part::NotHere("none");
        facts.subscriptions = Part::NotHere("none");
        assert_eq!(Verdict::of(&facts).money, Money::Safe);
        // A few refused requests beside accepted ones are no change of the token.
        hour(&mut facts, Counts { refused: 50, accepted: 1, ..Counts::default() });
        assert_eq!(Verdict::of(&facts).money, Money::Safe);
    }
}
