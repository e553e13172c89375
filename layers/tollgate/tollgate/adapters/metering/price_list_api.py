"""The Price List Query API, the public list of what AWS charges.

One product is a JSON text with attributes and terms. The price of a unit is in
``terms.OnDemand.<term>.priceDimensions.<dimension>.pricePerUnit.USD``; a product with tiers has one dimension per tier,
the first of which may be a free one.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from tollgate.domain.costs.price_refresh import FoundPrice
from tollgate.domain.errors import StorageError
from tollgate.domain.money import ZERO

ENDPOINT_REGION = "us-east-1"
"""The API answers for all regions, from this one and two others."""
_HOURS = frozenset({"hrs", "hours", "hour"})
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")


class PricingPaginator(Protocol):
    """The part of boto3's paginator that is used."""

    def paginate(self, *, ServiceCode: str, Filters: list[dict[str, str]]) -> Iterable[Mapping[str, Any]]:  # noqa: N803 -- boto3's names
        """Pages with a `PriceList` of JSON texts."""


class PricingClient(Protocol):
    """The part of ``boto3.client("pricing")`` that is used."""

    def get_paginator(self, operation_name: str) -> PricingPaginator:
        """The paginator of an operation."""


@dataclass(frozen=True, slots=True)
class _PartQuery:
    """Where one of the gateway's parts stands in the list.

    `stem` is the usage type without the region's prefix, for services whose products a group does not tell apart.
    """

    service_code: str
    filters: Mapping[str, str]
    stem: str | None = None


_PARTS: Mapping[str, _PartQuery] = {
    "api_request": _PartQuery("AmazonApiGateway", {}, "ApiGatewayRequest"),
    "lambda_request": _PartQuery("AWSLambda", {"group": "AWS-Lambda-Requests"}),
    "lambda_gb_second_x86_64": _PartQuery("AWSLambda", {"group": "AWS-Lambda-Duration"}),
    "lambda_gb_second_arm64": _PartQuery("AWSLambda", {"group": "AWS-Lambda-Duration-ARM"}),
    "table_read_unit": _PartQuery("AmazonDynamoDB", {"group": "DDB-ReadUnits"}),
    "table_write_unit": _PartQuery("AmazonDynamoDB", {"group": "DDB-WriteUnits"}),
    "queue_request": _PartQuery("AWSQueueService", {"queueType": "Standard"}),
    "topic_request": _PartQuery("AmazonSNS", {"group": "SNS-Requests-Tier1"}),
    "bucket_put": _PartQuery("AmazonS3", {"group": "S3-API-Tier1"}),
    "bucket_get": _PartQuery("AmazonS3", {"group": "S3-API-Tier2"}),
    "log_gb": _PartQuery("AmazonCloudWatch", {}, "DataProcessing-Bytes"),
    "lambda_streamed_gb": _PartQuery("AWSLambda", {}, "Lambda-Streaming-Response-Processed-Bytes"),
}


class PriceListApi:
    """The `PriceList` of AWS.

    Args:
        client: makes ``boto3.client("pricing")`` in `ENDPOINT_REGION`, when it is first needed.
    """

    def __init__(self, client: Callable[[], PricingClient]) -> None:
        self._client = client

    def prices(self, region: str) -> Mapping[str, FoundPrice]:
        """See `PriceList`."""
        client = self._client()
        try:
            hosting = list(self._products(client, "AmazonSageMaker", region, {"component": "Hosting"}))
            found = hosting_prices(hosting, region)
            for name, query in _PARTS.items():
                products = list(self._products(client, query.service_code, region, query.filters))
                price = part_price(products, region, query.filters, query.stem)
                if price is not None:
                    found[name] = price
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise StorageError(f"The price list cannot be read ({code}).", retry_after=60) from error
        except (BotoCoreError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"The price list cannot be read ({type(error).__name__}).", retry_after=60) from error
        return found

    def _products(
        self, client: PricingClient, service_code: str, region: str, filters: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        wanted = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in {"regionCode": region, **filters}.items()
        ]
        for page in client.get_paginator("get_products").paginate(ServiceCode=service_code, Filters=wanted):
            for text in page["PriceList"]:
                product: Mapping[str, Any] = json.loads(text)
                yield product


def hosting_prices(products: Iterable[Mapping[str, Any]], region: str) -> dict[str, FoundPrice]:
    """Dollars per hour of each instance type that hosts models.

    Training, Studio and training-plan products carry the same instance names, so component and region are checked here
    too, whatever the filters let through.
    """
    offers: dict[str, list[FoundPrice]] = {}
    for product in products:
        attributes = _attributes(product)
        name = str(attributes.get("instanceName", ""))
        if (
            attributes.get("regionCode") == region
            and attributes.get("component") == "Hosting"
            and _INSTANCE.fullmatch(name)
            and "trainingplan" not in json.dumps(attributes).lower().replace(" ", "")
        ):
            offers.setdefault(name, []).extend(_unit_prices(product, units=_HOURS))
    return {name: _dearest(prices) for name, prices in offers.items() if prices}


def part_price(
    products: Iterable[Mapping[str, Any]], region: str, filters: Mapping[str, str], stem: str | None = None
) -> FoundPrice | None:
    """Dollars per unit of one of the gateway's parts, None if no product fits.

    Args:
        products: of its service.
        region: of the price.
        filters: attributes that must be exactly so.
        stem: usage type without the region's prefix, as in ``USE1-ApiGatewayRequest``.
    """
    prices: list[FoundPrice] = []
    for product in products:
        attributes = _attributes(product)
        usage_type = str(attributes.get("usagetype", ""))
        if (
            attributes.get("regionCode") == region
            and all(attributes.get(name) == value for name, value in filters.items())
            and (stem is None or re.fullmatch(rf"(?:[A-Z0-9]+-)?{re.escape(stem)}", usage_type))
        ):
            prices.extend(_unit_prices(product))
    return _dearest(prices) if prices else None


def _attributes(product: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = product["product"]["attributes"]
    return found


def _unit_prices(product: Mapping[str, Any], *, units: frozenset[str] | None = None) -> Iterator[FoundPrice]:
    """The first tier that costs something, of each on-demand term; the first of all if none does."""
    sku = product["product"]["sku"]
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        tiers = sorted(term["priceDimensions"].values(), key=lambda tier: _amount(tier.get("beginRange", "0")))
        amounts = [
            _amount(tier["pricePerUnit"]["USD"])
            for tier in tiers
            if "USD" in tier["pricePerUnit"] and (units is None or str(tier.get("unit", "")).lower() in units)
        ]
        if amounts:
            paid = next((amount for amount in amounts if amount != ZERO), amounts[0])
            yield FoundPrice(paid, f"AWS Price List API, SKU {sku}")


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("An amount of the price list is not a number.") from error


def _dearest(prices: list[FoundPrice]) -> FoundPrice:
    """Of several products for one thing the dearest, so that the error is not a budget overrun."""
    chosen = max(prices, key=lambda price: price.usd)
    others = len({price.usd for price in prices}) - 1
    return FoundPrice(chosen.usd, f"{chosen.source}, dearest of {others + 1} prices") if others else chosen
