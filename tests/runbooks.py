"""Plays the runbooks. For each page of docs/runbooks, it breaks that very thing in a local stack, sees the alarm of template.yaml ring,
does what the page says with the page's own commands, and sees the alarm end.

The stack is the real one of `xendit-hooks dev`. The metric filters of the template count the lines that the functions and the gateway
log, and its alarms are evaluated as CloudWatch does. Only the time is not real: a round of a play counts as a period of the alarm.

Usage: runbooks.py [PAGE...]
"""

import json
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import jmespath
from botocore import xform_name
from cloudwatch import matches, of_alarm
from dashboard import Run, period_of, ringing_since
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
HOOKS = TARGET / "debug/xendit-hooks"
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
# What a merchant would choose.
PARAMETERS = {name: parameter.get("Default", "") for name, parameter in TEMPLATE["Parameters"].items()} | {"SilenceHours": 6}
# The files with the lines of each log group, and the outputs that name the groups.
FILES = {"AccessLogs": "access.log", "ReceiverLogs": "receiver.log", "ProcessorLogs": "processor.log"}
GROUPS = {"AccessLogGroupName": "AccessLogs", "ReceiverLogGroupName": "ReceiverLogs", "ProcessorLogGroupName": "ProcessorLogs"}

# The name of a consumer's rule, and of its queue.
CONSUMER = "consumer"

# How many requests the gateway takes at once.
THROTTLE_BURST = PARAMETERS["ThrottleBurst"]

# How many local stacks run at the same time.
STACKS = 2

# How long to wait for what happens within seconds on an idle machine.
PATIENCE = 90
# A second of waiting counts as so many for the age of the oldest webhook.
SPEED = 300

# The outcomes of a webhook that is in the ledger.
PROCESSED = ("applied", "duplicate", "stale", "conflict")

# What cannot be run without AWS, and why.
ELSEWHERE = {
    "make deploy": "changes a deployed stack; for a new token, the play starts the local stack again with its digest",
    "hooks token rotate": "reads which digests are deployed; a local stack has no token to rotate",
    "aws lambda": "the gateway and the poller of a local stack stand for Lambda, and have no API",
    "aws s3 cp": "only a webhook that SQS did not accept is in the inbox when it becomes a dead letter",
}

# The shell of docs/operations.md for a local stack.
SHELL = """
set -e -o pipefail
STACK=local
hooks() { "$HOOKS" "$@"; }
output() { "$PYTHON" "$PLAYS" --output "$1"; }
logs() { "$PYTHON" "$PLAYS" --logs "$@"; }
aws() { "$PYTHON" "$PLAYS" --aws "$@"; }
"""


def now():
    return datetime.now(timezone.utc)


