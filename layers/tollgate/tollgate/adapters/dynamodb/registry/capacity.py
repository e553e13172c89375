"""What is known about the deployments right now: observations and measured durations in the registry table.

Items: pk ``capacity``, sk ``model/deployment#road`` (backlog, state, instances; health and until when) and pk
``durations#2026-11-22T13``, the same sk (count, seconds), one partition an hour.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

from tollgate.adapters.aws.errors import AwsError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient, Item
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.money import seconds
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState

REFRESH_SECONDS = 15.0
_FLUSH_SECONDS = 10.0
_KEEP_HOURS = 3

type _RoadKey = tuple[str, InferenceType]


def _hour_partition(moment: datetime) -> str:
    return f"durations#{moment:%Y-%m-%dT%H}"


def _sort_key(resource: str, inference_type: InferenceType) -> str:
    return f"{resource}#{inference_type.value}"


def _road_key(sort_key: str) -> _RoadKey:
    resource, _, inference_type = sort_key.rpartition("#")
    return resource, InferenceType(inference_type)


class RegistryCapacity:
    """Observations kept for 15 seconds. Routing can do without them, so a failed read keeps the earlier ones."""

    def __init__(
        self, client: DynamoDBClient, table: str, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._monotonic = monotonic
        self._copy = Capacity()
        self._read_at: float | None = None

    def snapshot(self) -> Capacity:
        """Latest observations, with the mean duration over this hour and the last."""
        moment = self._monotonic()
        if self._read_at is None or moment - self._read_at >= REFRESH_SECONDS:
            with suppress(AwsError):
                self._copy = self._read()
            self._read_at = moment
        return self._copy

    def _read(self) -> Capacity:
        now = self._now()
        observed = {_road_key(item["sk"]): item for item in self._partition("capacity")}
        totals: dict[_RoadKey, tuple[Decimal, Decimal]] = {}
        for hour in (now, now - timedelta(hours=1)):
            for item in self._partition(_hour_partition(hour)):
                key = _road_key(item["sk"])
                count, total = totals.get(key, (Decimal(0), Decimal(0)))
                totals[key] = (count + item["count"], total + item["seconds"])
        return Capacity(
            {
                key: RoadCapacity(
                    state=_state(observed.get(key, {}), now),
                    measured_seconds=_mean(totals.get(key)),
                    backlog=int(observed.get(key, {}).get("backlog", 0)),
                    instances=_whole(observed.get(key, {}).get("instances")),
                )
                for key in observed.keys() | totals.keys()
            }
        )

    def _partition(self, name: str) -> Iterator[Item]:
        return self._client.query_all(self._table, key_condition="pk = :pk", values={":pk": name})


def _state(item: Item, now: datetime) -> RoadState:
    """Asleep if it sleeps; otherwise what an environment has found lately; otherwise awake."""
    known = RoadState(item.get("state", RoadState.AWAKE))
    if known is not RoadState.AWAKE or item.get("health_until", 0) <= now.timestamp():
        return known
    return RoadState(item["health"])


def _mean(total: tuple[Decimal, Decimal] | None) -> float | None:
    return float(total[1] / total[0]) if total and total[0] > 0 else None


def _whole(value: Decimal | int | None) -> int | None:
    return None if value is None else int(value)


class RegistryDurations:
    """Adds up how long requests took and writes the sums every ten seconds, so that few requests pay for a write.

    What an execution environment had not yet written when it ends is lost; a mean can do without it.
    """

    def __init__(
        self, client: DynamoDBClient, table: str, *, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._client = client
        self._table = table
        self._now = now
        self._monotonic = monotonic
        self._sums: dict[_RoadKey, tuple[int, Decimal]] = {}
        self._written_at: float | None = None

    def record(self, resource: str, inference_type: InferenceType, held_seconds: float) -> None:
        """Add one finished request; the first is written at once."""
        count, total = self._sums.get((resource, inference_type), (0, Decimal(0)))
        self._sums[resource, inference_type] = (count + 1, total + seconds(held_seconds))
        moment = self._monotonic()
        if self._written_at is None or moment - self._written_at >= _FLUSH_SECONDS:
            self._written_at = moment
            self._flush()

    def _flush(self) -> None:
        now = self._now()
        expires = int((now + timedelta(hours=_KEEP_HOURS)).timestamp())
        sums, self._sums = self._sums, {}
        for (resource, inference_type), (count, total) in sums.items():
            try:
                self._client.update_item(
                    self._table,
                    {"pk": _hour_partition(now), "sk": _sort_key(resource, inference_type)},
                    update="ADD #count :count, #seconds :seconds SET #ttl = :ttl",
                    names={"#count": "count", "#seconds": "seconds", "#ttl": "ttl"},
                    values={":count": count, ":seconds": total, ":ttl": expires},
                )
            except AwsError:
                continue  # a mean that misses a few samples is still a mean


class RegistryHealth:
    """The `HealthRecorder` of AWS. Other attributes of the item belong to other writers and stay."""

    def __init__(self, client: DynamoDBClient, table: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._table = table
        self._now = now

    def record_health(self, resource: str, inference_type: InferenceType, state: RoadState, *, seconds: float) -> None:
        """See `HealthRecorder`."""
        with storage_errors("registry"):
            self._client.update_item(
                self._table,
                {"pk": "capacity", "sk": f"{resource}#{inference_type}"},
                update="SET health = :state, health_until = :until",
                values={":state": state.value, ":until": int(self._now().timestamp() + seconds)},
            )
