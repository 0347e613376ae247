"""Tests deploy.py: what it refuses, and which parameters it passes to SAM. `make check` runs it."""

import sys
import unittest
from argparse import Namespace
from pathlib import Path

import boto3
from botocore.stub import Stubber

sys.path.insert(0, str(Path(__file__).parent.parent))
import deploy  # noqa: E402


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


if __name__ == "__main__":
    unittest.main()
