"""Roll-ups of usage, in the ledger table.

| item                 | pk                               | sk                        |
|----------------------|----------------------------------|---------------------------|
| slice of five minutes | ``usage#slice#2026-11-22T13``   | ``35#<dimensions>``       |
| hour                 | ``usage#hour#2026-11-22``        | ``13#<dimensions>``       |
| day                  | ``usage#day#2026-11``            | ``22#<dimensions>``       |
| how far it goes      | ``usage#closed``                 | ``hour``, ``day``         |

One writer computes each of them as a whole, so none is hot and none needs to be split: a busy hour with fifty
combinations of dimensions is fifty writes every five minutes. What a request costs is never written by the request.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.items import time_of, time_text
from tollgate.domain.costs.avoided import AvoidedReason
from tollgate.domain.costs.usage import AMOUNTS, COUNTS, Dimensions, RollUp, Totals
from tollgate.domain.money import ZERO
from tollgate.domain.roads.latency import histogram_of, histogram_text
from tollgate.ports.usage import Span

_PARTITION = {Span.SLICE: "%Y-%m-%dT%H", Span.HOUR: "%Y-%m-%d", Span.DAY: "%Y-%m"}
_PLACE = {Span.SLICE: "%M", Span.HOUR: "%H", Span.DAY: "%d"}
_KEPT = {Span.SLICE: timedelta(days=3), Span.HOUR: timedelta(days=100), Span.DAY: timedelta(days=800)}


class DynamoDBUsage:
    """The `UsageStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, span: Span, roll_ups: Iterable[RollUp]) -> None:
        """See `UsageStore`."""
        for each in roll_ups:
            with storage_errors("usage"):
                try:
                    self._client.put_item(
                        self._table,
                        _item(span, each),
                        condition="attribute_not_exists(requests) OR requests <= :requests",
                        values={":requests": each.totals.requests},
                        # Writing the same again changes nothing.
                        retry=RetryPolicy.IDEMPOTENT,
                    )
                except ConditionalCheckFailedError:
                    continue

    def read(self, span: Span, within: datetime) -> Sequence[RollUp]:
        """See `UsageStore`."""
        return list(self.each(span, within))

    def each(self, span: Span, within: datetime) -> Iterator[RollUp]:
        """See `UsageStore`."""
        values = {":pk": f"usage#{span}#{within.strftime(_PARTITION[span])}"}
        with storage_errors("usage"):
            items = self._client.query_all(self._table, key_condition="pk = :pk", values=values, consistent=True)
            yield from map(_roll_up, items)

    def closed_until(self, span: Span) -> datetime | None:
        """See `UsageStore`."""
        with storage_errors("usage"):
            item = self._client.get_item(self._table, {"pk": "usage#closed", "sk": span.value}, consistent=True)
        return None if item is None else time_of(item["until"])

    def close(self, span: Span, until: datetime) -> None:
        """See `UsageStore`."""
        with storage_errors("usage"):
            self._client.put_item(self._table, {"pk": "usage#closed", "sk": span.value, "until": time_text(until)})


def _item(span: Span, each: RollUp) -> dict[str, Any]:
    totals = each.totals
    digest = hashlib.sha256(json.dumps(each.dimensions).encode()).hexdigest()[:24]
    item: dict[str, Any] = {
        "pk": f"usage#{span}#{each.start.strftime(_PARTITION[span])}",
        "sk": f"{each.start.strftime(_PLACE[span])}#{digest}",
        "start": time_text(each.start),
        "dimensions": list(each.dimensions),
        "ttl": int((each.start + _KEPT[span]).timestamp()),
        "latencies": histogram_text(totals.latencies) or None,
        "avoided": {reason.value: amount for reason, amount in totals.avoided.items()} or None,
        "cache": dict(totals.cache) or None,
        "loaded": totals.loaded,
        "requests": totals.requests,
    }
    item |= {name: getattr(totals, name) or None for name in (*COUNTS[1:], *AMOUNTS)}
    return {name: value for name, value in item.items() if value is not None}


def _roll_up(item: Mapping[str, Any]) -> RollUp:
    sums: dict[str, Any] = {name: int(item.get(name, 0)) for name in COUNTS}
    sums |= {name: item.get(name, ZERO) for name in AMOUNTS}
    return RollUp(
        start=time_of(item["start"]),
        dimensions=Dimensions(*item["dimensions"]),
        totals=Totals(
            **sums,
            avoided={AvoidedReason(reason): amount for reason, amount in item.get("avoided", {}).items()},
            latencies=histogram_of(item.get("latencies", "")),
            loaded=item.get("loaded"),
            cache={state: int(count) for state, count in item.get("cache", {}).items()},
        ),
    )
