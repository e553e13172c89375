"""Metrics, lines and measurements that tests can look at."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.records import RequestRecord
from tollgate.domain.roads.holding import Holdings, take_place


class RecordingTelemetry:
    """The `Telemetry` of tests."""

    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.counts: dict[str, float] = {}
        self.measured: list[tuple[dict[str, float], dict[str, str]]] = []

    def request(self, record: RequestRecord) -> None:
        self.requests.append(record)

    def log(self, level: str, message: str, **fields: Any) -> None:
        self.lines.append((level, message, fields))

    def measure(self, values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
        self.measured.append((dict(values), dict(dimensions)))

    def count(self, metric: str, value: float = 1, *, unit: str = "Count") -> None:
        assert unit
        self.counts[metric] = self.counts.get(metric, 0) + value


class RecordingMeasurements:
    """The `DurationRecorder` and `BacklogRecorder` of tests."""

    def __init__(self) -> None:
        self.durations: list[tuple[str, InferenceType, float]] = []
        self.backlogs: dict[tuple[str, InferenceType], int] = {}

    def record(self, resource: str, inference_type: InferenceType, held_seconds: float) -> None:
        self.durations.append((resource, inference_type, held_seconds))

    def record_backlog(
        self, resource: str, inference_type: InferenceType, backlog: int, *, observed_at: datetime
    ) -> None:
        assert observed_at.tzinfo
        self.backlogs[resource, inference_type] = backlog


class InMemoryHoldingStore:
    """The `HoldingStore` of tests."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, InferenceType], Holdings] = {}

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
        before = self.places.get((resource, inference_type), Holdings())
        after, held = take_place(
            before,
            request_id=request_id,
            received=received,
            finished=finished,
            count=places,
            most_seconds=most_seconds,
        )
        self.places[resource, inference_type] = after
        return held
