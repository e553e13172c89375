"""What the gateway's own AWS parts cost, from the very figures that it charges its requests with."""

import json
from collections.abc import Mapping
from decimal import Decimal
from importlib.resources import files

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import gateway_rates, hit_usage, road_usage
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.costs.pricing import GatewayUsage, gateway_cost

_MILLION = 1_000_000
_SMALL_BODY = 1_000
REGION, ARCHITECTURE = "us-east-1", "arm64"


def price_book() -> PriceBook:
    """The price book of the repository."""
    return PriceBook.from_document(json.loads(files("tollgate.data").joinpath("prices.json").read_text("utf-8")))


def bill(model_seconds: float) -> Mapping[InferenceType, Mapping[str, Decimal]]:
    """Dollars a million requests by road and part, under `total` their sum; list prices, without free tier.

    Args:
        model_seconds: that the model takes, and a real-time request keeps the gateway function waiting.
    """
    prices = price_book().gateway_prices(REGION, architecture=ARCHITECTURE)
    table: dict[InferenceType, dict[str, Decimal]] = {}
    for road in InferenceType:
        usage = road_usage(road)
        parts = {name: gateway_cost(GatewayUsage(**{name: count}), prices) for name, count in usage._asdict().items()}
        total = gateway_rates(prices).expected(road, _SMALL_BODY, model_seconds)
        parts["function waits for the model"] = total - sum(parts.values())
        table[road] = {name: dollars * _MILLION for name, dollars in {**parts, "total": total}.items()}
    return table


def print_bill(model_seconds: float) -> None:
    """Print the table."""
    table = bill(model_seconds)
    print(f"\ngateway's own AWS bill, $ a million requests, {REGION}, model of {model_seconds * 1000:.0f} ms")
    print(f"{'part':36}" + "".join(f"{road.value:>10}" for road in table))
    for part in table[InferenceType.REALTIME]:
        print(f"{part.replace('_', ' '):36}" + "".join(f"{row[part]:10.3f}" for row in table.values()))
    print(f"goal: at most 9 real-time; {table[InferenceType.REALTIME]['total']:.2f}")
    prices = price_book().gateway_prices(REGION, architecture=ARCHITECTURE)
    print(f"goal: at most 5 a million cache hits; {gateway_cost(hit_usage(), prices) * _MILLION:.2f}")
