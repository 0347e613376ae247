"""Faults: the emulated AWS refuses calls, so that the runbooks can be practised on the local stack.

A file says which: each action, as IAM names it, with the code of its error, such as `{"sqs:SendMessage": "AccessDenied"}`. With
the name of a resource, `sqs:SendMessage xendit-hooks-webhooks`, only calls about that one are refused. The file is read at each
call. Without it, nothing is refused. S3's notification of an object is a message to the webhook queue, and gets lost with it.
"""

import io
import json

from moto.s3 import notifications
from werkzeug.wsgi import get_input_stream


SERVICES = {"AmazonSQS": "sqs", "AWSEvents": "events", "DynamoDB_20120810": "dynamodb"}
OF_OBJECTS = {"PUT": "s3:PutObject", "GET": "s3:GetObject"}


def action_of(environ):
    """The action of a request. IAM has no actions for batches."""
    service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")
    if service:
        return f"{SERVICES.get(service, service)}:{operation.removesuffix('Batch')}"
    bucket, _, key = environ["PATH_INFO"].strip("/").partition("/")
    return OF_OBJECTS.get(environ["REQUEST_METHOD"]) if bucket and key else None


class Faults:
    def __init__(self, application, path):
        self.application, self.path = application, path
        deliver = notifications._send_sqs_message

        def deliver_or_lose(account, event, queue, region):
            if self.code("sqs:SendMessage", queue) is None:
                deliver(account, event, queue, region)

        notifications._send_sqs_message = deliver_or_lose

    def code(self, action, call):
        """The code of the error with which a call is refused. None: it is not."""
        try:
            with open(self.path, encoding="utf-8") as file:
                faults = json.load(file)
        except FileNotFoundError:
            return None
        for fault, code in faults.items():
            refused, _, resource = fault.partition(" ")
            if refused == action and resource in call:
                return code
        return None

    def __call__(self, environ, start_response):
        body = get_input_stream(environ).read()
        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "wsgi.input_terminated": True}
        action = action_of(environ)
        code = self.code(action, environ["PATH_INFO"] + body.decode(errors="replace"))
        if code is None:
            return self.application(environ, start_response)
        if action.startswith("s3:"):
            status, kind = "403 Forbidden", "application/xml"
            answer = f"<Error><Code>{code}</Code><Message>a fault</Message></Error>"
        else:
            status, kind = "400 Bad Request", "application/x-amz-json-1.0"
            answer = json.dumps({"__type": code, "message": "a fault"})
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer)))])
        return [answer.encode()]
