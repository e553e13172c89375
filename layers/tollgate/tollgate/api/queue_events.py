"""SQS events, message by message, so that one bad message does not bring back the good ones."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from tollgate.api.message_fields import MessageError
from tollgate.domain.errors import TollgateError
from tollgate.ports.system import Telemetry


def process_messages(
    event: dict[str, Any], handle: Callable[[Mapping[str, Any]], None], telemetry: Telemetry
) -> dict[str, Any]:
    """Give every message of an SQS event to `handle`.

    Returns:
        Lambda's partial batch response: the messages for which `handle` raised come back later.
    """

    def handle_record(record: SQSRecord) -> None:
        try:
            handle(_body(record))
        except Exception as error:
            telemetry.log(
                "WARNING",
                "message comes back later",
                message_id=record.message_id,
                error_type=type(error).__name__,
                # Only our own errors are written to be shown.
                error=str(error) if isinstance(error, TollgateError | MessageError) else "",
                receive_count=record.attributes.approximate_receive_count,
            )
            raise

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    response = process_partial_response(event=event, record_handler=handle_record, processor=processor)
    return dict(response)


def _body(record: SQSRecord) -> Mapping[str, Any]:
    try:
        body = json.loads(record.body)
    except ValueError as error:
        raise MessageError("not JSON") from error
    if not isinstance(body, dict):
        raise MessageError("not a JSON object")
    return body


def named_in(event: Mapping[str, Any], name: str) -> list[str]:
    """This field of all messages of an SQS event that have it; what is wrong with the others, `text_field` says."""
    found: list[str] = []
    for record in event["Records"]:
        try:
            value = json.loads(record["body"]).get(name)
        except (ValueError, AttributeError):
            continue
        if isinstance(value, str) and value:
            found.append(value)
    return found
