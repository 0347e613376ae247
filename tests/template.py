"""Checks template.yaml for what cfn-lint cannot know: the numbers, policies and names that keep webhooks safe.

`make check` runs it. Each rule yields a sentence for each problem, with its consequence. The rules are tested in two ways:

- Each rule must reject the broken copies of the template that stand beside it in RULES.
- Everything in the template is deleted, every value is changed, and every block gets another setting, one at a time. Some rule
  must reject each of these mutants, unless UNRULED says why no rule has to.

The roles and the metric filters are compared with tests/observed.json: what both functions really call and log, as seen by
tests/observed.rs.
"""

import copy
import functools
import json
import logging
import re
import sys
from pathlib import Path

from cloudwatch import Query, dashboard, matches, of_alarm, of_widget, show
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


ROOT = Path(__file__).parent.parent


@functools.cache
def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


# --- What the code and the pages define -------------------------------------------------------------------------------


def defined_variables():
    """The environment variables that shared/src/stack.rs defines, by their Rust constants."""
    (block,) = re.findall(r"^variables! \{$(.*?)^\}$", source("shared/src/stack.rs"), re.MULTILINE | re.DOTALL)
    return dict(re.findall(r'^\s*([A-Z_]+)\s+"([A-Z_]+)"', block, re.MULTILINE))


def variables_read_by(function):
    """The environment variables that a function reads."""
    settings = source(f"functions/{function}/src/config.rs") + source("functions/runtime/src/logs.rs")
    names = defined_variables()
    return {names[constant] for constant in re.findall(r"\b(?:required|optional)(?:::<[^(]*>)?\(([A-Z_]+)", settings)}


def defined_indexes():
    """The names of the ledger's indexes that shared/src/stack.rs defines."""
    return set(re.findall(r'^pub const INDEX_\w+: &str = "([^"]+)";', source("shared/src/stack.rs"), re.MULTILINE))


@functools.cache
def observed(function):
    """The calls and the log lines of a function."""
    return json.loads(source("tests/observed.json"))[function]


@functools.cache
def runbooks():
    """The pages for the alarms, by the name of the alarm."""
    pages = sorted((ROOT / "docs/runbooks").glob("*.md"))
    return {"".join(map(str.capitalize, page.stem.split("-"))) + "Alarm": f"docs/runbooks/{page.name}" for page in pages}


def outputs_read():
    """The outputs that the CLI and the pages about operation read."""
    read = set(re.findall(r'\b(?:output|optional)\("(\w+)"\)', source("cli/src/stack.rs")))
    for page in ["docs/operations.md", *runbooks().values()]:
        read.update(re.findall(r"\$\(output (\w+)\)", source(page)), re.findall(r"\blogs (\w+LogGroupName)", source(page)))
    return read


# --- What the template contains ---------------------------------------------------------------------------------------


class NoManagedPolicies:
    """Stops the translator from asking IAM for AWS's managed policies."""

    def load(self):
        return {}


def translate(template):
    """Translates the template to plain CloudFormation, with the default of every parameter that has one."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # The translator requires an S3 URI, although nothing is uploaded.
            resource["Properties"]["CodeUri"] = "s3://none/none"
    parameters = {"Environment": "live", "CallbackTokens": "live=" + 64 * "0"}
    return transform(template, parameters, NoManagedPolicies())


def properties(template, name):
    return template["Resources"][name]["Properties"]


def of_type(template, kind):
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == kind}


def event_source_mapping(template):
    (mapping,) = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    return mapping


def routes(template):
    """The integrations of the API, by their routes."""
    (api,) = of_type(template, "AWS::ApiGatewayV2::Api").values()
    return {f"{method.upper()} {path}": route["x-amazon-apigateway-integration"]
            for path, methods in api["Body"]["paths"].items() for method, route in methods.items()}


def access_log_format(template):
    return properties(template, STAGE)["AccessLogSettings"]["Format"]


def role_statements(template, role):
    return [statement for policy in properties(template, role)["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]]


def variables(template, function):
    return properties(template, function)["Environment"]["Variables"]


def as_list(value):
    return value if isinstance(value, list) else [value]


def strings(node):
    """All strings in a part of the template, keys excluded."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)


