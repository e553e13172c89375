"""A queue of small JSON messages on SQS."""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.messaging.sqs_client import QueueMessage, SqsClient
from tollgate.domain.json_values import json_text

TRACE_ATTRIBUTE = "traceparent"


class SqsQueue:
    """The `MessageQueue` of AWS.

    A send whose answer was lost is repeated, so that a message may be there twice; every consumer expects that.
    """

    def __init__(self, client: SqsClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, message: Mapping[str, Any], *, trace: str = "", group: str = "", delay_seconds: int = 0) -> None:
        """See `MessageQueue`. `group` makes the queue share its time fairly between groups."""
        body = json_text(message)
        with storage_errors("queue"):
            self._client.send_message(
                self._queue_url,
                QueueMessage(
                    body=body,
                    attributes={TRACE_ATTRIBUTE: trace} if trace else {},
                    delay_seconds=delay_seconds or None,
                    group_id=group or None,
                ),
            )
