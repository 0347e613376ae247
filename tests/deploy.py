"""Tests deploy.py and destroy.py: what they refuse, what they show, and what they do to an emulated AWS. `make check` runs it."""

import contextlib
import io
import json
import os
import sys
import unittest
from argparse import Namespace
from pathlib import Path
from unittest.mock import Mock, patch

import boto3
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
import deploy  # noqa: E402
import destroy  # noqa: E402

# No configuration of this machine, and no real account.
os.environ.update(AWS_ACCESS_KEY_ID="t", AWS_SECRET_ACCESS_KEY="t", AWS_CONFIG_FILE="/dev/null", AWS_EC2_METADATA_DISABLED="true")
os.environ.pop("AWS_PROFILE", None)
REGION = "ap-southeast-3"


A, B, C = (64 * digit for digit in "abc")


def options(**given):
    return Namespace(**{"to": "live", "architecture": "arm64", "digest": None, "retire": None, "set": [], **given})


def stack(**parameters):
    return {"Environment": "live", "Architecture": "arm64", **parameters}


def described(status):
    client = boto3.client("cloudformation", region_name="ap-southeast-3", aws_access_key_id="t", aws_secret_access_key="t")
    stubber = Stubber(client)
    parameters = [{"ParameterKey": "AlarmEmail", "ParameterValue": "you@example.com"}]
    found = {"StackName": "s", "CreationTime": 0, "StackStatus": status, "Parameters": parameters}
    stubber.add_response("describe_stacks", {"Stacks": [found]})
    stubber.activate()
    return client


