"""Letters about events that a function could not carry out."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.local_stack import LocalStack


def dead_letter(stack: LocalStack, is_about: Callable[[Any], bool], *, seconds: float = 180) -> str:
    """The text of the dead letter about an event, once it is there; letters about other things stay."""
    sqs = stack.aws("sqs")
    [url] = [url for url in sqs.list_queues()["QueueUrls"] if "EventsDeadLetterQueue" in url]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": 2}
        for message in sqs.receive_message(**asked).get("Messages", ()):
            letter = json.loads(message["Body"])
            if is_about(letter.get("requestPayload")):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return json.dumps(letter)
    raise AssertionError("there is no such dead letter")
