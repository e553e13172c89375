"""What the gateway's own operations add to a request."""

from decimal import Decimal

import pytest

from tests.fakes.examples import PRICES
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.gateway_parts import (
    AUTHORIZER,
    INLINE_INPUT_BYTES,
    drop_usage,
    gateway_rates,
    hit_usage,
    invocation_usage,
    road_usage,
)
from tollgate.domain.costs.pricing import GatewayUsage, stream_cost

_RATES = gateway_rates(PRICES._replace(lambda_streamed_gb=Decimal(1)))
_GB = Decimal("0.25")


def test_a_hit_costs_half_a_read_and_a_hundredth_of_a_second_more_than_nothing() -> None:
    """Beside the call itself, its authorizer and its log line."""
    own = hit_usage()
    assert own == road_usage(InferenceType.REALTIME) + GatewayUsage(
        lambda_gb_seconds=_GB * Decimal("0.01"), table_read_units=Decimal("0.5")
    )
    assert own.lambda_requests == AUTHORIZER.lambda_requests + 1


@pytest.mark.parametrize(
    ("members", "events", "lists"), [(1, "0.1", 0), (2, "0.2", 1), (10, "1", 1), (11, "1", 1), (500, "1", 1)]
)
def test_jobs_of_one_invocation_share_an_event_and_a_list(members: int, events: str, lists: int) -> None:
    """A tenth of an event for each up to ten, and a list of the members as soon as there are two."""
    usage = invocation_usage(members)
    assert usage.queue_requests == 3 * Decimal(events)
    assert usage.lambda_requests == 1 + Decimal(events)
    assert usage.bucket_puts == usage.bucket_gets == 1 + lists


def test_a_job_on_the_asynchronous_road_is_reckoned_alone() -> None:
    """With an invocation of its own, until it is known who shares it."""
    assert road_usage(InferenceType.ASYNC).bucket_puts == invocation_usage(1).bucket_puts


@pytest.mark.parametrize(("size", "extra"), [(0, 0), (INLINE_INPUT_BYTES, 0), (INLINE_INPUT_BYTES + 1, 1)])
@pytest.mark.parametrize("road", [InferenceType.ASYNC, InferenceType.BATCH])
def test_a_large_input_of_a_job_goes_through_the_bucket(road: InferenceType, size: int, extra: int) -> None:
    """Written once and read once."""
    through = PRICES.bucket_put + PRICES.bucket_get
    assert _RATES.expected(road, size, 1.0) == _RATES.by_road[road] + extra * through


def test_a_call_at_once_is_expected_to_hold_the_function_as_long_as_the_model_and_a_little() -> None:
    """Its size says nothing: it stays in memory."""
    expected = _RATES.expected(InferenceType.REALTIME, 10**6, 1.99)
    assert expected == _RATES.by_road[InferenceType.REALTIME] + _GB * 2 * PRICES.lambda_gb_second


def test_what_was_sent_as_a_stream_is_paid_for() -> None:
    """Beyond the first 6 MB."""
    more = _RATES.realtime(Decimal(1), 16_000_000) - _RATES.realtime(Decimal(1))
    assert more == stream_cost(16_000_000, _RATES.prices) > 0


def test_an_answer_of_a_provider_is_waited_for() -> None:
    """The function is paid for the seconds, beside what it does anyway."""
    assert _RATES.waiting(2.0) - _RATES.waiting(0.0) == _GB * 2 * PRICES.lambda_gb_second
    assert _RATES.waiting(0.0) == _RATES.token_job


def test_a_dropped_file_is_read_twice_and_written_in_pieces() -> None:
    """Three functions and four reads and writes of the table, however many pieces there are."""
    assert drop_usage(3) == GatewayUsage(
        lambda_requests=Decimal(3),
        lambda_gb_seconds=_GB * Decimal("1.3"),
        table_read_units=Decimal(4),
        table_write_units=Decimal(4),
        bucket_puts=Decimal(6),
        bucket_gets=Decimal(8),
        log_bytes=Decimal(1_500),
    )