def keys(node):
    """The names of all settings in a part of the template. What the merchant's or SAM's own names are in is left out."""
    if isinstance(node, list):
        for value in node:
            yield from keys(value)
    elif isinstance(node, dict) and not (len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::"))):
        for key, value in node.items():
            yield key
            if key not in ("Variables", "paths", "tags", "Tags"):
                yield from keys(value)


def sentence(statement):
    """A statement of a policy as one line."""
    known = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    others = [f"with {key}" for key in statement if key not in known]
    principal = statement.get("Principal", {"Service": ""})
    who = principal if isinstance(principal, str) else show(principal["Service"])
    what = ", ".join(sorted(map(show, as_list(statement["Action"]))))
    where = ", ".join(sorted(map(show, as_list(statement.get("Resource", "")))))
    conditions = sorted(f"{test} {key}={show(value)}" for test, keys in statement.get("Condition", {}).items()
                        for key, value in keys.items())
    parts = [statement["Effect"], who, what, where and f"on {where}", *others, conditions and f"if {' and '.join(conditions)}"]
    return " ".join(part for part in parts if part)


def watches(alarm):
    """What an alarm watches, and when it rings, as one line."""
    watched, inputs = of_alarm(alarm)
    parts = [f"{name}: {metric}" for name, metric in inputs.items()]
    what = f"{watched} of {' and '.join(parts)}" if parts else watched
    sign = {"GreaterThanThreshold": ">", "GreaterThanOrEqualToThreshold": ">=", "LessThanOrEqualToThreshold": "<="}
    periods = show(alarm["EvaluationPeriods"])
    times = f"{alarm.get('DatapointsToAlarm', periods)} of {periods} times"
    return (f"{what} {sign[alarm['ComparisonOperator']]} {show(alarm['Threshold'])}, {times}; "
            f"missing data is {alarm['TreatMissingData']}")


# --- The rules --------------------------------------------------------------------------------------------------------


def partial_responses(template):
    if event_source_mapping(template).get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "The processor's trigger has no partial batch responses: Lambda would delete failed messages."


def no_filter(template):
    if "FilterCriteria" in event_source_mapping(template):
        yield "The processor's trigger has a filter: Lambda would delete messages that do not match it."


def visibility(template):
    queue, function = properties(template, "WebhookQueue"), properties(template, "ProcessorFunction")
    if queue["VisibilityTimeout"] < 6 * function["Timeout"]:
        yield "WebhookQueue's visibility timeout is less than 6 times the processor's: messages could be received twice."
    if queue["VisibilityTimeout"] > 300:
        yield "WebhookQueue's visibility timeout is more than 5 minutes: after a crash, webhooks would be late for longer."


def receives(template):
    redrive = properties(template, "WebhookQueue").get("RedrivePolicy", {})
    if show(redrive.get("deadLetterTargetArn")) != "<DeadLetterQueue.Arn>":
        yield "WebhookQueue has no dead-letter queue: a message that crashes the processor would be lost when it expires."
    elif not 9 < redrive["maxReceiveCount"] <= 20:
        yield "WebhookQueue's maxReceiveCount is not 10 to 20: SQS would move messages before the processor adds a reason, or late."
    allowed = properties(template, "DeadLetterQueue").get("RedriveAllowPolicy", {})
    queue = f"arn:<AWS::Partition>:sqs:<AWS::Region>:<AWS::AccountId>:{NAMES['WebhookQueue'][1]}"
    if allowed["redrivePermission"] != "byQueue" or show(allowed["sourceQueueArns"]) != f"[{queue}]":
        yield "DeadLetterQueue accepts messages of other queues than WebhookQueue, or not of that."


def retention(template):
    webhooks_secs = properties(template, "WebhookQueue")["MessageRetentionPeriod"]
    dead_letters_secs = properties(template, "DeadLetterQueue")["MessageRetentionPeriod"]
    (lifecycle,) = properties(template, "InboxBucket")["LifecycleConfiguration"]["Rules"]
    if dead_letters_secs < 1209600:
        yield "DeadLetterQueue keeps messages for less than 14 days: there would be less time to redrive them."
    if webhooks_secs < 345600:
        yield "WebhookQueue keeps messages for less than 4 days: a failure over a long weekend would lose some."
    # A notification may be redriven once, and then stay as long again.
    if lifecycle["ExpirationInDays"] * 86400 < 2 * (webhooks_secs + dead_letters_secs) + 7 * 86400:
        yield "InboxBucket would delete an envelope while its notification may still be in one of the queues."
    if lifecycle["ExpirationInDays"] > 60 or lifecycle["Status"] != "Enabled":
        yield "InboxBucket would keep webhooks, and so personal data, for longer than it needs to."
    archive_days = properties(template, "EventArchive").get("RetentionDays", 0)
    if archive_days != 90:
        yield "EventArchive does not keep events for the 90 days that docs/operations.md promises."
    for name, group in of_type(template, "AWS::Logs::LogGroup").items():
        if show(group.get("RetentionInDays")) != "<LogRetentionDays>":
            yield f"{name} does not keep logs for LogRetentionDays."


def timeouts(template):
    receiver, processor = properties(template, "ReceiverFunction"), properties(template, "ProcessorFunction")
    if not 7 <= receiver["Timeout"] < 15:
        yield "ReceiverFunction's timeout must be more than the 6 s in which it answers, and less than API Gateway's 15 s."
    (expected,) = re.findall(r"pub const TIMEOUT: .* = Duration::from_secs\((\d+)\);", source(FAILURE_RS))
    if processor["Timeout"] != int(expected):
        yield f"ProcessorFunction's timeout is not the {expected} s in {FAILURE_RS}."
    for route, integration in routes(template).items():
        if not receiver["Timeout"] * 1000 < integration.get("timeoutInMillis", 30000) < 30000:
            yield f"API Gateway's timeout for {route} must be more than the receiver's, and less than Xendit's 30 s."


def routed(template):
    found = routes(template)
    if found.keys() != {"POST /webhook", "POST /webhook/{topic}"}:
        yield f"The routes of the API are {', '.join(found)}, not those that the receiver answers."
    for route, integration in found.items():
        if integration.keys() != {"httpMethod", "payloadFormatVersion", "timeoutInMillis", "type", "uri"}:
            yield f"{route} changes the request, or needs more than the token."
        if (integration["type"], integration["payloadFormatVersion"]) != ("aws_proxy", "2.0"):
            yield f"{route} does not send the events that the receiver reads."
        if "${ReceiverFunction.Arn}" not in integration["uri"]["Fn::Sub"]:
            yield f"{route} does not invoke the receiver."
        arn = route.replace(" ", "").replace("{topic}", "*")
        permissions = of_type(template, "AWS::Lambda::Permission").values()
        if not any(show(permission["SourceArn"]).endswith(arn) for permission in permissions):
            yield f"API Gateway may not invoke the receiver for {route}."
    stage = properties(template, STAGE)
    if stage["StageName"] != "$default":
        yield "The stage adds its name to the path: Xendit's dashboard has a URL without it."


def domain(template):
    if show(properties(template, "Domain")) != DOMAIN or show(properties(template, "DomainMapping")) != MAPPING:
        yield "DomainName does not lead to the API, or not at the paths that the API has, or with old versions of TLS."
    if show(template["Rules"]) != DOMAIN_RULE:
        yield "A DomainName without CertificateArn would fail in the middle of a deployment."


def message_size(template):
    for name in ("WebhookQueue", "DeadLetterQueue"):
        if properties(template, name).get("MaximumMessageSize") != 1048576:
            yield f"{name} does not accept messages of 1 MiB, which the receiver sends."


def encryption(template):
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        if queue.get("SqsManagedSseEnabled") is not True:
            yield f"{name} is not encrypted by SQS: S3 and EventBridge could not use a key of KMS."
    inbox = properties(template, "InboxBucket").get("BucketEncryption")
    if show(inbox) != "{ServerSideEncryptionConfiguration: [{ServerSideEncryptionByDefault: {SSEAlgorithm: AES256}}]}":
        yield "InboxBucket is not encrypted, or with a key that the roles do not allow."
    if properties(template, "LedgerTable").get("SSESpecification") != {"SSEEnabled": True}:
        yield "LedgerTable is not encrypted with a KMS key, whose use CloudTrail shows."


def private(template):
    bucket = properties(template, "InboxBucket")
    blocked = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
    if bucket.get("PublicAccessBlockConfiguration") != blocked:
        yield "InboxBucket could be made public."
    if bucket.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
        yield "InboxBucket's objects can have access lists of their own."


def notified(template):
    bucket = template["Resources"]["InboxBucket"]
    queues = bucket["Properties"].get("NotificationConfiguration", {}).get("QueueConfigurations", [])
    if show(queues) != "[{Event: s3:ObjectCreated:*, Queue: <WebhookQueue.Arn>}]":
        yield "InboxBucket does not notify WebhookQueue of every object: acknowledged webhooks would never be processed."
    if bucket.get("DependsOn") != "WebhookQueuePolicy":
        yield "InboxBucket may be created before WebhookQueuePolicy: S3 could not send its test, and the deployment would fail."


def resource_policies(template):
    for name, (resource, expected) in RESOURCE_POLICIES.items():
        policy = properties(template, name)
        (target,) = [policy[key] for key in ("Queues", "Bucket", "Topics") if key in policy]
        if show(as_list(target)) != f"[<{resource}>]":
            yield f"{name} is not the policy of {resource}."
        found = {sentence(statement) for statement in policy["PolicyDocument"]["Statement"]}
        for line in sorted(expected - found):
            yield f"{name} lacks: {line}."
        for line in sorted(found - expected):
            yield f"{name} should not have: {line}."


def least_privilege(template):
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for statement in role_statements(template, name):
            for action in as_list(statement["Action"]):
                if "*" in action:
                    yield f"{name} allows {action}: name each action."
            if "*" in as_list(statement["Resource"]):
                yield f"{name} allows {statement['Action']} on all resources: name the resource."
        trust = [sentence(statement) for statement in role["AssumeRolePolicyDocument"]["Statement"]]
        if trust != ["Allow lambda.amazonaws.com sts:AssumeRole"]:
            yield f"{name} can be assumed by others than Lambda, or not by Lambda."


def policy_language(template):
    def documents(node):
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from documents(value)
        if isinstance(node, dict) and "Statement" in node:
            yield node

    for document in documents(template["Resources"]):
        if document.get("Version") != "2012-10-17":
            yield "A policy is not in the present policy language: AWS would read it as one of 2008."


def permissions(template):
    for function, role in ROLES.items():
        if show(properties(template, function)["Role"]) != f"<{role}.Arn>":
            yield f"{function} does not have the role {role}."
        needed = set(NOT_OBSERVED[function])
        for call in observed(function)["calls"]:
            action, variable, *condition = re.fullmatch(r"(\S+) (\w+)(/\S+)?(?: from (\S+))?", call).groups()
            resource, (folder, event_source) = HOLDS[variable][1], condition
            needed.add(f"Allow {action} on <{resource}.Arn>{folder or ''}" + (FROM.format(event_source) if event_source else ""))
        granted = {sentence({**statement, "Action": action, "Resource": resource}) for statement in role_statements(template, role)
                   for action in as_list(statement["Action"]) for resource in as_list(statement["Resource"])}
        for line in sorted(needed - granted):
            yield f"{role} lacks a permission that {function} needs: {line}."
        for line in sorted(granted - needed):
            yield f"{role} has a permission that {function} does not use: {line}."


def recovery(template):
    table = properties(template, "LedgerTable")
    if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "LedgerTable cannot be restored to a point in time."
    if show(table.get("DeletionProtectionEnabled")) != "{Fn::If: [IsLive, true, false]}":
        yield "A live LedgerTable has no deletion protection, or a test one has."


def kept(template):
    for name in ("LedgerTable", "WebhookQueue", "DeadLetterQueue", "InboxBucket"):
        resource = template["Resources"][name]
        if resource.get("UpdateReplacePolicy") != "Retain":
            yield f"{name} and its contents would be deleted when an update replaces it."
        # A table with deletion protection could not be deleted when the first deployment fails.
        policy = "Retain" if name == "LedgerTable" else "RetainExceptOnCreate"
        if resource.get("DeletionPolicy") != policy:
            yield f"{name} would be deleted with the stack, or kept when the first deployment fails: its policy must be {policy}."


def names(template):
    for resource, (key, name) in NAMES.items():
        found = properties(template, resource).get(key)
        if (found if found is None else show(found)) != name:
            yield f"{resource} is not named {name}: names must not collide with those of a deleted stack, or must not change."


def tap(template):
    rule, queue = properties(template, "TapRule"), properties(template, "TapQueue")
    if rule.get("EventPattern") != {"source": ["xendit-hooks"]} or "EventBus" not in [*strings(rule["EventBusName"])]:
        yield "TapRule does not match every domain event on the bus: `xendit-hooks listen` would miss some."
    if [*strings([target["Arn"] for target in rule["Targets"]])] != ["TapQueue", "Arn"]:
        yield "TapRule's only target must be TapQueue."
    if queue.get("MessageRetentionPeriod", 0) < 1209600:
        yield "TapQueue keeps events for less than 14 days: a laptop that was closed over a holiday would miss some."
    if queue.get("MaximumMessageSize") != 1048576:
        yield "TapQueue does not accept messages of 1 MiB: EventBridge would drop large events."
    if template["Parameters"]["Tap"]["Default"] != "off":
        yield "The tap is on by default: every stack would keep, and pay for, copies that nobody reads."


def replayed(template):
    queue = properties(template, "ReplayQueue")
    if queue.get("MessageRetentionPeriod") != 86400:
        yield "ReplayQueue does not keep events for the day in which a plan can be run, or keeps personal data for longer."
    if queue.get("MaximumMessageSize") != 1048576:
        yield "ReplayQueue does not accept messages of 1 MiB: EventBridge would drop large events."


def archived(template):
    archive = properties(template, "EventArchive")
    if show(archive.get("SourceArn")) != "<EventBus.Arn>" or archive["EventPattern"] != {"source": ["xendit-hooks"]}:
        yield "EventArchive does not keep every domain event: a replay would miss some."


def alarms(template):
    found = of_type(template, "AWS::CloudWatch::Alarm")
    for name in ALARMS.keys() - found.keys():
        yield f"{name} is missing, which docs/operations.md promises."
    for name, alarm in found.items():
        rings = watches(alarm)
        if rings != ALARMS.get(name):
            yield f"{name} rings at: {rings}. It should ring at: {ALARMS.get(name)}."
        for actions, what in (("AlarmActions", "rings"), ("OKActions", "ends")):
            if show(alarm.get(actions, [])) != "[<AlarmTopic>]":
                yield f"{name} notifies nobody when it {what}."
    listed = set(re.findall(r"^\| \[?`(\w+Alarm)`", source("docs/operations.md"), re.MULTILINE))
    for name in sorted(listed ^ found.keys()):
        yield f"{name} is either not in the template or not in the table of docs/operations.md."


def pages(template):
    found, known = of_type(template, "AWS::CloudWatch::Alarm"), runbooks()
    for name in sorted(found.keys() ^ known.keys()):
        yield f"{name} has no page in docs/runbooks/, or there is no such alarm."
    for name in sorted(found.keys() & known.keys()):
        description, page = show(found[name].get("AlarmDescription", "")), source(known[name])
        if not re.fullmatch(rf".{{100,850}} Runbook: {known[name]}", description, re.DOTALL):
            yield f"{name}'s description must say what happened, and end with `Runbook: {known[name]}`."
        headings = re.findall(r"^##? (.*)$", page, re.MULTILINE)
        if headings != [f"`{name}`", *HEADINGS]:
            yield f"{known[name]} does not have the headings {', '.join(HEADINGS)} under the name of its alarm."


def counted(template):
    filters = of_type(template, "AWS::Logs::MetricFilter")
    metrics = {}
    for name, metric_filter in filters.items():
        (counter,) = metric_filter["MetricTransformations"]
        (group,) = strings(metric_filter["LogGroupName"])
        metrics[counter["MetricName"]] = (group, metric_filter["FilterPattern"])
        if show({key: value for key, value in counter.items() if key != "MetricName"}) != COUNTS_ONE:
            yield f"{name} does not count one for each line, in the namespace of the stack."
    for metric in sorted(metrics.keys() ^ COUNTED.keys()):
        yield f"The metric {metric} is not counted, or nobody knows what it should count."
    for metric in sorted(metrics.keys() & COUNTED.keys()):
        (group, pattern), (expected_group, counts) = metrics[metric], COUNTED[metric]
        if group != expected_group:
            yield f"The metric {metric} counts lines of {group}, not of {expected_group}."
            continue
        lines = lines_of(template)[group]
        if not any(map(counts, lines)):
            yield f"No observed line counts for {metric}: tests/observed.rs must cause one."
        for line in lines:
            if matches(pattern, line) != bool(counts(line)):
                verb = "does not count" if counts(line) else "counts"
                yield f"The metric {metric} {verb} the line {json.dumps(line)}."
    shown = [of_widget(widget) for widget in widgets(template, "metric")]
    watched = [of_alarm(alarm) for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()]
    used = {metric.name for drawn, inputs in [*shown, *(([("", what)], inputs) for what, inputs in watched)]
            for metric in [*(what for _, what in drawn), *inputs.values()] if getattr(metric, "namespace", "") == OURS}
    for metric in sorted(used ^ metrics.keys()):
        yield f"The metric {metric} has no filter, or nobody looks at it."
    if len(metrics) > 10:
        yield "There are more than 10 custom metrics, which is what AWS's free tier includes."


def lines_of(template):
    """The lines of each log group."""
    lines = {group: [*observed(function)["lines"], LAMBDAS_LINE] for function, (group, _) in LOGS.items()}
    lines["AccessLogs"] = [json.loads(access_log_format(template).replace("$context.status", status)) for status in STATUSES]
    return lines


def found_by(query, groups, template):
    """What is wrong with a query over log groups."""
    lines = [{**line, "@timestamp": 0} for group in groups for line in lines_of(template)[group]]
    # What is filled in by hand is not observed.
    text = re.sub(r"<delivery id>", "d-1", re.sub(r"<id of [^>]*>", "i-1", query))
    try:
        parsed = Query(text)
        rows = parsed.run(lines)
    except (IndexError, KeyError, ValueError) as error:
        return f"a query that cannot be made: {query} ({error})"
    unknown = parsed.reads - {key for line in lines for key in line}
    if unknown:
        return f"a query of {', '.join(sorted(unknown))}, which is in no log line: {query}"
    if not rows:
        return f"a query that finds no log line: {query}"


def saved_queries(template):
    found = of_type(template, "AWS::Logs::QueryDefinition")
    for name in sorted(QUERIES.keys() ^ found.keys()):
        yield f"The query {name} is missing, or not known here."
    for name, query in found.items():
        groups = [show(group).strip("<>") for group in query["LogGroupNames"]]
        if groups != QUERIES.get(name):
            yield f"The query {name} is over {groups}, not over {QUERIES.get(name)}."
            continue
        if not show(query["Name"]).startswith("<AWS::StackName>/"):
            yield f"The query {name} is not in a folder with the name of the stack."
        problem = found_by(query["QueryString"], groups, template)
        if problem:
            yield f"{name} is {problem}"


def widgets(template, kind):
    return [widget for widget in dashboard(template)["widgets"] if widget["type"] == kind]


def laid_out(template):
    body = dashboard(template)
    taken = set()
    for widget in body["widgets"]:
        x, y, width, height = (widget[key] for key in ("x", "y", "width", "height"))
        cells = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        if not 0 <= x < x + width <= 24 or cells & taken:
            yield f"A widget at {x}, {y} is over the edge, or over another one."
        taken |= cells
    rows = {row for _, row in taken}
    if len(taken) != 24 * len(rows) or rows != set(range(len(rows))):
        yield "The dashboard has gaps."
    if (body["start"], body["periodOverride"]) != ("-PT12H", "inherit"):
        yield "The dashboard does not show the last 12 hours, or not by the periods of the alarms."
    texts = [widget["properties"]["markdown"] for widget in body["widgets"] if widget["type"] == "text"]
    if not all(text.startswith(question) for text, question in zip(texts, TEXTS, strict=True)):
        yield f"The dashboard does not ask {', '.join(TEXTS)}."
    if body["widgets"][1]["type"] != "alarm":
        yield "The alarms are not on top of the dashboard."
    linked = re.findall(r"\[(\w+)\]\(<RunbookUrl>/([\w-]+\.md)\)", "".join(texts))
    if sorted((name, f"docs/runbooks/{page}") for name, page in linked) != sorted(runbooks().items()):
        yield "The dashboard does not link each runbook once."
    for widget in body["widgets"]:
        if widget["type"] in ("metric", "log") and widget["properties"]["region"] != "<AWS::Region>":
            yield "A widget shows another region."


def measured(template):
    count = 0
    for widget in widgets(template, "metric"):
        title = widget["properties"]["title"]
        if widget["properties"]["yAxis"] != {"left": {"min": 0, "showUnits": False}}:
            yield f"The graph {title} does not begin at 0, so a small change looks large."
        drawn, inputs = of_widget(widget)
        if len({label for label, _ in drawn}) != len(drawn):
            yield f"Two lines of the graph {title} have the same name."
        for what in [*(what for _, what in drawn), *(metric for name, metric in inputs.items())]:
            dimensions = getattr(what, "dimensions", None)
            if dimensions is None:
                continue
            count += 1
            if what.namespace == OURS:
                known = what.name in COUNTED and not dimensions and what.stat == "Sum"
            else:
                known = any(what.name in names and what.stat in stats and dimensions in [((key, value),) for value in values]
                            for names, stats, key, values in AWS_METRICS.get(what.namespace, []))
            if not known:
                yield f"The graph {title} shows {what}, which nobody measures."
    if count > 50:
        yield "The dashboard has more than 50 metrics, which is what AWS's free tier includes."
    for widget in widgets(template, "log"):
        query = widget["properties"]["query"]
        groups = [group.strip("<>") for group in Query(query).source]
        problem = found_by(query, groups, template) if len(groups) == 1 else "a query without a log group"
        if problem:
            yield f"The widget {widget['properties']['title']} has {problem}"


def drawn_thresholds(template):
    found = of_type(template, "AWS::CloudWatch::Alarm")
    (listed,) = widgets(template, "alarm")
    if sorted(listed["properties"]["alarms"]) != sorted(f"<{name}.Arn>" for name in found):
        yield "The dashboard does not list each alarm once."
    thresholds = {}
    for widget in widgets(template, "metric"):
        for line in widget["properties"].get("annotations", {}).get("horizontal", []):
            if line["color"] != RED:
                yield f"The threshold {line['label']} is not red."
            for name in line["label"].split(", "):
                thresholds.setdefault(name, []).append((widget, line["value"]))
    for name in sorted(thresholds.keys() ^ found.keys()):
        yield f"The threshold of {name} is on no graph, or there is no such alarm."
    for name in sorted(thresholds.keys() & found.keys()):
        (widget, value), *others = thresholds[name]
        watched, inputs = of_alarm(found[name])
        drawn, known = of_widget(widget)
        same = str(watched) in [str(what) for _, what in drawn]
        # Where any is too many, a shorter period shows it as well.
        if not same and show(found[name]["Threshold"]) == "0" and not inputs:
            same = any(str(what).rpartition(" in ")[0] == str(watched).rpartition(" in ")[0] and what.period <= watched.period
                       for _, what in drawn)
        if others or show(value) != show(found[name]["Threshold"]) or not same or any(
                str(known.get(key)) != str(metric) for key, metric in inputs.items()):
            yield f"The graph with the threshold of {name} does not show when it rings."


def traced(template):
    policies = of_type(template, "AWS::IAM::Policy")
    if policies.keys() != {"TracingPolicy"} or show(policies["TracingPolicy"]["Roles"]) != "[<ReceiverRole>, <ProcessorRole>]":
        yield "There is another policy than that for traces, or it is another role's."
    for policy in policies.values():
        if [sentence(statement) for statement in policy["PolicyDocument"]["Statement"]] != [TRACES]:
            yield "The functions may do more than send traces to X-Ray, or not that."
    for function in LOGS:
        if show(properties(template, function).get("TracingConfig")) != "{Mode: {Fn::If: [HasTracing, Active, PassThrough]}}":
            yield f"{function} sends traces, which cost money, if Tracing is off, or none if it is on."


def queries(template):
    lines = {f"{group.removesuffix('Logs')}LogGroupName": found for group, found in lines_of(template).items()}
    for page in ["docs/operations.md", *runbooks().values()]:
        for output, pattern in re.findall(r"\blogs (\w+) \d+ '([^']*)'", source(page)):
            try:
                found = [line for line in lines[output] if matches(pattern, line)]
            except (IndexError, KeyError, ValueError):
                yield f"{page} has a query that cannot be made: {output} {pattern}"
                continue
            # What is filled in by hand, or must be gone, is not observed.
            if not found and not re.search(r"<|live-old", pattern):
                yield f"{page} has a query that finds no line of the functions: {output} {pattern}"


def logged(template):
    for function, (group, folder) in LOGS.items():
        logging_config = properties(template, function)["LoggingConfig"]
        expected = {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": f"<{group}>",
                    "ApplicationLogLevel": "{Fn::FindInMap: [LogLevels, <LogLevel>, Lambda]}"}
        if {key: show(value) for key, value in logging_config.items()} != expected:
            yield f"{function} does not log all its lines as JSON to {group}: alarms would be silent."
        if show(properties(template, group)["LogGroupName"]) != f"/aws/lambda/<AWS::StackName>-{folder}":
            yield f"{group} does not have the name that the CLI and the documentation use."
    if show(template["Mappings"]["LogLevels"]) != "{debug: {Lambda: DEBUG}, info: {Lambda: INFO}}":
        yield "LogLevels does not name Lambda's levels: Lambda would drop our lines, and alarms would be silent."


def no_secrets(template):
    for part in ("Resources", "Parameters", "Outputs"):
        for text in strings(template[part]):
            if re.search(r"xnd_|secret_key", text):
                yield "The template seems to contain a Xendit API key."


def throttled(template):
    stage = properties(template, STAGE)
    settings = stage.get("DefaultRouteSettings", {})
    if show(settings) != "{ThrottlingBurstLimit: <ThrottleBurst>, ThrottlingRateLimit: <ThrottleRate>}":
        yield "The API is not throttled: the cost of a flood would have no limit."


def access_log(template):
    settings = properties(template, STAGE).get("AccessLogSettings", {})
    if show(settings.get("DestinationArn")) != "<AccessLogs.Arn>":
        yield "The API has no access log."
    if not show(properties(template, "AccessLogs")["LogGroupName"]).startswith("/aws/vendedlogs/"):
        yield "AccessLogs adds to the account's resource policy for logs, whose size is limited."
    if json.loads(access_log_format(template)) != ACCESS_LOG:
        yield "The access log does not have the fields that docs/operations.md uses, or has personal data."


def known_variables(template):
    known = {*defined_variables().values(), SDK_VARIABLE}
    for function in of_type(template, "AWS::Lambda::Function"):
        for name in sorted(variables(template, function).keys() - known):
            yield f"{function} has the variable {name}, which shared/src/stack.rs does not define."


def needed_variables(template):
    for function, (_, folder) in LOGS.items():
        given, read = set(variables(template, function)), {*variables_read_by(folder), SDK_VARIABLE}
        for name in sorted(read - given):
            yield f"{function} does not have the variable {name}, which it reads."
        for name in sorted(given - read):
            yield f"{function} has the variable {name}, which it does not read."


def right_variables(template):
    for function in of_type(template, "AWS::Lambda::Function"):
        for name, value in variables(template, function).items():
            if show(value) != HOLDS[name][0]:
                yield f"{name} of {function} is {show(value)}, not {HOLDS[name][0]}."


def built(template):
    for function, (_, folder) in LOGS.items():
        metadata, settings = template["Resources"][function]["Metadata"], properties(template, function)
        if metadata != {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": folder}}:
            yield f"{function} is not built from functions/{folder}."
        if (settings["Runtime"], settings["Handler"]) != ("provided.al2023", "bootstrap"):
            yield f"{function} does not run the binary that cargo-lambda builds."
        if show(settings["Architectures"]) != "[<Architecture>]":
            yield f"{function} does not run on the architecture that it is built for."


def sized(template):
    for function, megabytes in MEMORY.items():
        if properties(template, function)["MemorySize"] != megabytes:
            yield f"{function} does not have the {megabytes} MB that `make bench` measures: slower, or more expensive."
    if "ReservedConcurrentExecutions" in properties(template, "ProcessorFunction"):
        yield "Concurrency is reserved for the processor, which the receiver may need."
    if show(properties(template, "ReceiverFunction").get("ReservedConcurrentExecutions")) != RESERVED:
        yield "ReceiverConcurrency does not reserve concurrency for the receiver, or 0 would stop it."
    trigger = event_source_mapping(template)
    if trigger.get("ScalingConfig") != {"MaximumConcurrency": {"Ref": "ProcessorConcurrency"}}:
        yield "The processor can take the whole concurrency of the account: the receiver would be throttled."
    if (show(trigger["EventSourceArn"]), show(trigger["FunctionName"])) != ("<WebhookQueue.Arn>", "<ProcessorFunction>"):
        yield "The processor does not read WebhookQueue."
    if trigger.get("BatchSize") != 10:
        yield "The processor's trigger has batches of other than up to 10 messages."


def ledger(template):
    table = properties(template, "LedgerTable")
    if show(table["KeySchema"]) != "[{AttributeName: key, KeyType: HASH}]":
        yield "LedgerTable's key is not `key`, which the ledger uses."
    keys = {"key", *(key for keys in INDEX_KEYS.values() for key in keys)}
    if sorted(map(show, table["AttributeDefinitions"])) != [f"{{AttributeName: {key}, AttributeType: S}}" for key in sorted(keys)]:
        yield "The keys of LedgerTable and of its indexes are not strings, which the ledger writes."
    if table.get("BillingMode") != "PAY_PER_REQUEST":
        yield "LedgerTable has a fixed capacity: a burst of webhooks would be throttled."


def indexes(template):
    indexes = properties(template, "LedgerTable").get("GlobalSecondaryIndexes", [])
    found = {index["IndexName"]: index for index in indexes}
    if found.keys() != defined_indexes():
        yield "The indexes of LedgerTable are not those that shared/src/stack.rs defines."
    for name, keys in INDEX_KEYS.items():
        index = found.get(name, {"KeySchema": [], "Projection": {}})
        if [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]] != [*zip(keys, ("HASH", "RANGE"))]:
            yield f"The keys of LedgerTable's index {name} are not {' and '.join(keys)}, which the ledger uses."
        if index["Projection"].get("ProjectionType") != "KEYS_ONLY":
            yield f"LedgerTable's index {name} contains more than keys: every write of an item would cost another one there."


def subscribed(template):
    if show(properties(template, "AlarmSubscription")) != SUBSCRIPTION:
        yield "AlarmEmail is not subscribed to the alarms."


def known_settings(template):
    for name, resource in template["Resources"].items():
        known = SETTINGS.get(resource["Type"])
        if known is None:
            yield f"{name} is of the type {resource['Type']}, for which there is no rule here."
            continue
        for setting in sorted(set(keys(resource.get("Properties", {}))) - known - {"Tags"}):
            yield f"{name} has the setting {setting}, for which there is no rule here."
        for attribute in sorted(resource.keys() - ATTRIBUTES):
            yield f"{name} has the attribute {attribute}, for which there is no rule here."
        if resource.get("Condition") != CONDITIONAL.get(name):
            yield f"{name} would exist under the condition {resource.get('Condition')}, not {CONDITIONAL.get(name)}."
    if len(of_type(template, "AWS::Lambda::Permission")) != len(routes(template)):
        yield "Others than the API may invoke a function."


def parameters(template):
    found = template["Parameters"]
    for name in found.keys() ^ PARAMETERS.keys():
        yield f"The parameter {name} is missing, or not known here."
    for name in found.keys() & PARAMETERS.keys():
        settings = {key: value for key, value in found[name].items()
                    if key not in ("Description", "ConstraintDescription", "AllowedPattern")}
        if show(settings) != PARAMETERS[name]:
            yield f"The parameter {name} has {show(settings)}, not {PARAMETERS[name]}."
    for name, (good, bad) in SAMPLES.items():
        pattern = re.compile(found[name]["AllowedPattern"])
        for value in good:
            if not pattern.fullmatch(value):
                yield f"The parameter {name} does not accept {value!r}."
        for value in bad:
            if pattern.fullmatch(value):
                yield f"The parameter {name} accepts {value!r}: the function would not start."


def conditions(template):
    found = {name: show(condition) for name, condition in template["Conditions"].items()}
    if found != CONDITIONS:
        yield f"The conditions are {found}, not {CONDITIONS}."


def outputs(template):
    for name in sorted(outputs_read() - OUTPUTS.keys()):
        yield f"The output {name} is read, but it is not known here."
    found = {name: show(output["Value"]) for name, output in template["Outputs"].items()}
    for name in sorted(OUTPUTS.keys() | found.keys()):
        if found.get(name) != OUTPUTS.get(name):
            yield f"The output {name} is {found.get(name)}, not {OUTPUTS.get(name)}."
    if set().union(*template["Outputs"].values()) != {"Condition", "Description", "Value"}:
        yield "An output has a setting, for which there is no rule here."
    conditional = {name: output["Condition"] for name, output in template["Outputs"].items() if "Condition" in output}
    if conditional != {"TapQueueUrl": "HasTap", "DomainTarget": "HasDomainName"}:
        yield "An output does not have the condition of the resource that it is about."


# --- What the rules expect --------------------------------------------------------------------------------------------

FAILURE_RS = "functions/processor/src/failure.rs"
STAGE = "WebhookApiApiGatewayDefaultStage"
# The AWS SDK reads this variable, not our code.
SDK_VARIABLE = "AWS_ENDPOINT_URL"
# The log group and the folder of each function's code.
LOGS = {"ReceiverFunction": ("ReceiverLogs", "receiver"), "ProcessorFunction": ("ProcessorLogs", "processor")}
ROLES = {"ReceiverFunction": "ReceiverRole", "ProcessorFunction": "ProcessorRole"}
# The memory that bench/prices.json and docs/cost.md assume.
MEMORY = {"ReceiverFunction": 128, "ProcessorFunction": 256}
# The partition key and the sort key of each index.
INDEX_KEYS = {"by-reference": ("reference", "key"), "open": ("open", "since")}

# What each environment variable holds, and the resource that its name is of.
HOLDS = {
    "ENVIRONMENT": ("<Environment>", None),
    "LOG_LEVEL": ("<LogLevel>", None),
    "CALLBACK_TOKENS": ("<CallbackTokens>", None),
    "TOKEN_ACCOUNTS": ("<TokenAccounts>", None),
    "QUEUE_URL": ("<WebhookQueue>", "WebhookQueue"),
    "DLQ_URL": ("<DeadLetterQueue>", "DeadLetterQueue"),
    "INBOX_BUCKET": ("<InboxBucket>", "InboxBucket"),
    "LEDGER_TABLE": ("<LedgerTable>", "LedgerTable"),
    "BUS_NAME": ("<EventBus.Name>", "EventBus"),
    SDK_VARIABLE: ("", None),
}

# The permissions that no call of the function's own needs.
NOT_OBSERVED = {
    "ReceiverFunction": {
        # Lambda writes the logs.
        "Allow logs:CreateLogStream on <ReceiverLogs.Arn>",
        "Allow logs:PutLogEvents on <ReceiverLogs.Arn>",
    },
    "ProcessorFunction": {
        "Allow logs:CreateLogStream on <ProcessorLogs.Arn>",
        "Allow logs:PutLogEvents on <ProcessorLogs.Arn>",
        # Lambda's trigger polls the queue.
        "Allow sqs:ReceiveMessage on <WebhookQueue.Arn>",
        "Allow sqs:DeleteMessage on <WebhookQueue.Arn>",
        "Allow sqs:GetQueueAttributes on <WebhookQueue.Arn>",
        # Without it, S3 answers 403 instead of 404 to GetObject for a missing object.
        "Allow s3:ListBucket on <InboxBucket.Arn>",
    },
}
# AWS documents `events:source` as a key with several values, one for each entry of a call.
FROM = " if ForAllValues:StringEquals events:source={} and Null events:source=false"

# The first group of the stack's UUID. The last one may name the host that made it.
TAIL = "{Fn::Select: [0, {Fn::Split: [-, {Fn::Select: [2, {Fn::Split: [/, <AWS::StackId>]}]}]}]}"
# The names that are fixed, and the property that holds each. None: CloudFormation makes up a name.
NAMES = {
    "WebhookQueue": ("QueueName", f"<AWS::StackName>-webhooks-{TAIL}"),
    "DeadLetterQueue": ("QueueName", None),
    "InboxBucket": ("BucketName", f"xendit-hooks-<Environment>-inbox-<AWS::AccountId>-{TAIL}"),
    "LedgerTable": ("TableName", None),
    "EventBus": ("Name", "xendit-hooks-<Environment>"),
    "EventArchive": ("ArchiveName", f"xendit-hooks-<Environment>-{TAIL}"),
    "AlarmTopic": ("TopicName", None),
}


def without_tls(service, *resources):
    """Denies every use without TLS."""
    return f"Deny * {service} on {', '.join(resources)} if Bool aws:SecureTransport=false"


RESOURCE_POLICIES = {
    "WebhookQueuePolicy": ("WebhookQueue", {
        without_tls("sqs:*", "<WebhookQueue.Arn>"),
        "Allow s3.amazonaws.com sqs:SendMessage on <WebhookQueue.Arn> if ArnEquals aws:SourceArn="
        f"arn:<AWS::Partition>:s3:::{NAMES['InboxBucket'][1]} and StringEquals aws:SourceAccount=<AWS::AccountId>",
    }),
    "DeadLetterQueuePolicy": ("DeadLetterQueue", {without_tls("sqs:*", "<DeadLetterQueue.Arn>")}),
    "InboxBucketPolicy": ("InboxBucket", {without_tls("s3:*", "<InboxBucket.Arn>", "<InboxBucket.Arn>/*")}),
    "TapQueuePolicy": ("TapQueue", {
        without_tls("sqs:*", "<TapQueue.Arn>"),
        "Allow events.amazonaws.com sqs:SendMessage on <TapQueue.Arn> if ArnEquals aws:SourceArn=<TapRule.Arn>",
    }),
    "ReplayQueuePolicy": ("ReplayQueue", {
        without_tls("sqs:*", "<ReplayQueue.Arn>"),
        "Allow events.amazonaws.com sqs:SendMessage on <ReplayQueue.Arn> if ArnLike aws:SourceArn="
        "arn:<AWS::Partition>:events:<AWS::Region>:<AWS::AccountId>:rule/<EventBus.Name>/xendit-hooks-replay-*",
    }),
    "AlarmTopicPolicy": ("AlarmTopic", {
        without_tls("sns:Publish", "<AlarmTopic>"),
        "Allow cloudwatch.amazonaws.com sns:Publish on <AlarmTopic> if StringEquals aws:SourceAccount=<AWS::AccountId>",
    }),
}

# When each alarm rings.
OURS = "<AWS::StackName>"
SENT = "AWS/SQS NumberOfMessagesSent QueueName=<WebhookQueue.QueueName>"
SQS_DLQ = "QueueName=<DeadLetterQueue.QueueName> in 60 s"
ALARMS = {
    # Not a `+`, which has no value while one of them is not reported.
    "DeadLettersAlarm": f"SUM(METRICS()) of visible: Maximum of AWS/SQS ApproximateNumberOfMessagesVisible {SQS_DLQ} and "
    f"hidden: Maximum of AWS/SQS ApproximateNumberOfMessagesNotVisible {SQS_DLQ} > 0, 1 of 1 times; missing data is ignore",
    "ParkedAlarm": f"Sum of {OURS} parked in 300 s > 0, 1 of 1 times; missing data is notBreaching",
    "RetriesAlarm": f"Sum of {OURS} retries in 300 s > 0, 1 of 1 times; missing data is notBreaching",
    "FailureRateAlarm": f"IF(failed >= 5, 100 * failed / sent, 0) of failed: Sum of {OURS} first-failures in 900 s and "
    f"sent: Sum of {SENT} in 900 s >= <FailureRatePercent>, 1 of 1 times; missing data is notBreaching",
    "QueueAgeAlarm": "Maximum of AWS/SQS ApproximateAgeOfOldestMessage QueueName=<WebhookQueue.QueueName> in 60 s > 900, "
    "3 of 3 times; missing data is notBreaching",
    "ProcessorErrorsAlarm": "Sum of AWS/Lambda Errors FunctionName=<ProcessorFunction> in 300 s > 0, 2 of 3 times; "
    "missing data is notBreaching",
    "ServerErrorsAlarm": "Sum of AWS/ApiGateway 5xx ApiId=<WebhookApi> in 300 s > 0, 1 of 1 times; missing data is notBreaching",
    "ReceiverErrorsAlarm": "Sum of AWS/Lambda Errors FunctionName=<ReceiverFunction> in 300 s > 0, 1 of 1 times; "
    "missing data is notBreaching",
    "ReceiverThrottlesAlarm": "Sum of AWS/Lambda Throttles FunctionName=<ReceiverFunction> in 300 s > 0, 1 of 1 times; "
    "missing data is notBreaching",
    "ThrottledAlarm": f"Sum of {OURS} throttled in 300 s > 0, 2 of 3 times; missing data is notBreaching",
    "InboxAlarm": f"Sum of {OURS} inbox in 300 s > 0, 1 of 1 times; missing data is notBreaching",
    "WrongTokenAlarm": f"Sum of {OURS} wrong-token in 3600 s >= 5, 1 of 1 times; missing data is notBreaching",
    "NoTokenAlarm": f"Sum of {OURS} no-token in 3600 s >= <NoTokenRequests>, 1 of 1 times; missing data is notBreaching",
    # An alarm on a metric without values would wait for some periods. A period of an hour can be looked back at for a week.
    "SilenceAlarm": f"FILL(sent, 0) of sent: Sum of {SENT} in 3600 s <= 0, <SilenceHours> of <SilenceHours> times; "
    "missing data is breaching",
    "ConflictAlarm": f"Sum of {OURS} conflict in 300 s > 0, 1 of 1 times; missing data is notBreaching",
    "DriftAlarm": f"Sum of {OURS} drift in 86400 s > 0, 1 of 1 times; missing data is notBreaching",
    # The rules are the merchant's. A metric of a rule on another bus than the default one has both dimensions.
    "UndeliveredAlarm": 'SELECT SUM(FailedInvocations) FROM SCHEMA("AWS/Events", EventBusName, RuleName) '
    "WHERE EventBusName = '<EventBus.Name>' in 300 s > 0, 1 of 1 times; missing data is notBreaching",
}
HEADINGS = ["What it means", "What is at stake", "Look", "Do", "Done when"]
COUNTS_ONE = "{MetricNamespace: <AWS::StackName>, MetricValue: 1, Unit: Count}"


def fails_for_a_minute(line):
    """A try that failed, of a webhook that has failed before and not just once."""
    if line.get("outcome") not in ("retry", "not_parked"):
        return False
    return line["receive_count"] > 3 or "newer" in line["reason"]


def is_first_failure(line):
    """The first try of a webhook, if it failed."""
    return line.get("outcome") in ("retry", "not_parked", "no_time") and line["receive_count"] == 1


# The log group and the lines that each metric counts.
COUNTED = {
    "parked": ("ProcessorLogs", lambda line: line.get("outcome") == "parked"),
    "retries": ("ProcessorLogs", fails_for_a_minute),
    "first-failures": ("ProcessorLogs", is_first_failure),
    "conflict": ("ProcessorLogs", lambda line: line.get("outcome") == "conflict"),
    "drift": ("ProcessorLogs", lambda line: "unknown" in line or "drift" in line),
    # Of the money that comes in. An invoice is settled after it was paid.
    "paid": ("ProcessorLogs",
             lambda line: line.get("outcome") == "applied" and line["stage"] in ("payment.succeeded", "invoice.paid")),
    "inbox": ("ReceiverLogs", lambda line: line.get("outcome") == "stored_in_inbox" and line["bytes"] < 1_000_000),
    "wrong-token": ("ReceiverLogs", lambda line: line.get("reason") == "wrong token"),
    "no-token": ("ReceiverLogs", lambda line: line.get("reason") == "no token"),
    "throttled": ("AccessLogs", lambda line: line["status"] == "429"),
}

# What API Gateway answers.
STATUSES = ("200", "401", "404", "429", "503")
# The log groups of each saved query.
QUERIES = {
    "DeliveryQuery": ["AccessLogs", "ReceiverLogs", "ProcessorLogs"],
    "PaymentQuery": ["ProcessorLogs"],
    "SlowestQuery": ["ProcessorLogs"],
    "RefusedQuery": ["ReceiverLogs"],
    "FailingQuery": ["ProcessorLogs"],
    "DriftQuery": ["ProcessorLogs"],
}
# How the texts of the dashboard begin.
TEXTS = ("**Xendit Hooks, <Environment>**, stack <AWS::StackName>. Times are UTC if you choose UTC", "### Is money coming in?",
         "### Is anything stuck?", "### Is anyone knocking?", "### What does it cost?")
RED = "#d13212"
# The metrics of AWS that the resources have: names, statistics, dimension and values.
AWS_METRICS = {
    "AWS/ApiGateway": [({"Count", "5xx"}, {"Sum"}, "ApiId", ["<WebhookApi>"]),
                       ({"Latency"}, {"p50", "p99"}, "ApiId", ["<WebhookApi>"])],
    "AWS/Lambda": [({"Errors", "Throttles", "Invocations"}, {"Sum"}, "FunctionName", ["<ReceiverFunction>", "<ProcessorFunction>"])],
    "AWS/SQS": [
        ({"NumberOfMessagesSent"}, {"Sum"}, "QueueName", ["<WebhookQueue.QueueName>"]),
        # SQS does not count what it moves to the dead-letter queue itself as sent.
        ({"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"},
         {"Maximum"}, "QueueName", ["<WebhookQueue.QueueName>", "<DeadLetterQueue.QueueName>"]),
    ],
    "AWS/Logs": [({"IncomingBytes"}, {"Sum"}, "LogGroupName", ["<AccessLogs>", "<ReceiverLogs>", "<ProcessorLogs>"])],
}
# X-Ray has no resources that a policy could name.
TRACES = "Allow xray:PutTelemetryRecords, xray:PutTraceSegments on *"

# A line that Lambda itself logs.
LAMBDAS_LINE = {"type": "platform.report", "time": "2026-01-02T03:04:05.678Z", "record": {"status": "timeout"}}
# Lambda's request id is the delivery id.
ACCESS_LOG = {
    "delivery": "$context.integration.requestId",
    "requestId": "$context.requestId",
    "route": "$context.routeKey",
    "status": "$context.status",
    "ms": "$context.responseLatency",
    "lambda_ms": "$context.integrationLatency",
    "lambda_error": "$context.integrationErrorMessage",
}
# Without the condition, 0 would stop the receiver.
RESERVED = "{Fn::If: [HasReceiverConcurrency, <ReceiverConcurrency>, <AWS::NoValue>]}"
CONFIGURATION = "{CertificateArn: <CertificateArn>, EndpointType: REGIONAL, SecurityPolicy: TLS_1_2}"
DOMAIN = f"{{DomainName: <DomainName>, DomainNameConfigurations: [{CONFIGURATION}]}}"
MAPPING = f"{{ApiId: <WebhookApi>, DomainName: <Domain>, Stage: <{STAGE}>}}"
CERTIFICATE = "[{Assert: {Fn::Not: [{Fn::Equals: [<CertificateArn>, ]}]}, AssertDescription: DomainName needs CertificateArn.}]"
DOMAIN_RULE = (f"{{DomainNameNeedsCertificate: {{Assertions: {CERTIFICATE}, "
               "RuleCondition: {Fn::Not: [{Fn::Equals: [<DomainName>, ]}]}}}")
SUBSCRIPTION = "{Endpoint: <AlarmEmail>, Protocol: email, TopicArn: <AlarmTopic>}"
CONDITIONS = {
    "IsLive": "{Fn::Equals: [<Environment>, live]}",
    "HasAlarmEmail": "{Fn::Not: [{Fn::Equals: [<AlarmEmail>, ]}]}",
    "HasTap": "{Fn::Equals: [<Tap>, on]}",
    "HasTracing": "{Fn::Equals: [<Tracing>, on]}",
    "HasSilenceHours": "{Fn::Not: [{Fn::Equals: [<SilenceHours>, 0]}]}",
    "HasDomainName": "{Fn::Not: [{Fn::Equals: [<DomainName>, ]}]}",
    "HasReceiverConcurrency": "{Fn::Not: [{Fn::Equals: [<ReceiverConcurrency>, 0]}]}",
}
RETENTION_DAYS = "[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]"
# Each parameter, without its texts and its pattern. A changed default changes every stack at its next deployment.
PARAMETERS = {
    # No default, because a forgotten flag must not turn a live stack into a test stack.
    "Environment": "{AllowedValues: [test, live], Type: String}",
    # No default, because a function without a digest does not start. Lambda allows 4 KB for all variables of a function.
    "CallbackTokens": "{MaxLength: 3000, MinLength: 66, Type: String}",
    "TokenAccounts": "{Default: , MaxLength: 3000, Type: String}",
    "DomainName": "{Default: , Type: String}",
    "CertificateArn": "{Default: , Type: String}",
    "Tap": "{AllowedValues: [on, off], Default: off, Type: String}",
    "AlarmEmail": "{Default: , Type: String}",
    # A week is the longest time that an alarm can look back.
    "SilenceHours": "{Default: 0, MaxValue: 168, MinValue: 0, Type: Number}",
    "FailureRatePercent": "{Default: 10, MaxValue: 100, MinValue: 1, Type: Number}",
    "NoTokenRequests": "{Default: 100, MinValue: 1, Type: Number}",
    "RunbookUrl": "{Default: docs/runbooks, Type: String}",
    "Tracing": "{AllowedValues: [on, off], Default: off, Type: String}",
    "Architecture": "{AllowedValues: [arm64, x86_64], Default: arm64, Type: String}",
    # `warn` and `error` would suppress lines that the alarms count.
    "LogLevel": "{AllowedValues: [info, debug], Default: info, Type: String}",
    "LogRetentionDays": f"{{AllowedValues: {RETENTION_DAYS}, Default: 90, Type: Number}}",
    "ThrottleRate": "{Default: 100, MinValue: 1, Type: Number}",
    # Xendit's dashboard resends at most 500 webhooks at once.
    "ThrottleBurst": "{Default: 500, MinValue: 1, Type: Number}",
    # An account with a quota of 10 can reserve none, and needs some besides the processors'.
    "ReceiverConcurrency": "{Default: 0, MinValue: 0, Type: Number}",
    "ProcessorConcurrency": "{Default: 5, MaxValue: 1000, MinValue: 2, Type: Number}",
}
ATTRIBUTES = {"Condition", "DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy"}
# The resources that do not always exist.
CONDITIONAL = {
    "AlarmSubscription": "HasAlarmEmail",
    "SilenceAlarm": "HasSilenceHours",
    "TracingPolicy": "HasTracing",
    "Domain": "HasDomainName",
    "DomainMapping": "HasDomainName",
    **dict.fromkeys(("TapQueue", "TapQueuePolicy", "TapRule"), "HasTap"),
}
POLICY = {
    "Action", "ArnEquals", "ArnLike", "Bool", "Condition", "Effect", "ForAllValues:StringEquals", "Null", "PolicyDocument", "Principal",
    "Resource", "Service", "Sid", "Statement", "StringEquals", "Version", "aws:SecureTransport", "aws:SourceAccount",
    "aws:SourceArn", "events:source",
}
# The settings that the rules know, at any depth. Any other could change what they check.
SETTINGS = {
    "AWS::ApiGatewayV2::Api": {"Body", "description", "info", "openapi", "paths", "tags", "title", "version"},
    "AWS::ApiGatewayV2::ApiMapping": {"ApiId", "DomainName", "Stage"},
    "AWS::ApiGatewayV2::DomainName": {
        "CertificateArn", "DomainName", "DomainNameConfigurations", "EndpointType", "SecurityPolicy", "httpapi:createdBy",
    },
    "AWS::ApiGatewayV2::Stage": {
        "AccessLogSettings", "ApiId", "AutoDeploy", "DefaultRouteSettings", "DestinationArn", "Format", "StageName",
        "ThrottlingBurstLimit", "ThrottlingRateLimit", "httpapi:createdBy",
    },
    "AWS::CloudWatch::Alarm": {
        "AlarmActions", "AlarmDescription", "ComparisonOperator", "DatapointsToAlarm", "Dimensions", "EvaluationPeriods",
        "Expression", "Id", "Label", "Metric", "MetricName", "MetricStat", "Metrics", "Name", "Namespace", "OKActions", "Period",
        "ReturnData", "Stat", "Statistic", "Threshold", "TreatMissingData", "Value",
    },
    "AWS::CloudWatch::Dashboard": {"DashboardBody", "DashboardName"},
    "AWS::DynamoDB::Table": {
        "AttributeDefinitions", "AttributeName", "AttributeType", "BillingMode", "DeletionProtectionEnabled",
        "GlobalSecondaryIndexes", "IndexName", "KeySchema", "KeyType", "PointInTimeRecoveryEnabled",
        "PointInTimeRecoverySpecification", "Projection", "ProjectionType", "SSEEnabled", "SSESpecification",
    },
    "AWS::Events::Archive": {"ArchiveName", "Description", "EventPattern", "RetentionDays", "SourceArn", "source"},
    "AWS::Events::EventBus": {"Name"},
    "AWS::Events::Rule": {"Arn", "Description", "EventBusName", "EventPattern", "Id", "Targets", "source"},
    "AWS::IAM::Policy": {"PolicyName", "Roles", *POLICY},
    "AWS::IAM::Role": {"AssumeRolePolicyDocument", "Description", "Policies", "PolicyName", *POLICY},
    "AWS::Lambda::EventSourceMapping": {
        "BatchSize", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "MaximumConcurrency", "ScalingConfig",
    },
    "AWS::Lambda::Function": {
        "ApplicationLogLevel", "Architectures", "Code", "Description", "Environment", "Handler", "LogFormat", "LogGroup",
        "LoggingConfig", "MemorySize", "ReservedConcurrentExecutions", "Role", "Runtime", "S3Bucket", "S3Key", "SystemLogLevel",
        "Timeout", "TracingConfig", "Mode", "Variables",
    },
    "AWS::Lambda::Permission": {"Action", "FunctionName", "Principal", "SourceArn"},
    "AWS::Logs::LogGroup": {"LogGroupName", "RetentionInDays"},
    "AWS::Logs::MetricFilter": {
        "FilterPattern", "LogGroupName", "MetricName", "MetricNamespace", "MetricTransformations", "MetricValue", "Unit",
    },
    "AWS::Logs::QueryDefinition": {"LogGroupNames", "Name", "QueryString"},
    "AWS::S3::Bucket": {
        "AbortIncompleteMultipartUpload", "BlockPublicAcls", "BlockPublicPolicy", "BucketEncryption", "BucketName",
        "DaysAfterInitiation", "Event", "ExpirationInDays", "Id", "IgnorePublicAcls", "LifecycleConfiguration",
        "NotificationConfiguration", "ObjectOwnership", "OwnershipControls", "PublicAccessBlockConfiguration", "Queue",
        "QueueConfigurations", "RestrictPublicBuckets", "Rules", "SSEAlgorithm", "ServerSideEncryptionByDefault",
        "ServerSideEncryptionConfiguration", "Status",
    },
    "AWS::S3::BucketPolicy": {"Bucket", *POLICY},
    "AWS::SNS::Subscription": {"Endpoint", "Protocol", "TopicArn"},
    "AWS::SNS::Topic": {"DisplayName"},
    "AWS::SNS::TopicPolicy": {"Topics", *POLICY},
    "AWS::SQS::Queue": {
        "MaximumMessageSize", "MessageRetentionPeriod", "QueueName", "RedriveAllowPolicy", "RedrivePolicy",
        "SqsManagedSseEnabled", "VisibilityTimeout", "deadLetterTargetArn", "maxReceiveCount", "redrivePermission",
        "sourceQueueArns",
    },
    "AWS::SQS::QueuePolicy": {"Queues", *POLICY},
}
DIGEST = 64 * "0"
# Values that each pattern accepts, and values that it refuses.
SAMPLES = {
    "CallbackTokens": (
        [f"live={DIGEST}", f"live={DIGEST},live-old={DIGEST}", f"a1={64 * 'f'}", f"{32 * 'a'}={DIGEST}"],
        ["a-callback-token-that-was-pasted", DIGEST, f"live={DIGEST[1:]}", f"live={DIGEST}0", f"Live={DIGEST}", f"live={DIGEST},",
         f"live={DIGEST} shop={DIGEST}", f"live={64 * 'F'}", f"={DIGEST}", f"{33 * 'a'}={DIGEST}", ""],
    ),
    "TokenAccounts": (
        ["", "shop=62440e322008e87fb29c1fd0", "shop=a,shop=b_C-9,live=*", f"{32 * 'a'}={64 * 'a'}"],
        ["shop", "shop=", "shop=a,", "shop=a b", "Shop=a", "shop=**", f"shop={65 * 'a'}", "=a", f"{33 * 'a'}=a"],
    ),
    "DomainName": (["", "webhooks.example.com", "a-1.co.id"],
                   ["example", "https://example.com", "-a.com", "a..com", "a.com/x", "A.com"]),
    "CertificateArn": (["", "arn:aws:acm:ap-southeast-3:123456789012:certificate/8476a536-e9f4"],
                       ["certificate", "arn:aws:iam::123456789012:server-certificate/x", "arn:aws:acm:x:1:certificate/x"]),
    "RunbookUrl": (["docs/runbooks", "https://github.com/you/xendit-hooks/blob/main/docs/runbooks"],
                   ["", "http://example.com/x", "https://example.com/", 'https://example.com/"', "https://a b", "https://a/(b)"]),
    "AlarmEmail": (["", "you@example.com"], ["you", "you@example", "you@example.com other@example.com", "@example.com", "you@"]),
}
OUTPUTS = {
    "WebhookUrl": "{Fn::If: [HasDomainName, https://<DomainName>/webhook, <WebhookApi.ApiEndpoint>/webhook]}",
    "WebhookTopicUrl": "{Fn::If: [HasDomainName, https://<DomainName>/webhook/{topic}, <WebhookApi.ApiEndpoint>/webhook/{topic}]}",
    "DomainTarget": "<Domain.RegionalDomainName>",
    "QueueUrl": "<WebhookQueue>",
    "DeadLetterQueueUrl": "<DeadLetterQueue>",
    "InboxBucketName": "<InboxBucket>",
    "LedgerTableName": "<LedgerTable>",
    "EventBusName": "<EventBus.Name>",
    "EventArchiveName": "<EventArchive>",
    "ReplayQueueUrl": "<ReplayQueue>",
    "TapQueueUrl": "<TapQueue>",
    "AlarmTopicArn": "<AlarmTopic>",
    "ReceiverFunctionName": "<ReceiverFunction>",
    "ProcessorFunctionName": "<ProcessorFunction>",
    "ReceiverLogGroupName": "<ReceiverLogs>",
    "ProcessorLogGroupName": "<ProcessorLogs>",
    "AccessLogGroupName": "<AccessLogs>",
}


# --- Changes that break the rules -------------------------------------------------------------------------------------


def change(*path, to):
    """A change that sets a value under Resources, or deletes it if `to` is None."""

    def apply(template):
        node = template["Resources"]
        for key in path[:-1]:
            node = node[key]
        if to is None:
            del node[path[-1]]
        else:
            node[path[-1]] = to

    return apply


def trigger_change(key, to):
    return lambda template: event_source_mapping(template).__setitem__(key, to)


def route_change(route, key, to):
    return lambda template: routes(template)[route].__setitem__(key, to)


def role_change(role, number, key, to):
    """A change of one statement of a role."""
    return change(role, "Properties", "Policies", 0, "PolicyDocument", "Statement", number, key, to=to)


def policy_change(policy, number, *path, to):
    """A change of one statement of a resource's policy."""
    return change(policy, "Properties", "PolicyDocument", "Statement", number, *path, to=to)


def variable_change(function, name, to):
    return change(function, "Properties", "Environment", "Variables", name, to=to)


def alarm_change(alarm, key, to):
    return change(alarm, "Properties", key, to=to)


def body_change(old, new):
    """A change of the text of the dashboard, where it occurs first."""

    def apply(template):
        body = properties(template, "Dashboard")["DashboardBody"]["Fn::Sub"]
        if old not in body[0]:
            raise ValueError(f"the dashboard has no {old}")
        body[0] = body[0].replace(old, new, 1)

    return apply


def parameter_change(parameter, key, to):
    return lambda template: template["Parameters"][parameter].__setitem__(key, to)


def moved(role, number, to):
    """A permission on another resource."""
    return role_change(role, number, "Resource", to={"Fn::GetAtt": [to, "Arn"]})


NOTIFICATION = ("InboxBucket", "Properties", "NotificationConfiguration", "QueueConfigurations", 0)
INDEXES = ("LedgerTable", "Properties", "GlobalSecondaryIndexes")
VISIBLE = {"MetricName": "ApproximateNumberOfMessagesVisible", "Namespace": "AWS/SQS", "Statistic": "Maximum", "Period": 60}
ANY_BUCKET = {"Fn::Sub": "arn:${AWS::Partition}:s3:::*"}
UUID_TAIL = {"Fn::Sub": "${AWS::StackName}-webhooks"}
# Every rule, with the changes that it must reject.
RULES = {
    partial_responses: [
        trigger_change("FunctionResponseTypes", to=[]),
        lambda template: event_source_mapping(template).pop("FunctionResponseTypes"),
    ],
    no_filter: [trigger_change("FilterCriteria", to={"Filters": []})],
    visibility: [
        change("WebhookQueue", "Properties", "VisibilityTimeout", to=179),
        change("WebhookQueue", "Properties", "VisibilityTimeout", to=43200),
    ],
    receives: [
        change("WebhookQueue", "Properties", "RedrivePolicy", to=None),
        change("WebhookQueue", "Properties", "RedrivePolicy", "maxReceiveCount", to=4),
        change("WebhookQueue", "Properties", "RedrivePolicy", "maxReceiveCount", to=1000),
        change("WebhookQueue", "Properties", "RedrivePolicy", "deadLetterTargetArn", to={"Fn::GetAtt": ["TapQueue", "Arn"]}),
        change("DeadLetterQueue", "Properties", "RedriveAllowPolicy", "redrivePermission", to="denyAll"),
    ],
    retention: [
        change("DeadLetterQueue", "Properties", "MessageRetentionPeriod", to=345600),
        change("WebhookQueue", "Properties", "MessageRetentionPeriod", to=60),
        change("InboxBucket", "Properties", "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", to=25),
        change("InboxBucket", "Properties", "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", to=3650),
        change("EventArchive", "Properties", "RetentionDays", to=1),
        change("ProcessorLogs", "Properties", "RetentionInDays", to=None),
    ],
    timeouts: [
        change("ReceiverFunction", "Properties", "Timeout", to=30),
        change("ReceiverFunction", "Properties", "Timeout", to=3),
        change("ProcessorFunction", "Properties", "Timeout", to=20),
        route_change("POST /webhook/{topic}", "timeoutInMillis", to=30000),
        route_change("POST /webhook", "timeoutInMillis", to=9000),
    ],
    routed: [
        route_change("POST /webhook", "payloadFormatVersion", to="1.0"),
        route_change("POST /webhook", "requestParameters", to={"overwrite:header.x-callback-token": "x"}),
        route_change("POST /webhook", "uri", to={"Fn::Sub": "arn:${AWS::Partition}:lambda:${ProcessorFunction.Arn}/invocations"}),
        change("ReceiverFunctionWebhookTopicPermission", to=None),
        change(STAGE, "Properties", "StageName", to="prod"),
    ],
    domain: [
        change("DomainMapping", "Properties", "ApiMappingKey", to="v1"),
        change("Domain", "Properties", "DomainNameConfigurations", 0, "SecurityPolicy", to="TLS_1_0"),
        lambda template: template.pop("Rules"),
    ],
    message_size: [
        change("WebhookQueue", "Properties", "MaximumMessageSize", to=262144),
        change("DeadLetterQueue", "Properties", "MaximumMessageSize", to=None),
    ],
    encryption: [
        change("WebhookQueue", "Properties", "SqsManagedSseEnabled", to=False),
        change("InboxBucket", "Properties", "BucketEncryption", to=None),
        change("LedgerTable", "Properties", "SSESpecification", to={"SSEEnabled": False}),
    ],
    private: [
        change("InboxBucket", "Properties", "PublicAccessBlockConfiguration", "RestrictPublicBuckets", to=False),
        change("InboxBucket", "Properties", "OwnershipControls", to=None),
    ],
    notified: [
        change("InboxBucket", "Properties", "NotificationConfiguration", to=None),
        change(*NOTIFICATION, "Event", to="s3:ObjectRemoved:*"),
        change(*NOTIFICATION, "Queue", to={"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}),
        change("InboxBucket", "DependsOn", to=None),
    ],
    resource_policies: [
        change("DeadLetterQueuePolicy", to=None),
        change("InboxBucketPolicy", to=None),
        policy_change("WebhookQueuePolicy", 1, to=None),
        policy_change("WebhookQueuePolicy", 1, "Condition", "StringEquals", to={}),
        policy_change("WebhookQueuePolicy", 1, "Condition", "ArnEquals", to={"aws:SourceArn": ANY_BUCKET}),
        policy_change("WebhookQueuePolicy", 1, "Principal", to="*"),
        policy_change("InboxBucketPolicy", 0, "Resource", 1, to=None),
        policy_change("AlarmTopicPolicy", 0, "Principal", to={"Service": "events.amazonaws.com"}),
        change("DeadLetterQueuePolicy", "Properties", "Queues", to=[{"Ref": "WebhookQueue"}]),
        policy_change("TapQueuePolicy", 1, "Principal", to="*"),
        policy_change("TapQueuePolicy", 1, "Condition", to=None),
        policy_change("ReplayQueuePolicy", 1, "Condition", to=None),
    ],
    least_privilege: [
        role_change("ReceiverRole", 0, "Action", to=["sqs:*"]),
        role_change("ReceiverRole", 0, "Resource", to="*"),
        change("ReceiverRole", "Properties", "AssumeRolePolicyDocument", "Statement", 0, "Principal", to={"AWS": "*"}),
    ],
    policy_language: [change("WebhookQueuePolicy", "Properties", "PolicyDocument", "Version", to=None)],
    permissions: [
        role_change("ReceiverRole", 0, "Action", to="sqs:SendMessage"),
        role_change("ReceiverRole", 0, "Action", to=["sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:PurgeQueue"]),
        moved("ReceiverRole", 0, to="DeadLetterQueue"),
        moved("ReceiverRole", 1, to="InboxBucket"),
        role_change("ReceiverRole", 1, "Resource", to={"Fn::Sub": "${InboxBucket.Arn}/*"}),
        moved("ProcessorRole", 1, to="WebhookQueue"),
        role_change("ProcessorRole", 3, "Action", to="s3:ListAllMyBuckets"),
        role_change("ProcessorRole", 4, "Action", to=["dynamodb:PutItem", "dynamodb:UpdateItem"]),
        role_change("ProcessorRole", 4, "Action",
                    to=["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"]),
        role_change("ProcessorRole", 5, "Condition", to={"StringEquals": {"events:source": "xendit-hooks"}}),
        role_change("ProcessorRole", 5, "Effect", to="Deny"),
        moved("ProcessorRole", 6, to="ReceiverLogs"),
        change("ProcessorFunction", "Properties", "Role", to={"Fn::GetAtt": ["ReceiverRole", "Arn"]}),
    ],
    recovery: [
        change("LedgerTable", "Properties", "PointInTimeRecoverySpecification", to=None),
        change("LedgerTable", "Properties", "DeletionProtectionEnabled", to={"Fn::If": ["IsLive", False, True]}),
    ],
    kept: [
        change("WebhookQueue", "DeletionPolicy", to="Delete"),
        change("DeadLetterQueue", "DeletionPolicy", to="Retain"),
        change("LedgerTable", "DeletionPolicy", to="RetainExceptOnCreate"),
        change("InboxBucket", "UpdateReplacePolicy", to=None),
    ],
    names: [
        change("WebhookQueue", "Properties", "QueueName", to=UUID_TAIL),
        change("DeadLetterQueue", "Properties", "QueueName", to="dead-letters"),
        change("LedgerTable", "Properties", "TableName", to="ledger"),
        change("EventBus", "Properties", "Name", to={"Fn::Sub": "hooks-${Environment}"}),
        change("InboxBucket", "Properties", "BucketName", "Fn::Sub", 1, "StackTail", "Fn::Select", 0, to=4),
        change("EventArchive", "Properties", "ArchiveName", to=None),
    ],
    archived: [
        change("EventArchive", "Properties", "EventPattern", to={"source": ["xendit"]}),
        change("EventArchive", "Properties", "SourceArn", to={"Fn::Sub": "arn:aws:events:x:1:event-bus/default"}),
    ],
    replayed: [
        change("ReplayQueue", "Properties", "MessageRetentionPeriod", to=1209600),
        change("ReplayQueue", "Properties", "MaximumMessageSize", to=None),
    ],
    tap: [
        change("TapRule", "Properties", "EventPattern", to={"source": ["xendit-hooks"], "detail-type": ["invoice.paid"]}),
        change("TapRule", "Properties", "EventBusName", to="default"),
        change("TapRule", "Properties", "Targets", 0, "Arn", to={"Fn::GetAtt": ["WebhookQueue", "Arn"]}),
        change("TapQueue", "Properties", "MessageRetentionPeriod", to=345600),
        change("TapQueue", "Properties", "MaximumMessageSize", to=None),
        lambda template: template["Parameters"]["Tap"].__setitem__("Default", "on"),
    ],
    alarms: [
        *(change(alarm, to=None) for alarm in ALARMS),
        alarm_change("ParkedAlarm", "AlarmActions", to=[]),
        alarm_change("ParkedAlarm", "OKActions", to=[]),
        alarm_change("DeadLettersAlarm", "TreatMissingData", to="notBreaching"),
        alarm_change("DeadLettersAlarm", "Metrics", to=[{"Id": "messages", "MetricStat": {"Metric": VISIBLE, "Stat": "Maximum",
                                                                                         "Period": 60}}]),
        change("DeadLettersAlarm", "Properties", "Metrics", 0, "Expression", to="visible + hidden"),
        alarm_change("QueueAgeAlarm", "Dimensions", to=[{"Name": "QueueName", "Value": {"Ref": "DeadLetterQueue"}}]),
        alarm_change("QueueAgeAlarm", "Threshold", to=900000),
        alarm_change("RetriesAlarm", "Period", to=3600),
        alarm_change("ServerErrorsAlarm", "Statistic", to="Average"),
        alarm_change("ServerErrorsAlarm", "ComparisonOperator", to="LessThanThreshold"),
        alarm_change("ReceiverErrorsAlarm", "DatapointsToAlarm", to=3),
        change("FailureRateAlarm", "Properties", "Metrics", 1, "Id", to="failures"),
        change("FailureRateAlarm", "Properties", "Metrics", 0, "Expression", to="100 * failed / sent"),
        alarm_change("FailureRateAlarm", "Threshold", to=100),
        alarm_change("SilenceAlarm", "ComparisonOperator", to="LessThanLowerThreshold"),
        alarm_change("SilenceAlarm", "EvaluationPeriods", to=1),
        alarm_change("SilenceAlarm", "TreatMissingData", to="notBreaching"),
        change("SilenceAlarm", "Properties", "Metrics", 0, "Expression", to="sent"),
        change("SilenceAlarm", "Properties", "Metrics", 1, "MetricStat", "Metric", "Dimensions", 0, "Value",
               to={"Fn::GetAtt": ["DeadLetterQueue", "QueueName"]}),
        alarm_change("NoTokenAlarm", "Threshold", to=5),
        alarm_change("ThrottledAlarm", "DatapointsToAlarm", to=1),
        change("UndeliveredAlarm", "Properties", "Metrics", 0, "Expression", to="SELECT SUM(FailedInvocations) FROM \"AWS/Events\""),
        change("UndeliveredAlarm", "Properties", "Metrics", 0, "Period", to=86400),
    ],
    pages: [
        alarm_change("ParkedAlarm", "AlarmDescription", to="Runbook: docs/runbooks/parked.md"),
        alarm_change("ParkedAlarm", "AlarmDescription", to=120 * "x" + " Runbook: docs/runbooks/conflict.md"),
        change("NewAlarm", to={"Type": "AWS::CloudWatch::Alarm", "Properties": {}}),
        change("DriftAlarm", to=None),
    ],
    counted: [
        change("ParkedFilter", to=None),
        change("ParkedFilter", "Properties", "FilterPattern", to='{ $.outcome = "dead" }'),
        change("ParkedFilter", "Properties", "FilterPattern", to='{ ($.outcome = parked) || ($.outcome = "applied") }'),
        change("ParkedFilter", "Properties", "FilterPattern", to='{ $.fields.outcome = "parked" }'),
        change("ParkedFilter", "Properties", "MetricTransformations", 0, "MetricValue", to="0"),
        change("ParkedFilter", "Properties", "MetricTransformations", 0, "MetricName", to="Parked"),
        change("ParkedFilter", "Properties", "MetricTransformations", 0, "MetricNamespace", to="XenditHooks"),
        change("RetriesFilter", "Properties", "FilterPattern", to='{ $.outcome = "retry" }'),
        change("InboxFilter", "Properties", "FilterPattern", to='{ $.outcome = "stored_in_inbox" }'),
        change("DriftFilter", "Properties", "FilterPattern", to="{ $.drift = * }"),
        change("WrongTokenFilter", "Properties", "LogGroupName", to={"Ref": "ProcessorLogs"}),
        change("WrongTokenFilter", "Properties", "FilterPattern", to='{ $.reason = "wrong callback token" }'),
        change("NoTokenFilter", "Properties", "FilterPattern", to='{ $.outcome = "refused" }'),
        change("ThrottledFilter", "Properties", "FilterPattern", to='{ $.status = "4*" }'),
        change("ThrottledFilter", "Properties", "FilterPattern", to="{ $.status = 429 }"),
        change("ThrottledFilter", "Properties", "LogGroupName", to={"Ref": "ReceiverLogs"}),
        change("FailureRateFilter", "Properties", "FilterPattern", to='{ $.outcome = "retry" }'),
        change("FailureRateFilter", "Properties", "FilterPattern", to='{ $.outcome = "retry" && $.receive_count = 1 }'),
        change("PaidFilter", "Properties", "FilterPattern", to='{ $.outcome = "applied" && $.stage = "*.succeeded" }'),
        change("PaidFilter", "Properties", "FilterPattern", to='{ $.outcome = "applied" && $.stage = "invoice.paid" }'),
        change("PaidFilter", "Properties", "FilterPattern", to='{ $.stage = "payment.succeeded" || $.stage = "invoice.paid" }'),
    ],
    saved_queries: [
        change("SlowestQuery", to=None),
        change("SlowestQuery", "Properties", "QueryString", to="sort took_ms desc | fields took_ms"),
        change("SlowestQuery", "Properties", "QueryString", to="filter age > 1"),
        change("DriftQuery", "Properties", "QueryString", to="filter outcome = 'drift'"),
        change("RefusedQuery", "Properties", "LogGroupNames", to=[{"Ref": "ProcessorLogs"}]),
        change("PaymentQuery", "Properties", "Name", to="One payment"),
    ],
    laid_out: [
        body_change('"width": 24', '"width": 25'),
        body_change('"x": 6, "y": 5,', '"x": 5, "y": 5,'),
        body_change('"x": 6, "y": 5, "width": 6', '"x": 6, "y": 5, "width": 5'),
        body_change("-PT12H", "-PT1H"),
        body_change("### Is anything stuck?", "### Queue"),
        body_change("/drift.md", "/conflict.md"),
        body_change("[DriftAlarm](${RunbookUrl}/drift.md)", "DriftAlarm"),
        body_change("${AWS::Region}", "us-east-1"),
    ],
    measured: [
        body_change('"paid"', '"payments"'),
        body_change("ApproximateAgeOfOldestMessage", "AgeOfOldestMessage"),
        body_change('"ApiId", "${WebhookApi}"', '"ApiName", "${WebhookApi}"'),
        body_change('"${ProcessorFunction}"', '"${ProcessorFunction.Arn}"'),
        body_change('"${AccessLogs}"', '"${WebhookQueue}"'),
        body_change('"stat": "p50"', '"stat": "p5"'),
        body_change("pct(age_ms, 50)", "pct(took_ms, 50)"),
        body_change("outcome = 'applied' and stage in", "outcome = 'paid' and stage in"),
        body_change('{"left": {"min": 0', '{"left": {"min": 1'),
        body_change("SOURCE '${ProcessorLogs}' | ", ""),
    ],
    drawn_thresholds: [
        body_change('"${ParkedAlarm.Arn}", ', ""),
        body_change('"value": 900', '"value": 90'),
        body_change('"value": ${FailureRatePercent}', '"value": 5'),
        body_change('"RetriesAlarm, ParkedAlarm"', '"RetriesAlarm"'),
        body_change('"label": "QueueAgeAlarm"', '"label": "QueueAge"'),
        body_change("#d13212", "#1f77b4"),
        body_change('"IF(failed >= 5, 100 * failed / sent, 0)"', '"100 * failed / sent"'),
        body_change('"Sum", "period": 3600', '"Sum", "period": 300'),
        body_change('"stat": "Maximum", "period": 60', '"stat": "Average", "period": 60'),
        alarm_change("WrongTokenAlarm", "Threshold", to=500),
        change("DriftAlarm", to=None),
    ],
    traced: [
        change("TracingPolicy", "Properties", "PolicyDocument", "Statement", 0, "Action", to="xray:*"),
        change("TracingPolicy", "Properties", "Roles", to=[{"Ref": "ReceiverRole"}]),
        change("Policy", to={"Type": "AWS::IAM::Policy", "Properties": {"Roles": [{"Ref": "ReceiverRole"}]}}),
        change("ProcessorFunction", "Properties", "TracingConfig", "Mode", to="Active"),
    ],
    queries: [change(STAGE, "Properties", "AccessLogSettings", "Format", to='{"delivery":"$context.integration.requestId"}')],
    logged: [
        change("ProcessorFunction", "Properties", "LoggingConfig", "LogFormat", to="Text"),
        change("ReceiverFunction", "Properties", "LoggingConfig", "LogGroup", to={"Ref": "ProcessorLogs"}),
        change("ReceiverFunction", "Properties", "LoggingConfig", "ApplicationLogLevel", to="ERROR"),
        change("ProcessorLogs", "Properties", "LogGroupName", to="/aws/lambda/processor"),
        lambda template: template["Mappings"]["LogLevels"].__setitem__("info", {"Lambda": "ERROR"}),
    ],
    no_secrets: [change("ReceiverFunction", "Properties", "Description", to="xnd_development_x")],
    throttled: [
        change(STAGE, "Properties", "DefaultRouteSettings", to={}),
        change(STAGE, "Properties", "DefaultRouteSettings", "ThrottlingRateLimit", to={"Ref": "ThrottleBurst"}),
    ],
    access_log: [
        change(STAGE, "Properties", "AccessLogSettings", "Format", to='{"delivery":"$context.identity.sourceIp"}'),
        change(STAGE, "Properties", "AccessLogSettings", "DestinationArn", to={"Fn::GetAtt": ["ReceiverLogs", "Arn"]}),
        change("AccessLogs", "Properties", "LogGroupName", to="access"),
    ],
    known_variables: [variable_change("ReceiverFunction", "CALLBACK_TOKEN", to="x")],
    needed_variables: [
        variable_change("ProcessorFunction", "TOKEN_ACCOUNTS", to=None),
        variable_change("ReceiverFunction", "LOG_LEVEL", to=None),
        variable_change("ReceiverFunction", SDK_VARIABLE, to=None),
        variable_change("ReceiverFunction", "LEDGER_TABLE", to="x"),
    ],
    right_variables: [
        variable_change("ReceiverFunction", "QUEUE_URL", to={"Ref": "DeadLetterQueue"}),
        variable_change("ProcessorFunction", "QUEUE_URL", to={"Fn::GetAtt": ["WebhookQueue", "Arn"]}),
        variable_change("ProcessorFunction", "TOKEN_ACCOUNTS", to=""),
        variable_change("ProcessorFunction", SDK_VARIABLE, to="http://127.0.0.1:5000"),
        variable_change("ReceiverFunction", "ENVIRONMENT", to="test"),
    ],
    built: [
        change("ProcessorFunction", "Metadata", "BuildProperties", "Binary", to="receiver"),
        change("ProcessorFunction", "Properties", "Architectures", to=["x86_64"]),
        change("ReceiverFunction", "Properties", "Runtime", to="provided.al2"),
    ],
    sized: [
        change("ProcessorFunction", "Properties", "MemorySize", to=10240),
        change("ReceiverFunction", "Properties", "ReservedConcurrentExecutions", to={"Ref": "ReceiverConcurrency"}),
        trigger_change("ScalingConfig", to={"MaximumConcurrency": 1000}),
        trigger_change("BatchSize", to=1),
        trigger_change("EventSourceArn", to={"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}),
    ],
    ledger: [
        change("LedgerTable", "Properties", "BillingMode", to="PROVISIONED"),
        change("LedgerTable", "Properties", "KeySchema", 0, "AttributeName", to="id"),
        change("LedgerTable", "Properties", "AttributeDefinitions", 0, "AttributeType", to="N"),
    ],
    indexes: [
        change(*INDEXES, 1, to=None),
        change(*INDEXES, 1, "IndexName", to="opened"),
        change(*INDEXES, 0, "KeySchema", 1, "AttributeName", to="updated_at"),
        change(*INDEXES, 1, "KeySchema", 1, to=None),
        change(*INDEXES, 1, "Projection", to={"ProjectionType": "ALL"}),
    ],
    subscribed: [
        change("AlarmSubscription", "Properties", "TopicArn", to="x"),
    ],
    known_settings: [
        change("TapQueue", "Condition", to=None),
        change("Url", to={"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "NONE"}}),
        change("Invoke", to={"Type": "AWS::Lambda::Permission", "Properties": {"Principal": "*"}}),
        change("ReceiverRole", "Properties", "ManagedPolicyArns", to=["arn:aws:iam::aws:policy/Any"]),
        change("ReceiverFunction", "Properties", "VpcConfig", to={}),
        change("WebhookQueue", "Properties", "DelaySeconds", to=900),
        change("DeadLetterQueue", "Properties", "KmsMasterKeyId", to="alias/aws/sqs"),
        change("LedgerTable", "Properties", "TimeToLiveSpecification", to={"AttributeName": "since", "Enabled": True}),
        change("LedgerTable", "Properties", "PointInTimeRecoverySpecification", "RecoveryPeriodInDays", to=1),
        change("AlarmTopic", "Properties", "KmsMasterKeyId", to="alias/aws/sns"),
        alarm_change("ParkedAlarm", "ActionsEnabled", to=False),
        change("ParkedAlarm", "Condition", to="HasAlarmEmail"),
        trigger_change("MaximumBatchingWindowInSeconds", to=300),
        trigger_change("Enabled", to=False),
    ],
    parameters: [
        parameter_change("Environment", "Default", to="live"),
        parameter_change("Architecture", "Default", to="x86_64"),
        parameter_change("LogLevel", "AllowedValues", to=["info", "debug", "error"]),
        parameter_change("CallbackTokens", "AllowedPattern", to=".*"),
        parameter_change("CallbackTokens", "Default", to=f"live={DIGEST}"),
        parameter_change("TokenAccounts", "AllowedPattern", to="[a-z=]*"),
        parameter_change("ThrottleRate", "Default", to=1),
        parameter_change("ReceiverConcurrency", "Default", to=100),
    ],
    conditions: [lambda template: template["Conditions"].__setitem__("IsLive", {"Fn::Equals": [{"Ref": "Environment"}, "test"]})],
    outputs: [
        lambda template: template["Outputs"].pop("TapQueueUrl"),
        lambda template: template["Outputs"]["QueueUrl"].__setitem__("Value", {"Ref": "DeadLetterQueue"}),
        lambda template: template["Outputs"]["QueueUrl"].__setitem__("Condition", "HasTap"),
    ],
}


# --- Mutants: everything deleted, changed and extended, one at a time -------------------------------------------------

SECTIONS = ["Globals", "Parameters", "Mappings", "Rules", "Conditions", "Resources", "Outputs"]
# What no rule has to notice, by its path, and why.
UNRULED = {
    r".*\b(Description|ConstraintDescription|DisplayName|Label|Sid|PolicyName)\b": "A text for people.",
    r".*\.AlarmDescription = x": "The same.",
    r".*\.(LifecycleConfiguration\.Rules|Targets)\.0\.Id ": "A name that nothing refers to.",
    r".*\.Metrics\.0\.Id ": "The same.",
    r"Resources\.Dashboard\.Properties\.DashboardName\b": "A name that nothing refers to.",
    r"Resources\.(WebhookApi|\w+Function)(\.Properties\.Events\.\w+)? with another setting": "SAM leaves it out.",
    r"Resources\.Domain\.Metadata\b": "cfn-lint reads it.",
    r"Globals\.Function\.CodeUri ": "`make build` reads it.",
    r"Resources\.WebhookApi\.Properties\.StageName deleted": "The default of SAM.",
    r"Resources\.ReceiverFunction\.Properties\.Events\.\w+\.Properties\.PayloadFormatVersion deleted": "The default of SAM.",
    r".*\.AbortIncompleteMultipartUpload\b": "The receiver uploads in one part.",
    r"Resources\.TapQueue\.Properties\.MessageRetentionPeriod = 3628801": "cfn-lint knows the maximum.",
}


def is_value(node):
    """A value that mutants change as a whole."""
    return not isinstance(node, (dict, list)) or (
        isinstance(node, dict) and len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::")))


def other_values(value):
    """Wrong values that could stand in the place of a value."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (3 * value + 1, value // 3 - 1)
    elif isinstance(value, dict):
        yield {"Ref": "LogLevel" if value == {"Ref": "AWS::AccountId"} else "AWS::AccountId"}
    else:
        yield f"x{value}"


def paths(node, path=()):
    """The path of every part of a template."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key), value
        if not is_value(value):
            yield from paths(value, (*path, key))


def mutants(template, plain):
    """What was done, and the mutant as plain CloudFormation. None: SAM refuses it."""
    serverless = {name for name, resource in template["Resources"].items() if "Serverless" in resource["Type"]}

    def mutant(path, edit):
        as_is = path[0] != "Globals" and path[1] not in serverless
        broken = copy.deepcopy(plain if as_is else template)
        node = broken
        for key in path[:-1]:
            node = node[key]
        edit(node)
        try:
            return broken if as_is else translate(broken)
        except Exception:
            return None

    for section in SECTIONS:
        for path, value in paths(template[section], (section,)):
            where = ".".join(map(str, path))
            yield f"{where} deleted", mutant(path, lambda node: node.pop(path[-1]))
            if is_value(value):
                for other in other_values(value):
                    yield f"{where} = {show(other)}", mutant(path, lambda node: node.__setitem__(path[-1], other))
            elif isinstance(value, dict):
                yield f"{where} with another setting", mutant(path, lambda node: node[path[-1]].__setitem__("Another", "x"))


def problems_of(rule, template):
    """What a rule finds. A rule that does not find what it looks at is a problem too."""
    try:
        yield from rule(template)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        yield f"The rule {rule.__name__} does not find what it checks: {error!r}."


def rejected(rules, template):
    return any(problem for rule in rules for problem in problems_of(rule, template))


def main(path):
    logging.disable()
    template = yaml_parse(Path(path).read_text(encoding="utf-8"))
    plain = translate(template)
    problems = [problem for rule in RULES for problem in problems_of(rule, plain)]
    planted = 0
    for rule, breaking_changes in RULES.items():
        for number, apply in enumerate(breaking_changes, start=1):
            planted += 1
            broken = copy.deepcopy(plain)
            apply(broken)
            if not rejected([rule], broken):
                problems.append(f"The rule {rule.__name__} does not reject its breaking change {number}; correct the rule.")
    tried, unneeded = 0, set(UNRULED)
    # If there are problems, everything else looks rejected.
    for name, mutant in mutants(template, plain) if not problems else ():
        tried += 1
        if mutant is None or rejected(RULES, mutant):
            continue
        reasons = {pattern for pattern in UNRULED if re.match(pattern, name)}
        unneeded -= reasons
        if not reasons:
            problems.append(f"No rule notices {name}; add a rule, or say in UNRULED why none has to.")
    problems += [f"UNRULED has the pattern {pattern}, which is not needed." for pattern in sorted(unneeded) if tried]
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{path}: {len(RULES)} rules hold. They reject {planted} planted bugs, and notice all but the unimportant of "
          f"{tried} mutants")


if __name__ == "__main__":
    main(sys.argv[1])
