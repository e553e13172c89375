"""Streams as their callers meet them: what is seen when, what an error looks like, and what is charged for it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.sizes import chat_answer, sized_catalogue
from tests.fakes.streams import DONE, RecordingOutlet, chunk, token, usage_chunk
from tests.fakes.usage import NOON
from tollgate.adapters.request_log import records_of_line
from tollgate.domain.budgets import Budget, BudgetPeriod, ScopeKind
from tollgate.domain.cache_policy import CachePolicy
from tollgate.domain.catalogue import Catalogue, InferenceType, Timing
from tollgate.domain.choice_policy import CascadePolicy, ChoicePolicy
from tollgate.domain.errors import BackendTimeoutError, CapacityError, ModelFailedError
from tollgate.domain.health import HealthPolicy

CHAT, TEXT = "POST /v1/chat/completions", "POST /v1/completions"
ASK: dict[str, Any] = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hello"}],
    "stream": True,
    "service_tier": "priority",
    "temperature": 0,
}
PIECES = [chunk(role="assistant"), chunk("three"), chunk(" two"), chunk(" one"), chunk(None, "stop")]
WHOLE = [*PIECES, usage_chunk(4, 3), DONE]
BROKE = ModelFailedError("The model container broke off its answer: out of memory", original_status=502)
DAY = "gateway#day#2026-03-01"


def _catalogue(**changes: Any) -> Catalogue:
    """The example, its container speaking OpenAI's chunks."""
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    (deployment,) = model.deployments
    model = replace(model, deployments=(replace(deployment, dialect="messages"),), **changes)
    return replace(catalogue, models={"echo": model})


def _budget(limit: str) -> Budget:
    return Budget(kind=ScopeKind.GATEWAY, subject="", period=BudgetPeriod.DAY, limit_usd=Decimal(limit))


def _gateway(*budgets: Budget, **changes: Any) -> FakeGateway:
    gateway = FakeGateway(catalogue=replace(_catalogue(**changes), budgets=budgets))
    gateway.stream.pieces = WHOLE
    return gateway


def _record(gateway: FakeGateway) -> dict[str, Any]:
    return [line for line in gateway.lines if line.get("message") == "request"][-1]


def test_pieces_are_passed_on_as_they_come() -> None:
    """Each goes out before the next one comes, the head with the first."""
    gateway, seen = _gateway(), []
    outlet = RecordingOutlet()
    gateway.stream.pieces = [b"", chunk("a"), chunk("b"), chunk(None, "stop")]
    feed = gateway.stream.open

    def noting(*arguments: Any, **options: Any) -> Any:
        for piece in feed(*arguments, **options):
            yield piece
            seen.append((outlet.begun, outlet.text if outlet.begun else ""))

    gateway.stream.open = noting  # type: ignore[method-assign]
    gateway.watch(CHAT, ASK, outlet)
    assert seen == [(False, ""), (True, "a"), (True, "ab"), (True, "ab")]


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("route", [CHAT, TEXT])
def test_a_stream_reads_like_one_that_came_as_a_whole(route: str, *, include_usage: bool) -> None:
    """But for the pieces its text is in, and what only its end knows: the cost and the time."""
    ask = {name: value for name, value in ASK.items() if name != "messages"} | {"prompt": "hello"}
    body = (ASK if route == CHAT else ask) | {"stream_options": {"include_usage": include_usage}}
    gateway = _gateway()
    gateway.stream.pieces = (
        gateway.stream.pieces
        if route == CHAT
        else [token("three"), token(" two one", ending={"finish_reason": "eos_token"})]
    )
    live = gateway.watch(route, body)
    gateway.realtime.answer = chat_answer("three two one") if route == CHAT else b'[{"generated_text":"three two one"}]'
    whole = gateway.call(route, body)
    events = [json.loads(text) for line in whole.body.split("\n\n") if (text := line[6:]) and text != "[DONE]"]
    assert live.text == "".join(_said(event) for event in events)
    assert live.events[-1] == "[DONE]"
    for seen, known in ((live.events[0], events[0]), (live.events[-2], events[-1])):
        assert seen.keys() - {"tollgate"} == known.keys()
        assert seen["object"] == known["object"]
        assert [c.keys() for c in seen["choices"]] == [c.keys() for c in known["choices"]]
    at_the_end = {"x-tollgate-cost-usd", "x-tollgate-avoided-cost-usd", "openai-processing-ms"}
    assert {name.lower() for name in live.headers} | at_the_end == {name.lower() for name in whole.headers}


