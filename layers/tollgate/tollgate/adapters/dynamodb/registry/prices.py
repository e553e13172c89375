"""Prices in the registry table: pk ``prices#<region>``, sk the instance type or the gateway's part.

Amounts are text, so that they come back as they were published. `revision` keeps two writers apart.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.domain.costs.price_book import ListPrice
from tollgate.domain.costs.price_refresh import PendingPrice, PriceRecord
from tollgate.domain.errors import ConflictError


class RegistryPrices:
    """The `PriceStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def records(self, region: str) -> Mapping[str, PriceRecord]:
        """See `PriceStore`."""
        values = {":pk": f"prices#{region}"}
        with storage_errors("registry"):
            items = self._client.query_all(self._table, key_condition="pk = :pk", values=values, consistent=True)
            return {item["sk"]: _record(item) for item in items}

    def store(self, region: str, name: str, record: PriceRecord) -> None:
        """See `PriceStore`."""
        item: dict[str, Any] = {"pk": f"prices#{region}", "sk": name, "revision": record.revision + 1}
        if record.price is not None:
            item |= {"usd": str(record.price.usd), "date": record.price.date, "source": record.price.source}
        if record.pending is not None:
            pending = record.pending
            item["pending"] = {
                "usd": None if pending.usd is None else str(pending.usd),
                "date": pending.date,
                "source": pending.source,
            }
        with storage_errors("registry"):
            try:
                self._client.put_next(self._table, item, after=record.revision)
            except ConditionalCheckFailedError as error:
                raise ConflictError(f"The price of '{name}' was changed at the same time; try again.") from error


def _record(item: Mapping[str, Any]) -> PriceRecord:
    pending = item.get("pending")
    return PriceRecord(
        price=ListPrice(Decimal(item["usd"]), item["date"], item["source"]) if "usd" in item else None,
        pending=None
        if pending is None
        else PendingPrice(
            None if pending["usd"] is None else Decimal(pending["usd"]), pending["date"], pending["source"]
        ),
        revision=int(item["revision"]),
    )
