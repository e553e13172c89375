"""List prices by region: instance hours and the gateway's own parts, each with date and source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tollgate.domain.costs.pricing import GatewayPrices
from tollgate.domain.errors import CatalogueError
from tollgate.domain.providers.prices import BucketRates

_PARTS = (
    "api_request",
    "lambda_request",
    "table_read_unit",
    "table_write_unit",
    "queue_request",
    "topic_request",
    "bucket_put",
    "bucket_get",
    "log_gb",
    "lambda_streamed_gb",
)


@dataclass(frozen=True, slots=True)
class ListPrice:
    """One figure of the price list, in dollars, with the day it was read and where."""

    usd: Decimal
    date: str
    source: str


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """Rates of a token-priced model, with the day they were read and where."""

    rates: BucketRates
    date: str
    source: str


def is_instance(name: str) -> bool:
    """Whether a price's name is an instance type; the others are the gateway's parts."""
    return name.startswith("ml.")


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices keyed by ``(region, name)``; names are instance types or the gateway's parts. Token prices by model id."""

    instances: Mapping[tuple[str, str], ListPrice]
    parts: Mapping[tuple[str, str], ListPrice]
    tokens: Mapping[str, TokenPrice] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "PriceBook":
        """Read the shape of `tollgate/data/prices.json`."""
        instances: dict[tuple[str, str], ListPrice] = {}
        parts: dict[tuple[str, str], ListPrice] = {}
        for region, entries in document["regions"].items():
            for name, entry in entries.get("instances", {}).items():
                amount = Decimal(entry["usd_per_hour"])
                instances[region, name] = ListPrice(amount, entry["date"], entry["source"])
            for name, entry in entries.get("gateway", {}).items():
                parts[region, name] = ListPrice(Decimal(entry["usd"]), entry["date"], entry["source"])
        tokens = {name: _token_price(entry) for name, entry in document.get("tokens", {}).items()}
        return cls(instances=instances, parts=parts, tokens=tokens)

    def of_region(self, region: str) -> Mapping[str, ListPrice]:
        """All prices of one region by name: instance types and the gateway's parts."""
        entries = (*self.parts.items(), *self.instances.items())
        return {name: price for (place, name), price in entries if place == region}

    def updated(self, region: str, prices: Mapping[str, ListPrice | None]) -> "PriceBook":
        """This book with other prices of one region where they are of the same day or newer.

        Args:
            region: of the prices.
            prices: by name; None removes the price, so that requests that need it are refused.
        """
        instances, parts = dict(self.instances), dict(self.parts)
        for name, price in prices.items():
            shelf = instances if is_instance(name) else parts
            earlier = shelf.get((region, name))
            if price is None:
                shelf.pop((region, name), None)
            elif earlier is None or price.date >= earlier.date:
                shelf[region, name] = price
        return PriceBook(instances=instances, parts=parts, tokens=self.tokens)

    def instance_hour(self, region: str, instance_type: str) -> ListPrice | None:
        """Price of one hour of a SageMaker instance, None if the book does not have it."""
        return self.instances.get((region, instance_type))

    def gateway_prices(self, region: str, *, architecture: str, instead: str | None = None) -> GatewayPrices:
        """Unit prices of the gateway's parts.

        Args:
            region: where the gateway runs.
            architecture: of its functions, ``arm64`` or ``x86_64``.
            instead: region whose price replaces a figure missing from the book.

        Raises:
            CatalogueError: naming the figures that are missing; a missing price is never taken as zero.
        """
        found: dict[str, Decimal] = {}
        missing: list[str] = []
        for name in (*_PARTS, f"lambda_gb_second_{architecture}"):
            entry = self.parts.get((region, name)) or (self.parts.get((instead, name)) if instead else None)
            if entry is None:
                missing.append(name)
            else:
                found[name] = entry.usd
        if missing:
            raise CatalogueError(
                f"The price book has no {', '.join(missing)} for {region}. Set gateway_prices_from in the catalogue to "
                "the region whose prices shall stand in, for example 'us-east-1'."
            )
        per_gb_second = found.pop(f"lambda_gb_second_{architecture}")
        return GatewayPrices(lambda_gb_second=per_gb_second, **found)


def _token_price(entry: Mapping[str, Any]) -> TokenPrice:
    rates = BucketRates(**{name: Decimal(text) for name, text in entry["interactive"].items()})
    return TokenPrice(rates, entry["date"], entry["source"])