class Deploy(unittest.TestCase):
    def passed(self, before, **given):
        return deploy.overrides(before, options(**given))

    def refuses(self, text, work, *arguments):
        with self.assertRaises(deploy.Refused) as refused:
            work(*arguments)
        self.assertIn(text, str(refused.exception))

    def test_environment_and_architecture_are_passed_at_every_deployment(self):
        self.assertEqual(self.passed(stack(CallbackTokens=f"live={A}")), stack())

    def test_live_needs_a_region_and_test_takes_the_configured_one(self):
        self.refuses("REGION is required for live", deploy.region, "live", None, "ap-southeast-1")
        self.refuses("No region", deploy.region, "test", None, None)
        self.assertEqual(deploy.region("test", None, "ap-southeast-3"), "ap-southeast-3")
        self.assertEqual(deploy.region("live", "ap-southeast-3", "ap-southeast-1"), "ap-southeast-3")

    def test_a_new_stack_needs_a_digest(self):
        self.refuses("Add DIGEST=", deploy.overrides, None, options())
        self.assertEqual(self.passed(None, digest=A), stack(CallbackTokens=f"live={A}"))

    def test_a_digest_that_is_a_token_is_refused_and_not_printed(self):
        with self.assertRaises(deploy.Refused) as refused:
            self.passed(None, digest="a-callback-token")
        self.assertNotIn("a-callback-token", str(refused.exception))

    def test_a_new_digest_rotates_and_the_same_digest_changes_nothing(self):
        rotating = f"live={B},live-old={A},shop={C}"
        self.assertEqual(self.passed(stack(CallbackTokens=f"live={A},shop={C}"), digest=B), stack(CallbackTokens=rotating))
        self.assertEqual(self.passed(stack(CallbackTokens=rotating), digest=B), stack())
        self.assertEqual(self.passed(stack(CallbackTokens=rotating)), stack())

    def test_an_old_token_is_retired_at_the_end_or_at_once(self):
        rotating = stack(CallbackTokens=f"live={B},live-old={A}")
        self.assertEqual(self.passed(rotating, retire="live-old"), stack(CallbackTokens=f"live={B}"))
        leaked = self.passed(stack(CallbackTokens=f"live={A}"), digest=B, retire="live-old")
        self.assertEqual(leaked, stack(CallbackTokens=f"live={B}"))
        self.refuses("the accepted tokens are live", deploy.overrides, stack(CallbackTokens=f"live={A}"), options(retire="shop"))
        self.refuses("No token", deploy.overrides, stack(CallbackTokens=f"live={A}"), options(retire="live"))

    def test_an_old_token_is_bound_to_the_accounts_of_the_new_one(self):
        before = stack(CallbackTokens=f"live={A},shop={C}", TokenAccounts="live=one,live=two,shop=*")
        rotating = self.passed(before, digest=B)
        self.assertEqual(rotating["TokenAccounts"], "live=one,live=two,shop=*,live-old=one,live-old=two")
        self.assertEqual(self.passed(rotating, retire="live-old")["TokenAccounts"], before["TokenAccounts"])

    def test_other_parameters_are_set_by_name(self):
        given = ["AlarmEmail=you@example.com", "TokenAccounts="]
        passed = self.passed(stack(CallbackTokens=f"live={A}"), set=given)
        self.assertEqual(passed, stack(AlarmEmail="you@example.com", TokenAccounts=""))
        for wrong in ["AlarmEmail", "Environment=test", "Architecture=x86_64"]:
            with self.assertRaises(deploy.Refused):
                deploy.settings([wrong])
        self.refuses("either DIGEST=", deploy.overrides, None, options(digest=A, set=[f"CallbackTokens=live={B}"]))

    def test_a_stack_that_cannot_be_updated_is_refused(self):
        self.refuses("delete-stack", deploy.present, described("ROLLBACK_COMPLETE"), "s")
        self.refuses("Wait", deploy.present, described("UPDATE_IN_PROGRESS"), "s")
        self.refuses("Repair", deploy.present, described("UPDATE_ROLLBACK_FAILED"), "s")
        self.assertEqual(deploy.present(described("UPDATE_ROLLBACK_COMPLETE"), "s"), {"AlarmEmail": "you@example.com"})
        self.assertIsNone(deploy.present(described("REVIEW_IN_PROGRESS"), "s"))

    def test_what_is_shown_names_the_account_and_no_whole_digest(self):
        identity = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/you"}
        passed = stack(CallbackTokens=f"live={B}")
        text = "\n".join(deploy.shown("s", identity, "ap-southeast-3", stack(CallbackTokens=f"live={A}"), passed))
        for part in ["123456789012", "ap-southeast-3", "live=bbbbbbbb…, before live=aaaaaaaa…", "nobody is told"]:
            self.assertIn(part, text)
        self.assertNotIn(B, text)

    def test_missing_rights_are_named_and_a_refused_question_is_no_reason_to_stop(self):
        identity = {"Account": "123456789012", "Arn": "arn:aws:sts::123456789012:assumed-role/deployer/session"}
        policy = json.loads((ROOT / "docs/deploy-policy.json").read_text(encoding="utf-8"))
        asked = []

        def paginate(**question):
            asked.append(question)
            decisions = [{"EvalActionName": action, "EvalDecision": "implicitDeny" if action in ("sqs:CreateQueue", "iam:PassRole") else "allowed"}
                         for action in question["ActionNames"]]
            return [{"EvaluationResults": decisions}]

        iam = Mock()
        iam.get_paginator.return_value.paginate = paginate
        self.assertEqual(deploy.lacking(iam, identity, REGION, "xendit-hooks-live", policy), {"sqs:CreateQueue"}, "PassRole has a condition")
        self.assertEqual({question["PolicySourceArn"] for question in asked}, {"arn:aws:iam::123456789012:role/deployer"})
        resources = {resource for question in asked for resource in question["ResourceArns"]}
        self.assertIn(f"arn:aws:dynamodb:{REGION}:123456789012:table/xendit-hooks-live-x", resources)
        self.assertEqual([resource for resource in resources if "*" in resource], ["*"])
        client = boto3.client("iam", region_name=REGION)
        with Stubber(client) as stubber:
            stubber.add_client_error("simulate_principal_policy", "AccessDenied")
            self.assertEqual(deploy.lacking(client, identity, REGION, "xendit-hooks-live", policy), set())


