//! Read: gathers the facts of a stack, each part with a call of its own and all at the same time.
//!
//! **Invariant:** it only reads. It receives no message, so that none is hidden. A part that cannot be read says why, and the
//! others are read all the same.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aws_config::SdkConfig;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::canary;

use super::facts::{Alarm, AlarmState, Errors, Facts, Group, Part, Queue, Subscriptions, Token, Traffic, Trigger};
use crate::{
    aws::{Caller, Service, xml_value},
    logs::{CANARY, Line, Logs, Outcome},
    queue::counts,
    stack::{Deployed, Stack},
};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Counts in CloudWatch Logs, so that a million lines are no more to read than ten. Canaries are left out.
fn query() -> String {
    let (topic, stage) = (canary::TOPIC, CANARY.as_str());
    format!(
        "filter ispresent(outcome) \
         | filter not ispresent(topic) or topic != \"{topic}\" \
         | filter not ispresent(stage) or stage != \"{stage}\" \
         | stats count(*) as lines, sum(events) as published, max(@timestamp) as newest by outcome, token, stage, reason"
    )
}

/// The most groups that one query returns.
const MAX_GROUPS: u32 = 10_000;

/// How often to ask whether a query is done.
const POLL: Duration = Duration::from_millis(300);

/// How long a query may take.
const QUERY_TIME: Duration = Duration::from_secs(30);

/// The metrics come every minute, some minutes late.
const METRIC_PERIOD_SECS: u32 = 300;

pub(super) async fn facts(name: &str, stack: &Stack) -> Facts {
    let (aws, at) = (stack.aws().await, Timestamp::now());
    match &stack.deployed {
        Some(deployed) => Box::pin(read_deployed(name, stack, deployed, &aws, at)).await,
        None => read_local(name, stack, &aws, at).await,
    }
}

async fn read_local(name: &str, stack: &Stack, aws: &SdkConfig, at: Timestamp) -> Facts {
    let sqs = aws_sdk_sqs::Client::new(aws);
    let lines = async { Logs::new(stack, aws, at - DAY)?.read().await };
    let (lines, queue, dead_letters) =
        tokio::join!(lines, queue(&sqs, &stack.queue_url), dead_letters(&sqs, &stack.dlq_url));
    let oldest = lines.as_ref().map(|lines| oldest_secs(lines, at)).map_err(|error| format!("{error:#}"));
    Facts {
        stack: name.to_owned(),
        region: stack.region.clone(),
        at,
        traffic: lines.map(|lines| of_lines(&lines, at)).into(),
        queue: queue.into(),
        oldest_secs: oldest.map_or_else(Part::Unreadable, Part::Known),
        dead_letters: dead_letters.into(),
        alarms: Part::NotHere("the local stack has none"),
        trigger: Part::NotHere("`make run` itself hands messages to the processor"),
        errors: Part::NotHere("the local stack has no metrics; if a function ends, the stack stops"),
        subscriptions: Part::NotHere("the local stack has no alarms"),
    }
}

async fn read_deployed(name: &str, stack: &Stack, deployed: &Deployed, aws: &SdkConfig, at: Timestamp) -> Facts {
    let sqs = aws_sdk_sqs::Client::new(aws);
    let (traffic, queue, metrics, dead_letters, alarms, trigger, subscriptions) = tokio::join!(
        traffic(deployed, aws, at),
        queue(&sqs, &stack.queue_url),
        metrics(stack, deployed, aws, at),
        dead_letters(&sqs, &stack.dlq_url),
        alarms(deployed, aws),
        trigger(deployed, aws),
        subscriptions(deployed, aws),
    );
    let (oldest_secs, errors) = match metrics {
        Ok((oldest, errors)) => (Part::Known(oldest), Part::Known(errors)),
        Err(error) => (Part::Unreadable(format!("{error:#}")), Part::Unreadable(format!("{error:#}"))),
    };
    Facts {
        stack: name.to_owned(),
        region: stack.region.clone(),
        at,
        traffic: traffic.into(),
        queue: queue.into(),
        oldest_secs,
        dead_letters: dead_letters.into(),
        alarms: alarms.into(),
        trigger: trigger.into(),
        errors,
        subscriptions: subscriptions.into(),
    }
}

