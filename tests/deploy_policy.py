"""Checks docs/deploy-policy.json, the rights that deploying needs, both ways. `make check` runs it.

- For each type of resource in template.yaml, CloudFormation's own schema lists the calls that it makes. Each must be allowed on such a
  resource, or stand in UNUSED with the reason.
- What is not for who deploys must be refused.
"""

import functools
import json
import logging
import sys
import unittest
from fnmatch import fnmatchcase
from pathlib import Path

import cfnlint.data.schemas
from samtranslator.yaml_helper import yaml_parse

sys.path.insert(0, str(Path(__file__).parent))
import template as rules  # noqa: E402

ROOT = Path(__file__).parent.parent
SCHEMAS = Path(cfnlint.data.schemas.__file__).parent
REGION = "ap-southeast-3"
# The limit of a managed policy, without white space.
MAX_CHARACTERS = 6144
AT = f"{REGION}:123456789012"

# A resource of each type, as a deployment names it.
RESOURCES = {
    "AWS::ApiGatewayV2::Api": [f"arn:aws:apigateway:{REGION}::/apis", f"arn:aws:apigateway:{REGION}::/apis/a1b2c3"],
    "AWS::ApiGatewayV2::ApiMapping": [f"arn:aws:apigateway:{REGION}::/domainnames/webhooks.example.com/apimappings"],
    "AWS::ApiGatewayV2::DomainName": [f"arn:aws:apigateway:{REGION}::/domainnames"],
    "AWS::ApiGatewayV2::Stage": [f"arn:aws:apigateway:{REGION}::/apis/a1b2c3/stages"],
    "AWS::CloudWatch::Alarm": [f"arn:aws:cloudwatch:{AT}:alarm:xendit-hooks-live-ParkedAlarm-X"],
    "AWS::CloudWatch::Dashboard": ["arn:aws:cloudwatch::123456789012:dashboard/xendit-hooks-live-ap-southeast-3"],
    "AWS::DynamoDB::Table": [f"arn:aws:dynamodb:{AT}:table/xendit-hooks-live-LedgerTable-X"],
    "AWS::Events::Archive": [f"arn:aws:events:{AT}:archive/xendit-hooks-live-1a2b3c4d"],
    "AWS::Events::EventBus": [f"arn:aws:events:{AT}:event-bus/xendit-hooks-live"],
    "AWS::Events::Rule": [f"arn:aws:events:{AT}:rule/xendit-hooks-live/xendit-hooks-live-TapRule-X"],
    "AWS::IAM::Policy": ["arn:aws:iam::123456789012:role/xendit-hooks-live-ReceiverRole-X"],
    "AWS::IAM::Role": ["arn:aws:iam::123456789012:role/xendit-hooks-live-ReceiverRole-X"],
    "AWS::Lambda::EventSourceMapping": [f"arn:aws:lambda:{AT}:event-source-mapping:1a2b3c4d"],
    "AWS::Lambda::Function": [f"arn:aws:lambda:{AT}:function:xendit-hooks-live-ReceiverFunction-X"],
    "AWS::Lambda::Permission": [f"arn:aws:lambda:{AT}:function:xendit-hooks-live-ReceiverFunction-X"],
    "AWS::Logs::LogGroup": [f"arn:aws:logs:{AT}:log-group:/aws/lambda/xendit-hooks-live-receiver:*",
                            f"arn:aws:logs:{AT}:log-group:/aws/vendedlogs/xendit-hooks-live-access"],
    "AWS::Logs::MetricFilter": [f"arn:aws:logs:{AT}:log-group:/aws/lambda/xendit-hooks-live-processor:*"],
    "AWS::Logs::QueryDefinition": ["*"],
    "AWS::S3::Bucket": ["arn:aws:s3:::xendit-hooks-live-inbox-123456789012-1a2b3c4d"],
    "AWS::S3::BucketPolicy": ["arn:aws:s3:::xendit-hooks-live-inbox-123456789012-1a2b3c4d"],
    "AWS::SNS::Subscription": [f"arn:aws:sns:{AT}:xendit-hooks-live-AlarmTopic-X"],
    "AWS::SNS::Topic": [f"arn:aws:sns:{AT}:xendit-hooks-live-AlarmTopic-X"],
    "AWS::SNS::TopicPolicy": [f"arn:aws:sns:{AT}:xendit-hooks-live-AlarmTopic-X"],
    "AWS::SQS::Queue": [f"arn:aws:sqs:{AT}:xendit-hooks-live-webhooks-1a2b3c4d"],
    "AWS::SQS::QueuePolicy": [f"arn:aws:sqs:{AT}:xendit-hooks-live-webhooks-1a2b3c4d"],
}
# Calls that CloudFormation makes for settings that the template does not have, by type and call.
UNUSED = {
    "* kms:*": "No resource has a key of the account's own.",
    "AWS::Lambda::Function ec2:*": "No function is in a VPC.",
    "AWS::Lambda::Function elasticfilesystem:*": "No function mounts a file system.",
    "AWS::Lambda::Function s3files:*": "The same.",
    "AWS::Lambda::Function s3:GetObject*": "The code is in SAM's bucket.",
    "AWS::Lambda::Function iam:PassRole": "The functions' own roles are passed to Lambda: RolesForFunctions.",
    "AWS::ApiGatewayV2::* s3:GetObject*": "Neither the API nor a certificate store comes from a file.",
    "AWS::Events::Rule iam:PassRole": "The rule's target has a policy, so the rule needs no role.",
    "AWS::DynamoDB::Table kinesis:*": "The table has no stream to Kinesis.",
    "AWS::DynamoDB::Table dynamodb:*KinesisStreamingDestination": "The same.",
    "AWS::DynamoDB::Table logs:*": "The table is not imported.",
    "AWS::DynamoDB::Table s3:*": "The same.",
    "AWS::DynamoDB::Table dynamodb:ImportTable": "The same.",
    "AWS::DynamoDB::Table dynamodb:*Item": "The table is neither imported nor in several regions.",
    "AWS::DynamoDB::Table dynamodb:Query": "The same.",
    "AWS::DynamoDB::Table dynamodb:Scan": "The same.",
    "AWS::DynamoDB::Table dynamodb:*TableReplica": "The same.",
    "AWS::DynamoDB::Table dynamodb:*ResourcePolicy": "The table has no policy of its own.",
    "AWS::DynamoDB::Table iam:CreateServiceLinkedRole": "It is paid per request.",
    "AWS::IAM::Policy iam:*UserPolicy": "A policy is only of roles.",
    "AWS::IAM::Policy iam:*GroupPolicy": "The same.",
    "AWS::IAM::Role iam:*RolePermissionsBoundary": "The roles have no boundary.",
    "AWS::IAM::Role iam:AttachRolePolicy": "The roles have no managed policies.",
    "AWS::IAM::Role iam:DetachRolePolicy": "The same.",
    "AWS::Logs::LogGroup firehose:*": "The log groups have a retention only: no other class, destination, index, key or protection.",
    "AWS::Logs::LogGroup logs:*KmsKey": "The same.",
    "AWS::Logs::LogGroup logs:PutBearerTokenAuthentication": "The same.",
    "AWS::Logs::LogGroup logs:PutDataProtectionPolicy": "The same.",
    "AWS::Logs::LogGroup logs:PutIndexPolicy": "The same.",
    "AWS::Logs::LogGroup logs:PutLogGroupDeletionProtection": "The same.",
    "AWS::Logs::LogGroup s3:REST.PUT.OBJECT": "The same.",
    "AWS::S3::Bucket iam:PassRole": "The bucket is not replicated.",
    "AWS::S3::Bucket s3:DeleteBucket?*": "CloudFormation removes only what an earlier version of the template had.",
    "AWS::S3::Bucket s3:DeleteObject": "CloudFormation does not empty a bucket.",
    "AWS::S3::Bucket s3:PutObjectAcl": "The objects have no access lists.",
    "AWS::S3::Bucket s3:*MetadataTableConfiguration": "The bucket has no metadata tables.",
    "AWS::S3::Bucket s3:UpdateBucketMetadata*": "The same.",
    "AWS::S3::Bucket s3tables:*": "The same.",
    "AWS::SNS::* iam:*Role": "The topic does not log deliveries.",
}
# What a deployment does besides, through its own calls.
OWN = {
    f"arn:aws:cloudformation:{AT}:stack/xendit-hooks-live/1a2b": [
        "cloudformation:CreateChangeSet", "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet",
        "cloudformation:DescribeStackEvents", "cloudformation:CancelUpdateStack", "cloudformation:DeleteStack",
        "cloudformation:ListStackResources", "cloudformation:GetTemplate", "cloudformation:DeleteChangeSet",
    ],
    f"arn:aws:cloudformation:{REGION}:aws:transform/Serverless-2016-10-31": ["cloudformation:CreateChangeSet"],
    f"arn:aws:cloudformation:{AT}:stack/aws-sam-cli-managed-default/1a2b": [
        "cloudformation:DescribeStacks", "cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet",
    ],
    "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x/xendit-hooks-live/code": ["s3:PutObject", "s3:GetObject"],
    "*": ["cloudformation:GetTemplateSummary", "lambda:GetAccountSettings", "iam:SimulatePrincipalPolicy"],
    f"arn:aws:cloudwatch:{AT}:alarm:xendit-hooks-live-ParkedAlarm-X": ["cloudwatch:DescribeAlarms"],
    f"arn:aws:events:{AT}:event-bus/xendit-hooks-live": ["events:ListRules"],
}
# What it must not be able to do: read payments, or touch what is not of the stacks.
REFUSED = {
    f"arn:aws:dynamodb:{AT}:table/xendit-hooks-live-LedgerTable-X": ["dynamodb:Scan", "dynamodb:Query", "dynamodb:PutItem"],
    f"arn:aws:sqs:{AT}:xendit-hooks-live-webhooks-1a2b3c4d": ["sqs:ReceiveMessage", "sqs:SendMessage", "sqs:PurgeQueue"],
    "arn:aws:s3:::xendit-hooks-live-inbox-123456789012-1a2b3c4d/webhooks/1": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
    f"arn:aws:logs:{AT}:log-group:/aws/lambda/xendit-hooks-live-receiver:*": ["logs:GetLogEvents", "logs:FilterLogEvents"],
    "arn:aws:iam::123456789012:role/admin": ["iam:PassRole", "iam:CreateRole", "iam:PutRolePolicy"],
    "arn:aws:iam::123456789012:role/xendit-hooks-live-ReceiverRole-X": ["iam:AttachRolePolicy", "iam:DeleteRolePermissionsBoundary"],
    f"arn:aws:cloudwatch:{AT}:alarm:other": ["cloudwatch:DeleteAlarms", "cloudwatch:PutMetricAlarm"],
    f"arn:aws:lambda:{AT}:function:other": ["lambda:UpdateFunctionCode", "lambda:InvokeFunction"],
    f"arn:aws:cloudformation:{AT}:stack/other/1a2b": ["cloudformation:DeleteStack", "cloudformation:UpdateStack"],
    "arn:aws:s3:::other": ["s3:ListBucket", "s3:PutBucketPolicy"],
}
# Statements that hold only under a condition, for calls whose resource says nothing.
UNDER_A_CONDITION = {"TriggerOfTheProcessor", "RolesForFunctions", "CanaryOfSmoke"}