def wait(what, happened):
    """Waits until a function returns something true, and returns it."""
    until = time.monotonic() + PATIENCE
    while not (found := happened()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {PATIENCE} seconds")
        time.sleep(0.1)
    return found


# --- The local stack --------------------------------------------------------------------------------------------------


class LocalStack:
    """A running `xendit-hooks dev`, which has worked off its samples."""

    def __init__(self, *options):
        self.state = tempfile.TemporaryDirectory(prefix="xendit-hooks-runbooks-")
        self.environment = {**os.environ, "XDG_STATE_HOME": self.state.name, "NO_COLOR": "1"}
        for name in ("XENDIT_CALLBACK_TOKEN", "XENDIT_HOOKS_STACK"):
            self.environment.pop(name, None)
        self.process = subprocess.Popen([HOOKS, "dev", "--json", "--port", "0", *options], cwd=ROOT, env=self.environment,
                                        stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self.process.stdout.readline())
        self.folder = Path(self.about["log_dir"])
        for _ in (ROOT / "events/webhooks").iterdir():
            self.process.stdout.readline()
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.environment |= {"HOOKS": str(HOOKS), "PYTHON": sys.executable, "PLAYS": __file__, "FOLDER": str(self.folder),
                             "ADDRESSES": json.dumps(self.about), "SINCE": now().isoformat()}
        self.sqs, self.events, self.cloudwatch = (client_of(self.about, name) for name in ("sqs", "events", "cloudwatch"))
        # Instead of 3 minutes, so that what is tried again comes at once.
        self.sqs.set_queue_attributes(QueueUrl=self.about["queue_url"], Attributes={"VisibilityTimeout": "1"})
        self.empty_dead_letter_queue()
        self.read = dict.fromkeys(FILES, 0)
        self.new_lines()

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.state.cleanup()

    def refuse(self, *actions):
        """Lets the emulated AWS refuse these actions, and no others."""
        path = self.folder / "faults.json"
        path.with_suffix(".new").write_text(json.dumps(dict.fromkeys(actions, "AccessDenied")))
        path.with_suffix(".new").rename(path)

    def signal(self, name, number):
        """Sends a signal to the process of a function."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        every = [pid for task in children.parent.parent.iterdir() for pid in (task / "children").read_text().split()]
        (pid,) = [pid for pid in every if Path(f"/proc/{pid}/comm").read_text().strip() == name]
        os.kill(int(pid), number)

    def post(self, body, token=None):
        """Sends a webhook as Xendit does, and returns the status and the delivery id."""
        token = self.about["token"] if token is None else token
        headers = {"content-type": "application/json", **({"x-callback-token": token} if token else {})}
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.about["url"], body, headers)) as response:
                return response.status, json.load(response)["id"]
        except urllib.error.HTTPError as error:
            return error.code, None

    def new_lines(self):
        """The lines of each log group since the last call."""
        new = {}
        for group, file in FILES.items():
            text = (self.folder / file).read_bytes()[self.read[group]:]
            text = text[:text.rfind(b"\n") + 1]
            self.read[group] += len(text)
            new[group] = [json.loads(line) for line in text.decode().splitlines() if line.startswith("{")]
        return new

    def in_dead_letter_queue(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.about["dlq_url"], AttributeNames=names)["Attributes"]
        return [int(found[name]) for name in names]

    def empty_dead_letter_queue(self):
        """Not with a purge, which SQS allows once a minute."""
        url = self.about["dlq_url"]

        def empty():
            for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return not any(self.in_dead_letter_queue())

        wait("the dead-letter queue is empty", empty)

    def lines(self, group):
        """All lines of a log group that are whole."""
        text = (self.folder / FILES[group]).read_text()
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    def count(self, group, kind):
        return sum(line.get("type") == kind for line in self.lines(group))

    def outcomes(self, delivery):
        return [line["outcome"] for line in self.lines("ProcessorLogs") if line.get("delivery") == delivery and "outcome" in line]

    def processed(self, delivery):
        """What became of a webhook in the end. None: it waits, or is a dead letter."""
        return next((outcome for outcome in self.outcomes(delivery) if outcome in PROCESSED), None)

    def failed_invocations(self):
        """How many events EventBridge could not deliver to the consumer."""
        metric = {"Namespace": "AWS/Events", "MetricName": "FailedInvocations", "Statistics": ["Sum"], "Period": 60}
        rule = [{"Name": "EventBusName", "Value": self.about["bus"]}, {"Name": "RuleName", "Value": CONSUMER}]
        day = timedelta(days=1)
        found = self.cloudwatch.get_metric_statistics(**metric, Dimensions=rule, StartTime=now() - day, EndTime=now() + day)
        return sum(datapoint["Sum"] for datapoint in found["Datapoints"])

    def waits(self, delivery):
        time.sleep(2)
        return not self.processed(delivery)

    def flood(self, requests):
        """Sends requests without a token at once, while the receiver is busy."""
        host, port = re.fullmatch(r"http://(.*):(\d+)/webhook", self.about["url"]).groups()
        request = b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        known = len(self.lines("AccessLogs"))
        self.signal("receiver", signal.SIGSTOP)
        clients = [socket.create_connection((host, int(port))) for _ in range(requests)]
        for client in clients:
            client.sendall(request)
        wait("some are refused", lambda: any(line["status"] == "429" for line in self.lines("AccessLogs")[known:]))
        self.signal("receiver", signal.SIGCONT)
        for client in clients:
            while client.recv(4096):
                pass
            client.close()

    def run(self, command, input=""):
        """Runs a command in the shell of docs/operations.md."""
        return subprocess.run(["bash", "-c", SHELL + command], cwd=ROOT, env=self.environment, text=True, input=input,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)


def print_logs(group, hours, pattern):
    """Prints the lines of a log group that match a filter pattern."""
    since = max(now() - timedelta(hours=float(hours)), datetime.fromisoformat(os.environ["SINCE"]))
    for line in (Path(os.environ["FOLDER"]) / FILES[GROUPS[group]]).read_text().splitlines():
        if not line.startswith("{"):
            continue
        values = json.loads(line)
        at = values.get("timestamp") or values.get("time")
        if (at is None or datetime.fromisoformat(at) > since) and matches(pattern, values):
            print(line)


def print_output(name):
    about = json.loads(os.environ["ADDRESSES"])
    names = {"WebhookUrl": "url", "WebhookTopicUrl": "topic_url", "QueueUrl": "queue_url", "DeadLetterQueueUrl": "dlq_url",
             "InboxBucketName": "inbox", "LedgerTableName": "table", "EventBusName": "bus"}
    print(about[names[name]])


def call_aws(service, operation, *arguments):
    """What the AWS CLI does, as far as the pages use it, with the emulated AWS."""
    about = json.loads(os.environ["ADDRESSES"])
    client = client_of(about, service)
    method = operation.replace("-", "_")
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
    options = {}
    for argument in arguments:
        if argument.startswith("--"):
            option = options.setdefault(argument, [])
        else:
            option.append(argument)
    (query,) = options.pop("--query", ["[@]"])

    def value(of, words):
        if of.type_name == "list":
            return [value(of.member, [word]) for word in words]
        (word,) = words
        if of.type_name == "structure":
            return dict(pair.split("=", 1) for pair in word.split(","))
        return int(word) if of.type_name == "integer" else word

    members = {f"--{xform_name(name, '-')}": (name, of) for name, of in shape.members.items()}
    values = {name: value(of, options[option]) for option, (name, of) in members.items() if option in options}
    answer = getattr(client, method)(**values)
    for row in jmespath.search(query, answer):
        print(*(row if isinstance(row, list) else [row]), sep="\t")


def client_of(about, service):
    return boto3.client(service, endpoint_url=about["aws_endpoint_url"], region_name=about["region"],
                        aws_access_key_id="local", aws_secret_access_key="local")


# --- The pages --------------------------------------------------------------------------------------------------------


def commands(text):
    """The commands in a part of a page: the lines of its blocks, and what it names in its sentences."""
    found = []
    for block, inline in re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        if inline:
            found += [inline] if re.match(r"(hooks|logs|output|aws|make) ", inline) else []
            continue
        lines = re.sub(r" *\\\n *", " ", block).strip()
        lines = re.split(r"\n(?!    |done|for )", lines)  # A loop, with what it needs, is one command.
        found += [re.sub(r" {2,}#.*", "", line).strip() for line in lines]
    return found


class Page:
    def __init__(self, path):
        self.name = path.stem
        self.alarm = "".join(map(str.capitalize, self.name.split("-"))) + "Alarm"
        parts = re.split(r"^## (.*)$", path.read_text(), flags=re.MULTILINE)
        self.parts = {title: commands(text) for title, text in zip(parts[1::2], parts[2::2])}
        self.commands = [command for part in self.parts.values() for command in part]


PAGES = {path.stem: Page(path) for path in sorted((ROOT / "docs/runbooks").glob("*.md"))}


# --- A play -----------------------------------------------------------------------------------------------------------


class Play:
    """What happens to one page."""

    def __init__(self, page, stack):
        self.page, self.stack = page, stack
        # The lines and the points of each round.
        self.rounds = []
        # The commands that were run, and the metric that the alarm saw.
        self.done, self.seen = [], ""
        # The webhooks that were sent while something was broken.
        self.deliveries = []
        self.alarm = TEMPLATE["Resources"][page.alarm]["Properties"]
        self.what, self.inputs = of_alarm(self.alarm)
        self.period = period_of(self.what, self.inputs)
        self.periods = int(self.cloudwatch().number(self.alarm["EvaluationPeriods"]))
        self.needed = self.alarm.get("DatapointsToAlarm", self.periods)
        self.stack.new_lines()
        # An earlier play left lines, too.
        self.stack.environment["SINCE"] = now().isoformat()

    # What CloudWatch would have.

    def collect(self):
        """Adds what was logged meanwhile to the last round."""
        lines, _ = self.rounds[-1]
        for group, new in self.stack.new_lines().items():
            lines[group] += new

    def measure(self):
        """Measures what AWS would in the last round."""
        self.collect()
        lines, points = self.rounds[-1]

        def count(group, is_one):
            return sum(map(is_one, lines[group]))

        def has_failed(line):
            return line.get("type") == "platform.report" and line["record"]["status"] != "success"

        visible, hidden = self.stack.in_dead_letter_queue()
        points[:] = [
            ("ApproximateNumberOfMessagesVisible", "DeadLetterQueue", visible),
            ("ApproximateNumberOfMessagesNotVisible", "DeadLetterQueue", hidden),
            ("NumberOfMessagesSent", "WebhookQueue", count("ReceiverLogs", lambda line: line.get("outcome") == "stored")),
            ("5xx", "WebhookApi", count("AccessLogs", lambda line: line["status"].startswith("5"))),
            ("Throttles", "ReceiverFunction", count("AccessLogs", lambda line: line["lambda_error"] == "Rate Exceeded")),
            ("Errors", "ReceiverFunction", count("ReceiverLogs", has_failed)),
            ("Errors", "ProcessorFunction", count("ProcessorLogs", has_failed)),
        ]
        if self.page.alarm == "UndeliveredAlarm":
            points.append(("FailedInvocations", "EventBus", self.stack.failed_invocations() - self.failed_before))
        if self.page.alarm == "QueueAgeAlarm":
            told = json.loads(self.stack.run('hooks status --json --stack "$STACK"').stdout)
            points.append(("ApproximateAgeOfOldestMessage", "WebhookQueue", told["oldest_secs"]["known"] * SPEED))

    def cloudwatch(self):
        """The metrics, with each round in a period of its own."""
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        lines, points = {group: [] for group in FILES}, []
        for number, (new_lines, new_points) in enumerate(self.rounds):
            at = start + timedelta(seconds=number * self.period)
            for group, new in new_lines.items():
                lines[group] += [{**line, "timestamp": at.isoformat()} for line in new]
            points += [(int(at.timestamp()), *point) for point in new_points]
        end = start + timedelta(seconds=len(self.rounds) * self.period)
        situation = {"from": end.isoformat(), "to": end.isoformat(), "lines": lines, "points": points}
        return Run(situation, TEMPLATE, PARAMETERS)

    def value(self):
        """What the alarm sees in the last period."""
        run = self.cloudwatch()
        return run.result(self.what, self.inputs, run.end)

    def rings(self):
        return ringing_since(self.alarm, self.cloudwatch()) is not None

    def breaches(self):
        """Whether the last period alone counts for the alarm."""
        return ringing_since({**self.alarm, "EvaluationPeriods": 1, "DatapointsToAlarm": 1}, self.cloudwatch()) is not None

    # What the play does.

    def round(self, happen, breaching):
        self.rounds.append(({group: [] for group in FILES}, []))
        self.failed_before = self.stack.failed_invocations()
        happen()

        def seen():
            self.measure()
            return self.breaches() == breaching

        wait(f"the metric of {self.page.alarm} {'breaches' if breaching else 'does not breach'} its threshold", seen)

    def healthy(self):
        """A payment comes, and is applied."""
        sent = self.stack.run('hooks trigger invoice.paid --stack "$STACK" --json')
        assert sent.returncode == 0, sent

    def breaks(self, happen):
        """Something happens in each period, until the alarm rings, which it did not before."""
        self.round(self.healthy, breaching=False)
        assert not self.rings(), f"{self.page.alarm} rings before anything is broken"
        for _ in range(self.needed):
            self.round(happen, breaching=True)
        assert self.rings(), f"{self.page.alarm} does not ring: {self.value()}"
        self.seen = f"{self.what} = {self.value():g}"

    def ends(self, happen=None):
        """Healthy periods, after which the alarm has ended."""
        self.collect()  # Until here it is the fault's.
        for _ in range(self.periods):
            self.round(happen or self.healthy, breaching=False)
        assert not self.rings(), f"{self.page.alarm} still rings: {self.value()}"

    def run(self, part, number=0, code=0, input="", **values):
        """Runs a command of a part of the page, with values for its placeholders. Returns what it prints."""
        command = self.page.parts[part][number]
        self.done.append(command)
        filled = re.sub(r"'?<([^<>]+)>'?", lambda found: shlex.quote(values[found[1].split(",")[0].replace(" ", "_")]), command)
        done = self.stack.run(filled, input)
        assert code in (None, done.returncode), f"{filled}: {done}"
        return done.stdout + done.stderr

    def check(self):
        """Every command of the page was run, or is declared."""
        for command in self.page.commands:
            if command not in self.done and not any(map(command.startswith, ELSEWHERE)):
                raise AssertionError(f"docs/runbooks/{self.page.name}.md names a command that the play does not run: {command}")


PLAYS = {}


def play(function):
    PLAYS[function.__name__.replace("_", "-")] = function
    return function


def invoice(name, amount=100_000):
    return {"id": f"invoice-{name}", "external_id": name, "user_id": "merchant", "merchant_name": "Toko", "currency": "IDR",
            "status": "PAID", "amount": amount, "paid_amount": amount, "updated": "2026-01-02T03:00:00Z"}


def unique():
    return uuid.uuid4().hex[:12]


# What the processor tries again comes back after a second: its own delays, of up to 15 minutes, are refused.
NO_DELAYS = "sqs:ChangeMessageVisibility xendit-hooks-webhooks"


def accepted(stack, body, **options):
    status, delivery = stack.post(body, **options)
    assert status == 200, status
    return delivery


def refused(stack, status, body=b"{}", **options):
    answered, _ = stack.post(body, **options)
    assert answered == status, answered


def redrive(play, reason):
    """Does what dead-letters.md says."""
    page, play.page = play.page, PAGES["dead-letters"]
    (fingerprint,) = re.findall(r"dlq redrive ([0-9a-f]+)", play.run("Do", part_of_the_reason=reason))
    play.run("Do", 1, fingerprint=fingerprint)
    play.page = page
    wait("all are processed", lambda: all(map(play.stack.processed, play.deliveries)))


@play
def conflict(play):
    def two_amounts():
        name = unique()
        for amount in (100_000, 200_000):
            accepted(play.stack, invoice(name, amount))

    play.breaks(two_amounts)
    line = json.loads(play.run("Look").splitlines()[-1])
    story = play.run("Look", 1, id_in_the_line=line["id"])
    digits = re.sub(r"\D", "", story)
    assert "100000" in digits and "200000" in digits, story
    play.ends()


@play
def dead_letters(play):
    stack = play.stack

    def database_refuses():
        stack.refuse("dynamodb:PutItem", NO_DELAYS)
        play.deliveries += [accepted(stack, invoice(unique())) for _ in range(3)]

    play.breaks(database_refuses)
    wait("all are dead letters", lambda: sum(stack.in_dead_letter_queue()) == 3)
    assert play.run("Look").count("the ledger") >= 3
    assert "Toko" in play.run("Look", 1, delivery=play.deliveries[0])
    stack.refuse()
    redrive(play, "the ledger")
    assert all(stack.processed(delivery) == "applied" for delivery in play.deliveries)
    assert "is empty" in play.run("Done when")
    play.ends()


@play
def drift(play):
    moon = {"event": "moon.landed", "data": {"id": unique()}}
    play.breaks(lambda: accepted(play.stack, moon))
    assert "moon.landed" in play.run("Look")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as body:
        json.dump(moon, body)
        body.flush()
        assert "unknown" in play.run("Do", file_with_the_body=body.name)
    play.ends()


@play
def failure_rate(play):
    def database_refuses():
        play.stack.refuse("dynamodb:PutItem")
        play.deliveries = [accepted(play.stack, invoice(unique())) for _ in range(5)]

    play.breaks(database_refuses)
    assert len(play.run("Look").splitlines()) >= 5
    assert not play.run("Look", 1)
    play.stack.refuse()
    play.ends()
    wait("the retries repair it", lambda: all(play.stack.processed(delivery) for delivery in play.deliveries))


@play
def inbox(play):
    stack, deliveries = play.stack, []

    def queue_refuses():
        stack.refuse("sqs:SendMessage")
        deliveries.append(accepted(stack, invoice(unique())))

    play.breaks(queue_refuses)
    assert "AccessDenied" in play.run("Look")
    stack.refuse()
    plan = play.run("Do", 0, age="0s")
    (fingerprint,) = re.findall(r"inbox sweep ([0-9a-f]+)", plan)
    play.run("Do", 1, fingerprint=fingerprint)
    wait("all are processed", lambda: all(stack.processed(delivery) == "applied" for delivery in deliveries))
    assert "nothing that waits" in play.run("Done when", code=3, age="0s")
    play.ends()


@play
def no_token(play):
    play.breaks(lambda: [refused(play.stack, 401, token="") for _ in range(int(PARAMETERS["NoTokenRequests"]))])
    assert len(play.run("Look").splitlines()) > 0, "webhooks are stored as usual"
    assert len(play.run("Look", 1).splitlines()) >= int(PARAMETERS["NoTokenRequests"])
    play.ends()


@play
def parked(play):
    play.breaks(lambda: accepted(play.stack, b"no JSON"))
    assert '"reason"' in play.run("Look")
    play.ends()
    play.stack.empty_dead_letter_queue()


@play
def processor_errors(play):
    stack = play.stack

    def hangs():
        known = stack.count("ProcessorLogs", "platform.report")
        stack.signal("processor", signal.SIGSTOP)
        delivery = accepted(stack, invoice(unique()))
        wait("the invocation times out", lambda: stack.count("ProcessorLogs", "platform.report") > known)
        stack.signal("processor", signal.SIGCONT)
        wait("it is tried again", lambda: stack.processed(delivery))

    play.breaks(hangs)
    assert '"timeout"' in play.run("Look")
    play.ends()
    assert play.run("Done when")


@play
def queue_age(play):
    stack = play.stack

    def trigger_is_disabled():
        stack.refuse("sqs:ReceiveMessage")
        # A poll that has begun still gets webhooks.
        wait("a webhook waits", lambda: stack.waits(accepted(stack, invoice(unique()))))

    play.breaks(trigger_is_disabled)
    assert "3 waiting" in play.run("Look")
    assert not play.run("Look", 1), "the processor does not fail"
    stack.refuse()
    play.ends()
    play.run("Done when")


@play
def receiver_errors(play):
    def hangs():
        play.stack.signal("receiver", signal.SIGSTOP)
        refused(play.stack, 500, invoice(unique()))
        play.stack.signal("receiver", signal.SIGCONT)

    play.breaks(hangs)
    assert '"timeout"' in play.run("Look")
    play.ends()
    assert play.run("Done when")


@play
def receiver_throttles(play):
    def concurrency_is_used_up():
        play.stack.refuse("lambda:InvokeFunction")
        refused(play.stack, 503, invoice(unique()))

    play.breaks(concurrency_is_used_up)
    assert "Rate Exceeded" in play.run("Look")
    play.stack.refuse()
    play.ends()


@play
def retries(play):
    stack = play.stack

    def bus_refuses():
        stack.refuse("events:PutEvents", NO_DELAYS)
        play.deliveries.append(accepted(stack, invoice(unique())))

    play.breaks(bus_refuses)
    assert "event" in play.run("Look")
    assert play.run("Look", 1)
    stack.refuse()
    is_done = lambda delivery: stack.processed(delivery) or "parked" in stack.outcomes(delivery)
    wait("it is tried again", lambda: all(map(is_done, play.deliveries)))
    if sum(stack.in_dead_letter_queue()):
        redrive(play, "event")
    before = play.run("Look")
    play.ends()
    assert play.run("Look") == before, "nothing new is printed"


@play
def server_errors(play):
    stack = play.stack

    def neither_stores():
        stack.refuse("sqs:SendMessage", "s3:PutObject")
        refused(stack, 503, invoice(unique()))

    play.breaks(neither_stores)
    assert '"lambda_error":"-"' in play.run("Look")
    assert "AccessDenied" in play.run("Look", 1)
    stack.refuse()
    play.ends()


@play
def silence(play):
    play.breaks(lambda: None)
    assert play.run("Look"), "requests arrived earlier"
    assert play.run("Look", 1).split() == [play.stack.about["url"], play.stack.about["topic_url"]]
    play.ends()


@play
def throttled(play):
    play.breaks(lambda: play.stack.flood(THROTTLE_BURST + 10))
    over, refused, stored = (int(play.run("Look", number)) for number in range(3))
    assert over >= 10 and refused > stored, (over, refused, stored)
    play.ends()


@play
def undelivered(play):
    stack = play.stack
    create = lambda: stack.sqs.create_queue(QueueName=CONSUMER)["QueueUrl"]
    queue = create()
    arn = stack.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"Name": CONSUMER, "EventBusName": stack.about["bus"]}
    # Moto replays to all rules.
    stack.events.put_rule(**rule, EventPattern=json.dumps({"source": ["xendit-hooks"], "replay-name": [{"exists": False}]}))
    stack.events.put_targets(Rule=CONSUMER, EventBusName=rule["EventBusName"], Targets=[{"Id": "queue", "Arn": arn}])

    def target_is_gone():
        nonlocal began
        stack.sqs.delete_queue(QueueUrl=queue)
        time.sleep(1)  # An event's time is in whole seconds.
        began = now().isoformat(timespec="seconds")
        play.healthy()

    began = None
    play.breaks(target_is_gone)
    failed = play.run("Look")
    assert re.search(rf"^{CONSUMER} .+\t1.0$", failed, re.MULTILINE), failed
    assert arn in play.run("Look", 1, that_rule=CONSUMER)
    create()
    (fingerprint,) = re.findall(r"replay run ([0-9a-f]+)", play.run("Do", that_rule=CONSUMER, when_it_began=began))
    play.run("Do", 1, fingerprint=fingerprint)
    assert len(stack.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]) == 1
    play.ends()


@play
def wrong_token(play):
    token = "the-token-after-the-change-0123456789"
    play.breaks(lambda: [refused(play.stack, 401, invoice(unique()), token=token) for _ in range(5)])
    digest = play.run("Look", input=token).split()[-1]
    # What `make deploy` does to a deployed one.
    play.stack = LocalStack("--digest", f"xendit={digest}")
    try:
        play.ends(lambda: accepted(play.stack, invoice(unique()), token=token))
        assert '"xendit"' in play.run("Done when")
    finally:
        play.stack.close()


def main(names):
    waiting, failed = queue.Queue(), []
    for name in names or PLAYS:
        waiting.put(name)

    def work():
        """Plays what nobody plays yet, in a stack of its own."""
        stack = LocalStack()
        while not waiting.empty():
            name, start = waiting.get(), time.monotonic()
            try:
                play = Play(PAGES[name], stack)
                PLAYS[name](play)
                play.check()
                print(f"{name}: {play.seen}; {len(play.done)} commands; {time.monotonic() - start:.0f} s", flush=True)
            except Exception:
                failed.append(name)
                print(f"docs/runbooks/{name}.md, in {stack.folder}:\n{traceback.format_exc()}", flush=True)
                stack.close()
                stack = LocalStack()
        stack.close()

    with ThreadPoolExecutor() as workers:
        for worker in [workers.submit(work) for _ in range(min(STACKS, waiting.qsize()))]:
            worker.result()
    differ = sorted(PLAYS.keys() ^ PAGES.keys())
    if differ:
        print("Only one of page and play exists: " + ", ".join(differ))
    named = [command for page in PAGES.values() for command in page.commands]
    unused = [declared for declared in ELSEWHERE if not any(command.startswith(declared) for command in named)]
    if unused:
        print("No page has these commands: " + ", ".join(unused))
    return bool(failed or differ or unused)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--logs", group, hours, pattern]:
            print_logs(group, hours, pattern)
        case ["--output", name]:
            print_output(name)
        case ["--aws", service, operation, *arguments]:
            call_aws(service, operation, *arguments)
        case names:
            sys.exit(main(names))
