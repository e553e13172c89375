"""Money: exact, never negative where it cannot be, and adding up."""

from copy import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.examples import PRICES, make_catalogue
from tollgate.domain.catalogue import Deployment, InferenceType, Model, Tier, Timing
from tollgate.domain.costs.price_book import ListPrice, PriceBook
from tollgate.domain.costs.pricing import (
    GatewayUsage,
    gateway_cost,
    instance_cost,
    stream_cost,
)
from tollgate.domain.costs.settlement import settle
from tollgate.domain.errors import CatalogueError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.money import ZERO, seconds, usd, usd_text

counts = st.decimals(0, 1000, places=3)
usages = st.builds(GatewayUsage, **dict.fromkeys(GatewayUsage._fields, counts))


@given(usages, usages)
def test_the_cost_of_a_sum_is_the_sum_of_the_costs(first: GatewayUsage, second: GatewayUsage) -> None:
    """Up to the rounding of a millionth of a millionth."""
    together = gateway_cost(first + second, PRICES)
    assert abs(together - gateway_cost(first, PRICES) - gateway_cost(second, PRICES)) <= Decimal("2e-12")


def test_one_api_call_costs_its_list_price() -> None:
    """$3.50 a million."""
    assert gateway_cost(GatewayUsage(api_requests=Decimal(1_000_000)), PRICES) == Decimal("3.5")


@pytest.mark.parametrize("operation", GatewayUsage._fields)
def test_each_operation_has_its_own_price(operation: str) -> None:
    """A million of them, or a GB of logs, at the price of the same name, and nothing of any other."""
    logs = operation == "log_bytes"
    price, count = ("log_gb", 1024**3) if logs else (operation.removesuffix("s"), 1_000_000)
    usage = GatewayUsage()._replace(**{operation: Decimal(count)})
    assert gateway_cost(usage, PRICES) == getattr(PRICES, price) * (1 if logs else count)


def test_usage_is_multiplied_part_by_part() -> None:
    """A tenth of an event that ten messages share."""
    event = GatewayUsage(lambda_requests=Decimal(1), queue_requests=Decimal(3))
    assert event.times(Decimal("0.1")) == GatewayUsage(lambda_requests=Decimal("0.1"), queue_requests=Decimal("0.3"))


@pytest.mark.parametrize(
    ("sent", "beyond", "requests"),
    [
        (0, 0, 0),
        (6_000_000, 0, 0),
        (6_000_001, 1, 0),
        (10_000_000, 4_000_000, 0),
        (10_000_001, 4_000_001, 1),
        (20_000_000, 14_000_000, 1),
        (20_000_001, 14_000_001, 2),
    ],
)
def test_long_streams_cost_more(sent: int, beyond: int, requests: int) -> None:
    """By the byte beyond 6 MB, and by another API request for each 10 MB that is begun."""
    prices = PRICES._replace(lambda_streamed_gb=Decimal(1024**3), api_request=Decimal("0.25"))
    assert stream_cost(sent, prices) == beyond + Decimal("0.25") * requests


def test_an_instance_hour_costs_its_price() -> None:
    """Shared places share it."""
    assert instance_cost(Decimal(3600), Decimal("1.4084"), 1) == Decimal("1.4084")
    assert instance_cost(Decimal(3600), Decimal("1.4084"), 4) == Decimal("0.3521")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.000012340", "0.00001234"),
        ("0", "0"),
        ("-0", "0"),
        ("1E+2", "100"),
        ("1E-13", "0"),
        ("-0.0000046", "-0.0000046"),
    ],
)
def test_money_is_printed_plainly(amount: str, text: str) -> None:
    """No exponent, no trailing zeros."""
    assert usd_text(Decimal(amount)) == text


@given(st.floats(0, 1e6))
def test_seconds_are_exact_to_the_microsecond(value: float) -> None:
    """A float becomes a short decimal."""
    assert abs(seconds(value) - Decimal(value)) <= Decimal("5.1e-7")


def test_realtime_on_the_baseline_endpoint_avoids_nothing() -> None:
    """Only the gateway's own cost is the difference, and it is negative."""
    settled = _settle(InferenceType.REALTIME, gateway=Decimal("0.00001"))
    assert settled == (usd(Decimal("0.115") / 3600 + Decimal("0.00001")), Decimal("-0.00001"))


def test_async_avoids_the_idle_hours_of_the_baseline() -> None:
    """The baseline is busy a quarter of the time, so a busy second costs it four."""
    _, avoided = _settle(InferenceType.ASYNC, gateway=ZERO)
    assert avoided == pytest.approx(Decimal("0.115") / 3600 * 3, abs=Decimal("1e-11"))


def test_a_batch_share_does_not_inflate_the_baseline() -> None:
    """A record's share holds start-up time, but the baseline would only have worked its half second."""
    _, avoided = _settle(InferenceType.BATCH, held=Decimal(10), gateway=ZERO)
    assert avoided == usd(Decimal("0.115") / 3600 * (Decimal("0.5") * 4 - 10))


def test_a_larger_baseline_is_scaled_by_the_timings() -> None:
    """The largest tier is the baseline; its timing says how long it would have needed."""
    model, small = _model()
    roads = {
        InferenceType.REALTIME: replace(
            small.roads[InferenceType.REALTIME], usd_per_hour=Decimal(36), utilisation=Decimal(1)
        )
    }
    large = replace(small, name="large", tier=Tier.LARGE, timing=Timing(base_seconds=1.5), roads=roads)
    model = replace(model, deployments=(small, large))
    settled = settle(
        model, small, small.roads[InferenceType.ASYNC], held_seconds=Decimal(1), usage=Usage(), gateway=ZERO
    )
    assert settled.avoided == usd(Decimal(3) * Decimal(36) / 3600 - Decimal("0.115") / 3600)


def test_an_unknown_price_is_unknown_not_zero() -> None:
    """Neither figure is made up."""
    model = make_catalogue(usd_per_hour=None).models["echo"]
    deployment = model.deployments[0]
    settled = settle(
        model, deployment, deployment.roads[InferenceType.ASYNC], held_seconds=Decimal(1), usage=Usage(), gateway=ZERO
    )
    assert settled.effective is None
    assert settled.avoided is None


def test_a_missing_gateway_price_is_named() -> None:
    """And another region may stand in only when told to."""
    entry = ListPrice(Decimal("0.1"), "2026-01", "test")
    full = ("api_request", "lambda_request", "table_read_unit", "table_write_unit", "queue_request", "topic_request")
    names = (*full, "bucket_put", "bucket_get", "log_gb", "lambda_streamed_gb", "lambda_gb_second_arm64")
    book = PriceBook(instances={}, parts={("us-east-1", name): entry for name in names})
    with pytest.raises(CatalogueError, match=r"api_request.*eu-north-1"):
        book.gateway_prices("eu-north-1", architecture="arm64")
    assert book.gateway_prices("eu-north-1", architecture="arm64", instead="us-east-1").api_request == Decimal("0.1")


def _model() -> tuple[Model, Deployment]:
    model = make_catalogue().models["echo"]
    return model, model.deployments[0]


def _settle(
    inference_type: InferenceType, *, gateway: Decimal, held: Decimal = Decimal(1)
) -> tuple[Decimal | None, Decimal | None]:
    model, deployment = _model()
    road = deployment.roads[inference_type]
    settled = settle(model, deployment, road, held_seconds=held, usage=Usage(), gateway=gateway)
    return settled.effective, settled.avoided
