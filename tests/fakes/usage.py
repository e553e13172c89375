"""Records of requests, roll-ups and instance hours in memory."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tollgate.domain.costs.loaded_cost import Endpoint
from tollgate.domain.costs.usage import Dimensions, RollUp, UsageRecord
from tollgate.domain.spans import day_of, hour_of, month_of
from tollgate.ports.usage import Span

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIMENSIONS = Dimensions("acme", "key_1", "search", "echo", "realtime", "small", "")


def make_record(request_id: str = "req_1", **changes: Any) -> UsageRecord:
    """A completed real-time request of the example model."""
    values: dict[str, Any] = {
        "request_id": request_id,
        "ended_at": NOON,
        "dimensions": DIMENSIONS,
        "outcome": "completed",
        "latency_seconds": 0.2,
        "effective": Decimal("0.000012"),
        "charged": Decimal("0.000012"),
        "instance": Decimal("0.00001"),
        "held_seconds": Decimal("0.3"),
    }
    return UsageRecord(**values | changes)


class InMemoryRecords:
    """The `RequestRecords` of tests."""

    def __init__(self, records: Iterable[UsageRecord] = ()) -> None:
        self.records = list(records)

    def between(self, start: datetime, end: datetime) -> Iterator[UsageRecord]:
        return (record for record in self.records if start <= record.ended_at < end)


class InMemoryUsage:
    """The `UsageStore` of tests."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Span, datetime, Dimensions], RollUp] = {}
        self.closed: dict[Span, datetime] = {}

    def put(self, span: Span, roll_ups: Iterable[RollUp]) -> None:
        for each in roll_ups:
            key = (span, each.start, each.dimensions)
            before = self.rows.get(key)
            if before is None or before.totals.requests <= each.totals.requests:
                self.rows[key] = each

    def read(self, span: Span, within: datetime) -> Sequence[RollUp]:
        longer = {Span.SLICE: hour_of, Span.HOUR: day_of, Span.DAY: month_of}[span]
        return [row for (kind, start, _), row in self.rows.items() if kind is span and longer(start) == within]

    def each(self, span: Span, within: datetime) -> Iterator[RollUp]:
        yield from self.read(span, within)

    def closed_until(self, span: Span) -> datetime | None:
        return self.closed.get(span)

    def close(self, span: Span, until: datetime) -> None:
        self.closed[span] = until


class FixedInstanceHours:
    """The `InstanceHours` of tests: by endpoint; others were not up."""

    def __init__(self, hours: dict[str, Decimal | None] | None = None) -> None:
        self.hours = hours or {}

    def of(self, endpoint: Endpoint, hour: datetime) -> Decimal | None:
        assert hour.minute == 0
        return self.hours.get(endpoint.target, Decimal(0))
