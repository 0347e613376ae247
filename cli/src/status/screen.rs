//! Screen: the facts and the verdict on one screen of 80 columns, the most important first.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::{
    facts::{AlarmState, Facts, Part, Reason, Traffic},
    verdict::{Money, Verdict},
};
use crate::{
    columns::{WIDTH, wrapped},
    dev::printable,
    dlq::age,
};

/// The width of the names of the rows.
const NAME: usize = 15;

/// How many reasons are shown.
const REASONS: usize = 3;

pub(super) fn show(name: &str, facts: &Facts, verdict: &Verdict) -> String {
    let (word, colour) = match verdict.money {
        Money::AtRisk => ("YES.", AnsiColor::Red),
        Money::Waiting => ("Not yet.", AnsiColor::Yellow),
        Money::Safe => ("No.", AnsiColor::Green),
        Money::Unknown => ("Not known.", AnsiColor::Yellow),
    };
    let style = Style::new().fg_color(Some(colour.into())).bold();
    let mut screen = Screen(String::new());
    screen.line(&format!("{name} in {}, {} UTC\n", facts.region, facts.at.strftime("%F %T")));
    let why = wrapped(&printable(&format!("{word} {}", verdict.why)), WIDTH - NAME).join(&format!("\n{:NAME$}", ""));
    screen.line(&format!("{:NAME$}{style}{why}{style:#}", "Money at risk?"));
    // Not wrapped, so that it can be copied.
    if let Some(next) = &verdict.next {
        screen.line(&format!("{:NAME$}{}", "  next", printable(next)));
    }
    screen.line("");
    screen.money_in(facts);
    screen.queue(facts);
    screen.alarms(name, facts);
    screen.functions(facts);
    screen.tokens(facts);
    screen.row(
        "Alarm e-mails",
        &part(&facts.subscriptions, |subscriptions| match (subscriptions.confirmed, subscriptions.pending) {
            (0, 0) => "nobody is subscribed".to_owned(),
            (confirmed, 0) => format!("{confirmed} confirmed"),
            (confirmed, pending) => format!("{confirmed} confirmed; {pending} not: AWS's e-mail has a link to click"),
        }),
    );
    screen.0
}

struct Screen(String);

impl Screen {
    fn line(&mut self, text: &str) {
        self.0 += text;
        self.0.push('\n');
    }