def _said(event: dict[str, Any]) -> str:
    return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in event["choices"])


def test_the_usage_comes_last_with_the_cost() -> None:
    """As the container counted it, and as it was settled."""
    gateway = _gateway()
    outlet = gateway.watch(CHAT, ASK | {"stream_options": {"include_usage": True}})
    last = outlet.events[-2]
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert last["tollgate"]["cost_usd"] == _record(gateway)["effective_cost_usd"]
    assert all(event["usage"] is None for event in outlet.events[:-2])


def test_usage_that_nobody_said_is_an_estimate_and_says_so() -> None:
    """A price by tokens needs one; the client can tell it from a count."""
    gateway = _gateway()
    gateway.stream.pieces = PIECES
    usage = gateway.watch(CHAT, ASK | {"stream_options": {"include_usage": True}}).events[-2]["usage"]
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens"] > 0
    assert usage["estimated"] is True


def test_the_container_is_asked_for_a_stream_with_its_usage() -> None:
    """Whether or not the client wants to see it: the price needs it."""
    gateway = _gateway()
    gateway.watch(CHAT, ASK)
    (body,) = gateway.stream.bodies
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_what_is_charged_is_the_time_that_the_stream_took() -> None:
    """Held before the first byte, settled after the last."""
    gateway = _gateway(_budget("1"))
    gateway.watch(CHAT, ASK)
    record = _record(gateway)
    assert Decimal(record["held_seconds"]) == Decimal("0.5") * len(WHOLE)
    counter = gateway.ledger.counters[DAY]
    assert counter.spent == counter.committed == Decimal(record["effective_cost_usd"])


def test_a_budget_refuses_before_the_first_byte() -> None:
    """429 with OpenAI's code, and the endpoint is not called."""
    gateway = _gateway(_budget("0.000001"))
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 429
    assert json.loads(outlet.body)["error"]["code"] == "insufficient_quota"
    assert int(outlet.headers["Retry-After"]) > 0
    assert gateway.stream.bodies == []


def test_an_error_before_the_first_word_is_a_plain_answer() -> None:
    """Also when the container has sent its greeting already."""
    gateway = _gateway()
    gateway.stream.pieces = [chunk(role="assistant"), BROKE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 502
    assert outlet.headers["Content-Type"] == "application/json"
    assert json.loads(outlet.body)["error"]["code"] == "model_error"


@pytest.mark.parametrize("error", [BROKE, BackendTimeoutError("too long")])
def test_an_error_in_the_middle_is_an_event(error: Exception) -> None:
    """The status is gone out already; what ran is charged, by the time and by the tokens that came."""
    gateway = _gateway(_budget("1"))
    gateway.stream.pieces = [*PIECES[:3], error]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 200
    assert outlet.events[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in outlet.events
    record = _record(gateway)
    assert record["outcome"] == "failed"
    assert record["output_tokens"] == 2
    assert record["input_tokens"] > 0
    assert gateway.ledger.counters[DAY].spent == Decimal(record["effective_cost_usd"]) > 0


def test_a_stream_without_an_end_is_an_error() -> None:
    """The container closed the connection in the middle of a sentence, without a word."""
    gateway = _gateway()
    gateway.stream.pieces = PIECES[:3]
    assert gateway.watch(CHAT, ASK).events[-1]["error"]["code"] == "model_error"


def test_nobody_else_answers_once_a_word_was_said() -> None:
    """Neither the fallback chain nor a stale answer: half of one and half of another are no answer."""
    health = HealthPolicy(fallback=("spare",))
    gateway = _gateway(cache=CachePolicy(stale_if_error_seconds=3_600, ttl_seconds=1), health=health)
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
    gateway = _gateway(health=HealthPolicy(fallback=("spare",)))
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
    gateway = _gateway(_budget("1"), fall_back_to_async=True)
    gateway.stream.pieces = [*PIECES[:3], CapacityError("full")]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "no_capacity"
    assert gateway.jobs.jobs == {}
    counter = gateway.ledger.counters[DAY]
    assert counter.spent == counter.committed


def test_nobody_else_answers_a_stream_that_reads_badly_as_a_whole() -> None:
    """The caller has seen all of it before the dialect finds that it is no answer of its kind."""
    gateway = _gateway(health=HealthPolicy(fallback=("spare",)))
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
    gateway = _gateway(_budget("1"))
    gateway.stream.pieces = [*PIECES[:3], chunk(tool_calls=7), *PIECES[3:], DONE]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.events[-1]["error"]["code"] == "model_error"
    assert gateway.ledger.counters[DAY].spent == Decimal(_record(gateway)["effective_cost_usd"]) > 0


def test_whoever_hangs_up_pays_for_what_ran() -> None:
    """The call is ended, and its time until then charged; nothing of it is kept."""
    gateway = _gateway(_budget("1"), cache=CachePolicy())
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2))
    assert gateway.stream.closed_after == 2
    record = _record(gateway)
    assert record["route_reason"].endswith(";caller_gone")
    assert (record["outcome"], record["error_code"]) == ("cancelled", "cancelled_by_caller")
    assert Decimal(record["held_seconds"]) == Decimal("1.0")
    assert record["output_tokens"] == 1
    assert gateway.ledger.counters[DAY].spent == Decimal(record["effective_cost_usd"]) > 0
    assert gateway.watch(CHAT, ASK).headers["x-tollgate-cache"] == "miss"