async fn queue(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<Queue> {
    let [waiting, in_flight, delayed] = counts(sqs, url).await?;
    Ok(Queue { waiting, in_flight, delayed })
}

async fn dead_letters(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<u64> {
    Ok(counts(sqs, url).await?.iter().sum())
}

// --- The log lines ------------------------------------------------------------------------------------------------------

/// What the lines about webhooks say. Canaries are left out.
fn of_lines(lines: &[Line], at: Timestamp) -> Traffic {
    let day: Vec<_> = lines.iter().filter(|line| !line.is_canary()).map(Group::from).collect();
    let hour: Vec<_> = day.iter().filter(|group| group.newest >= at - HOUR).cloned().collect();
    Traffic::new(&hour, &day)
}

impl From<&Line> for Group {
    fn from(line: &Line) -> Self {
        Self {
            outcome: line.outcome,
            token: line.token.clone(),
            stage: line.stage(),
            reason: line.reason.clone(),
            lines: 1,
            events: line.events,
            newest: line.at,
        }
    }
}

/// How long the oldest webhook has waited that the processor is not done with.
fn oldest_secs(lines: &[Line], at: Timestamp) -> u64 {
    let done: HashSet<_> =
        lines.iter().filter(|line| line.outcome.is_final()).filter_map(|line| line.delivery.as_ref()).collect();
    let waits =
        |line: &&Line| line.outcome.is_accepted() && line.delivery.as_ref().is_some_and(|id| !done.contains(id));
    let oldest = lines.iter().filter(waits).map(|line| line.at).min();
    oldest.map_or(0, |oldest| u64::try_from(at.duration_since(oldest).as_secs()).unwrap_or_default())
}

/// The labels of the tokens with which webhooks came in the last day.
pub(crate) async fn tokens(deployed: &Deployed, aws: &SdkConfig, at: Timestamp) -> Result<BTreeMap<String, Token>> {
    let day = count(&Caller::new(aws, Service::Logs)?, groups(deployed)?, at, DAY).await?;
    Ok(Traffic::new(&[], &day).tokens)
}

async fn traffic(deployed: &Deployed, aws: &SdkConfig, at: Timestamp) -> Result<Traffic> {
    let (logs, groups) = (Caller::new(aws, Service::Logs)?, groups(deployed)?);
    let (hour, day) = tokio::try_join!(count(&logs, groups, at, HOUR), count(&logs, groups, at, DAY))?;
    Ok(Traffic::new(&hour, &day))
}

fn groups(deployed: &Deployed) -> Result<[&str; 2]> {
    Ok([deployed.output("ReceiverLogGroupName")?, deployed.output("ProcessorLogGroupName")?])
}

/// Counts the lines of some log groups in the time before a moment.
async fn count(logs: &Caller, groups: [&str; 2], at: Timestamp, time: Duration) -> Result<Vec<Group>> {
    let query = json!({
        "logGroupNames": groups, "queryString": query(), "limit": MAX_GROUPS,
        "startTime": (at - time).as_second(), "endTime": at.as_second(),
    });
    let started = logs.json("StartQuery", &query).await?;
    let id = started.get("queryId").context("CloudWatch Logs did not start the query")?;
    let done = tokio::time::timeout(QUERY_TIME, async {
        loop {
            let answer = logs.json("GetQueryResults", &json!({ "queryId": id })).await?;
            match answer.get("status").and_then(Value::as_str) {
                Some("Complete") => return Ok(answer),
                Some("Scheduled" | "Running") => tokio::time::sleep(POLL).await,
                other => bail!("the query of the log groups ended as {}", other.unwrap_or("unknown")),
            }
        }
    });
    let answer = done.await.context("the query of the log groups took too long")??;
    let rows = answer.get("results").and_then(Value::as_array);
    Ok(rows.into_iter().flatten().filter_map(group).collect())
}

/// A row of a query: its fields with their values, all as text.
fn group(row: &Value) -> Option<Group> {
    let text = |name: &str| {
        let field = row.as_array()?.iter().find(|field| field.get("field").and_then(Value::as_str) == Some(name))?;
        field.get("value")?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Some(Group {
        outcome: serde_json::from_value::<Outcome>(text("outcome")?.into()).ok()?,
        token: text("token"),
        stage: text("stage").and_then(|stage| stage.try_into().ok()),
        reason: text("reason"),
        lines: whole(&text("lines")?)?,
        events: text("published").and_then(|text| whole(&text)).unwrap_or_default(),
        newest: Timestamp::from_millisecond(whole(&text("newest")?)?.try_into().ok()?).ok()?,
    })
}

/// The whole part of a number that may be written with decimals.
fn whole(number: &str) -> Option<u64> {
    number.split('.').next()?.parse().ok()
}

// --- CloudWatch, Lambda, SNS ----------------------------------------------------------------------------------------------

/// How long the oldest webhook has waited, and the errors of the functions.
async fn metrics(stack: &Stack, deployed: &Deployed, aws: &SdkConfig, at: Timestamp) -> Result<(u64, Errors)> {
    let query = |id: &str, namespace: &str, metric: &str, (dimension, value): (&str, &str), stat: &str| {
        let dimensions = [json!({ "Name": dimension, "Value": value })];
        let metric = json!({ "Namespace": namespace, "MetricName": metric, "Dimensions": dimensions });
        json!({ "Id": id, "MetricStat": { "Metric": metric, "Period": METRIC_PERIOD_SECS, "Stat": stat } })
    };
    let queue = stack.queue_url.rsplit('/').next().unwrap_or_default();
    let receiver = ("FunctionName", deployed.output("ReceiverFunctionName")?);
    let processor = ("FunctionName", deployed.output("ProcessorFunctionName")?);
    let input = json!({
        "StartTime": (at - HOUR).as_second(), "EndTime": at.as_second(), "ScanBy": "TimestampDescending",
        "MetricDataQueries": [
            query("age", "AWS/SQS", "ApproximateAgeOfOldestMessage", ("QueueName", queue), "Maximum"),
            query("receiver", "AWS/Lambda", "Errors", receiver, "Sum"),
            query("processor", "AWS/Lambda", "Errors", processor, "Sum"),
        ],
    });
    let answer = Caller::new(aws, Service::CloudWatch)?.json("GetMetricData", &input).await?;
    let values = |id: &str| -> Vec<u64> {
        let results = answer.get("MetricDataResults").and_then(Value::as_array).into_iter().flatten();
        let mut results = results.filter(|result| result.get("Id").and_then(Value::as_str) == Some(id));
        let values = results.next().and_then(|result| result.get("Values")?.as_array()).into_iter().flatten();
        values.filter_map(|value| whole(&value.to_string())).collect()
    };
    let errors = Errors { receiver: values("receiver").iter().sum(), processor: values("processor").iter().sum() };
    Ok((values("age").first().copied().unwrap_or_default(), errors))
}

/// The alarms that notify the stack's topic.
async fn alarms(deployed: &Deployed, aws: &SdkConfig) -> Result<Vec<Alarm>> {
    let cloudwatch = Caller::new(aws, Service::CloudWatch)?;
    let mut input = json!({
        "ActionPrefix": deployed.output("AlarmTopicArn")?, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 100,
    });
    let mut alarms = Vec::new();
    loop {
        let answer = cloudwatch.json("DescribeAlarms", &input).await?;
        let kinds = ["MetricAlarms", "CompositeAlarms"].map(|kind| answer.get(kind).and_then(Value::as_array));
        alarms.extend(kinds.into_iter().flatten().flatten().filter_map(alarm));
        let Some(token) = answer.get("NextToken").filter(|token| token.is_string()) else { break };
        if let Some(input) = input.as_object_mut() {
            input.insert("NextToken".to_owned(), token.clone());
        }
    }
    alarms.sort_by(|one: &Alarm, other| (one.state, &one.name).cmp(&(other.state, &other.name)));
    Ok(alarms)
}

fn alarm(alarm: &Value) -> Option<Alarm> {
    let text = |key: &str| alarm.get(key)?.as_str();
    Some(Alarm {
        name: text("AlarmName")?.to_owned(),
        state: match text("StateValue")? {
            "OK" => AlarmState::Ok,
            "ALARM" => AlarmState::Alarm,
            _ => AlarmState::InsufficientData,
        },
        description: text("AlarmDescription").unwrap_or_default().to_owned(),
    })
}

async fn trigger(deployed: &Deployed, aws: &SdkConfig) -> Result<Trigger> {
    let processor = deployed.output("ProcessorFunctionName")?;
    let path = format!("/2015-03-31/event-source-mappings/?FunctionName={processor}");
    let answer = Caller::new(aws, Service::Lambda)?.get("ListEventSourceMappings", &path).await?;
    let mapping = answer.get("EventSourceMappings").and_then(|mappings| mappings.get(0));
    let text = |key: &str| mapping?.get(key)?.as_str().map(str::to_owned);
    let id = text("UUID").with_context(|| format!("{processor} has no trigger; deploy the stack again"))?;
    Ok(Trigger { id, state: text("State").unwrap_or_default() })
}

async fn subscriptions(deployed: &Deployed, aws: &SdkConfig) -> Result<Subscriptions> {
    let topic = deployed.output("AlarmTopicArn")?;
    let answer = Caller::new(aws, Service::Sns)?.query("GetTopicAttributes", &[("TopicArn", topic)]).await?;
    let number = |key: &str| {
        let (_, after) = answer.split_once(&format!("<key>{key}</key>"))?;
        xml_value(after, "value")?.parse().ok()
    };
    let subscriptions = || {
        Some(Subscriptions { confirmed: number("SubscriptionsConfirmed")?, pending: number("SubscriptionsPending")? })
    };
    subscriptions().context("SNS does not say who is subscribed to the alarms")
}

#[cfg(test)]
mod tests {
    use shared::lifecycle::Stage;

    use super::*;

    #[test]
    fn a_row_of_a_query_is_read() {
        let row = |fields: &[(&str, &str)]| -> Value {
            fields.iter().map(|(field, value)| json!({ "field": field, "value": value })).collect()
        };
        let fields = [
            ("outcome", "applied"),
            ("token", ""),
            ("stage", "invoice.paid"),
            ("lines", "12"),
            ("published", "13.0"),
            ("newest", "1795514400000"),
        ];
        let read = group(&row(&fields)).unwrap();
        assert_eq!((read.lines, read.events, read.token, read.newest.as_second()), (12, 13, None, 1_795_514_400));
        assert_eq!(read.stage.map(Stage::as_str), Some("invoice.paid"));
        assert!(group(&row(&[("outcome", "other"), ("lines", "1"), ("newest", "1")])).is_none());
    }

    #[test]
    fn a_canary_is_not_counted_as_a_webhook() {
        let lines = [
            ("stored", json!({ "token": "live", "topic": canary::TOPIC })),
            ("applied", json!({ "stage": "canary.seen" })),
            ("stored", json!({ "token": "live-old", "topic": "invoice" })),
            ("stored", json!({ "token": "live-old" })),
            ("applied", json!({ "stage": "invoice.paid", "events": 1 })),
        ]
        .map(|(outcome, more)| {
            let mut line = json!({ "timestamp": "2026-11-24T10:00:00Z", "delivery": "d", "outcome": outcome });
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Line::read(&line.to_string()).unwrap()
        });
        let traffic = of_lines(&lines, "2026-11-24T10:00:30Z".parse().unwrap());
        assert_eq!((traffic.day.accepted, traffic.day.applied, traffic.hour.events), (2, 1, 1));
        assert_eq!(
            traffic.tokens.keys().collect::<Vec<_>>(),
            ["live-old"],
            "a canary says nothing about Xendit's token"
        );
        let query = query();
        assert!(query.contains(r#"topic != "canary""#) && query.contains(r#"stage != "canary.seen""#), "{query}");
    }

    #[test]
    fn the_oldest_waiting_webhook_is_one_that_the_processor_is_not_done_with() {
        let line = |second: u8, delivery: &str, outcome: &str| {
            let line = json!({ "timestamp": format!("2026-11-24T10:00:{second:02}Z"), "delivery": delivery, "outcome": outcome });
            Line::read(&line.to_string()).unwrap()
        };
        let at = "2026-11-24T10:01:00Z".parse().unwrap();
        let mut lines = vec![line(0, "a", "stored"), line(1, "a", "applied")];
        assert_eq!(oldest_secs(&lines, at), 0);
        lines.extend([
            line(2, "b", "stored_in_inbox"),
            line(3, "b", "retry"),
            line(4, "c", "stored"),
            line(5, "d", "refused"),
        ]);
        assert_eq!(oldest_secs(&lines, at), 58);
    }
}
