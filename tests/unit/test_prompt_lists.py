"""Completions of several prompts: whose choice is whose, what they cost together, and who pays when one fails."""

import json
from collections.abc import Callable
from copy import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.openai_calls import events_of, finish_jobs, openai_catalogue
from tollgate.domain.budgets.budget import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache.policy import CachePolicy
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import CapacityError, ModelFailedError
from tollgate.domain.jobs.job import JobState, Usage
from tollgate.domain.places.sleeping import SleepPolicy
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.domain.roads.health import HealthPolicy
from tollgate.services.requests.answer_all import sum_of_usage

ROUTE = "POST /v1/completions"
ASK: dict[str, Any] = {"model": "echo", "prompt": ["a b", "c", "d e f"], "service_tier": "priority", "temperature": 0}
MAIN = "tollgate-echo-realtime"
DAY = "gateway#day#2026-03-01"
BROKE = ModelFailedError("out of memory", original_status=500)


def _gateway(limit: str | None = None, **changes: Any) -> FakeGateway:
    """A model that answers each prompt with its words, in the other order, as many times as it is asked for."""
    changes.setdefault("dialect", "openai")
    changes.setdefault("supports", frozenset({"n"}))
    catalogue = openai_catalogue(FakeGateway(), **changes)
    if limit is not None:
        budget = Budget(
            kind=ScopeKind.GATEWAY, subject="", period=BudgetPeriod.DAY, limit_usd=Decimal(limit), max_calls=3
        )
        catalogue = replace(catalogue, budgets=(budget,))
    gateway = FakeGateway(catalogue=catalogue)
    gateway.realtime.script = lambda: _continued(gateway)
    return gateway


def _continued(gateway: FakeGateway) -> bytes:
    body = json.loads(gateway.realtime.calls[-1][1])
    words = body["prompt"].split()
    choices = [
        {"index": index, "text": " ".join(words[::-1]) + "!" * index, "finish_reason": "stop"}
        for index in range(body.get("n", 1))
    ]
    usage: dict[str, Any] = {"prompt_tokens": len(words), "completion_tokens": len(words) * len(choices)}
    if len(words) > 1:
        usage["prompt_tokens_details"] = {"cached_tokens": len(words) - 1}
    return json.dumps({"object": "text_completion", "choices": choices, "usage": usage}).encode()


def _failing(gateway: FakeGateway, error: Exception, *, at: int) -> Callable[[], bytes | Exception]:
    return lambda: error if len(gateway.realtime.calls) == at else _continued(gateway)


