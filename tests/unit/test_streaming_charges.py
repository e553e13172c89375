"""What a stream costs, what is kept of it, and who pays when its caller leaves."""

import json
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway
from tests.fakes.live_gateway import (
    ASK,
    CHAT,
    DAY,
    WHOLE,
    day_budget,
    last_record,
    live_catalogue,
    live_gateway,
)
from tests.fakes.streams import DONE, RecordingOutlet, chunk
from tests.fakes.usage import NOON
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import Timing


def test_what_is_charged_is_the_time_that_the_stream_took() -> None:
    """Held before the first byte, settled after the last."""
    gateway = live_gateway(day_budget("1"))
    gateway.watch(CHAT, ASK)
    record = last_record(gateway)
    assert Decimal(record["held_seconds"]) == Decimal("0.5") * len(WHOLE)
    counter = gateway.ledger.counters[DAY]
    assert counter.spent == counter.committed == Decimal(record["effective_cost_usd"])


def test_a_budget_refuses_before_the_first_byte() -> None:
    """429 with OpenAI's code, and the endpoint is not called."""
    gateway = live_gateway(day_budget("0.000001"))
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 429
    assert json.loads(outlet.body)["error"]["code"] == "insufficient_quota"
    assert outlet.headers["x-should-retry"] == "false", "it never fits"
    assert gateway.stream.bodies == []


def test_whoever_hangs_up_pays_for_what_ran() -> None:
    """The call is ended, and its time until then charged; nothing of it is kept."""
    gateway = live_gateway(day_budget("1"), cache=CachePolicy())
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2), headers={"x-tollgate-workflow": "run-1"})
    assert gateway.stream.closed_after == 2
    assert [call.status for call in gateway.ledger.calls_of("acme", "run-1", limit=9)] == ["cancelled"]
    record = last_record(gateway)
    assert record["route_reason"].endswith(";caller_gone")
    assert (record["outcome"], record["error_code"]) == ("cancelled", "cancelled_by_caller")
    assert Decimal(record["held_seconds"]) == Decimal("1.0")
    assert record["output_tokens"] == 1
    assert gateway.ledger.counters[DAY].spent == Decimal(record["effective_cost_usd"]) > 0
    assert gateway.watch(CHAT, ASK).headers["x-tollgate-cache"] == "miss"


def test_how_long_a_caller_stayed_is_no_latency() -> None:
    """Neither a measurement that roads are compared by, nor part of the metrics and quantiles that people look at."""
    gateway = live_gateway()
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2))
    assert not gateway.measurements.durations
    (metrics,) = gateway.metrics
    assert "Latency" not in metrics
    assert metrics["Requests"] == [1]
    (counted,) = records_of_line(json.dumps(last_record(gateway), separators=(",", ":")), NOON)
    assert counted.latency_seconds is None
    assert counted.charged == counted.effective == Decimal(last_record(gateway)["effective_cost_usd"])
    gateway.watch(CHAT, ASK)
    assert len(gateway.measurements.durations) == 1
    assert "Latency" in gateway.metrics[-1]


def test_what_a_large_stream_costs_more_is_charged() -> None:
    """Bytes beyond the free ones, and API requests beyond the first, at their prices; a small one costs neither."""
    costs = []
    for per_gb in ("0", "8"):
        gateway = live_gateway()
        prices = gateway.catalogues.catalogue.gateway_prices._replace(lambda_streamed_gb=Decimal(per_gb))
        gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, gateway_prices=prices)
        gateway.watch(CHAT, ASK)
        small = Decimal(last_record(gateway)["effective_cost_usd"])
        gateway.stream.pieces = [chunk("a" * 1_100_000) for _ in range(10)]
        outlet = gateway.watch(CHAT, ASK)
        costs.append((small, Decimal(last_record(gateway)["effective_cost_usd"])))
    (small, free), (same, paid) = costs
    assert small == same
    beyond = Decimal(outlet.sent_bytes - len(outlet.written[-1]) - 6_000_000)
    assert paid - free == pytest.approx(beyond / 1024**3 * 8, rel=Decimal("0.001"))


def test_choices_that_had_not_begun_are_missing_from_what_is_kept() -> None:
    """The first of two choices has ended when the caller hangs up: that is half of the answer, however it reads."""
    gateway = live_gateway(cache=CachePolicy())
    model = gateway.catalogues.catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, deployments=(replace(small, supports=frozenset({"n"})),))
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    gateway.stream.pieces = [chunk("a", "stop"), chunk("b", index=1), chunk(None, "stop", index=1), DONE]
    gateway.watch(CHAT, ASK | {"n": 2}, RecordingOutlet(leaves_after=3))
    assert gateway.stream.closed_after == 1
    assert gateway.watch(CHAT, ASK | {"n": 2}).headers["x-tollgate-cache"] == "miss"


def test_an_answer_that_may_be_asked_for_again_is_made_to_its_end() -> None:
    """Whoever sent an Idempotency-Key, hung up and comes again gets it, and pays once."""
    gateway = live_gateway()
    key = {"Idempotency-Key": "k1"}
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2), headers=key)
    assert gateway.stream.closed_after == len(WHOLE)
    again = gateway.watch(CHAT, ASK, headers=key)
    assert again.text == "three two one"
    assert again.headers["x-tollgate-cost-usd"] == "0"
    assert len(gateway.stream.bodies) == 1


def test_a_complete_stream_is_kept_and_given_again_as_one() -> None:
    """A hit is a stream as well, and costs nothing."""
    gateway = live_gateway(cache=CachePolicy())
    first, second = gateway.watch(CHAT, ASK), gateway.watch(CHAT, ASK)
    assert (first.headers["x-tollgate-cache"], second.headers["x-tollgate-cache"]) == ("miss", "hit")
    assert second.text == first.text == "three two one"
    assert second.events[-1] == "[DONE]"
    assert len(gateway.stream.bodies) == 1
    plain = gateway.call(CHAT, ASK | {"stream": False})
    assert json.loads(plain.body)["choices"][0]["message"]["content"] == "three two one"
    assert plain.headers["x-tollgate-cache"] == "hit"


def test_a_long_stream_keeps_its_lease() -> None:
    """Whoever asks the same while it runs is not let run as well, and in the end the answer is kept."""
    catalogue = live_catalogue(cache=CachePolicy(strays=0, wait_seconds=1))
    model = catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, deployments=(replace(small, timing=Timing(base_seconds=20)),))
    gateway = FakeGateway(catalogue=replace(catalogue, models={"echo": model}), time_limit_seconds=298)
    gateway.stream.pieces, feed = WHOLE, gateway.stream.open
    others: list[RecordingOutlet | None] = []

    def slowly(*arguments: Any, **options: Any) -> Any:
        for piece in feed(*arguments, **options):
            yield piece
            if not others:
                others.append(None)
                gateway.clock.advance(60)
                others.append(gateway.watch(CHAT, ASK))

    gateway.stream.open = slowly  # type: ignore[method-assign]
    gateway.watch(CHAT, ASK)
    assert [seen and seen.status for seen in others] == [None, 503]
    assert gateway.watch(CHAT, ASK).headers["x-tollgate-cache"] == "hit"
    assert len(gateway.stream.bodies) == 1
