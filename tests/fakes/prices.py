"""The price list and the registry's prices, in memory, and products in the list's shape."""

from collections.abc import Mapping
from copy import replace
from typing import Any

from tollgate.domain.costs.price_refresh import FoundPrice, PriceRecord
from tollgate.domain.errors import ConflictError


class FixedPriceList:
    """The `PriceList` of tests."""

    def __init__(self, found: Mapping[str, FoundPrice]) -> None:
        self.found = dict(found)

    def prices(self, region: str) -> Mapping[str, FoundPrice]:
        assert region
        return dict(self.found)


class InMemoryPrices:
    """The `PriceStore` of tests."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], PriceRecord] = {}

    def records(self, region: str) -> Mapping[str, PriceRecord]:
        return {name: record for (place, name), record in self._records.items() if place == region}

    def store(self, region: str, name: str, record: PriceRecord) -> None:
        kept = self._records.get((region, name))
        if (0 if kept is None else kept.revision) != record.revision:
            raise ConflictError(f"The price of '{name}' was changed at the same time; try again.")
        self._records[region, name] = replace(record, revision=record.revision + 1)


def product(
    sku: str,
    attributes: Mapping[str, str],
    *tiers: tuple[str, str],
    unit: str = "Hrs",
    region: str = "us-east-1",
    service: str = "AmazonSageMaker",
) -> dict[str, Any]:
    """A product as the list has it; tiers are pairs of the first unit and the price from there on."""
    term = f"{sku}.JRTCKXETXF"
    dimensions = {
        f"{term}.TIER{place}": {
            "rateCode": f"{term}.TIER{place}",
            "description": f"${usd} per {unit}",
            "beginRange": begin,
            "endRange": "Inf",
            "unit": unit,
            "pricePerUnit": {"USD": usd},
            "appliesTo": [],
        }
        for place, (begin, usd) in enumerate(tiers)
    }
    return {
        "product": {"sku": sku, "attributes": {"regionCode": region, "servicecode": service, **attributes}},
        "serviceCode": service,
        "terms": {
            "OnDemand": {
                term: {
                    "sku": sku,
                    "offerTermCode": "JRTCKXETXF",
                    "effectiveDate": "2026-11-01T00:00:00Z",
                    "priceDimensions": dimensions,
                    "termAttributes": {},
                }
            }
        },
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }


def hosting(sku: str, name: str, usd: str, component: str = "Hosting", **more: str) -> dict[str, Any]:
    """An hour of an instance."""
    usage_type = {"usagetype": f"USE1-Host:{name}"}
    return product(sku, {"instanceName": name, "component": component, **usage_type, **more}, ("0", usd))
