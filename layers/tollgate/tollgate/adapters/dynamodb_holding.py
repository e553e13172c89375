"""The times at which places of a deployment became free, in the Registry table."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws_errors import ConditionalCheckFailedError
from tollgate.adapters.dynamodb_client import DynamoDBClient
from tollgate.adapters.job_items import time_of, time_text
from tollgate.adapters.storage_errors import storage_errors
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.holding import Places, take_place

_ATTEMPTS = 8
_PARTITION = "holding"


class DynamoDBHoldingStore:
    """The `HoldingStore` of AWS: read, compute, write if nobody else wrote in between."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def take_place(
        self, resource: str, inference_type: InferenceType, *, received: datetime, finished: datetime, places: int
    ) -> Decimal:
        """See `HoldingStore`.

        Raises:
            StorageError: the table failed, or too many others wrote at the same time.
        """
        key = {"pk": _PARTITION, "sk": f"{resource}#{inference_type}"}
        for _ in range(_ATTEMPTS):
            with storage_errors("reading when places became free"):
                item = self._client.get_item(self._table, key, consistent=True) or {}
            before = Places(tuple(time_of(text) for text in item.get("free_at", ())))
            after, held = take_place(before, received=received, finished=finished, count=places)
            if self._write(key, after, item):
                return held
        raise StorageError("Too many writers at once while recording when a place became free.")

    def _write(self, key: dict[str, str], places: Places, read: dict[str, Any]) -> bool:
        version = int(read.get("version", 0))
        with storage_errors("recording when a place became free"):
            try:
                self._client.put_item(
                    self._table,
                    {**key, "free_at": [time_text(at) for at in places.free_at], "version": version + 1},
                    condition="version = :read" if read else "attribute_not_exists(pk)",
                    values={":read": version} if read else None,
                )
            except ConditionalCheckFailedError:
                return False
        return True