def test_how_long_a_caller_stayed_is_no_latency() -> None:
    """Neither a measurement that roads are compared by, nor part of the metrics and quantiles that people look at."""
    gateway = _gateway()
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2))
    assert not gateway.measurements.durations
    (metrics,) = gateway.metrics
    assert "Latency" not in metrics
    assert metrics["Requests"] == [1]
    (counted,) = records_of_line(json.dumps(_record(gateway), separators=(",", ":")), NOON)
    assert counted.latency_seconds is None
    assert counted.charged == counted.effective == Decimal(_record(gateway)["effective_cost_usd"])
    gateway.watch(CHAT, ASK)
    assert len(gateway.measurements.durations) == 1
    assert "Latency" in gateway.metrics[-1]


def test_a_stream_may_be_larger_than_a_function_may_return() -> None:
    """It has gone out already: its end is [DONE], with no error behind it, live and as a repetition."""
    gateway = _gateway()
    gateway.stream.pieces = [*(chunk("a" * 100_000) for _ in range(70)), chunk(None, "stop"), DONE]
    first = gateway.watch(CHAT, ASK, headers={"Idempotency-Key": "k1"})
    again = gateway.watch(CHAT, ASK, headers={"Idempotency-Key": "k1"})
    for outlet in (first, again):
        assert outlet.status == 200
        assert "".join(outlet.written).endswith("data: [DONE]\n\n")
        assert sum(map(len, outlet.written)) > 7_000_000
        assert not any("error" in event for event in outlet.events)
    assert len(gateway.stream.bodies) == 1
    refused = gateway.call(CHAT, ASK, headers={"Idempotency-Key": "k1"})
    assert (refused.status, document(refused)["error"]["code"]) == (502, "answer_too_large")


def test_what_a_large_stream_costs_more_is_charged() -> None:
    """Bytes beyond the free ones, and API requests beyond the first, at their prices; a small one costs neither."""
    costs = []
    for per_gb in ("0", "8"):
        gateway = _gateway()
        prices = gateway.catalogues.catalogue.gateway_prices._replace(lambda_streamed_gb=Decimal(per_gb))
        gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, gateway_prices=prices)
        gateway.watch(CHAT, ASK)
        small = Decimal(_record(gateway)["effective_cost_usd"])
        gateway.stream.pieces = [chunk("a" * 1_100_000) for _ in range(10)]
        outlet = gateway.watch(CHAT, ASK)
        costs.append((small, Decimal(_record(gateway)["effective_cost_usd"])))
    (small, free), (same, paid) = costs
    assert small == same
    beyond = Decimal(outlet.sent_bytes - len(outlet.written[-1]) - 6_000_000)
    assert paid - free == pytest.approx(beyond / 1024**3 * 8, rel=Decimal("0.001"))