# A stack as small as possible, with a resource of each kind of deletion.
TEMPLATE = {
    "Parameters": {"Environment": {"Type": "String"}, "AlarmEmail": {"Type": "String", "Default": ""}},
    "Resources": {
        "WebhookQueue": {"Type": "AWS::SQS::Queue", "DeletionPolicy": "RetainExceptOnCreate"},
        "InboxBucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "RetainExceptOnCreate"},
        "LedgerTable": {
            "Type": "AWS::DynamoDB::Table",
            "DeletionPolicy": "Retain",
            "Properties": {
                "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "key", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        },
        "EventBus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": {"Ref": "AWS::StackName"}}},
        "AlarmTopic": {"Type": "AWS::SNS::Topic"},
    },
}
NO_ROLLBACK = {"RollbackTriggers": [], "MonitoringTimeInMinutes": 0}


class InAws(unittest.TestCase):
    """Against moto."""

    def setUp(self):
        mock = mock_aws()
        mock.start()
        self.addCleanup(mock.stop)
        # A poll costs no time.
        sleep = patch("time.sleep")
        sleep.start()
        self.addCleanup(sleep.stop)
        self.session = boto3.Session(region_name=REGION)
        self.cloudformation = self.session.client("cloudformation")
        self.s3 = self.session.client("s3")
        self.s3.create_bucket(Bucket="sams-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        self.url = self.put(TEMPLATE)

    def put(self, template):
        self.s3.put_object(Bucket="sams-bucket", Key="template", Body=json.dumps(template))
        return f"https://sams-bucket.s3.{REGION}.amazonaws.com/template"

    def change_set(self, before, passed, stack="xendit-hooks-test", client=None, rollback=NO_ROLLBACK):
        settings = deploy.configured("test")
        return deploy.change_set(client or self.cloudformation, stack, self.url, before, passed, settings, rollback)

    def make(self, stack="xendit-hooks-test"):
        name, _ = self.change_set(None, {"Environment": "test", "AlarmEmail": "you@example.com"}, stack)
        self.cloudformation.execute_change_set(ChangeSetName=name)
        return deploy.present(self.cloudformation, stack)

    def output_of(self, work):
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            result = work()
        return result, output.getvalue()

    def refusal_of(self, work):
        def refused():
            with self.assertRaises(deploy.Refused) as reason:
                work()
            return str(reason.exception)

        return self.output_of(refused)


class Changes(InAws):
    def test_a_new_stack_is_made_and_an_update_keeps_the_parameters_that_are_not_given(self):
        self.assertEqual(self.make(), {"Environment": "test", "AlarmEmail": "you@example.com"})
        (found,) = self.cloudformation.describe_stacks(StackName="xendit-hooks-test")["Stacks"]
        self.assertIn({"Key": "project", "Value": "xendit-hooks"}, found["Tags"])
        # A parameter that the new version does not have any more must not be passed.
        newer = json.loads(json.dumps(TEMPLATE))
        newer["Parameters"]["Tap"] = {"Type": "String", "Default": "off"}
        newer["Resources"]["New"] = {"Type": "AWS::SNS::Topic"}
        self.url = self.put(newer)
        before = {**deploy.present(self.cloudformation, "xendit-hooks-test"), "Gone": "x"}
        name, changes = self.change_set(before, {"Environment": "live"})
        self.assertIn("  Add     New                            AWS::SNS::Topic", list(deploy.told(changes)))
        self.cloudformation.execute_change_set(ChangeSetName=name)
        status, text = self.output_of(lambda: deploy.follow(self.cloudformation, "xendit-hooks-test", 0))
        self.assertEqual(status, "UPDATE_COMPLETE", text)
        after = deploy.present(self.cloudformation, "xendit-hooks-test")
        self.assertEqual(after, {"Environment": "live", "AlarmEmail": "you@example.com", "Tap": "off"})

    def test_a_change_set_without_changes_is_no_failure_and_any_other_failure_is_told(self):
        self.make()
        waiter = Mock()
        client = Mock(wraps=self.cloudformation)
        client.get_waiter.return_value = waiter
        for reason, expected in [("The submitted information didn't contain changes.", None), ("Parameters: [X]", deploy.Refused)]:
            waiter.wait.side_effect = deploy.WaiterError("w", "failed", {"StatusReason": reason})
            before = deploy.present(self.cloudformation, "xendit-hooks-test")
            if expected is None:
                self.assertIsNone(self.change_set(before, {}, client=client))
            else:
                self.assertIn(reason, self.refusal_of(lambda: self.change_set(before, {}, client=client))[0])
        self.assertEqual(client.delete_change_set.call_count, 2)

    def test_only_an_update_is_watched_and_the_triggers_are_passed(self):
        self.make()
        client = Mock(wraps=self.cloudformation)
        watched = {"RollbackTriggers": [{"Arn": "arn:aws:cloudwatch:x:1:alarm:a", "Type": "AWS::CloudWatch::Alarm"}],
                   "MonitoringTimeInMinutes": 15}
        self.change_set(deploy.present(self.cloudformation, "xendit-hooks-test"), {"Environment": "live"}, client=client, rollback=watched)
        self.assertEqual(client.create_change_set.call_args.kwargs["RollbackConfiguration"], watched)
        self.change_set(None, {"Environment": "test"}, stack="xendit-hooks-new", client=client, rollback=watched)
        self.assertNotIn("RollbackConfiguration", client.create_change_set.call_args.kwargs)

    def test_the_guards_are_those_alarms_that_do_not_ring_yet(self):
        cloudwatch, alarms = self.session.client("cloudwatch"), [*deploy.GUARDS, "WrongTokenAlarm"]
        for alarm in alarms:
            cloudwatch.put_metric_alarm(AlarmName=f"xendit-hooks-test-{alarm}-X", MetricName="m", Namespace="n", Statistic="Sum", Period=60,
                                        EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold", Threshold=0)
        ringing = "xendit-hooks-test-RetriesAlarm-X"
        cloudwatch.set_alarm_state(AlarmName=ringing, StateValue="ALARM", StateReason="a test")
        # moto's CloudFormation makes no alarms.
        client = Mock()
        client.get_paginator.return_value.paginate.return_value = [{"StackResourceSummaries": [
            {"LogicalResourceId": alarm, "PhysicalResourceId": f"xendit-hooks-test-{alarm}-X"} for alarm in alarms]}]
        rollback, told = deploy.guarded(client, cloudwatch, "xendit-hooks-test", 15)
        self.assertEqual((told, rollback["MonitoringTimeInMinutes"]), ([ringing], 15))
        names = " ".join(trigger["Arn"] for trigger in rollback["RollbackTriggers"])
        self.assertEqual(len(rollback["RollbackTriggers"]), len(deploy.GUARDS) - 1)
        for name in set(deploy.GUARDS) - {"RetriesAlarm"}:
            self.assertIn(name, names)
        # Who has a leaked token could ring it, and undo the deployment that retires the token.
        self.assertNotIn("WrongTokenAlarm", names)
        # Without watching, what an earlier deployment has set must go too.
        self.assertEqual(deploy.guarded(client, cloudwatch, "xendit-hooks-test", 0), (NO_ROLLBACK, []))

    def test_live_is_watched_for_longer_than_each_guard_needs_to_ring(self):
        template = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
        # CloudFormation takes at most five.
        self.assertLessEqual(len(deploy.GUARDS), 5)
        for name in deploy.GUARDS:
            alarm = template["Resources"][name]["Properties"]
            periods = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) + 1
            self.assertLessEqual(periods * alarm["Period"], 60 * deploy.WATCH_MINUTES["live"], name)

    def test_a_live_update_is_confirmed_by_the_name_of_the_stack(self):
        self.assertTrue(deploy.confirmed("xendit-hooks-live", "xendit-hooks-live"))
        for wrong in ["", "y", "live", "xendit-hooks-test"]:
            self.assertFalse(deploy.confirmed("xendit-hooks-live", wrong))
        with patch("sys.stdin") as stdin, patch("builtins.input", return_value="xendit-hooks-live"):
            stdin.isatty.return_value = True
            self.assertTrue(deploy.confirmed("xendit-hooks-live", None))
            for interruption in [KeyboardInterrupt, EOFError]:
                with patch("builtins.input", side_effect=interruption), contextlib.redirect_stdout(io.StringIO()):
                    self.assertFalse(deploy.confirmed("xendit-hooks-live", None), "so that the change set is deleted")
            stdin.isatty.return_value = False
            self.assertFalse(deploy.confirmed("xendit-hooks-live", None), "nobody can type")
        self.assertTrue(deploy.configured("live")["confirm_changeset"])

    def deployed(self, options, stack="xendit-hooks-live", token=None, **patches):
        """What a deployment prints, with what SAM and cargo would do left out."""
        defaults = {"uploaded": Mock(return_value=self.url), "canary": Mock(return_value=True)}
        with patch.multiple(deploy, **{**defaults, **patches}):
            before = deploy.present(self.cloudformation, stack)
            passed = {"Environment": options.to}
            return self.output_of(lambda: deploy.deploy(self.session, options, stack, REGION, before, passed, token))

    def test_live_changes_only_if_confirmed_and_is_watched(self):
        self.make("xendit-hooks-live")
        options = Namespace(to="live", watch=None, confirm="live")
        reason, _ = self.refusal_of(lambda: self.deployed(options))
        self.assertIn("CONFIRM=xendit-hooks-live", reason)
        self.assertEqual(deploy.present(self.cloudformation, "xendit-hooks-live")["Environment"], "test", "nothing was changed")
        options.confirm = "xendit-hooks-live"
        succeeded, text = self.deployed(options, token="0123456789abcdef")
        self.assertTrue(succeeded, text)
        self.assertIn("watches 0 alarms while it updates and for 15 minutes after, and rolls back if one rings, or if canaries", text)
        self.assertNotIn("0123456789abcdef", text)
        self.assertEqual(deploy.present(self.cloudformation, "xendit-hooks-live")["Environment"], "live")

    def test_canaries_that_do_not_get_through_before_a_deployment_do_not_roll_it_back(self):
        self.make("xendit-hooks-live")
        follow = Mock(return_value="UPDATE_COMPLETE")
        options = Namespace(to="live", watch=None, confirm="xendit-hooks-live")
        _, text = self.deployed(options, token="t", canary=Mock(return_value=False), follow=follow)
        self.assertIsNone(follow.call_args.args[3])
        self.assertNotIn("if canaries are lost", text)

    def test_a_deployment_that_was_rolled_back_failed(self):
        self.make("xendit-hooks-live")
        options = Namespace(to="live", watch=None, confirm="xendit-hooks-live")
        succeeded, text = self.deployed(options, follow=Mock(return_value="UPDATE_ROLLBACK_COMPLETE"))
        self.assertFalse(succeeded)
        self.assertIn("xendit-hooks-live was not changed: UPDATE_ROLLBACK_COMPLETE", text)


class Canaries(unittest.TestCase):
    def followed(self, canaries, polls=60, refusal=None):
        """What happens while a stack changes for a time, and canaries get through or not, as these say."""
        answers, clock = iter(canaries), iter(range(0, 10**6, deploy.POLL_SECS))
        client, calls = Mock(), []
        client.cancel_update_stack.side_effect = refusal
        client.get_paginator.return_value.paginate.return_value = [{"StackEvents": []}]

        def status(**_):
            polled = client.describe_stacks.call_count
            if client.cancel_update_stack.called and not refusal:
                name = "UPDATE_ROLLBACK_COMPLETE"
            else:
                name = "UPDATE_IN_PROGRESS" if polled < polls else "UPDATE_COMPLETE"
            return {"Stacks": [{"StackStatus": name}]}

        def canary():
            calls.append(True)
            return next(answers)

        client.describe_stacks.side_effect = status
        with patch("time.sleep"), patch("time.monotonic", lambda: next(clock)), contextlib.redirect_stdout(io.StringIO()):
            return deploy.follow(client, "s", 0, canary), client.cancel_update_stack.called

    def test_an_update_is_rolled_back_after_several_canaries_in_a_row_were_lost(self):
        self.assertEqual(self.followed([True, False, False, False]), ("UPDATE_ROLLBACK_COMPLETE", True))

    def test_an_update_that_ends_before_it_can_be_rolled_back_is_followed_to_its_end(self):
        refusal = ClientError({"Error": {"Code": "ValidationError", "Message": "CancelUpdateStack cannot be called"}}, "CancelUpdateStack")
        self.assertEqual(self.followed([False, False, False], refusal=refusal), ("UPDATE_COMPLETE", True))

    def test_one_or_two_that_are_lost_while_functions_are_replaced_change_nothing(self):
        self.assertEqual(self.followed([False, False, True, False, False, True] + 50 * [True]), ("UPDATE_COMPLETE", False))


class Destroy(InAws):
    def destroyed(self, stack="xendit-hooks-test", **given):
        options = Namespace(**{"to": "test", "dry_run": False, "confirm": None, **given})
        return self.output_of(lambda: destroy.destroy(self.session, options, stack, REGION))

    def is_there(self, stack="xendit-hooks-test"):
        return deploy.present(self.cloudformation, stack) is not None

    def test_a_dry_run_shows_what_is_deleted_and_kept_with_the_commands_and_changes_nothing(self):
        self.make()
        succeeded, text = self.destroyed(dry_run=True)
        self.assertTrue(succeeded and self.is_there())
        deleted, kept = text.split("Kept,")
        table = self.session.client("dynamodb").list_tables()["TableNames"][0]
        for part in ["123456789012", REGION, "EventBus", "AlarmTopic"]:
            self.assertIn(part, deleted)
        for part in ["WebhookQueue: it may hold", "aws sqs delete-queue --queue-url https://", "InboxBucket", "aws s3 rb s3://",
                     f"aws dynamodb delete-table --table-name {table} --region {REGION}", "Nothing was changed."]:
            self.assertIn(part, kept)
        for name in ["WebhookQueue", "InboxBucket", "LedgerTable"]:
            self.assertNotIn(name, deleted)

    def test_what_the_template_keeps_has_a_reason_and_a_command_here(self):
        resources = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"].values()
        kept = {resource["Type"] for resource in resources if resource.get("DeletionPolicy", "").startswith("Retain")}
        self.assertEqual(kept, destroy.KEPT.keys())

    def test_a_test_stack_is_deleted_and_the_ledger_stays(self):
        self.make()
        succeeded, text = self.destroyed()
        self.assertTrue(succeeded, text)
        self.assertFalse(self.is_there())
        self.assertEqual(len(self.session.client("dynamodb").list_tables()["TableNames"]), 1)
        self.assertIn("There is no stack", self.refusal_of(self.destroyed)[0])

    def test_a_live_stack_is_deleted_only_if_its_name_was_typed(self):
        self.make("xendit-hooks-live")
        live = {"stack": "xendit-hooks-live", "to": "live"}
        for wrong in [None, "live", "y", "xendit-hooks-test"]:
            with patch("sys.stdin") as stdin:
                stdin.isatty.return_value = False
                reason, _ = self.refusal_of(lambda: self.destroyed(confirm=wrong, **live))
            self.assertIn("type xendit-hooks-live when asked", reason)
            self.assertTrue(self.is_there("xendit-hooks-live"))
        succeeded, text = self.destroyed(confirm="xendit-hooks-live", **live)
        self.assertTrue(succeeded and not self.is_there("xendit-hooks-live"), text)

    def test_webhooks_that_wait_are_told_and_what_would_fail_in_the_middle_is_refused(self):
        self.make()
        sqs = self.session.client("sqs")
        sqs.send_message(QueueUrl=sqs.list_queues()["QueueUrls"][0], MessageBody="x")
        self.assertIn("WebhookQueue holds 1 webhooks", self.destroyed(dry_run=True)[1])
        events = self.session.client("events")
        events.put_rule(Name="a-merchants", EventBusName="xendit-hooks-test", EventPattern='{"source":["xendit-hooks"]}')
        self.assertIn("rules that are not the stack's: a-merchants", self.refusal_of(self.destroyed)[0])
        events.delete_rule(Name="a-merchants", EventBusName="xendit-hooks-test")
        found = {"StackName": "s", "StackStatus": "CREATE_COMPLETE", "EnableTerminationProtection": True}
        self.assertIn("--no-enable-termination-protection", "".join(destroy.obstacles(found, [], events)))
        changing = {"StackName": "s", "StackStatus": "UPDATE_IN_PROGRESS"}
        self.assertIn("Wait", "".join(destroy.obstacles(changing, [], events)))


if __name__ == "__main__":
    unittest.main()
