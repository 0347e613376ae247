"""Deploys a stack with SAM. First it checks, in seconds, what would otherwise fail after minutes, and shows what it will do.

`make deploy` runs it. CloudFormation remembers the parameters of a stack; those that are not given here keep their values,
except for Environment and Architecture, which are part of every deployment.
"""

import argparse
import os
import re
import subprocess
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

SAM = os.path.join(os.path.dirname(sys.executable), "sam")
# The quota of a new account. The functions of an account share it.
SMALL_CONCURRENCY = 10


class Refused(Exception):
    """Why nothing was deployed, and what to do."""


def arguments():
    parser = argparse.ArgumentParser(description="Deploys a stack. Use `make deploy`.")
    parser.add_argument("to", choices=["test", "live"])
    parser.add_argument("--region")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--digest")
    parser.add_argument("--retire")
    parser.add_argument("--set", action="append", default=[], metavar="PARAMETER=VALUE")
    return parser.parse_args()


# --- What to deploy ---------------------------------------------------------------------------------------------------


def region(environment, given, configured):
    """Where to deploy. Live must be told, because a second live stack in another region would get no webhooks."""
    if environment == "live" and not given:
        hint = f"; your AWS configuration has {configured}" if configured else ""
        raise Refused(f"REGION is required for live, such as REGION=ap-southeast-3 for Jakarta{hint}.")
    if not (given or configured):
        raise Refused("No region is configured. Add REGION=, such as REGION=ap-southeast-3 for Jakarta.")
    return given or configured


def present(cloudformation, stack):
    """The parameters of a stack as they are. None: there is no stack."""
    try:
        (found,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    status = found["StackStatus"]
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
        raise Refused(
            f"The first deployment of {stack} failed, and left a stack that cannot be updated ({status}). Look at its events in "
            f"the CloudFormation console, delete it with `aws cloudformation delete-stack --stack-name {stack}`, and try again."
        )
    # A change set that nobody has executed.
    if status == "REVIEW_IN_PROGRESS":
        return None
    if status.endswith("_IN_PROGRESS"):
        raise Refused(f"{stack} is being changed ({status}). Wait until that is over.")
    if not status.endswith("_COMPLETE"):
        raise Refused(f"{stack} cannot be updated ({status}). Repair it in the CloudFormation console first.")
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in found.get("Parameters", [])}


def settings(pairs):
    """The parameters that are set by hand."""
    for pair in pairs:
        if not re.fullmatch(r"[A-Za-z]+=.*", pair):
            raise Refused(f"SET has {pair!r}, which is not PARAMETER=value.")
    found = dict(pair.split("=", 1) for pair in pairs)
    for name, variable in (("Environment", "TO"), ("Architecture", "ARCHITECTURE")):
        if name in found:
            raise Refused(f"Use {variable}= for {name}.")
    return found


def pairs_of(text):
    return [pair.split("=", 1) for pair in text.split(",") if pair]


def accepted(text, environment, digest, retired):
    """The callback tokens after a deployment. A new digest becomes that of the environment's label, and the one before stays
    accepted under the label with `-old`, so that no webhook is refused while the token is changed at Xendit."""
    tokens = dict(pairs_of(text))
    if digest:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise Refused("DIGEST is not 64 lower-case hex digits. `xendit-hooks token digest` prints it.")
        before, old = tokens.get(environment), f"{environment}-old"
        if before != digest:
            others = {label: other for label, other in tokens.items() if label not in (environment, old)}
            tokens = {environment: digest, **({old: before} if before else {}), **others}
    if retired:
        if retired not in tokens:
            raise Refused(f"RETIRE={retired}: the accepted tokens are {', '.join(tokens) or 'none'}.")
        del tokens[retired]
    if not tokens:
        raise Refused("No token would be accepted. Add DIGEST=; `xendit-hooks token digest` prints it.")
    return ",".join(f"{label}={other}" for label, other in tokens.items())


def bound(text, environment, tokens):
    """The accounts of each token after a deployment. An old token is bound to the accounts of the new one."""
    labels, bindings = dict(pairs_of(tokens)), pairs_of(text)
    old = f"{environment}-old"
    if old in labels and old not in dict(bindings):
        bindings += [[old, account] for label, account in bindings if label == environment]
    return ",".join(f"{label}={account}" for label, account in bindings if label in labels)


def overrides(before, options):
    """The parameters to pass to SAM."""
    by_hand = settings(options.set)
    if (options.digest or options.retire) and "CallbackTokens" in by_hand:
        raise Refused("Use either DIGEST= and RETIRE=, or SET=CallbackTokens=.")
    changed = {}
    if "CallbackTokens" not in by_hand:
        stored = (before or {}).get("CallbackTokens", "")
        tokens = accepted(stored, options.to, options.digest, options.retire)
        accounts = (before or {}).get("TokenAccounts", "")
        changed = {"CallbackTokens": tokens} if tokens != stored else {}
        if "TokenAccounts" not in by_hand and bound(accounts, options.to, tokens) != accounts:
            changed["TokenAccounts"] = bound(accounts, options.to, tokens)
    return {"Environment": options.to, "Architecture": options.architecture, **changed, **by_hand}


# --- What is shown before anything is made ----------------------------------------------------------------------------


def shown(stack, identity, where, before, passed):
    after = {**(before or {}), **passed}
    yield f"Stack    {stack}, {'an update' if before is not None else 'new'}"
    yield f"Account  {identity['Account']}, as {identity['Arn']}"
    yield f"Region   {where}"
    for name, value in passed.items():
        old = (before or {}).get(name)
        yield f"         {name}={short(value)}" + (f", before {short(old)}" if old not in (None, value) else "")
    if not after.get("AlarmEmail"):
        yield "Alarms   nobody is told. Add EMAIL=you@example.com, or subscribe to the topic in the output AlarmTopicArn."


def short(value):
    """Without the ends of digests."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", value) or "(empty)"


def concurrency(client, passed):
    """A warning if the account may run only a few functions at a time."""
    try:
        quota = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    except (ClientError, BotoCoreError):
        # Only this check needs the permission.
        return
    if quota <= SMALL_CONCURRENCY and "ProcessorConcurrency" not in passed:
        yield (f"Quota    {quota} concurrent executions, of which the processor takes up to 5. If other functions run in this "
               "account, request a higher quota, and add SET=ProcessorConcurrency=2 until then.")


def main():
    options = arguments()
    stack = f"xendit-hooks-{options.to}"
    session = boto3.Session()
    try:
        where = region(options.to, options.region, session.region_name)
        identity = session.client("sts", region_name=where).get_caller_identity()
        before = present(session.client("cloudformation", region_name=where), stack)
        passed = overrides(before, options)
        for line in shown(stack, identity, where, before, passed):
            print(line)
        for line in concurrency(session.client("lambda", region_name=where), passed):
            print(line)
    except Refused as reason:
        sys.exit(f"{reason}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS cannot be used: {error} Check AWS_PROFILE, `aws sso login`, REGION and your permissions.")
    sys.stdout.flush()
    subprocess.run(["make", "build", f"ARCHITECTURE={options.architecture}"], check=True)
    # An empty value needs its quotes, which SAM removes.
    parameters = [f"{name}={value or chr(34) * 2}" for name, value in passed.items()]
    command = [SAM, "deploy", "--config-env", options.to, "--region", where, "--parameter-overrides", *parameters]
    sys.exit(subprocess.run(command, check=False, env={**os.environ, "SAM_CLI_TELEMETRY": "0"}).returncode)


if __name__ == "__main__":
    main()
