"""Checks template.yaml for what cfn-lint cannot know: the numbers, policies and names that keep webhooks safe.

Run by `make check`. Each rule yields a sentence for everything that is wrong, with the reason why it matters. Each rule is
also tested with templates that break it: a rule that accepts one of them is itself a failure.
"""

import copy
import re
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    def load(self):
        return {}


ROOT = Path(__file__).parent.parent


def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


def names_in_the_code():
    """The environment variables in shared/src/stack.rs, by their Rust constants."""
    (block,) = re.findall(r"^variables! \{$(.*?)^\}$", source("shared/src/stack.rs"), re.MULTILINE | re.DOTALL)
    return dict(re.findall(r'^\s*([A-Z_]+)\s+"([A-Z_]+)"', block, re.MULTILINE))


def read_by(function):
    """The environment variables that a function reads."""
    settings = source(f"functions/{function}/src/config.rs") + source("functions/runtime/src/logs.rs")
    names = names_in_the_code()
    return {names[constant] for constant in re.findall(r"\b(?:required|optional)(?:::<[^(]*>)?\(([A-Z_]+)", settings)}


def indexes_in_the_code():
    """The names of the ledger's indexes in shared/src/stack.rs."""
    return set(re.findall(r'^pub const INDEX_\w+: &str = "([^"]+)";', source("shared/src/stack.rs"), re.MULTILINE))


def outcomes(name):
    """The words of an enum in shared/src/outcome.rs."""
    blocks = re.findall(r"^outcomes! \{$(.*?)^\}$", source("shared/src/outcome.rs"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(rf"^\s*{name} \{{$", block, re.MULTILINE)]
    return set(re.findall(r'^\s*\w+ "(\w+)",$', block, re.MULTILINE))


def translated(text):
    """The plain CloudFormation that AWS gets, with the default of every parameter."""
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://none/none"
    parameters = {"Environment": "live", "CallbackTokens": "live=" + 64 * "0"}
    return transform(template, parameters, NoManagedPolicies())


def properties(template, name):
    return template["Resources"][name]["Properties"]


def of_type(template, kind):
    return {name: one["Properties"] for name, one in template["Resources"].items() if one["Type"] == kind}


def the_source(template):
    (source,) = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    return source


def identity_statements(template):
    for role in of_type(template, "AWS::IAM::Role").values():
        for policy in role.get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]


def texts(node):
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for one in node.values():
            yield from texts(one)
    elif isinstance(node, list):
        for one in node:
            yield from texts(one)


def as_list(value):
    return value if isinstance(value, list) else [value]


def variables(template, name):
    return properties(template, name)["Environment"]["Variables"]


# --- The rules: each yields a sentence for everything that is wrong ---------------------------------------------------


def partial_responses(template):
    if the_source(template).get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "The processor's trigger does not report failed messages: Lambda would delete whole batches, failed ones too."


def no_filter(template):
    if "FilterCriteria" in the_source(template):
        yield "The processor's trigger has a filter: what a filter does not match is deleted unseen."


def visibility(template):
    queue, function = properties(template, "WebhookQueue"), properties(template, "ProcessorFunction")
    if queue["VisibilityTimeout"] < 6 * function["Timeout"]:
        yield "WebhookQueue's visibility timeout is less than 6 times the processor's: messages would be received twice."


def receives(template):
    redrive = properties(template, "WebhookQueue").get("RedrivePolicy")
    if not redrive:
        yield "WebhookQueue has no dead-letter queue: an unreadable message would be received again until it expires."
    elif redrive["maxReceiveCount"] < 9:
        yield "WebhookQueue gives up before the processor's eighth receive, at which it parks a message with its reason."


