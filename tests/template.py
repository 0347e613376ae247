"""Checks template.yaml for what cfn-lint cannot know: the numbers, policies and names that keep webhooks safe.

`make check` runs it. Each rule yields a sentence for each problem, with its consequence. Each rule is also run on broken
copies of the template, and must reject every one of them.
"""

import copy
import re
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


ROOT = Path(__file__).parent.parent


def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


# --- What the code defines --------------------------------------------------------------------------------------------


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


def logged_outcomes(enum):
    """The log spellings of an enum in shared/src/outcome.rs."""
    blocks = re.findall(r"^outcomes! \{$(.*?)^\}$", source("shared/src/outcome.rs"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(rf"^\s*{enum} \{{$", block, re.MULTILINE)]
    return set(re.findall(r'^\s*\w+ "(\w+)",$', block, re.MULTILINE))


# --- What the template contains ---------------------------------------------------------------------------------------


class NoManagedPolicies:
    """Stops the translator from asking IAM for AWS's managed policies."""

    def load(self):
        return {}


def translate(text):
    """Translates the template to plain CloudFormation, with the default of every parameter that has one."""
    template = yaml_parse(text)
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


def identity_statements(template):
    for role in of_type(template, "AWS::IAM::Role").values():
        for policy in role.get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]


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


def as_list(value):
    return value if isinstance(value, list) else [value]


def variables(template, function):
    return properties(template, function)["Environment"]["Variables"]


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


def receives(template):
    redrive = properties(template, "WebhookQueue").get("RedrivePolicy")
    if not redrive:
        yield "WebhookQueue has no dead-letter queue: a message that crashes the processor would be lost when it expires."
    elif redrive["maxReceiveCount"] < 9:
        yield "WebhookQueue's maxReceiveCount is less than 9: SQS would move messages before the processor adds a reason."


def retention(template):
    webhooks_secs = properties(template, "WebhookQueue")["MessageRetentionPeriod"]
    dead_letters_secs = properties(template, "DeadLetterQueue")["MessageRetentionPeriod"]
    inbox_days = properties(template, "InboxBucket")["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"]
    if dead_letters_secs < 1209600:
        yield "DeadLetterQueue keeps messages for less than 14 days: there would be less time to redrive them."
    if webhooks_secs < 345600:
        yield "WebhookQueue keeps messages for less than 4 days: a failure over a long weekend would lose some."
    if inbox_days * 86400 < webhooks_secs + dead_letters_secs:
        yield "InboxBucket would delete an envelope while its notification may still be in one of the queues."


def timeouts(template):
    receiver, processor = properties(template, "ReceiverFunction"), properties(template, "ProcessorFunction")
    if not 7 <= receiver["Timeout"] < 30:
        yield "ReceiverFunction's timeout must be more than the 6 s in which it answers, and less than Xendit's 30 s."
    (expected,) = re.findall(r"pub const TIMEOUT: .* = Duration::from_secs\((\d+)\);", source(FAILURE_RS))
    if processor["Timeout"] != int(expected):
        yield f"ProcessorFunction's timeout is not the {expected} s in {FAILURE_RS}."


def message_size(template):
    for name in ("WebhookQueue", "DeadLetterQueue"):
        if properties(template, name).get("MaximumMessageSize") != 1048576:
            yield f"{name} does not accept messages of 1 MiB, which the receiver sends."


def encryption(template):
    for name, queue in of_type(template, "AWS::SQS::Queue").items():
        if not (queue.get("SqsManagedSseEnabled") or queue.get("KmsMasterKeyId")):
            yield f"{name} is not encrypted."
    if "BucketEncryption" not in properties(template, "InboxBucket"):
        yield "InboxBucket is not encrypted."
    if not properties(template, "LedgerTable").get("SSESpecification", {}).get("SSEEnabled", True):
        yield "LedgerTable is not encrypted."


def only_tls(template):
    denied = set()
    for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy"):
        for policy in of_type(template, kind).values():
            for statement in policy["PolicyDocument"]["Statement"]:
                condition = statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")
                if statement["Effect"] == "Deny" and str(condition).lower() == "false":
                    denied.update(strings(policy.get("Queues", policy.get("Bucket"))))
    for name in ("WebhookQueue", "DeadLetterQueue", "InboxBucket", "TapQueue"):
        if name not in denied:
            yield f"{name} can be used without TLS."


def least_privilege(template):
    for statement in identity_statements(template):
        if statement["Effect"] != "Allow":
            continue
        for action in as_list(statement["Action"]):
            if "*" in action:
                yield f"A role allows {action}: name each action."
        if "*" in as_list(statement["Resource"]):
            yield f"A role allows {statement['Action']} on all resources: name the resource."
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name} has an AWS-managed policy, which allows its actions on all resources."


