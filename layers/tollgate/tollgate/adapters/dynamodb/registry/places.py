"""Records of places in the registry table: pk ``endpoints``, sk ``kind/name``.

How a place stood before is a JSON text, for it contains floats and whatever scaling policies contain.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.documents.standing import standing_document, standing_from
from tollgate.adapters.dynamodb.client import DynamoDBClient, Item
from tollgate.adapters.dynamodb.jobs.items import time_of, time_text
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.places.record import PlaceRecord, Transition
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place
from tollgate.domain.roads.capacity import RoadState

_PARTITION = "endpoints"


class RegistryPlaces:
    """The `PlaceRecords` and `RoadStates` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def all(self) -> Sequence[PlaceRecord]:
        """See `PlaceRecords`."""
        values = {":pk": _PARTITION}
        with storage_errors("registry"):
            items = self._client.query_all(self._table, key_condition="pk = :pk", values=values, consistent=True)
            return [_record(item) for item in items]

    def get(self, place: Place) -> PlaceRecord | None:
        """See `PlaceRecords`."""
        with storage_errors("registry"):
            item = self._client.get_item(self._table, _key(place), consistent=True)
        return None if item is None else _record(item)

    def write(self, record: PlaceRecord) -> bool:
        """See `PlaceRecords`."""
        return _done(lambda: self._client.put_next(self._table, _item(record), after=record.revision))

    def ask(self, place: Place, now: datetime) -> bool:
        """See `PlaceRecords`."""
        return _done(
            lambda: self._client.update_item(
                self._table,
                _key(place),
                update="SET asked_at = :now ADD revision :one",
                condition="phase IN (:asleep, :falling) AND attribute_not_exists(asked_at) AND held_by = :nobody",
                values={
                    ":now": time_text(now),
                    ":one": 1,
                    ":asleep": Phase.ASLEEP.value,
                    ":falling": Phase.FALLING_ASLEEP.value,
                    ":nobody": "",
                },
            )
        )

    def hold(self, place: Place, by: str, now: datetime) -> None:
        """See `PlaceRecords`."""
        with storage_errors("registry"):
            self._client.update_item(
                self._table,
                _key(place),
                update=(
                    "SET held_by = :by, phase = if_not_exists(phase, :awake), since = if_not_exists(since, :now) "
                    "ADD revision :one"
                ),
                values={":by": by, ":awake": Phase.AWAKE.value, ":now": time_text(now), ":one": 1},
            )

    def let_go(self, place: Place, by: str) -> None:
        """See `PlaceRecords`."""
        _done(
            lambda: self._client.update_item(
                self._table,
                _key(place),
                update="SET held_by = :nobody ADD revision :one",
                condition="held_by = :by",
                values={":nobody": "", ":by": by, ":one": 1},
            )
        )

    def record_state(self, resource: str, inference_type: InferenceType, state: RoadState, instances: int) -> None:
        """See `RoadStates`; other attributes of the item belong to other writers and stay."""
        with storage_errors("registry"):
            self._client.update_item(
                self._table,
                {"pk": "capacity", "sk": f"{resource}#{inference_type.value}"},
                update="SET #state = :state, instances = :instances",
                names={"#state": "state"},
                values={":state": state.value, ":instances": instances},
            )


def _done(write: Callable[[], object]) -> bool:
    """Whether the write's condition was true."""
    with storage_errors("registry"):
        try:
            write()
        except ConditionalCheckFailedError:
            return False
    return True


def _key(place: Place) -> dict[str, str]:
    return {"pk": _PARTITION, "sk": place.key}


def _item(record: PlaceRecord) -> dict[str, Any]:
    item: dict[str, Any] = {
        **_key(record.place),
        "phase": record.phase.value,
        "since": time_text(record.since),
        "attempts": record.attempts,
        "problem": record.problem,
        "held_by": record.held_by,
        "revision": record.revision + 1,
        "history": [{"at": time_text(t.at), "phase": t.phase.value, "reason": t.reason} for t in record.history],
    }
    if record.before is not None:
        item["before"] = json.dumps(standing_document(record.before), separators=(",", ":"))
    for name, moment in (("asked_at", record.asked_at), ("retry_at", record.retry_at)):
        if moment is not None:
            item[name] = time_text(moment)
    return item


def _record(item: Item) -> PlaceRecord:
    before, asked, retry = item.get("before"), item.get("asked_at"), item.get("retry_at")
    return PlaceRecord(
        place=Place.from_key(item["sk"]),
        phase=Phase(item["phase"]),
        since=time_of(item["since"]),
        before=None if before is None else standing_from(json.loads(before)),
        asked_at=None if asked is None else time_of(asked),
        attempts=int(item.get("attempts", 0)),
        retry_at=None if retry is None else time_of(retry),
        problem=item.get("problem", ""),
        held_by=item.get("held_by", ""),
        revision=int(item["revision"]),
        history=tuple(
            Transition(time_of(line["at"]), Phase(line["phase"]), line["reason"]) for line in item.get("history", ())
        ),
    )
