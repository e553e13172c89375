"""EventBridge, as a service that may speak for `aws.sagemaker`.

PutEvents refuses sources that begin with `aws.`, on AWS and on its emulators, for that name is kept for AWS's
own services. Here this process is that service: when the emulator refuses, the event is matched against the
default bus's rules (with the emulator's own TestEventPattern) and handed to their targets.
"""

import json
import logging
import uuid
from typing import Any

from local.sagemaker.aws import FAILED, Aws, is_transient
from local.sagemaker.jsonpath import compile_path
from local.sagemaker.notices import iso_time
from local.sagemaker.wire import Json

_log = logging.getLogger(__name__)
SOURCE = "aws.sagemaker"
ENDPOINT_CHANGE = "SageMaker Endpoint State Change"
TRANSFORM_CHANGE = "SageMaker Transform Job State Change"


class EventBus:
    """Sends events to the default bus. Blocking; call it from a thread.

    Args:
        aws: the emulator.
        region: AWS region name.
        account: twelve digits.
    """

    def __init__(self, aws: Aws, region: str, account: str) -> None:
        self._aws = aws
        self._region = region
        self._account = account
        self._refused = False

    def send(self, detail_type: str, detail: Json, resource: str, now: float) -> None:
        """Send one event; returns once every target has it."""
        if not self._refused and self._put(detail_type, detail, resource):
            return
        self._refused = True
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": SOURCE,
            "account": self._account,
            "time": f"{iso_time(now)[:19]}Z",
            "region": self._region,
            "resources": [resource],
            "detail": detail,
        }
        self._deliver(event)

    def _put(self, detail_type: str, detail: Json, resource: str) -> bool:
        entry = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "Resources": [resource],
        }
        answer = self._aws.client("events").put_events(Entries=[entry])
        return not answer["FailedEntryCount"]

    def _deliver(self, event: Json) -> None:
        events = self._aws.client("events")
        text = json.dumps(event)
        for rule in _pages(events.list_rules, "Rules"):
            pattern = rule.get("EventPattern")
            if rule.get("State") != "ENABLED" or not pattern:
                continue
            if events.test_event_pattern(EventPattern=pattern, Event=text)["Result"]:
                for target in _pages(events.list_targets_by_rule, "Targets", Rule=rule["Name"]):
                    self._hand_over(target, event)

    def _hand_over(self, target: Json, event: Json) -> None:
        arn: str = target["Arn"]
        parts = arn.split(":")
        service, name = parts[2], parts[-1]
        body = _target_input(target, event)
        try:
            if service == "lambda":
                function = arn.partition(":function:")[2]
                self._aws.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=body)
            elif service == "sqs":
                sqs = self._aws.client("sqs")
                sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=body)
            elif service == "sns":
                self._aws.publish(arn, body)
            else:
                _log.warning("no way to hand an event to %s", arn)
        except FAILED as error:
            _log.exception("an event did not reach %s", arn)
            if is_transient(error):
                raise


def _target_input(target: Json, event: Json) -> str:
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(compile_path(target["InputPath"]).select(event))
    if "InputTransformer" in target:
        _log.warning("InputTransformer of %s is not applied", target["Arn"])
    return json.dumps(event)


def _pages(call: Any, member: str, **arguments: str) -> list[Json]:
    found: list[Json] = []
    token: Json = {}
    while True:
        page = call(**arguments, **token)
        found.extend(page.get(member, ()))
        if not page.get("NextToken"):
            return found
        token = {"NextToken": page["NextToken"]}
