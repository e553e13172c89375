"""Hiding received messages of a queue."""

from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.messaging.sqs_client import SqsClient


class SqsVisibility:
    """Changes how long messages of one queue stay hidden."""

    def __init__(self, client: SqsClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def hide(self, receipt_handle: str, seconds: int) -> None:
        """Hide a received message for this long from now, 0 to 43,200 seconds.

        Raises:
            StorageError: the queue did not do it.
        """
        with storage_errors("queue"):
            self._client.change_message_visibility(self._queue_url, receipt_handle, seconds)