def retention(template):
    source = properties(template, "WebhookQueue")["MessageRetentionPeriod"]
    dead = properties(template, "DeadLetterQueue")["MessageRetentionPeriod"]
    if dead < 1209600:
        yield "DeadLetterQueue keeps messages for less than 14 days, counted from when they were first sent."
    if source < 345600:
        yield "WebhookQueue keeps messages for less than 4 days: a long weekend could lose some."
    inbox = properties(template, "InboxBucket")["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"]
    if inbox * 86400 < source + dead:
        yield "InboxBucket deletes an envelope while its notification may still be in one of the queues."


def timeouts(template):
    receiver, processor = properties(template, "ReceiverFunction"), properties(template, "ProcessorFunction")
    if not 7 <= receiver["Timeout"] < 30:
        yield "ReceiverFunction's timeout must be more than its own 6 s, and less than Xendit's 30 s."
    (expected,) = re.findall(r"pub const TIMEOUT: .* = Duration::from_secs\((\d+)\);", source(FAILURE_RS))
    if processor["Timeout"] != int(expected):
        yield f"ProcessorFunction's timeout is not the {expected} s of {FAILURE_RS}."


def message_size(template):
    for name in ("WebhookQueue", "DeadLetterQueue"):
        if properties(template, name).get("MaximumMessageSize") != 1048576:
            yield f"{name} takes less than the 1 MiB that the receiver sends."


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
                    denied.update(texts(policy.get("Queues", policy.get("Bucket"))))
    for name in ("WebhookQueue", "DeadLetterQueue", "InboxBucket"):
        if name not in denied:
            yield f"{name} can be reached without TLS."


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
            yield f"{name} is deleted with the stack, and its contents too."


def alarms(template):
    all_alarms = of_type(template, "AWS::CloudWatch::Alarm")
    watched = {(one["Namespace"] if isinstance(one["Namespace"], str) else "ours", one["MetricName"]) for one in all_alarms.values()}
    for metric in [("AWS/SQS", "ApproximateNumberOfMessagesVisible"), ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
                   ("AWS/ApiGateway", "5xx"), ("AWS/Lambda", "Errors"), ("ours", "conflict"), ("ours", "parked")]:
        if metric not in watched:
            yield f"No alarm watches {metric[1]}."
    for name, alarm in all_alarms.items():
        if "AlarmTopic" not in set(texts(alarm.get("AlarmActions", []))):
            yield f"{name} notifies nobody."
        if len("".join(texts(alarm.get("AlarmDescription", "")))) < 100:
            yield f"{name} does not describe what to do."


def no_secrets(template):
    for resource in template["Resources"].values():
        for text in texts(resource):
            if re.search(r"xnd_|secret_key", text):
                yield "The template contains something that looks like a Xendit API key."


def throttled(template):
    (stage,) = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    settings = stage.get("DefaultRouteSettings", {})
    if not (settings.get("ThrottlingRateLimit") and settings.get("ThrottlingBurstLimit")):
        yield "The API is not throttled: the cost of a flood would have no limit."
    logged = stage.get("AccessLogSettings", {}).get("Format", "")
    if not logged:
        yield "The API has no access log."
    elif re.search(r"sourceIp|header|body|querystring", "".join(texts(logged)), re.IGNORECASE):
        yield "The access log contains personal data or headers."


def known_variables(template):
    known = {*names_in_the_code().values(), FOR_THE_SDK}
    for function in of_type(template, "AWS::Lambda::Function"):
        for name in sorted(variables(template, function).keys() - known):
            yield f"{function} gets {name}, which shared/src/stack.rs does not name."


def needed_variables(template):
    for function, folder in FUNCTIONS.items():
        given, read = set(variables(template, function)), {*read_by(folder), FOR_THE_SDK}
        for name in sorted(read - given):
            yield f"{function} does not get {name}, which it reads."
        for name in sorted(given - read):
            yield f"{function} gets {name}, which it does not read."


