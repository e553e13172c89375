"""The times at which places of a deployment became free, in the Registry table."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.items import time_of, time_text
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.roads.holding import Holdings, InstancePlace, take_place

_ATTEMPTS = 20
_PARTITION = "holding"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


class DynamoDBHoldingStore:
    """The `HoldingStore` of AWS: read, compute, write if nobody else wrote in between."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def take_place(
        self,
        resource: str,
        inference_type: InferenceType,
        *,
        request_id: str,
        received: datetime,
        finished: datetime,
        places: int,
        most_seconds: int | None,
    ) -> Decimal:
        """See `HoldingStore`.

        Raises:
            StorageError: the table failed, or too many others wrote at the same time.
        """
        key = {"pk": _PARTITION, "sk": f"{resource}#{inference_type}"}
        for _ in range(_ATTEMPTS):
            with storage_errors("registry"):
                item = self._client.get_item(self._table, key, consistent=True) or {}
            before = _holdings(item)
            after, held = take_place(
                before,
                request_id=request_id,
                received=received,
                finished=finished,
                count=places,
                most_seconds=most_seconds,
            )
            if after == before or self._write(key, after, item):
                return held
        raise StorageError("Too many writers at once while recording when a place became free.")

    def _write(self, key: dict[str, str], after: Holdings, read: dict[str, Any]) -> bool:
        version = int(read.get("version", 0))
        item = {**key, "places": [_entry(place) for place in after.places], "version": version + 1}
        if after.earlier:
            item["earlier"] = [list(entry) for entry in after.earlier]
        if after.gaps:
            item["gaps"] = [[_micros(moment) for moment in gap] for gap in after.gaps]
        with storage_errors("registry"):
            try:
                self._client.put_item(
                    self._table,
                    item,
                    condition="version = :read" if read else "attribute_not_exists(pk)",
                    values={":read": version} if read else None,
                )
            except ConditionalCheckFailedError:
                return False
        return True


def _holdings(item: dict[str, Any]) -> Holdings:
    earlier = tuple((name, seconds) for name, seconds in item.get("earlier", ()))
    gaps = tuple((_moment(begin), _moment(end)) for begin, end in item.get("gaps", ()))
    return Holdings(tuple(_place(entry) for entry in item.get("places", ())), earlier, gaps)


def _micros(moment: datetime) -> int:
    """A third of the bytes of a text."""
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: Decimal) -> datetime:
    return _EPOCH + int(micros) * _MICROSECOND


def _entry(place: InstancePlace) -> list[Any]:
    return [time_text(place.free_at), place.request_id, place.held_seconds]


def _place(entry: list[Any]) -> InstancePlace:
    return InstancePlace(free_at=time_of(entry[0]), request_id=entry[1], held_seconds=entry[2])
