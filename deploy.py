"""Deploys a stack with SAM. First it checks, in seconds, what would otherwise fail after minutes, and shows what it will do.

`make deploy` runs it. SAM builds the functions and uploads them. CloudFormation remembers the parameters of a stack; those that are
not given here keep their values, except for Environment and Architecture, which are part of every deployment.

A live update is watched: CloudFormation looks at the alarms in GUARDS while it updates and for some minutes after, and rolls the
whole stack back, with both functions, their roles and the parameters, if one of them rings. Meanwhile canaries go through the
stack, so that there is something to see when Xendit sends a few webhooks an hour.

Traffic is not shifted between two versions of a function, for three reasons. Ten percent of a few webhooks is none. Two versions of
the processor would write the ledger at the same time, and the older one cannot read a newer format. And behind an alias, a new
parameter would not reach a function: SAM publishes a version for new code only, so that a leaked token would stay accepted.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import boto3
import tomlkit
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

ROOT = Path(__file__).parent
SAM = os.path.join(os.path.dirname(sys.executable), "sam")
# The quota of a new account. The functions of an account share it.
SMALL_CONCURRENCY = 10
# The alarms that say that a deployment broke something. CloudFormation takes at most five. Not WrongTokenAlarm: who has a leaked
# token could ring it, and so undo the deployment that retires the token.
GUARDS = ("ServerErrorsAlarm", "ReceiverErrorsAlarm", "ProcessorErrorsAlarm", "RetriesAlarm")
# Longer than the slowest of them needs.
WATCH_MINUTES = {"test": 0, "live": 15}
POLL_SECS = 5
CANARY_SECS = 60
# One or two may fail while the functions are replaced.
MAX_LOST_CANARIES = 3
# The stack that SAM makes for its bucket.
SAM_STACK = "aws-sam-cli-managed-default"
TOKEN_VARIABLE = "XENDIT_CALLBACK_TOKEN"
INTERRUPTED = "Interrupted. What CloudFormation has begun goes on: its console shows it."


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
    parser.add_argument("--watch", type=int, metavar="MINUTES")
    parser.add_argument("--confirm", metavar="STACK")
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


# --- Rights -----------------------------------------------------------------------------------------------------------


def lacking(iam, identity, where, stack, policy):
    """The actions in a policy that the caller may not do, as far as IAM tells: it knows neither session policies nor tags."""
    arn = identity["Arn"].replace(":sts:", ":iam:")
    principal = re.sub(r":assumed-role/([^/]+)/.*", r":role/\1", arn)
    denied = set()
    for statement in policy["Statement"]:
        actions = [action for action in statement["Action"] if "*" not in action]
        resources = [filled(resource, identity["Account"], where, stack) for resource in statement["Resource"]]
        # IAM would need to be told what the conditions are about.
        if not actions or "Condition" in statement:
            continue
        try:
            pages = iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal, ActionNames=actions, ResourceArns=resources)
            results = [result for page in pages for result in page["EvaluationResults"]]
        except (ClientError, BotoCoreError):
            # Only this check needs the permission.
            return set()
        denied.update(result["EvalActionName"] for result in results if result["EvalDecision"] != "allowed")
    return denied


def filled(resource, account, where, stack):
    """A resource that a pattern in the policy matches."""
    resource = resource.replace("xendit-hooks-*", f"{stack}-x").replace(":*:*:", f":{where}:{account}:", 1)
    return "*" if resource == "*" else resource.replace("*", "x")


# --- Deploy -----------------------------------------------------------------------------------------------------------


def configured(environment):
    """What samconfig.toml says about an environment."""
    return tomlkit.parse((ROOT / "samconfig.toml").read_text(encoding="utf-8"))[environment]["deploy"]["parameters"].unwrap()


def uploaded(session, where, prefix):
    """The URL of the built template, after SAM has uploaded the functions."""
    packaged = ROOT / ".aws-sam/packaged.yaml"
    command = [SAM, "package", "--template-file", ".aws-sam/build/template.yaml", "--resolve-s3", "--s3-prefix", prefix,
               "--region", where, "--output-template-file", str(packaged)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SAM_CLI_TELEMETRY": "0"})
    (found,) = session.client("cloudformation", region_name=where).describe_stacks(StackName=SAM_STACK)["Stacks"]
    (bucket,) = [output["OutputValue"] for output in found["Outputs"] if output["OutputKey"] == "SourceBucket"]
    body = packaged.read_bytes()
    key = f"{prefix}/{hashlib.sha256(body).hexdigest()}.template"
    session.client("s3", region_name=where).put_object(Bucket=bucket, Key=key, Body=body)
    return f"https://{bucket}.s3.{where}.amazonaws.com/{key}"


def guarded(cloudformation, cloudwatch, stack, minutes):
    """When CloudFormation is to roll a stack back, and the alarms that ring already: these cannot tell what a deployment does."""
    if not minutes:
        return {"RollbackTriggers": [], "MonitoringTimeInMinutes": 0}, []
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    names = [resource["PhysicalResourceId"] for page in pages for resource in page["StackResourceSummaries"]
             if resource["LogicalResourceId"] in GUARDS]
    found = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"] if names else []
    triggers = [{"Arn": alarm["AlarmArn"], "Type": "AWS::CloudWatch::Alarm"} for alarm in found if alarm["StateValue"] != "ALARM"]
    ringing = sorted(alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM")
    return {"RollbackTriggers": triggers, "MonitoringTimeInMinutes": minutes}, ringing


def change_set(client, stack, url, before, passed, settings, rollback):
    """A change set's ARN and its changes. None: there is nothing to change."""
    known = {parameter["ParameterKey"] for parameter in client.get_template_summary(TemplateURL=url)["Parameters"]}
    kept = [name for name in before or {} if name in known and name not in passed]
    created = client.create_change_set(
        StackName=stack,
        ChangeSetName=f"deploy-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}",
        ChangeSetType="CREATE" if before is None else "UPDATE",
        TemplateURL=url,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in passed.items()]
        + [{"ParameterKey": name, "UsePreviousValue": True} for name in kept],
        Capabilities=[settings["capabilities"]],
        Tags=[dict(zip(("Key", "Value"), tag.split("=", 1))) for tag in settings["tags"]],
        # A new stack has no alarms yet.
        **({"RollbackConfiguration": rollback} if before is not None else {}),
    )["Id"]
    try:
        client.get_waiter("change_set_create_complete").wait(ChangeSetName=created, WaiterConfig={"Delay": POLL_SECS})
    except WaiterError as error:
        reason = error.last_response.get("StatusReason", "")
        client.delete_change_set(ChangeSetName=created)
        if "didn't contain changes" in reason or "No updates" in reason:
            return None
        raise Refused(f"CloudFormation refuses the template or a parameter: {reason}") from error
    pages = client.get_paginator("describe_change_set").paginate(ChangeSetName=created)
    return created, [change["ResourceChange"] for page in pages for change in page["Changes"]]


