"""Rival: the processor as Powertools for AWS Lambda has it, with its batch and idempotency utilities.

It does the processor's job with less care: each payment once, by a key; an event on the bus; no merging, no outbox.
"""

import json
import os

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

logger = Logger(service="processor")
bus = boto3.client("events")
bus_name = os.environ["BUS_NAME"]
batch = BatchProcessor(event_type=EventType.SQS)
store = DynamoDBPersistenceLayer(table_name=os.environ["LEDGER_TABLE"])
config = IdempotencyConfig(event_key_jmespath="data.[id, status]")


@idempotent_function(data_keyword_argument="webhook", persistence_store=store, config=config)
def publish(webhook):
    data = webhook["data"]
    detail = {"subject": data["id"], "status": data["status"], "amount": data["charge_amount"], "body": webhook}
    bus.put_events(
        Entries=[
            {
                "Source": "xendit-hooks",
                "DetailType": webhook["event"],
                "Detail": json.dumps(detail),
                "EventBusName": bus_name,
            }
        ]
    )
    return {"published": True}


def process(record: SQSRecord):
    envelope = record.json_body
    webhook = json.loads(envelope["body"])
    publish(webhook=webhook)
    logger.info("processed", delivery=envelope["id"], subject=webhook["data"]["id"])


def handler(event, context):
    config.register_lambda_context(context)
    return process_partial_response(event=event, record_handler=process, processor=batch, context=context)
