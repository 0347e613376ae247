"""Counts the events that a rule could not deliver, as EventBridge does: the bus accepts an event also if the queue of a rule is
gone, and only a metric says so. Moto would refuse the event.
"""

import functools

from moto.events.models import Rule
from moto.sqs.exceptions import QueueDoesNotExist


def counted(deliver):
    @functools.wraps(deliver)
    def delivered(rule, *event):
        try:
            deliver(rule, *event)
        except QueueDoesNotExist:
            from moto.cloudwatch.models import cloudwatch_backends  # Here, because it is rarely needed and slow to load.

            dimensions = [{"Name": "EventBusName", "Value": rule.event_bus_name}, {"Name": "RuleName", "Value": rule.name}]
            metric = {"MetricName": "FailedInvocations", "Dimensions": dimensions, "Value": 1, "Unit": "Count"}
            cloudwatch_backends[rule.account_id][rule.region_name].put_metric_data("AWS/Events", [metric])

    return delivered


Rule._send_to_sqs_queue = counted(Rule._send_to_sqs_queue)
