"""Deletes a stack. First it shows what CloudFormation deletes, what it keeps and why, and how to delete that by hand.

`make destroy` runs it.

Invariant: nothing is changed before everything was shown. A live stack is deleted only if its name was typed. What may hold
webhooks or payments is never deleted here.
"""

import argparse
import sys
import time

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy import INTERRUPTED, Refused, confirmed, follow, region

# Why CloudFormation keeps a resource, and the commands that delete it.
KEPT = {
    "AWS::DynamoDB::Table": (
        "the ledger: without it, a webhook that is resent would be applied a second time",
        "aws dynamodb update-table --table-name {0} --no-deletion-protection-enabled --region {1}",
        "aws dynamodb delete-table --table-name {0} --region {1}",
    ),
    "AWS::SQS::Queue": (
        "it may hold acknowledged webhooks, which Xendit does not send again",
        "aws sqs delete-queue --queue-url {0} --region {1}",
    ),
    "AWS::S3::Bucket": (
        "it may hold acknowledged webhooks, which Xendit does not send again",
        "aws s3 rb s3://{0} --force --region {1}",
    ),
}


def arguments():
    parser = argparse.ArgumentParser(description="Deletes a stack. Use `make destroy`.")
    parser.add_argument("to", choices=["test", "live"])
    parser.add_argument("--region")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--confirm", metavar="STACK")
    return parser.parse_args()


def resources(client, stack):
    """The resources of a stack that CloudFormation deletes, and those that it keeps."""
    # Without SAM's macro, it is JSON, which boto3 parses.
    template = client.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    policies = {name: resource.get("DeletionPolicy", "Delete") for name, resource in template["Resources"].items()}
    pages = client.get_paginator("list_stack_resources").paginate(StackName=stack)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]
             if resource["ResourceStatus"] != "DELETE_COMPLETE"]
    # RetainExceptOnCreate keeps what an earlier deployment made.
    kept = [resource for resource in found if policies.get(resource["LogicalResourceId"], "Delete").startswith("Retain")]
    return [resource for resource in found if resource not in kept], kept


def obstacles(found, resources, events):
    """What would make the deletion of a stack fail in the middle."""
    if found.get("EnableTerminationProtection"):
        yield ("It is protected: `aws cloudformation update-termination-protection --no-enable-termination-protection "
               f"--stack-name {found['StackName']}`.")
    if found["StackStatus"].endswith("_IN_PROGRESS"):
        yield f"It is being changed ({found['StackStatus']}). Wait until that is over."
    if any(resource["LogicalResourceId"] == "EventBus" for resource in resources):
        bus = found["StackName"]  # The template gives both the same name.
        # The id of a rule is `bus|rule`.
        ours = {resource.get("PhysicalResourceId", "").split("|")[-1] for resource in resources}
        rules = [rule for page in events.get_paginator("list_rules").paginate(EventBusName=bus) for rule in page["Rules"]]
        # The archive has a rule that AWS manages.
        theirs = [rule["Name"] for rule in rules if rule["Name"] not in ours and not rule.get("ManagedBy")]
        if theirs:
            yield f"The bus {bus} has rules that are not the stack's: {', '.join(theirs)}. Delete them and their targets first."


def waiting(sqs, kept):
    """How many messages are in the queues that are kept."""
    for resource in kept:
        if resource["ResourceType"] == "AWS::SQS::Queue":
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            counts = sqs.get_queue_attributes(QueueUrl=resource["PhysicalResourceId"], AttributeNames=names)["Attributes"]
            messages = sum(int(counts[name]) for name in names)
            if messages:
                yield f"{resource['LogicalResourceId']} holds {messages} webhooks that nobody will process: docs/runbooks/dead-letters.md"


def shown(stack, identity, where, deleted, kept):
    yield f"Stack    {stack}, to be deleted"
    yield f"Account  {identity['Account']}, as {identity['Arn']}"
    yield f"Region   {where}"
    yield "Deleted:"
    by_type = {}
    for resource in deleted:
        by_type.setdefault(resource["ResourceType"], []).append(resource["LogicalResourceId"])
    for kind, names in sorted(by_type.items()):
        yield f"  {kind.removeprefix('AWS::'):<28} {', '.join(sorted(names))}"
    yield "Kept, and how to delete it by hand once you need nothing in it:"
    for resource in kept:
        why, *commands = KEPT.get(resource["ResourceType"], ("its deletion policy says so",))
        yield f"  {resource['LogicalResourceId']}: {why}"
        yield from (f"    {command.format(resource['PhysicalResourceId'], where)}" for command in commands)


def destroy(session, options, stack, where):
    """Shows the plan, and deletes the stack unless that is not wanted. Returns whether it succeeded."""
    client = session.client("cloudformation", region_name=where)
    identity = session.client("sts", region_name=where).get_caller_identity()
    try:
        found = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            raise Refused(f"There is no stack {stack} in {where}.") from error
        raise
    deleted, kept = resources(client, stack)
    for line in shown(stack, identity, where, deleted, kept):
        print(line)
    for line in waiting(session.client("sqs", region_name=where), kept):
        print(f"Warning  {line}")
    blocked = list(obstacles(found, deleted, session.client("events", region_name=where)))
    if blocked:
        raise Refused("It cannot be deleted. " + " ".join(blocked))
    if options.dry_run:
        print("Nothing was changed.")
        return True
    if options.to == "live" and not confirmed(stack, options.confirm):
        raise Refused(f"Nothing was changed. To delete it, type {stack} when asked, or add CONFIRM={stack}")
    since = time.time() - 1
    client.delete_stack(StackName=stack)
    # By its id, because a deleted stack has no name any more.
    status = follow(client, found["StackId"], since)
    if status != "DELETE_COMPLETE":
        print(f"{stack} was not deleted: {status}. The first failed event above has the reason.", file=sys.stderr)
        return False
    print(f"{stack} is deleted. Its URLs do not work any more: remove them from Xendit's dashboard.")
    return True


def main():
    options = arguments()
    session = boto3.Session()
    try:
        where = region(options.to, options.region, session.region_name)
        succeeded = destroy(session, options, f"xendit-hooks-{options.to}", where)
    except Refused as reason:
        sys.exit(f"{reason}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS cannot be used: {error} Check AWS_PROFILE, `aws sso login`, REGION and your permissions.")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