def recovery(template):
    table = template["Resources"]["LedgerTable"]
    if not table["Properties"].get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "LedgerTable cannot be restored to a point in time."
    for name in ("LedgerTable", "WebhookQueue", "DeadLetterQueue", "InboxBucket"):
        if template["Resources"][name].get("DeletionPolicy") != "Retain":
            yield f"{name} and its contents would be deleted with the stack."


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
    for statement in properties(template, "TapQueuePolicy")["PolicyDocument"]["Statement"]:
        allowed = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        by_rule = {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["TapRule", "Arn"]}}}
        if statement["Effect"] == "Allow" and not (
            allowed.items() <= statement.items() and statement.get("Condition") == by_rule
        ):
            yield "TapQueuePolicy lets others than TapRule send to the queue: a developer would see forged events."
    if template["Parameters"]["Tap"]["Default"] != "off":
        yield "The tap is on by default: every stack would keep, and pay for, copies that nobody reads."
    for name in ("TapRule", "TapQueue", "TapQueuePolicy"):
        if template["Resources"][name].get("Condition") != "HasTap":
            yield f"{name} would exist although Tap is off."


def alarms(template):
    all_alarms = of_type(template, "AWS::CloudWatch::Alarm")

    def namespace(alarm):
        # Our namespace is the stack's name, which is a Ref.
        return alarm["Namespace"] if isinstance(alarm["Namespace"], str) else "ours"

    watched = {(namespace(alarm), alarm["MetricName"]) for alarm in all_alarms.values()}
    for metric in [("AWS/SQS", "ApproximateNumberOfMessagesVisible"), ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
                   ("AWS/ApiGateway", "5xx"), ("AWS/Lambda", "Errors"), ("ours", "conflict"), ("ours", "parked")]:
        if metric not in watched:
            yield f"No alarm watches {metric[1]}."
    for name, alarm in all_alarms.items():
        if "AlarmTopic" not in set(strings(alarm.get("AlarmActions", []))):
            yield f"{name} notifies nobody."
        if len("".join(strings(alarm.get("AlarmDescription", "")))) < 100:
            yield f"{name} has no description of what to do."


def no_secrets(template):
    for resource in template["Resources"].values():
        for text in strings(resource):
            if re.search(r"xnd_|secret_key", text):
                yield "The template seems to contain a Xendit API key."


def throttled(template):
    (stage,) = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    settings = stage.get("DefaultRouteSettings", {})
    if not (settings.get("ThrottlingRateLimit") and settings.get("ThrottlingBurstLimit")):
        yield "The API is not throttled: the cost of a flood would have no limit."
    log_format = stage.get("AccessLogSettings", {}).get("Format", "")
    if not log_format:
        yield "The API has no access log."
    elif re.search(r"sourceIp|header|body|querystring", "".join(strings(log_format)), re.IGNORECASE):
        yield "The access log would contain personal data or headers."


def known_variables(template):
    known = {*defined_variables().values(), SDK_VARIABLE}
    for function in of_type(template, "AWS::Lambda::Function"):
        for name in sorted(variables(template, function).keys() - known):
            yield f"{function} has the variable {name}, which shared/src/stack.rs does not define."


def needed_variables(template):
    for function, folder in FUNCTIONS.items():
        given, read = set(variables(template, function)), {*variables_read_by(folder), SDK_VARIABLE}
        for name in sorted(read - given):
            yield f"{function} does not have the variable {name}, which it reads."
        for name in sorted(given - read):
            yield f"{function} has the variable {name}, which it does not read."


def known_outcomes(template):
    for name, metric_filter in of_type(template, "AWS::Logs::MetricFilter").items():
        (log_group,) = strings(metric_filter["LogGroupName"])
        for outcome in re.findall(r'\$\.outcome\s*!?=\s*"?([^"\s)}&|]*)', metric_filter["FilterPattern"]):
            if outcome not in logged_outcomes(OUTCOMES_IN[log_group]):
                yield f'{name} counts the outcome "{outcome}", which is never in {log_group}: its alarm would be silent.'


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


# --- What the rules expect --------------------------------------------------------------------------------------------

FAILURE_RS = "functions/processor/src/failure.rs"
# The AWS SDK reads this variable, not our code.
SDK_VARIABLE = "AWS_ENDPOINT_URL"
# The folder of each function's code.
FUNCTIONS = {"ReceiverFunction": "receiver", "ProcessorFunction": "processor"}
# The enum in shared/src/outcome.rs whose outcomes each log group contains.
OUTCOMES_IN = {"ReceiverLogs": "Received", "ProcessorLogs": "Processed"}
# The partition key and the sort key of each index.
INDEX_KEYS = {"by-reference": ("reference", "key"), "open": ("open", "since")}


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


def role_change(key, to):
    """A change of the first statement of the first role."""
    return lambda template: next(identity_statements(template)).__setitem__(key, to)


def variable_change(function, name, to):
    return change(function, "Properties", "Environment", "Variables", name, to=to)


