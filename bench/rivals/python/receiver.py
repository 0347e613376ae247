"""Rival: the receiver as a Python function with boto3, the client made once, outside the handler.

It does the receiver's job with less care: it checks the token, wraps the body, sends it, answers.
"""

import hmac
import json
import os

import boto3

queue = boto3.client("sqs")
queue_url = os.environ["QUEUE_URL"]
token = os.environ["CALLBACK_TOKEN"]


def handler(event, context):
    headers = event["headers"]
    if not hmac.compare_digest(headers.get("x-callback-token", ""), token):
        return {"statusCode": 401}
    message = {"id": context.aws_request_id, "webhook_id": headers.get("webhook-id"), "body": event["body"]}
    queue.send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))
    print(json.dumps({"level": "INFO", "message": "received", "delivery": context.aws_request_id}))
    return {"statusCode": 200, "body": json.dumps({"id": context.aws_request_id})}
