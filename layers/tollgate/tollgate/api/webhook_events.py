"""Messages of the webhook queue, and putting off those whose call did not succeed.

A postponed message is hidden for as long as its next attempt should wait and then reported as failed, so that the queue
itself brings it back: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSEvent, SQSRecord

from tollgate.domain.errors import TollgateError
from tollgate.ports.system import Telemetry
from tollgate.services.jobs.deliver_webhook import WebhookDelivery


class Postponing(Protocol):
    """Hides a message that was received, for some seconds from now."""

    def __call__(self, receipt_handle: str, seconds: int) -> None:
        """Hide the message.

        Raises:
            StorageError: the queue did not do it; the message comes back after the queue's own time.
        """


def deliver_messages(event: Mapping[str, Any], service: WebhookDelivery, postpone: Postponing) -> dict[str, Any]:
    """Make one attempt for every message.

    Returns:
        Lambda's partial batch response: the messages that must stay in the queue.
    """
    staying = [record.message_id for record in SQSEvent(dict(event)).records if not _done(record, service, postpone)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in staying]}


def _done(record: SQSRecord, service: WebhookDelivery, postpone: Postponing) -> bool:
    try:
        message = json.loads(record.body)
        attempt = int(message["attempt"]) + int(record.attributes.approximate_receive_count or 1) - 1
        delivery = service.deliver(str(message["job_id"]), attempt)
        if delivery.wait_seconds is None:
            return True
        postpone(record.receipt_handle, delivery.wait_seconds)
    except TollgateError as error:
        _log(service.telemetry, record, error, error.message)
    except Exception as error:  # noqa: BLE001 -- one bad message must not bring back its neighbours, which were delivered
        _log(service.telemetry, record, error, "")
    return False


def _log(telemetry: Telemetry, record: SQSRecord, error: Exception, text: str) -> None:
    telemetry.log(
        "WARNING", "message comes back later", message_id=record.message_id, error_type=type(error).__name__, error=text
    )