STAGE = "WebhookApiApiGatewayDefaultStage"
INDEXES = ("LedgerTable", "Properties", "GlobalSecondaryIndexes")
# Every rule, with the changes that it must reject.
RULES = {
    partial_responses: [trigger_change("FunctionResponseTypes", to=[])],
    no_filter: [trigger_change("FilterCriteria", to={"Filters": []})],
    visibility: [change("WebhookQueue", "Properties", "VisibilityTimeout", to=179)],
    receives: [
        change("WebhookQueue", "Properties", "RedrivePolicy", to=None),
        change("WebhookQueue", "Properties", "RedrivePolicy", "maxReceiveCount", to=4),
    ],
    retention: [
        change("DeadLetterQueue", "Properties", "MessageRetentionPeriod", to=345600),
        change("WebhookQueue", "Properties", "MessageRetentionPeriod", to=60),
        change("InboxBucket", "Properties", "LifecycleConfiguration", "Rules", 0, "ExpirationInDays", to=1),
    ],
    timeouts: [
        change("ReceiverFunction", "Properties", "Timeout", to=30),
        change("ProcessorFunction", "Properties", "Timeout", to=20),
    ],
    message_size: [change("WebhookQueue", "Properties", "MaximumMessageSize", to=262144)],
    encryption: [
        change("WebhookQueue", "Properties", "SqsManagedSseEnabled", to=False),
        change("InboxBucket", "Properties", "BucketEncryption", to=None),
        change("LedgerTable", "Properties", "SSESpecification", to={"SSEEnabled": False}),
    ],
    only_tls: [change("DeadLetterQueuePolicy", to=None), change("InboxBucketPolicy", to=None), change("TapQueuePolicy", to=None)],
    least_privilege: [
        role_change("Action", to=["sqs:*"]),
        role_change("Resource", to="*"),
        change("ReceiverRole", "Properties", "ManagedPolicyArns", to=["arn:aws:iam::aws:policy/Any"]),
    ],
    recovery: [
        change("LedgerTable", "Properties", "PointInTimeRecoverySpecification", to=None),
        change("WebhookQueue", "DeletionPolicy", to="Delete"),
    ],
    tap: [
        change("TapRule", "Properties", "EventPattern", to={"source": ["xendit-hooks"], "detail-type": ["invoice.paid"]}),
        change("TapRule", "Properties", "EventBusName", to="default"),
        change("TapRule", "Properties", "Targets", 0, "Arn", to={"Fn::GetAtt": ["WebhookQueue", "Arn"]}),
        change("TapQueue", "Properties", "MessageRetentionPeriod", to=345600),
        change("TapQueue", "Properties", "MaximumMessageSize", to=None),
        change("TapQueuePolicy", "Properties", "PolicyDocument", "Statement", 1, "Principal", to="*"),
        change("TapQueuePolicy", "Properties", "PolicyDocument", "Statement", 1, "Condition", to=None),
        change("TapQueue", "Condition", to=None),
        lambda template: template["Parameters"]["Tap"].__setitem__("Default", "on"),
    ],
    alarms: [
        change("DeadLettersAlarm", to=None),
        change("ParkedAlarm", "Properties", "AlarmActions", to=[]),
        change("ParkedAlarm", "Properties", "AlarmDescription", to="?"),
    ],
    no_secrets: [change("ReceiverFunction", "Properties", "Description", to="xnd_development_x")],
    throttled: [
        change(STAGE, "Properties", "DefaultRouteSettings", to={}),
        change(STAGE, "Properties", "AccessLogSettings", "Format", to="$context.identity.sourceIp"),
    ],
    known_variables: [variable_change("ReceiverFunction", "CALLBACK_TOKEN", to="x")],
    needed_variables: [
        variable_change("ProcessorFunction", "TOKEN_ACCOUNTS", to=None),
        variable_change("ReceiverFunction", "LOG_LEVEL", to=None),
        variable_change("ReceiverFunction", SDK_VARIABLE, to=None),
        variable_change("ReceiverFunction", "LEDGER_TABLE", to="x"),
    ],
    known_outcomes: [
        change("ParkedFilter", "Properties", "FilterPattern", to='{ $.outcome = "dead" }'),
        change("ParkedFilter", "Properties", "FilterPattern", to='{ ($.outcome = parked) || ($.outcome = "dead") }'),
        change("ParkedFilter", "Properties", "FilterPattern", to='{ $.outcome = "refused" }'),
        change("WrongTokenFilter", "Properties", "LogGroupName", to={"Ref": "ProcessorLogs"}),
    ],
    indexes: [
        change(*INDEXES, 1, to=None),
        change(*INDEXES, 1, "IndexName", to="opened"),
        change(*INDEXES, 0, "KeySchema", 1, "AttributeName", to="updated_at"),
        change(*INDEXES, 1, "KeySchema", 1, to=None),
        change(*INDEXES, 1, "Projection", to={"ProjectionType": "ALL"}),
    ],
}


def main(path):
    with open(path, encoding="utf-8") as file:
        template = translate(file.read())
    problems = [problem for rule in RULES for problem in rule(template)]
    for rule, breaking_changes in RULES.items():
        for number, apply in enumerate(breaking_changes, start=1):
            broken = copy.deepcopy(template)
            apply(broken)
            if not list(rule(broken)):
                problems.append(f"The rule {rule.__name__} does not reject its breaking change {number}; correct the rule.")
    for problem in problems:
        print(f"{path}: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{path}: {len(RULES)} rules hold, and each rejects the changes that break it")


if __name__ == "__main__":
    main(sys.argv[1])
