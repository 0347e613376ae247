"""Checks template.yaml for what cfn-lint cannot know: the numbers and policies that a webhook's safety hangs on.

Run by `make check`. Each rule says in a sentence what is wrong and why it matters. Each rule is also shown a template
that breaks it: a rule that lets that pass is itself a failure.
"""

import copy
import re
import sys

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse


class NoManagedPolicies:
    def load(self):
        return {}


def translated(text):
    """The plain CloudFormation that AWS would get, with the defaults of all parameters."""
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
        yield "WebhookQueue's visibility timeout is less than 6 times the processor's: messages would be handed out twice."


def receives(template):
    redrive = properties(template, "WebhookQueue").get("RedrivePolicy")
    if not redrive:
        yield "WebhookQueue has no dead-letter queue: a message that nobody can read would come again until it expires."
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
        yield "InboxBucket forgets an envelope while its notification may still be in one of the queues."


def timeouts(template):
    receiver, processor = properties(template, "ReceiverFunction"), properties(template, "ProcessorFunction")
    if not 7 <= receiver["Timeout"] < 30:
        yield "ReceiverFunction's timeout must be more than its own 6 s, and less than Xendit's 30 s."
    if processor["Timeout"] != 30:
        yield "ProcessorFunction's timeout is not the 30 s that its code counts on (main.rs and ledger/item.rs)."


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
                yield f"A role may do {action}: name each action."
        if "*" in as_list(statement["Resource"]):
            yield f"A role may do {statement['Action']} to everything: name the resource."
    for name, role in of_type(template, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name} has a policy of AWS's, whose resource is everything."


def recovery(template):
    table = template["Resources"]["LedgerTable"]
    if not table["Properties"].get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "LedgerTable cannot be restored to a point in time."
    for name in ("LedgerTable", "WebhookQueue", "DeadLetterQueue", "InboxBucket"):
        if template["Resources"][name].get("DeletionPolicy") != "Retain":
            yield f"{name} goes with the stack, and what it holds with it."


def alarms(template):
    all_alarms = of_type(template, "AWS::CloudWatch::Alarm")
    watched = {(one["Namespace"] if isinstance(one["Namespace"], str) else "ours", one["MetricName"]) for one in all_alarms.values()}
    for metric in [("AWS/SQS", "ApproximateNumberOfMessagesVisible"), ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
                   ("AWS/ApiGateway", "5xx"), ("AWS/Lambda", "Errors"), ("ours", "conflict"), ("ours", "parked")]:
        if metric not in watched:
            yield f"No alarm watches {metric[1]}."
    for name, alarm in all_alarms.items():
        if "AlarmTopic" not in set(texts(alarm.get("AlarmActions", []))):
            yield f"{name} tells nobody."
        if len("".join(texts(alarm.get("AlarmDescription", "")))) < 100:
            yield f"{name} does not tell whoever is paged what to do."


def no_secrets(template):
    for resource in template["Resources"].values():
        for text in texts(resource):
            if re.search(r"xnd_|secret_key", text):
                yield "The template holds what looks like a key of Xendit's."


def throttled(template):
    (stage,) = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    settings = stage.get("DefaultRouteSettings", {})
    if not (settings.get("ThrottlingRateLimit") and settings.get("ThrottlingBurstLimit")):
        yield "The API is not throttled: a flood would cost whatever it likes."
    logged = stage.get("AccessLogSettings", {}).get("Format", "")
    if not logged:
        yield "The API keeps no access log."
    elif re.search(r"sourceIp|header|body|querystring", "".join(texts(logged)), re.IGNORECASE):
        yield "The access log holds personal data or headers."


# --- What breaks each rule --------------------------------------------------------------------------------------------


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


STAGE = "WebhookApiApiGatewayDefaultStage"
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
                wrong.append(f"The rule {rule.__name__} lets its breakage {number} pass.")
    for sentence in wrong:
        print(f"{path}: {sentence}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"{path}: {len(RULES)} rules hold, and each notices when it is broken")


if __name__ == "__main__":
    main(sys.argv[1])
