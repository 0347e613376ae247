"""Creates the local stack's resources from template.yaml, which stays the only description of the cloud.

SAM's own translator turns the template into plain CloudFormation. moto's CloudFormation creates the resources that
webhooks go through: queues, bucket, table and bus. `xendit-hooks dev` plays the API and runs the functions itself. The
local stack needs no alarms.

Usage: stack.py TEMPLATE ENDPOINT     Prints the names of the created resources as one JSON object.
"""

import json
import sys

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

KINDS = {
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
}
# Fixed names, so that events/env.json can hold them. In the cloud the template chooses the names.
NAMES = {
    "DeadLetterQueue": ("QueueName", "xendit-hooks-dead-letters"),
    "EventBus": ("Name", "xendit-hooks"),
    "InboxBucket": ("BucketName", "xendit-hooks-inbox"),
    "LedgerTable": ("TableName", "xendit-hooks-ledger"),
    "WebhookQueue": ("QueueName", "xendit-hooks-webhooks"),
}
STACK = "xendit-hooks"
PARAMETERS = {"Environment": "test", "CallbackTokens": "local=" + 64 * "0"}


class NoManagedPolicies:
    """Stops the translator from asking IAM for AWS's managed policies."""

    def load(self):
        return {}


def resources(path):
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # Nothing is uploaded, but SAM requires an S3 address.
            resource["Properties"]["CodeUri"] = "s3://none/none"
    plain = transform(template, dict(PARAMETERS), NoManagedPolicies())
    kept = {name: one for name, one in plain["Resources"].items() if one["Type"] in KINDS}
    missing = NAMES.keys() - kept.keys()
    if missing:
        sys.exit(f"template.yaml has no {', '.join(sorted(missing))}")
    for name, (key, value) in NAMES.items():
        kept[name].setdefault("Properties", {})[key] = value
        # Its dependencies, such as a policy, are not created here.
        kept[name].pop("DependsOn", None)
    sections = {key: plain[key] for key in ("Parameters", "Conditions", "Mappings") if key in plain}
    return {**sections, "Resources": kept}


def main(path, endpoint):
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

    # moto's CloudFormation creates the bucket without its notifications.
    queue = sqs.get_queue_attributes(QueueUrl=url(NAMES["WebhookQueue"][1]), AttributeNames=["QueueArn"])
    bucket = template["Resources"]["InboxBucket"]["Properties"]
    notifications = bucket["NotificationConfiguration"]["QueueConfigurations"]
    client("s3").put_bucket_notification_configuration(
        Bucket=NAMES["InboxBucket"][1],
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": queue["Attributes"]["QueueArn"], "Events": [one["Event"]]} for one in notifications
            ]
        },
    )

    # A rule such as a merchant would create, so that the published events can be read back.
    published = sqs.create_queue(QueueName=f"{STACK}-published")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=published, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = NAMES["EventBus"][1]
    events.put_rule(Name="published", EventBusName=bus, EventPattern=json.dumps({"source": ["xendit-hooks"]}))
    events.put_targets(Rule="published", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])

    print(
        json.dumps(
            {
                "queue_url": url(NAMES["WebhookQueue"][1]),
                "dlq_url": url(NAMES["DeadLetterQueue"][1]),
                "published_url": url(f"{STACK}-published"),
                "inbox": NAMES["InboxBucket"][1],
                "table": NAMES["LedgerTable"][1],
                "bus": bus,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
