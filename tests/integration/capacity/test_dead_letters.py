"""Events that nobody understands, on the deployed template: tried again, then dead letters that say what was wrong."""

import json
import time
from typing import Any

import pytest

from local.launch.layout import STACK_NAME
from tests.local_stack import LocalStack

pytestmark = pytest.mark.integration


def _dead_letter(stack: LocalStack, event: Any, *, seconds: float = 60) -> str:
    """The text of the dead letter about this event, once it is there; letters about other things stay."""
    sqs = stack.aws("sqs")
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if "EventsDeadLetterQueue" in url]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": 2}
        for message in sqs.receive_message(**asked).get("Messages", ()):
            letter = json.loads(message["Body"])
            if letter.get("requestPayload") == event:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return json.dumps(letter)
    raise AssertionError(f"no dead letter about {event}")


@pytest.mark.parametrize(
    ("function", "event", "reason"),
    [
        ("capacity", {"kind": "wake", "place": "toaster/kitchen"}, "no such place 'toaster/kitchen'"),
        ("capacity", {"kind": "dance", "place": "x/y"}, "unknown kind 'dance'"),
        ("cache", {"kind": "dance"}, "unknown kind 'dance'"),
        ("budget-alarm", {"what": "is this"}, "neither a message, nor the schedule, nor an order"),
    ],
)
def test_what_nobody_understands_becomes_a_dead_letter_with_its_reason(
    local_stack: LocalStack, function: str, event: dict[str, str], reason: str
) -> None:
    """Lambda's own queue gives the event again twice, and then puts it there with the error."""
    name = f"{STACK_NAME}-{function}"
    local_stack.aws("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    assert reason in _dead_letter(local_stack, event)
