"""The SQS calls of the hot path, over the JSON protocol."""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.adapters.aws.call import AwsCall, AwsService
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.transport import AwsTransport

_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class QueueMessage(NamedTuple):
    """One message to send.

    Attributes:
        body: text of up to 1 MiB together with the attributes.
        attributes: up to ten; str is sent as String, bytes as Binary, int as Number.
        delay_seconds: 0 to 900; None for the queue's own.
        group_id: on a standard queue, the tenant for fair queues.
    """

    body: str
    attributes: Mapping[str, str | int | bytes] | None = None
    delay_seconds: int | None = None
    group_id: str | None = None


def _attribute(value: str | int | bytes) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"DataType": "Binary", "BinaryValue": b64encode(value).decode()}
    if isinstance(value, int):
        return {"DataType": "Number", "StringValue": str(value)}
    return {"DataType": "String", "StringValue": value}


def _fields(message: QueueMessage) -> dict[str, Any]:
    fields: dict[str, Any] = {"MessageBody": message.body}
    if message.delay_seconds is not None:
        fields["DelaySeconds"] = message.delay_seconds
    if message.attributes:
        fields["MessageAttributes"] = {name: _attribute(value) for name, value in message.attributes.items()}
    if message.group_id is not None:
        fields["MessageGroupId"] = message.group_id
    return fields


class SqsClient:
    """Sends messages and hides received ones. A retry may send one twice, which consumers of SQS must expect anyway."""

    def __init__(self, transport: AwsTransport) -> None:
        self._transport = transport

    def send_message(self, queue_url: str, message: QueueMessage) -> str:
        """Send one message; its id.

        Raises:
            AwsError: see `aws.errors`; `ResourceNotFoundError` for an unknown queue.
        """
        call = _call("SendMessage", {"QueueUrl": queue_url, **_fields(message)}, RetryPolicy.IDEMPOTENT)
        answer = self._transport.send_for_object(call)
        return str(answer["MessageId"])

    def change_message_visibility(self, queue_url: str, receipt_handle: str, seconds: int) -> None:
        """Hide a received message for this long from now, 0 to 43,200 seconds; doing so twice does no harm.

        Raises:
            AwsError: see `aws.errors`.
        """
        fields = {"QueueUrl": queue_url, "ReceiptHandle": receipt_handle, "VisibilityTimeout": seconds}
        # SQS answers with an empty body.
        self._transport.send(_call("ChangeMessageVisibility", fields, RetryPolicy.IDEMPOTENT))


def _call(operation: str, fields: dict[str, Any], retry: RetryPolicy) -> AwsCall:
    return AwsCall(
        service=AwsService.SQS,
        operation=operation,
        path="/",
        headers=(
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", f"AmazonSQS.{operation}"),
            ("x-amzn-query-mode", "true"),
        ),
        body=_ENCODE(fields).encode(),
        retry=retry,
    )
