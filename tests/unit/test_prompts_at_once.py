"""Prompts of a list whose calls are made at once: in order, counted as if one after the other, and charged if begun."""

import json
import threading
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.openai_calls import openai_catalogue
from tollgate.api.http import Answer
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType, Road
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError
from tollgate.ports.backends import ModelAnswer
from tollgate.services.requests import concurrent_calls
from tollgate.services.requests.concurrent_calls import MOST_AT_ONCE

BROKE = ModelFailedError("out of memory", original_status=500)
DAY = "gateway#day#2026-03-01"
SECONDS = 0.5


class Endpoint:
    """Answers each prompt with its words, in the other order; notes how many calls it has at a time."""

    def __init__(self, before: Callable[[str], object] = lambda _prompt: None) -> None:
        self._before = before
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0
        self.prompts: list[str] = []
        self.threads: set[int] = set()

    def invoke(self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str) -> ModelAnswer:
        assert (road.concurrency, content_type) > (0, "")
        assert timeout_seconds > 0
        assert trace
        prompt = json.loads(body)["prompt"]
        with self._lock:
            self.prompts.append(prompt)
            self.threads.add(threading.get_ident())
            self._inside += 1
            self.most = max(self.most, self._inside)
        try:
            self._before(prompt)
        finally:
            with self._lock:
                self._inside -= 1
        words = prompt.split()
        choice = {"index": 0, "text": " ".join(words[::-1]), "finish_reason": "stop"}
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words)}
        answer = json.dumps({"object": "text_completion", "choices": [choice], "usage": usage}).encode()
        return ModelAnswer(answer, "application/json", SECONDS)


def _gateway(endpoint: Endpoint, *, concurrency: int = 4, **changes: Any) -> FakeGateway:
    """A model whose instances serve several at a time, before a budget."""
    catalogue = openai_catalogue(FakeGateway(), dialect="openai", **changes)
    (model,) = catalogue.models.values()
    (small,) = model.deployments
    road = replace(small.roads[InferenceType.REALTIME], concurrency=concurrency)
    small = replace(small, roads={**small.roads, InferenceType.REALTIME: road})
    budget = Budget(kind=ScopeKind.GATEWAY, subject="", period=BudgetPeriod.DAY, limit_usd=Decimal(1))
    models = {model.name: replace(model, deployments=(small,))}
    gateway = FakeGateway(catalogue=replace(catalogue, models=models, budgets=(budget,)))
    gateway.realtime.invoke = endpoint.invoke  # type: ignore[method-assign]
    return gateway


def _ask(gateway: FakeGateway, prompts: list[str]) -> Answer:
    body = {"model": "echo", "prompt": prompts, "service_tier": "priority", "temperature": 0}
    return gateway.call("POST /v1/completions", body)


def _charged(gateway: FakeGateway) -> Decimal:
    counter = gateway.ledger.counters[DAY]
    assert counter.held == 0
    return counter.used


def test_as_many_as_an_instance_serves_are_called_at_once() -> None:
    """They wait for each other here, so one after the other would never end; the choices keep their order."""
    together = threading.Barrier(3, timeout=20)
    endpoint = Endpoint(lambda _prompt: together.wait())
    gateway = _gateway(endpoint, concurrency=3)
    given = document(_ask(gateway, [f"a {n}" for n in range(6)]))
    assert [choice["text"] for choice in given["choices"]] == [f"{n} a" for n in range(6)]
    assert [choice["index"] for choice in given["choices"]] == list(range(6))
    assert endpoint.most == 3


def test_there_are_never_more_threads_than_that() -> None:
    """However many an instance serves, and nobody is left behind."""
    endpoint, before = Endpoint(), threading.active_count()
    assert _ask(_gateway(endpoint, concurrency=500), [f"a {n}" for n in range(32)]).status == 200
    assert len(endpoint.prompts) == 32
    assert endpoint.most <= MOST_AT_ONCE
    assert threading.active_count() == before


def test_it_costs_what_it_costs_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance's seconds and the tokens are those of all calls; the gateway's own time and writes count once."""
    prompts, gateways = ["a b", "c", "d e f"], []
    for most in (MOST_AT_ONCE, 1):
        monkeypatch.setattr(concurrent_calls, "MOST_AT_ONCE", most)
        gateway = _gateway(Endpoint())
        cost = Decimal(_ask(gateway, prompts).headers["x-tollgate-cost-usd"])
        assert _charged(gateway) == cost > 0
        gateways.append(gateway)
    (at_once,), (in_turn,) = ([line for line in g.lines if line.get("message") == "request"] for g in gateways)
    assert at_once | {"timestamp": ""} == in_turn | {"timestamp": ""}
    assert Decimal(at_once["held_seconds"]) == Decimal(str(SECONDS)) * 3


@pytest.mark.parametrize("changes", [{"concurrency": 1}, {"cache": CachePolicy(ttl_seconds=60)}])
def test_others_are_answered_one_after_the_other(changes: dict[str, Any]) -> None:
    """By the caller's thread: where an instance serves one at a time, or one answer may be another's as well."""
    endpoint = Endpoint()
    assert _ask(_gateway(endpoint, **changes), ["a b", "c", "d"]).status == 200
    assert endpoint.threads == {threading.get_ident()}


@pytest.mark.parametrize("error", [BROKE, BackendTimeoutError("too long")])
def test_what_was_begun_before_a_failure_is_charged(error: Exception) -> None:
    """The others of the first two are on their way when the first fails; those that wait are never called."""
    second_is_there, never = threading.Event(), threading.Event()

    def before(prompt: str) -> None:
        if prompt == "first":
            assert second_is_there.wait(20)
            raise error
        second_is_there.set()
        never.wait(0.5)  # until the caller's thread has called the rest off

    endpoint = Endpoint(before)
    gateway = _gateway(endpoint, concurrency=2)
    answer = _ask(gateway, ["first", "second", *(f"later {n}" for n in range(20))])
    assert answer.status in {502, 504}
    assert 2 <= len(endpoint.prompts) <= 4
    begun = len(endpoint.prompts) - 1
    (record,) = [line for line in gateway.lines if line.get("message") == "request"]
    assert Decimal(record["held_seconds"]) >= Decimal(str(SECONDS)) * begun
    assert _charged(gateway) == Decimal(answer.headers["x-tollgate-cost-usd"]) > 0


def test_one_prompt_without_capacity_becomes_a_job_beside_the_others() -> None:
    """As if they were called one after the other."""

    def before(prompt: str) -> None:
        if prompt == "second":
            raise CapacityError("none", retry_after=1)

    gateway = _gateway(Endpoint(before))
    assert _ask(gateway, ["first", "second", "third"]).status == 504
    assert len(gateway.jobs.jobs) == 1
    assert gateway.ledger.counters[DAY].used > 0