def told(changes):
    for change in changes:
        replaced = ", which is replaced" if change.get("Replacement") == "True" else ""
        yield f"  {change['Action']:<7} {change['LogicalResourceId']:<30} {change['ResourceType']}{replaced}"


def confirmed(stack, given):
    """Whether the name of the stack was typed, or given."""
    if given is None and sys.stdin.isatty():
        try:
            given = input(f"Type {stack} to go on: ")
        except (EOFError, KeyboardInterrupt):
            print()
    return given == stack


def canary(environment, where, token):
    """Whether a canary gets through. Prints what it saw."""
    command = ["cargo", "run", "--locked", "--quiet", "--package", "xendit-hooks", "--", "smoke", "--stack", environment]
    return subprocess.run(command, check=False, env={**os.environ, "AWS_REGION": where, TOKEN_VARIABLE: token}).returncode == 0


def follow(client, stack, since, try_canary=None):
    """Waits until a stack has changed, and prints its events. Returns its last status.

    After several canaries in a row that were lost, it cancels the update, and CloudFormation rolls it back."""
    seen, lost, last_canary = set(), 0, time.monotonic()
    while True:
        pages = client.get_paginator("describe_stack_events").paginate(StackName=stack)
        fresh = [event for page in pages for event in page["StackEvents"]
                 if event["Timestamp"].timestamp() >= since and event["EventId"] not in seen]
        for event in sorted(fresh, key=lambda event: event["Timestamp"]):
            seen.add(event["EventId"])
            if not event["ResourceStatus"].endswith("_IN_PROGRESS"):
                reason = event.get("ResourceStatusReason")
                print(f"  {event['ResourceStatus']:<16} {event['LogicalResourceId']}" + (f": {reason}" if reason else ""), flush=True)
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
        status = found["StackStatus"]
        if not status.endswith("_IN_PROGRESS"):
            return status
        if try_canary and status == "UPDATE_IN_PROGRESS" and time.monotonic() - last_canary >= CANARY_SECS:
            lost = 0 if try_canary() else lost + 1
            last_canary = time.monotonic()
            if lost == MAX_LOST_CANARIES:
                print(f"{lost} canaries in a row were lost. Rolling back …", flush=True)
                try:
                    client.cancel_update_stack(StackName=stack)
                except ClientError as error:
                    # A canary takes a minute to be lost. Meanwhile, the update may have ended.
                    print(f"CloudFormation does not roll back: {error}", flush=True)
                try_canary = None
        time.sleep(POLL_SECS)