def test_choices_that_had_not_begun_are_missing_from_what_is_kept() -> None:
    """The first of two choices has ended when the caller hangs up: that is half of the answer, however it reads."""
    gateway = _gateway(cache=CachePolicy())
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
    gateway = _gateway()
    key = {"Idempotency-Key": "k1"}
    gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2), headers=key)
    assert gateway.stream.closed_after == len(WHOLE)
    again = gateway.watch(CHAT, ASK, headers=key)
    assert again.text == "three two one"
    assert again.headers["x-tollgate-cost-usd"] == "0"
    assert len(gateway.stream.bodies) == 1


def test_a_complete_stream_is_kept_and_given_again_as_one() -> None:
    """A hit is a stream as well, and costs nothing."""
    gateway = _gateway(cache=CachePolicy())
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
    catalogue = _catalogue(cache=CachePolicy(strays=0, wait_seconds=1))
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


def test_an_answer_that_must_pass_a_check_is_not_shown_before() -> None:
    """Where a larger model may still be asked, the caller sees the answer that stands in the end."""
    choice = ChoicePolicy(cascade=CascadePolicy())
    gateway = FakeGateway(catalogue=sized_catalogue(choice))
    gateway.realtime.answer = chat_answer("Paris is the capital of France.")
    outlet = gateway.watch(CHAT, ASK | {"model": "chat"})
    assert outlet.text == "Paris is the capital of France."
    assert gateway.stream.bodies == []


def test_a_multi_model_endpoint_answers_as_a_whole() -> None:
    """SageMaker cannot stream from one, so its answer comes as events in the end."""
    gateway = _gateway()
    model = gateway.catalogues.catalogue.models["echo"]
    (small,) = model.deployments
    road = replace(small.roads[InferenceType.REALTIME], target_model="a.tar.gz")
    small = replace(small, roads={**small.roads, InferenceType.REALTIME: road})
    model = replace(model, deployments=(small,))
    gateway.catalogues.catalogue = replace(gateway.catalogues.catalogue, models={"echo": model})
    gateway.realtime.answer = chat_answer("whole")
    assert gateway.watch(CHAT, ASK).text == "whole"
    assert gateway.stream.bodies == []


def test_what_is_not_streamed_goes_out_as_a_whole() -> None:
    """By the same function, with the headers that an answer has whose cost is known."""
    gateway = _gateway()
    gateway.realtime.answer = chat_answer("hi")
    outlet = gateway.watch(CHAT, ASK | {"stream": False})
    assert outlet.status == 200
    assert len(outlet.written) == 1
    assert float(outlet.headers["x-tollgate-cost-usd"]) > 0
    assert gateway.stream.bodies == []


def test_no_capacity_becomes_a_job_that_is_waited_for() -> None:
    """As for any other request, and its answer comes as events in the end."""
    gateway = _gateway(fall_back_to_async=True)
    gateway.stream.pieces = [CapacityError("full")]
    outlet = gateway.watch(CHAT, ASK)
    assert outlet.status == 504
    (job,) = gateway.jobs.jobs.values()
    assert job.inference_type is InferenceType.ASYNC


def test_a_failing_stream_is_noticed_by_the_circuit() -> None:
    """As any failing call; a client that leaves says nothing about the deployment."""
    gateway = _gateway(health=HealthPolicy(least_calls=2))
    for _ in range(3):
        gateway.watch(CHAT, ASK, RecordingOutlet(leaves_after=2))
    assert gateway.health.told == []
    gateway.stream.pieces = [*PIECES[:3], BROKE]
    for _ in range(6):
        gateway.watch(CHAT, ASK)
    assert gateway.health.told


def test_only_whoever_has_an_outlet_sees_pieces() -> None:
    """The gateway function itself has none, and its answers are what they were."""
    gateway = _gateway()
    gateway.realtime.answer = chat_answer("whole")
    answer = gateway.call(CHAT, ASK)
    assert '"content":"whole"' in answer.body
    assert gateway.stream.bodies == []