    /// A row, on several lines if it is long.
    fn row(&mut self, name: &str, text: &str) {
        let lines = wrapped(&printable(text), WIDTH - NAME);
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            self.line(format!("{name:NAME$}{line}").trim_end());
        }
    }

    fn money_in(&mut self, facts: &Facts) {
        let Some(traffic) = facts.traffic.known() else {
            return self.row("Money in", &part(&facts.traffic, |_| String::new()));
        };
        let Traffic { hour, day, last, refused, parked, retried, .. } = traffic;
        self.row("Money in", "last hour  last day");
        for (name, hour, day, note) in [
            ("  accepted", hour.accepted, day.accepted, String::new()),
            ("  applied", hour.applied, day.applied, format!("already known: {}", day.known)),
            ("  money moved", hour.money, day.money, "paid, paid out, refunded …".to_owned()),
            ("  events", hour.events, day.events, "published".to_owned()),
        ] {
            self.row(name, &format!("{hour:>9}  {day:>8}  {note}"));
        }
        let (hour_refused, day_refused) = (hour.refused + hour.not_stored, day.refused + day.not_stored);
        if day_refused > 0 {
            self.row("  refused", &format!("{hour_refused:>9}  {day_refused:>8}  {}", listed(refused)));
        }
        if day.parked > 0 {
            self.row("  parked", &format!("{:>9}  {:>8}  {}", hour.parked, day.parked, listed(parked)));
        }
        if !retried.is_empty() {
            self.row("Retries", &format!("last hour: {}", listed(retried)));
        }
        let last = last.as_ref().map(|last| {
            let what =
                last.stage.as_ref().map(|stage| format!("; the last that was processed: {stage}")).unwrap_or_default();
            format!("{}, {} ago{what}", clock(last.at), age(facts.at, last.at))
        });
        self.row("Last webhook", &last.unwrap_or_else(|| "none in the last day".to_owned()));
    }

    fn queue(&mut self, facts: &Facts) {
        let counts = part(&facts.queue, |queue| {
            let delayed = if queue.delayed > 0 { format!(", {} delayed", queue.delayed) } else { String::new() };
            format!("{} waiting, {} in flight{delayed}", queue.waiting, queue.in_flight)
        });
        let oldest = part(&facts.oldest_secs, |seconds| format!("the oldest has waited for {seconds} s"));
        self.row("Queue", &format!("{counts}; {oldest}"));
        self.row(
            "Dead letters",
            &part(&facts.dead_letters, |letters| match letters {
                0 => "none".to_owned(),
                letters => format!("{letters}; `xendit-hooks dlq list --stack {}` says why", facts.stack),
            }),
        );
        self.row(
            "Inbox",
            &part(&facts.traffic, |traffic| match traffic.day.in_inbox {
                0 => "not used in the last day".to_owned(),
                count => format!(
                    "{count} stored there in the last day: {}; `xendit-hooks inbox plan --stack {}` lists those that wait",
                    listed(&traffic.in_inbox),
                    facts.stack
                ),
            }),
        );
    }

    fn alarms(&mut self, stack: &str, facts: &Facts) {
        self.row(
            "Alarms",
            &part(&facts.alarms, |alarms| {
                let count = |state| alarms.iter().filter(|alarm| alarm.state == state).count();
                format!(
                    "{} in ALARM, {} OK, {} without enough data",
                    count(AlarmState::Alarm),
                    count(AlarmState::Ok),
                    count(AlarmState::InsufficientData)
                )
            }),
        );
        let alarms = facts.alarms.known().into_iter().flatten();
        for alarm in alarms.filter(|alarm| alarm.state == AlarmState::Alarm) {
            let page = alarm.runbook().map(|page| format!("docs/runbooks/{page}.md")).unwrap_or_default();
            self.row("", &format!("{:<24} {page}", alarm.short_name(stack)));
        }
    }

    fn functions(&mut self, facts: &Facts) {
        self.row(
            "Trigger",
            &part(&facts.trigger, |trigger| {
                let state = if trigger.is_enabled() { "on" } else { "OFF: no webhook is processed" };
                format!("{state} ({})", trigger.state)
            }),
        );
        self.row(
            "Errors",
            &part(&facts.errors, |errors| {
                format!("receiver {}, processor {} in the last hour", errors.receiver, errors.processor)
            }),
        );
    }

    fn tokens(&mut self, facts: &Facts) {
        let Some(traffic) = facts.traffic.known() else { return };
        let tokens = traffic
            .tokens
            .iter()
            .map(|(label, token)| format!("{label} ({}, last {} ago)", token.webhooks, age(facts.at, token.last)));
        let tokens = tokens.collect::<Vec<_>>().join(", ");
        self.row("Tokens", if tokens.is_empty() { "none used in the last day" } else { &tokens });
    }
}

/// A part in words, or why there are none.
fn part<T>(part: &Part<T>, text: impl Fn(&T) -> String) -> String {
    match part {
        Part::Known(known) => text(known),
        Part::Unreadable(why) => format!("not readable: {why}"),
        Part::NotHere(why) => (*why).to_owned(),
    }
}

fn listed(reasons: &[Reason]) -> String {
    let shown = reasons.iter().take(REASONS).map(|Reason { reason, webhooks }| format!("{reason} ({webhooks})"));
    let more = (reasons.len() > REASONS).then(|| format!("{} other reasons", reasons.len() - REASONS));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn clock(at: Timestamp) -> String {
    at.strftime("%F %T UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::facts::Counts, *};

    #[test]
    fn the_inbox_has_the_command_that_lists_what_waits_there() {
        let traffic = Traffic { day: Counts { in_inbox: 2, ..Counts::default() }, ..Traffic::default() };
        let facts = Facts {
            stack: "live".to_owned(),
            region: "ap-southeast-3".to_owned(),
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            traffic: Part::Known(traffic),
            queue: Part::NotHere("not here"),
            oldest_secs: Part::NotHere("not here"),
            dead_letters: Part::NotHere("not here"),
            alarms: Part::NotHere("not here"),
            trigger: Part::NotHere("not here"),
            errors: Part::NotHere("not here"),
            subscriptions: Part::NotHere("not here"),
        };
        let screen = show("xendit-hooks-live", &facts, &Verdict::of(&facts)).replace(&format!("\n{:NAME$}", ""), " ");
        assert!(
            screen.contains("2 stored there") && screen.contains("`xendit-hooks inbox plan --stack live`"),
            "{screen}"
        );
    }
}