def known_outcomes(template):
    for name, one in of_type(template, "AWS::Logs::MetricFilter").items():
        (logs,) = texts(one["LogGroupName"])
        for word in re.findall(r'\$\.outcome\s*!?=\s*"?([^"\s)}&|]*)', one["FilterPattern"]):
            if word not in outcomes(LOGGED_TO[logs]):
                yield f'{name} counts the outcome "{word}", which nothing logs to {logs}: its alarm would stay silent.'


def indexes(template):
    found = {one["IndexName"]: one for one in properties(template, "LedgerTable").get("GlobalSecondaryIndexes", [])}
    if found.keys() != indexes_in_the_code():
        yield "The indexes of LedgerTable are not those that shared/src/stack.rs names."
    for name, keys in INDEX_KEYS.items():
        index = found.get(name, {"KeySchema": [], "Projection": {}})
        if [(key["AttributeName"], key["KeyType"]) for key in index["KeySchema"]] != [*zip(keys, ("HASH", "RANGE"))]:
            yield f"The keys of LedgerTable's index {name} are not {' and '.join(keys)}, which the ledger writes and queries."
        if index["Projection"].get("ProjectionType") != "KEYS_ONLY":
            yield f"LedgerTable's index {name} projects more than keys: every write of an item would be paid again there."


# --- What the rules compare with --------------------------------------------------------------------------------------

FAILURE_RS = "functions/processor/src/failure.rs"
FOR_THE_SDK = "AWS_ENDPOINT_URL"
FUNCTIONS = {"ReceiverFunction": "receiver", "ProcessorFunction": "processor"}
LOGGED_TO = {"ReceiverLogs": "Received", "ProcessorLogs": "Processed"}
# The table's own key as range: it never changes, so that later writes of an item do not touch the index.
INDEX_KEYS = {"by-reference": ("reference", "key"), "open": ("open", "since")}


# --- Templates that break the rules -----------------------------------------------------------------------------------


def change(*path, to):
    def changed(template):
        node = template["Resources"]
        for step in path[:-1]:
            node = node[step]
        if to is None:
            del node[path[-1]]
        else:
            node[path[-1]] = to

    return changed


def source_change(key, to):
    return lambda template: the_source(template).__setitem__(key, to)


def role_change(change_statement):
    return lambda template: change_statement(next(iter(identity_statements(template))))


def variable_change(function, name, to):
    return change(function, "Properties", "Environment", "Variables", name, to=to)


STAGE = "WebhookApiApiGatewayDefaultStage"
INDEXES = ("LedgerTable", "Properties", "GlobalSecondaryIndexes")
RULES = {
    partial_responses: [source_change("FunctionResponseTypes", [])],
    no_filter: [source_change("FilterCriteria", {"Filters": []})],
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
    only_tls: [change("DeadLetterQueuePolicy", to=None), change("InboxBucketPolicy", to=None)],
    least_privilege: [
        role_change(lambda statement: statement.__setitem__("Action", ["sqs:*"])),
        role_change(lambda statement: statement.__setitem__("Resource", "*")),
        change("ReceiverRole", "Properties", "ManagedPolicyArns", to=["arn:aws:iam::aws:policy/Any"]),
    ],
    recovery: [
        change("LedgerTable", "Properties", "PointInTimeRecoverySpecification", to=None),
        change("WebhookQueue", "DeletionPolicy", to="Delete"),
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
        variable_change("ReceiverFunction", FOR_THE_SDK, to=None),
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
        template = translated(file.read())
    wrong = [sentence for rule in RULES for sentence in rule(template)]
    for rule, breakages in RULES.items():
        for number, breakage in enumerate(breakages):
            broken = copy.deepcopy(template)
            breakage(broken)
            if not list(rule(broken)):
                wrong.append(f"The rule {rule.__name__} accepts the template that breaks it (number {number}).")
    for sentence in wrong:
        print(f"{path}: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"{path}: {len(RULES)} rules hold, and each rejects the templates that break it")


if __name__ == "__main__":
    main(sys.argv[1])