def _ask(gateway: FakeGateway, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    return gateway.call(ROUTE, ASK | changes, headers=headers or {})


def _charged(gateway: FakeGateway) -> Decimal:
    counter = gateway.ledger.counters[DAY]
    assert counter.held == 0
    return counter.used


def _record(gateway: FakeGateway) -> dict[str, Any]:
    return next(line for line in gateway.lines if line.get("message") == "request")


@pytest.mark.parametrize("n", [1, 2])
def test_choices_keep_the_order_of_the_prompts(n: int) -> None:
    """Choice `j` of prompt `i` is number `i * n + j`; the tokens are added, those that came from a prompt cache too."""
    gateway = _gateway()
    given = document(_ask(gateway, n=n))
    texts = [text + "!" * j for text in ("b a", "c", "f e d") for j in range(n)]
    assert [(choice["index"], choice["text"]) for choice in given["choices"]] == list(enumerate(texts))
    counted = {"prompt_tokens": 6, "completion_tokens": 6 * n, "total_tokens": 6 + 6 * n}
    assert given["usage"] == counted | {"prompt_tokens_details": {"cached_tokens": 3}}
    assert [json.loads(body)["prompt"] for _, body in gateway.realtime.calls] == ASK["prompt"]


def test_a_stream_tells_the_same() -> None:
    """All of it at the end, also to those who could see it come."""
    events = events_of(_ask(_gateway(), stream=True))
    assert "".join(choice["text"] for event in events for choice in event["choices"] if choice["index"] == 2) == "f e d"
    outlet = _gateway().watch(ROUTE, ASK | {"stream": True})
    assert {choice["index"] for event in outlet.events[:-1] for choice in event["choices"]} == {0, 1, 2}
    assert outlet.events[-1] == "[DONE]"


def test_the_cost_is_that_of_all() -> None:
    """As single calls would have cost, but for the gateway's own share of a call; one line of log, one of metrics."""
    gateway, singly = _gateway(), _gateway()
    cost = Decimal(_ask(gateway).headers["x-tollgate-cost-usd"])
    alone = [Decimal(_ask(singly, prompt=prompt).headers["x-tollgate-cost-usd"]) for prompt in ASK["prompt"]]
    assert max(alone) * 2 < cost <= sum(alone)
    (record,) = [line for line in gateway.lines if line.get("message") == "request"]
    assert Decimal(record["effective_cost_usd"]) == cost
    assert (record["input_tokens"], record["output_tokens"]) == (6, 6)


def test_a_budget_is_charged_once_with_the_sum() -> None:
    """And counts one call, since the caller made one."""
    gateway = _gateway("1")
    cost = Decimal(_ask(gateway).headers["x-tollgate-cost-usd"])
    assert _charged(gateway) == cost
    assert gateway.ledger.counters[DAY].calls == 1


def test_what_is_held_for_all_is_written_once() -> None:
    """So it costs what it costs with one prompt, beside the calls themselves."""
    added = []
    for prompt in ("c", ["c"] * 3):
        free, counted = (
            Decimal(_ask(_gateway(limit), prompt=prompt).headers["x-tollgate-cost-usd"]) for limit in (None, "1")
        )
        added.append(counted - free)
    assert added[0] == added[1] > 0


def test_callers_are_told_what_their_budget_has_left() -> None:
    """As those are who send one prompt."""
    gateway = _gateway("1")
    left = Decimal(_ask(gateway).headers["x-tollgate-budget-remaining-usd"])
    assert left == 1 - _charged(gateway)


def test_a_budget_that_has_not_enough_for_all_refuses_before_anything_runs() -> None:
    """Although it would have paid for one."""
    gateway = _gateway("1")
    _ask(gateway, prompt="a b")
    one = gateway.ledger.counters[DAY].used
    poor = _gateway(str(one * 100))
    assert _ask(poor, prompt="a b").status == 200
    assert _ask(poor, prompt=["a b"] * 32).status == 429
    assert len(poor.realtime.calls) == 1
    assert poor.ledger.counters[DAY].held == 0


def test_money_for_all_is_held_until_the_last_has_run() -> None:
    """So nobody else can take what the later prompts need."""
    gateway, held = _gateway("1"), []

    def answer() -> bytes:
        held.append(gateway.ledger.counters[DAY].held)
        return _continued(gateway)

    gateway.realtime.script = answer
    _ask(gateway)
    assert len(held) == 3
    assert len(set(held)) == 1
    assert held[0] > 0


def test_what_ran_before_a_failure_is_charged() -> None:
    """The call fails as a whole; the prompt after the failure is not run."""
    gateway = _gateway("1")
    gateway.realtime.script = _failing(gateway, BROKE, at=2)
    answer = _ask(gateway)
    assert answer.status == 502
    assert len(gateway.realtime.calls) == 2
    assert _charged(gateway) == Decimal(answer.headers["x-tollgate-cost-usd"]) > 0


def test_a_deployment_that_stands_in_holds_its_own_money() -> None:
    """The share of the prompt that failed is used up; nothing is charged twice."""
    gateway = _gateway("1")
    (model,) = gateway.catalogue.models.values()
    (small,) = model.deployments
    road = replace(small.roads[InferenceType.REALTIME], target="spare")
    spare = replace(small, name="spare", weight=0, roads={InferenceType.REALTIME: road})
    model = replace(model, deployments=(small, spare), health=HealthPolicy(fallback=("spare",)))
    gateway.catalogues.catalogue = replace(gateway.catalogue, models={"echo": model})
    gateway.realtime.script = _failing(gateway, BROKE, at=2)
    answer = _ask(gateway)
    assert [choice["text"] for choice in document(answer)["choices"]] == ["b a", "c", "f e d"]
    assert [target for target, _ in gateway.realtime.calls] == [MAIN, MAIN, "spare", MAIN]
    assert _charged(gateway) == Decimal(answer.headers["x-tollgate-cost-usd"])


def test_a_prompt_that_nobody_can_serve_is_found_before_any_runs() -> None:
    """A chat-only route cannot continue a text."""
    gateway = _gateway(dialect="sagemaker-openai")
    answer = _ask(gateway)
    assert (answer.status, answer.headers["x-tollgate-cost-usd"]) == (400, "0")
    assert gateway.realtime.calls == []


def test_each_prompt_is_cached_by_itself() -> None:
    """A repetition runs only what is new, and is a hit when nothing is."""
    gateway = _gateway(cache=CachePolicy(ttl_seconds=60))
    assert _ask(gateway, prompt="c").headers["x-tollgate-cache"] == "miss"
    first = _ask(gateway)
    assert (first.headers["x-tollgate-cache"], len(gateway.realtime.calls)) == ("miss", 3)
    again = _ask(gateway)
    assert (again.headers["x-tollgate-cache"], len(gateway.realtime.calls)) == ("hit", 3)
    assert again.headers["x-tollgate-cost-usd"] == "0"
    assert [choice["text"] for choice in document(again)["choices"]] == ["b a", "c", "f e d"]


def test_prompts_that_became_jobs_are_waited_for() -> None:
    """All of them; the answer says `flex` and has their cost."""
    gateway = _gateway()
    finish_jobs(gateway, effective_cost=Decimal("0.25"))
    answer = _ask(gateway, service_tier="flex")
    assert answer.status == 200
    assert len(gateway.jobs.jobs) == 3
    given = document(answer)
    assert [choice["index"] for choice in given["choices"]] == [0, 1, 2]
    assert (given["service_tier"], given["usage"]["total_tokens"]) == ("flex", 12)
    assert answer.headers["x-tollgate-cost-usd"] == "0.75"


def test_one_prompt_without_capacity_becomes_a_job_beside_the_others() -> None:
    """Its answer keeps its place, and the money of all is settled."""
    gateway = _gateway("1")
    gateway.realtime.script = _failing(gateway, CapacityError("none", retry_after=1), at=2)
    finish_jobs(gateway)
    answer = _ask(gateway)
    assert answer.status == 200
    assert [choice["text"] for choice in document(answer)["choices"]] == ["b a", "there hello", "f e d"]
    (job,) = gateway.jobs.jobs.values()
    assert answer.headers["x-tollgate-job-id"] == job.job_id


def test_a_job_of_each_prompt_holds_its_own_money() -> None:
    """Also where the endpoint sleeps; on record is what all of them are expected to cost."""
    for sleeping in (False, True):
        gateway = _gateway("1")
        if sleeping:
            asleep = RoadCapacity(state=RoadState.ASLEEP)
            gateway.capacity.capacity = Capacity({("echo/small", InferenceType.REALTIME): asleep})
            model = gateway.catalogue.models["echo"]
            only = {InferenceType.REALTIME: model.deployments[0].roads[InferenceType.REALTIME]}
            model = replace(model, deployments=(replace(model.deployments[0], roads=only, sleep=SleepPolicy(30)),))
            gateway.catalogues.catalogue = replace(gateway.catalogue, models={"echo": model})
        answer = _ask(gateway, service_tier="priority" if sleeping else "flex")
        assert answer.status == 504
        jobs = gateway.jobs.jobs.values()
        assert {job.inference_type is InferenceType.REALTIME for job in jobs} == {sleeping}
        held = [job.reservation.amount for job in jobs if job.reservation is not None]
        assert len(held) == 3
        assert gateway.ledger.counters[DAY].held == sum(held)
        assert Decimal(_record(gateway)["estimated_cost_usd"]) == sum(job.estimated_cost or 0 for job in jobs)


def test_jobs_are_called_off_when_a_later_prompt_is_refused() -> None:
    """Nobody would see their answers, and a repetition of the call would pay for them again."""
    gateway = _gateway("1")
    answer = _ask(gateway, prompt=["a b", "c", "d", "e"], service_tier="flex")
    assert answer.status == 429
    assert [job.state for job in gateway.jobs.jobs.values()] == [JobState.CANCELLED] * 3
    assert _charged(gateway) == 0
    assert "x-tollgate-job-id" not in answer.headers


def test_a_job_that_has_begun_goes_on_when_a_later_prompt_fails() -> None:
    """It can no longer be called off; its money stays held until it ends."""
    gateway = _gateway("1")

    def answer() -> bytes | Exception:
        if len(gateway.realtime.calls) == 1:
            return CapacityError("none", retry_after=1)
        (job,) = gateway.jobs.jobs.values()
        gateway.jobs.change(job._replace(state=JobState.SUBMITTED), expected=frozenset({JobState.QUEUED}))
        return BROKE

    gateway.realtime.script = answer
    assert _ask(gateway).status == 502
    assert [job.state for job in gateway.jobs.jobs.values()] == [JobState.SUBMITTED]
    assert [_record(gateway)["job_id"]] == list(gateway.jobs.jobs)
    assert gateway.ledger.counters[DAY].held > 0


def test_a_job_that_does_not_end_in_time_is_named() -> None:
    """And the SDK is kept from paying for all of it again."""
    answer = _ask(_gateway(), service_tier="flex")
    assert answer.status == 504
    assert answer.headers["Location"].startswith("/v1/inferences/")
    assert answer.headers["x-should-retry"] == "false"


def test_a_repetition_waits_for_the_same_jobs() -> None:
    """With an Idempotency-Key, and pays nothing."""
    gateway = _gateway()
    gateway.realtime.script = _failing(gateway, CapacityError("none", retry_after=1), at=2)
    key = {"Idempotency-Key": "k"}
    assert _ask(gateway, key).status == 504
    finish_jobs(gateway)
    assert {len(name) for name in gateway.jobs.jobs} == {len("inf_") + 26}
    again = _ask(gateway, key)
    assert [choice["text"] for choice in document(again)["choices"]] == ["b a", "there hello", "f e d"]
    assert len(gateway.realtime.calls) == 3
    assert again.headers["x-tollgate-cost-usd"] == "0"


def test_a_list_is_no_job() -> None:
    """There would be several to look up."""
    answer = _ask(_gateway(), {"Prefer": "respond-async"})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "prompt"


def test_tokens_that_one_prompt_hides_are_not_summed() -> None:
    """Of all together nobody knows them then; of parts of them, what is known is said."""
    told = [Usage(3, 5, 1, None), Usage(4, 6, None, None)]
    assert sum_of_usage(told) == Usage(7, 11, 1, None)
    assert sum_of_usage([*told, Usage(None, 2)]) == Usage(None, 13, 1, None)
    assert sum_of_usage([*told, Usage(2, None, 1, 4)]) == Usage(9, None, 2, 4)


def test_a_container_that_gives_another_number_of_choices_has_failed() -> None:
    """Nobody could tell whose they are."""
    gateway = _gateway()
    gateway.realtime.script = None
    gateway.realtime.answer = json.dumps(
        {"object": "text_completion", "choices": [{"index": 0, "text": "x"}, {"index": 1, "text": "y"}]}
    ).encode()
    assert _ask(gateway).status == 502
