"""Hiding received messages of a queue, through boto3: only functions off the hot path do that."""

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tollgate.domain.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsVisibility:
    """Changes how long messages of one queue stay hidden."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url

    @cached_property
    def _client(self) -> "SQSClient":
        return boto3.client(
            "sqs",
            config=Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}),
        )

    def hide(self, receipt_handle: str, seconds: int) -> None:
        """Hide a received message for this long from now, 0 to 43,200 seconds.

        Raises:
            StorageError: the queue did not do it.
        """
        try:
            self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=seconds
            )
        except ClientError as error:
            raise StorageError(f"Failed while hiding a message: {error.response['Error']['Code']}.") from error
        except BotoCoreError as error:
            raise StorageError(f"Failed while hiding a message: {type(error).__name__}.") from error
