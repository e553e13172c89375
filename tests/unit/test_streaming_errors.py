"""Streams that fail: what their callers are told, and who may answer instead."""

import json
from collections.abc import Sequence
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.live_gateway import (
    ASK,
    BROKE,
    CHAT,
    DAY,
    PIECES,
    WHOLE,
    day_budget,
    last_record,
    live_gateway,
)
from tests.fakes.streams import DONE, RecordingOutlet, chunk
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BackendTimeoutError, CapacityError
from tollgate.domain.roads.health import HealthPolicy


def test_an_error_before_the_first_word_is_a_plain_answer() -> None:
    """Also when the container has sent its greeting already."""
    gateway = live_gateway()
    gateway.stream.pieces = [chunk(role="assistant"), BROKE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 502
    assert outlet.headers["Content-Type"] == "application/json"
    assert json.loads(outlet.body)["error"]["code"] == "model_error"


@pytest.mark.parametrize("error", [BROKE, BackendTimeoutError("too long")])
def test_an_error_in_the_middle_is_an_event(error: Exception) -> None:
    """The status is gone out already; what ran is charged, by the time and by the tokens that came."""
    gateway = live_gateway(day_budget("1"))
    gateway.stream.pieces = [*PIECES[:3], error]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 200
    assert outlet.events[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in outlet.events
    record = last_record(gateway)
    assert record["outcome"] == "failed"
    assert record["output_tokens"] == 2
    assert record["input_tokens"] > 0
    assert gateway.ledger.counters[DAY].spent == Decimal(record["effective_cost_usd"]) > 0


def test_a_stream_without_an_end_is_an_error() -> None:
    """The container closed the connection in the middle of a sentence, without a word."""
    gateway = live_gateway()
    gateway.stream.pieces = PIECES[:3]
    assert gateway.watch(CHAT, ASK).events[-1]["error"]["code"] == "model_error"


def test_nobody_else_answers_once_a_word_was_said() -> None:
    """Neither the fallback chain nor a stale answer: half of one and half of another are no answer."""
    health = HealthPolicy(fallback=("spare",))
    gateway = live_gateway(cache=CachePolicy(stale_if_error_seconds=3_600, ttl_seconds=1), health=health)
    gateway.watch(CHAT, ASK)
    gateway.clock.advance(60)
    model = gateway.catalogues.catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, deployments=(small, replace(small, name="spare", weight=0)))
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    gateway.stream.pieces = [*PIECES[:3], BROKE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "model_error"
    assert len(gateway.stream.bodies) == 2


def test_another_deployment_answers_before_the_first_word() -> None:
    """Nothing was seen of the first one, so the chain goes on as for any request."""
    gateway = live_gateway(health=HealthPolicy(fallback=("spare",)))
    model = gateway.catalogues.catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, deployments=(small, replace(small, name="spare", weight=0)))
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    scripts: list[Sequence[bytes | Exception]] = [[BROKE], WHOLE]
    tries = iter(scripts)
    feed = gateway.stream.open

    def by_turns(*arguments: Any, **options: Any) -> Any:
        gateway.stream.pieces = next(tries)
        yield from feed(*arguments, **options)

    gateway.stream.open = by_turns  # type: ignore[method-assign]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.text == "three two one"
    assert outlet.headers["x-tollgate-route-reason"].endswith("fallback=spare")


def test_no_job_answers_once_a_word_was_said() -> None:
    """The endpoint is throttled in the middle of its answer: one call is charged, and half of it never ends well."""
    gateway = live_gateway(day_budget("1"), fall_back_to_async=True)
    gateway.stream.pieces = [*PIECES[:3], CapacityError("full")]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "no_capacity"
    assert gateway.jobs.jobs == {}
    counter = gateway.ledger.counters[DAY]
    assert counter.spent == counter.committed


def test_nobody_else_answers_a_stream_that_reads_badly_as_a_whole() -> None:
    """The caller has seen all of it before the dialect finds that it is no answer of its kind."""
    gateway = live_gateway(health=HealthPolicy(fallback=("spare",)))
    model = gateway.catalogues.catalogue.models["echo"]
    (small,) = model.deployments
    model = replace(model, deployments=(small, replace(small, name="spare", weight=0)))
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    gateway.stream.pieces = [b'data: {"choices":[{"index":0,"text":"hello","finish_reason":"stop"}]}\n\n', DONE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "model_error"
    assert len(gateway.stream.bodies) == 1


def test_a_piece_of_another_shape_is_an_error_of_the_model() -> None:
    """Told to the caller and charged for what ran, rather than a failure of the function."""
    gateway = live_gateway(day_budget("1"))
    gateway.stream.pieces = [*PIECES[:3], chunk(tool_calls=7), *PIECES[3:], DONE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "model_error"
    assert gateway.ledger.counters[DAY].spent == Decimal(last_record(gateway)["effective_cost_usd"]) > 0


def test_no_capacity_becomes_a_job_that_is_waited_for() -> None:
    """As for any other request, and its answer comes as events in the end."""
    gateway = live_gateway(fall_back_to_async=True)
    gateway.stream.pieces = [CapacityError("full")]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 504
    (job,) = gateway.jobs.jobs.values()
    assert job.inference_type is InferenceType.ASYNC


def test_a_failing_stream_is_noticed_by_the_circuit() -> None:
    """As any failing call; a client that leaves says nothing about the deployment."""
    gateway = live_gateway(health=HealthPolicy(least_calls=2))
    for _ in range(3):
        gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2))
    assert gateway.health.told == []
    gateway.stream.pieces = [*PIECES[:3], BROKE]
    for _ in range(6):
        gateway.watch(CHAT, ASK)
    assert gateway.health.told