def policy():
    return json.loads((ROOT / "docs/deploy-policy.json").read_text(encoding="utf-8"))


def allowed(document, action, resource, conditions=True):
    """Whether a policy allows an action on a resource. Actions have no case."""
    return any(
        any(fnmatchcase(action.lower(), pattern.lower()) for pattern in statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        and (conditions or "Condition" not in statement)
        for statement in document["Statement"])


@functools.cache
def types():
    logging.disable()
    plain = rules.translate(yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8")))
    return {resource["Type"] for resource in plain["Resources"].values()}


@functools.cache
def calls_of(kind):
    """What CloudFormation calls to create, read, update and delete a resource."""
    names = json.loads((SCHEMAS / f"providers/{REGION}.json").read_text(encoding="utf-8"))
    schema = json.loads((SCHEMAS / f"resources/{names[kind]}.json").read_text(encoding="utf-8"))
    handlers = schema["handlers"]
    return {call for operation in ("create", "read", "update", "delete")
            for call in handlers.get(operation, {}).get("permissions", [])}


def lacking(document):
    """The calls that a deployment makes, and the policy does not allow. Also the patterns in UNUSED that are used."""
    used = set()
    missing = []
    for kind in sorted(types()):
        for call in sorted(calls_of(kind)):
            if all(allowed(document, call, resource) for resource in RESOURCES[kind]) or allowed(document, call, "*"):
                continue
            patterns = [pattern for pattern in UNUSED if fnmatchcase(f"{kind} {call}".lower(), pattern.lower())]
            used.update(patterns)
            if not patterns:
                missing.append(f"{kind}: {call}")
    missing += [f"{resource}: {call}" for resource, calls in OWN.items() for call in calls if not allowed(document, call, resource)]
    return missing, used


class DeployPolicy(unittest.TestCase):
    def test_every_call_of_a_deployment_is_allowed_or_not_made(self):
        missing, used = lacking(policy())
        self.assertEqual(missing, [])
        spare = [pattern for pattern in UNUSED.keys() - used if any(fnmatchcase(kind, pattern.split()[0]) for kind in types())]
        self.assertEqual(spare, [], "these are not needed in UNUSED")

    def test_no_statement_is_spare(self):
        for statement in policy()["Statement"]:
            without = policy()
            without["Statement"] = [other for other in without["Statement"] if other["Sid"] != statement["Sid"]]
            needed = lacking(without)[0] or statement["Sid"] in ("CanaryOfSmoke", "RolesForFunctions", "RoleOfApiGatewayItself")
            self.assertTrue(needed, statement["Sid"])

    def test_payments_and_what_is_not_of_the_stacks_are_refused(self):
        for resource, actions in REFUSED.items():
            for action in actions:
                self.assertFalse(allowed(policy(), action, resource), f"{action} on {resource}")

    def test_all_resources_are_meant_only_where_a_call_has_none_or_under_a_condition(self):
        for statement in policy()["Statement"]:
            self.assertEqual(statement["Effect"], "Allow")
            self.assertEqual("Condition" in statement, statement["Sid"] in UNDER_A_CONDITION, statement["Sid"])
            if statement["Resource"] == ["*"] and "Condition" not in statement:
                self.assertEqual(statement["Sid"], "WhatHasNoName")
                self.assertFalse([action for action in statement["Action"] if "*" in action])

    def test_the_ledger_is_read_for_canaries_only_and_roles_are_passed_to_lambda_only(self):
        by_sid = {statement["Sid"]: statement.get("Condition") for statement in policy()["Statement"]}
        source = (ROOT / "shared/src/canary.rs").read_text(encoding="utf-8")
        self.assertIn('pub const ID: &str = "xendit-hooks";', source)
        keys = by_sid["CanaryOfSmoke"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]
        self.assertEqual(keys, ["test#canary#xendit-hooks", "live#canary#xendit-hooks"])
        self.assertEqual(by_sid["CanaryOfSmoke"]["Null"], {"dynamodb:LeadingKeys": "false"})
        self.assertEqual(by_sid["RolesForFunctions"], {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})

    def test_it_fits_into_one_managed_policy(self):
        self.assertLessEqual(len("".join(json.dumps(policy()).split())), MAX_CHARACTERS)


if __name__ == "__main__":
    unittest.main()
