"""Creates the queues, the bucket, the table, the bus and the tap of template.yaml in an emulated AWS, for `xendit-hooks dev`
and the tests.

SAM's own translator turns the template into plain CloudFormation, and moto's CloudFormation creates the resources. It leaves
out the API and the functions, which `xendit-hooks dev` runs itself, and the alarms.

Usage: stack.py TEMPLATE ENDPOINT

Prints the names of the created resources as one JSON object.
"""

import json
import sys

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CREATED_TYPES = {
    "AWS::DynamoDB::Table",
    "AWS::Events::Archive",
    "AWS::Events::EventBus",
    "AWS::Events::Rule",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
}
# Fixed names, because events/env.json contains them. A deployed stack uses the names in the template. The bus has the name
# that it has in a deployed test stack, so that a rule or an app needs no other setting here.
NAMES = {
    "DeadLetterQueue": ("QueueName", "xendit-hooks-dead-letters"),
    "EventArchive": ("ArchiveName", "xendit-hooks-test"),
    "EventBus": ("Name", "xendit-hooks-test"),
    "InboxBucket": ("BucketName", "xendit-hooks-inbox"),
    "LedgerTable": ("TableName", "xendit-hooks-ledger"),
    "ReplayQueue": ("QueueName", "xendit-hooks-replay"),
    "TapQueue": ("QueueName", "xendit-hooks-tap"),
    "TapRule": ("Name", "xendit-hooks-tap"),
    "WebhookQueue": ("QueueName", "xendit-hooks-webhooks"),
}
STACK = "xendit-hooks"
# moto replays an archive to all rules of the bus, whatever rule was asked for. These rules leave replays out.
NO_REPLAYS = {"replay-name": [{"exists": False}]}
PARAMETERS = {"Environment": "test", "CallbackTokens": "local=" + 64 * "0", "Tap": "on"}
# What EventBridge hands to a target. moto's own template leaves out the account, and replaces a `<id>` in the detail.
ENVELOPE = {
    "InputPathsMap": {key: f"$.{key}" for key in ("id", "detail-type", "source", "account", "time", "region", "detail")},
    "InputTemplate": '{"version": "0", "id": "<id>", "detail-type": "<detail-type>", "source": "<source>", '
    '"account": "<account>", "time": <time>, "region": "<region>", "resources": [], "detail": <detail>}',
}


class NoManagedPolicies:
    """Stops the translator from asking IAM for AWS's managed policies."""

    def load(self):
        return {}


def resources(path):
    """The template as plain CloudFormation, with the resources to create."""
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # The translator requires an S3 URI, although nothing is uploaded.
            resource["Properties"]["CodeUri"] = "s3://none/none"
    plain = transform(template, dict(PARAMETERS), NoManagedPolicies())
    created = {name: resource for name, resource in plain["Resources"].items() if resource["Type"] in CREATED_TYPES}
    missing = NAMES.keys() - created.keys()
    if missing:
        sys.exit(f"template.yaml has no resource {', '.join(sorted(missing))}; add it, or remove it from stack.py")
    for name, (key, value) in NAMES.items():
        created[name].setdefault("Properties", {})[key] = value
        # The dependencies, such as a policy, are not created here.
        created[name].pop("DependsOn", None)
    # moto's CloudFormation reads an archive's pattern as text only.
    archive = created["EventArchive"]["Properties"]
    archive["EventPattern"] = json.dumps(archive["EventPattern"])
    created["TapRule"]["Properties"]["EventPattern"] |= NO_REPLAYS
    for target in created["TapRule"]["Properties"]["Targets"]:
        target["InputTransformer"] = ENVELOPE
    sections = {key: plain[key] for key in ("Parameters", "Conditions", "Mappings") if key in plain}
    return {**sections, "Resources": created}


def create(path, endpoint):
    """Creates the resources, and returns their names."""

    def client(service):
        return boto3.client(service, endpoint_url=endpoint)

    def url(name):
        return f"{endpoint}/123456789012/{name}"

    template = resources(path)
    client("cloudformation").create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()],
    )
    sqs, events = client("sqs"), client("events")

    # moto's CloudFormation does not configure the bucket's notifications.
    queue = sqs.get_queue_attributes(QueueUrl=url(NAMES["WebhookQueue"][1]), AttributeNames=["QueueArn"])
    bucket = template["Resources"]["InboxBucket"]["Properties"]
    notifications = bucket["NotificationConfiguration"]["QueueConfigurations"]
    client("s3").put_bucket_notification_configuration(
        Bucket=NAMES["InboxBucket"][1],
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": queue["Attributes"]["QueueArn"], "Events": [notification["Event"]]}
                for notification in notifications
            ]
        },
    )

    # A rule like a merchant's, with two copies of each published event: one for the report of `xendit-hooks dev`, and one for
    # its `--forward-to` and `--show-events`. The tap's copies are for `xendit-hooks listen`.
    bus = NAMES["EventBus"][1]
    pattern = json.dumps({"source": ["xendit-hooks"], **NO_REPLAYS})
    events.put_rule(Name="published", EventBusName=bus, EventPattern=pattern)
    for copy in ("published", "forwarded"):
        copies = sqs.create_queue(QueueName=f"{STACK}-{copy}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=copies, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        target = {"Id": copy, "Arn": arn, "InputTransformer": ENVELOPE}
        events.put_targets(Rule="published", EventBusName=bus, Targets=[target])

    return {
        "queue_url": url(NAMES["WebhookQueue"][1]),
        "dlq_url": url(NAMES["DeadLetterQueue"][1]),
        "published_url": url(f"{STACK}-published"),
        "forwarded_url": url(f"{STACK}-forwarded"),
        "tap_queue_url": url(NAMES["TapQueue"][1]),
        "replay_queue_url": url(NAMES["ReplayQueue"][1]),
        "archive": NAMES["EventArchive"][1],
        "inbox": NAMES["InboxBucket"][1],
        "table": NAMES["LedgerTable"][1],
        "bus": bus,
    }


if __name__ == "__main__":
    print(json.dumps(create(*sys.argv[1:])))