def deploy(session, options, stack, where, before, passed, token):
    """Deploys, and returns whether it succeeded."""
    client, settings = session.client("cloudformation", region_name=where), configured(options.to)
    minutes = WATCH_MINUTES[options.to] if options.watch is None else options.watch
    watched = before is not None and minutes > 0
    rollback, ringing = guarded(client, session.client("cloudwatch", region_name=where), stack, minutes if watched else 0)
    for alarm in ringing:
        print(f"{alarm} rings already. It does not roll this deployment back.")
    url = uploaded(session, where, settings["s3_prefix"])
    made = change_set(client, stack, url, before, passed, settings, rollback)
    if made is None:
        print("There is nothing to change.")
        return True
    name, changes = made
    print("Changes:", *told(changes), sep="\n", flush=True)
    if settings["confirm_changeset"] and not confirmed(stack, options.confirm):
        client.delete_change_set(ChangeSetName=name)
        raise Refused(f"Nothing was changed. To deploy to live without being asked, as in CI: CONFIRM={stack}")
    try_canary = None
    if watched and token:
        # If it does not get through now, it says nothing about the deployment.
        try_canary = (lambda: canary(options.to, where, token)) if canary(options.to, where, token) else None
    if watched:
        print(f"CloudFormation watches {len(rollback['RollbackTriggers'])} alarms while it updates and for {minutes} minutes after, "
              "and rolls back if one rings" + (", or if canaries are lost." if try_canary else "."), flush=True)
    since = time.time() - 1
    client.execute_change_set(ChangeSetName=name)
    status = follow(client, stack, since, try_canary)
    if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        print(f"{stack} was not changed: {status}. Its first failed event above has the reason.", file=sys.stderr)
        return False
    return True


def show_outputs(client, stack):
    (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    for output in sorted(found.get("Outputs", []), key=lambda output: output["OutputKey"]):
        print(f"  {output['OutputKey']:<22} {output['OutputValue']}")


def main():
    options = arguments()
    # Builds run the code of others, who need not know it.
    token = os.environ.pop(TOKEN_VARIABLE, None)
    stack = f"xendit-hooks-{options.to}"
    session = boto3.Session()
    try:
        where = region(options.to, options.region, session.region_name)
        identity = session.client("sts", region_name=where).get_caller_identity()
        client = session.client("cloudformation", region_name=where)
        before = present(client, stack)
        passed = overrides(before, options)
        for line in shown(stack, identity, where, before, passed):
            print(line)
        for line in concurrency(session.client("lambda", region_name=where), passed):
            print(line)
        policy = json.loads((ROOT / "docs/deploy-policy.json").read_text(encoding="utf-8"))
        denied = lacking(session.client("iam", region_name=where), identity, where, stack, policy)
        if denied:
            print(f"Rights   IAM says that you lack {', '.join(sorted(denied))}. docs/deploy-policy.json has all that are needed.")
        sys.stdout.flush()
        subprocess.run(["make", "build", f"ARCHITECTURE={options.architecture}"], check=True)
        succeeded = deploy(session, options, stack, where, before, passed, token)
        if succeeded:
            show_outputs(client, stack)
    except Refused as reason:
        sys.exit(f"{reason}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"`{' '.join(error.cmd)}` failed. Nothing was changed.")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS cannot be used: {error} Check AWS_PROFILE, `aws sso login`, REGION and your permissions.")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.stdout.flush()
    if not succeeded:
        sys.exit(1)
    smoke = f"AWS_REGION={where} xendit-hooks smoke --stack {options.to}"
    if not token:
        print(f"Now see whether a webhook gets through: `{smoke}` asks for the callback token and sends a canary.")
    elif not canary(options.to, where, token):
        sys.exit(f"The stack is deployed, but no canary gets through. To try again: {smoke}\nTo roll back, check out the earlier version and "
                 "deploy it: docs/operations.md.")


if __name__ == "__main__":
    main()
