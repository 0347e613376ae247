//! Consumer: a rule of the bus, and the one target of it that a replay is for.

use anyhow::{Context as _, Result, bail, ensure};
use aws_config::SdkConfig;
use aws_sdk_eventbridge::types::Target;
use serde_json::{Value, json};

/// The field that EventBridge adds to an event that it replays.
const REPLAY_NAME: &str = "replay-name";

/// Where a replay goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) rule: String,
    /// The rule's pattern, as it is written.
    pub(super) pattern: String,
    /// The id of the target.
    pub(super) target: String,
    pub(super) queue_url: String,
}

impl Consumer {
    /// The consumer behind a rule: its only target, or the one with this id.
    pub(super) async fn find(aws: &SdkConfig, bus: &str, rule: &str, target: Option<&str>) -> Result<Self> {
        let events = aws_sdk_eventbridge::Client::new(aws);
        let described = events.describe_rule().event_bus_name(bus).name(rule).send().await;
        let described = described.map_err(aws_sdk_eventbridge::Error::from);
        let described = described.with_context(|| format!("cannot read the rule `{rule}` of the bus {bus}"))?;
        let Some(pattern) = described.event_pattern else {
            bail!("the rule `{rule}` has a schedule, and no event pattern")
        };
        let targets = events.list_targets_by_rule().event_bus_name(bus).rule(rule).send().await;
        let targets = targets.map_err(aws_sdk_eventbridge::Error::from);
        let targets = targets.with_context(|| format!("cannot read the targets of the rule `{rule}`"))?;
        let target = choose(rule, targets.targets(), target)?;
        let (account, name) = queue(target)?;
        let sqs = aws_sdk_sqs::Client::new(aws);
        let found = sqs.get_queue_url().queue_name(name).queue_owner_aws_account_id(account).send().await;
        let found = found.map_err(aws_sdk_sqs::Error::from);
        let queue_url = found.with_context(|| format!("cannot find the queue {}", target.arn))?.queue_url;
        Ok(Self {
            rule: rule.to_owned(),
            pattern,
            target: target.id.clone(),
            queue_url: queue_url.with_context(|| format!("the queue {} has no URL", target.arn))?,
        })
    }

    /// The pattern of a rule that matches what this one does, in one replay and nowhere else.
    pub(super) fn pattern_of_replay(&self, name: &str) -> Result<String> {
        let mut pattern: Value = serde_json::from_str(&self.pattern).context("the rule's pattern is not JSON")?;
        let fields = pattern.as_object_mut().context("the rule's pattern is not an object")?;
        // A rule may leave out all replays. This one is for it.
        fields.insert(REPLAY_NAME.to_owned(), json!([name]));
        Ok(pattern.to_string())
    }
}

fn choose<'a>(rule: &str, targets: &'a [Target], wanted: Option<&str>) -> Result<&'a Target> {
    let ids = || targets.iter().map(|target| format!("`{}`", target.id)).collect::<Vec<_>>().join(", ");
    match (targets, wanted) {
        ([], _) => bail!("the rule `{rule}` has no target"),
        (_, Some(wanted)) => {
            let found = targets.iter().find(|target| target.id == wanted);
            found.with_context(|| format!("the rule `{rule}` has no target `{wanted}`; it has {}", ids()))
        }
        ([target], None) => Ok(target),
        (_, None) => bail!("the rule `{rule}` has several targets; choose one with --target: {}", ids()),
    }
}

/// The account and the name of a target's queue, if events can be handed to it as EventBridge does.
fn queue(target: &Target) -> Result<(&str, &str)> {
    let id = &target.id;
    let parts: Vec<_> = target.arn.split(':').collect();
    let [_, _, "sqs", _, account, name] = parts.as_slice() else {
        bail!(
            "the target `{id}` is no SQS queue: {}; EventBridge's own replay can reach it, by time only: \
             docs/operations.md describes it",
            target.arn
        );
    };
    ensure!(
        name.strip_suffix(".fifo").is_none(),
        "the target `{id}` is a FIFO queue, which would drop events that it had before"
    );
    let transforms = target.input.is_some() || target.input_path.is_some() || target.input_transformer.is_some();
    ensure!(!transforms, "the target `{id}` gets events in another form (Input…), which only EventBridge can make");
    Ok((account, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: &str, arn: &str) -> Target {
        Target::builder().id(id).arn(arn).build().unwrap()
    }

    const QUEUE: &str = "arn:aws:sqs:ap-southeast-1:123456789012:orders";

    #[test]
    fn a_replay_is_for_exactly_one_target() {
        let targets = ["a", "b"].map(|id| target(id, QUEUE));
        assert_eq!(choose("r", &targets[..1], None).unwrap().id, "a");
        assert_eq!(choose("r", &targets, Some("b")).unwrap().id, "b");
        for (targets, wanted) in [(&targets[..], None), (&targets[..], Some("c")), (&targets[..0], None)] {
            assert!(choose("r", targets, wanted).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_target_that_would_get_something_else_is_refused() {
        assert_eq!(queue(&target("a", QUEUE)).unwrap(), ("123456789012", "orders"));
        let transformed = Target::builder().id("a").arn(QUEUE).input_path("$.detail").build().unwrap();
        let function = target("a", "arn:aws:lambda:ap-southeast-1:123456789012:function:orders");
        for (refused, why) in [
            (transformed, "in another form"),
            (function, "no SQS queue"),
            (target("a", &format!("{QUEUE}.fifo")), "FIFO"),
        ] {
            assert!(queue(&refused).unwrap_err().to_string().contains(why), "{why}");
        }
    }

    #[test]
    fn the_rule_of_a_replay_matches_what_the_consumers_does_in_that_replay_only() {
        let pattern = |pattern: &str| {
            let [rule, target, queue_url] = ["r", "t", "q"].map(str::to_owned);
            Consumer { rule, target, queue_url, pattern: pattern.to_owned() }.pattern_of_replay("now").unwrap()
        };
        assert_eq!(pattern(r#"{"source":["xendit-hooks"]}"#), r#"{"replay-name":["now"],"source":["xendit-hooks"]}"#);
        assert_eq!(pattern(r#"{"replay-name":[{"exists":false}]}"#), r#"{"replay-name":["now"]}"#);
    }
}
