"""Requests answered at once by a provider that is paid by the token: what is held, charged and told."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.budgeted_gateway import counter_of
from tests.fakes.sizes import EASY
from tests.fakes.streams import RecordingOutlet, chunk, usage_chunk
from tests.fakes.token_house import BEDROCK, CHAT, INSTANCES, TOKENS, TokenHouse, completion, dollars, token_catalogue
from tests.fakes.usage import NOON
from tollgate.adapters.metering.request_log import records_of_line
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.costs.usage import roll_up, sum_of
from tollgate.domain.errors import (
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    ModelFailedError,
    TollgateError,
)
from tollgate.domain.jobs.job import JobState
from tollgate.domain.roads.capacity import Capacity, RoadCapacity, RoadState
from tollgate.services.requests.admission import Admission

OWN_PARTS = Decimal("0.0001")
"""More than the gateway's own parts of a request cost."""

STREAM = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "stream": True, "service_tier": "priority"}


def _line(house: TokenHouse) -> dict[str, Any]:
    return [line for line in house.gateway.lines if line.get("message") == "request"][-1]


def test_what_the_provider_reports_is_charged() -> None:
    """Cached tokens at their own rate; the record has the tokens, and the hold becomes exactly the cost."""
    house = TokenHouse(limit="1")
    house.gateway.realtime.answer = completion(1_000, 200, cached=400)
    answer = house.gateway.infer(CHAT)
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["usage"]["cached_input_tokens"] == 400
    tokens = dollars(1_000, 200, 400)
    spent = Decimal(answer.headers["x-tollgate-cost-usd"])
    assert tokens < spent < tokens + OWN_PARTS
    line = _line(house)
    assert (line["input_tokens"], line["output_tokens"], line["cached_input_tokens"]) == (1_000, 200, 400)
    assert Decimal(line["instance_cost_usd"]) == tokens
    counter = counter_of(house.gateway)
    assert (counter.committed, counter.spent) == (spent, spent)


def test_openais_clients_see_the_cached_tokens() -> None:
    """Where OpenAI's own API has them."""
    house = TokenHouse()
    house.gateway.realtime.answer = completion(1_000, 200, cached=400)
    body = {name: value for name, value in STREAM.items() if name != "stream"}
    usage = json.loads(house.gateway.call("POST /v1/chat/completions", body).body)["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 400}
    assert usage["total_tokens"] == 1_200


def test_usage_counts_the_cached_tokens() -> None:
    """As the record of the request has them."""
    house = TokenHouse()
    house.gateway.realtime.answer = completion(1_000, 200, cached=400)
    house.gateway.infer(CHAT)
    lines = [json.dumps(line, separators=(",", ":")) for line in house.gateway.lines]
    records = [record for line in lines for record in records_of_line(line, NOON)]
    totals = sum_of(roll_up(records, NOON))
    assert (totals.input_tokens, totals.cached_input_tokens, totals.unknown_tokens) == (1_000, 400, 0)


def test_the_provider_is_told_the_limit_that_money_is_held_for() -> None:
    """The caller's where it is the smaller one; the deployment's otherwise."""
    house = TokenHouse()
    for limit in (7, 9_000, None):
        house.gateway.infer(CHAT | {"parameters": {} if limit is None else {"max_tokens": limit}})
    told = [json.loads(body)["max_tokens"] for _, body in house.gateway.realtime.calls]
    assert told == [7, 500, 500]


@pytest.mark.parametrize(("asked", "told"), [(7, 7), (9_000, 2_048), (None, 2_048)])
def test_bedrock_is_told_the_limit_too(asked: int | None, told: int) -> None:
    """In Converse's words, in the body that goes out as it is."""
    house = TokenHouse(BEDROCK)
    house.gateway.infer(CHAT | {"parameters": {} if asked is None else {"max_tokens": asked}})
    ((_, body),) = house.gateway.realtime.calls
    assert json.loads(body)["inferenceConfig"] == {"maxTokens": told}


def test_a_budget_refuses_what_the_call_could_cost_at_most() -> None:
    """500 tokens of output cost $0.0003: where that may not be left, nothing is sent, however little it would cost."""
    house = TokenHouse(limit="0.0005")
    assert house.gateway.infer(CHAT).status == 429
    assert house.gateway.realtime.calls == []
    assert house.gateway.infer(CHAT | {"parameters": {"max_tokens": 10}}).status == 200


@pytest.mark.parametrize(
    "outcome",
    [
        BackendTimeoutError("late"),
        completion(None),
        completion(10, 5, cached=11),
        completion(0, 0),
        completion(10**40, 5),
        completion(10, -5),
        b"nothing of the kind",
    ],
)
def test_what_nobody_can_price_is_charged_as_it_was_held(outcome: bytes | Exception) -> None:
    """No answer in time, no tokens reported, or nonsense: the cost is unknown, and the record says so."""
    house = TokenHouse(limit="1")
    house.gateway.realtime.answer = outcome
    answer = house.gateway.infer(CHAT)
    assert "x-tollgate-cost-usd" not in answer.headers
    line, counter = _line(house), counter_of(house.gateway)
    assert "effective_cost_usd" not in line
    assert Decimal(line["charged_usd"]) == counter.spent == counter.committed
    assert counter.spent > dollars(len(CHAT["input"]), 500), "never less than the call may have cost"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelFailedError("too long", original_status=400), 400),
        (ModelFailedError("failed", original_status=500), 502),
    ],
)
def test_a_call_that_the_provider_refused_costs_only_the_gateways_own_parts(error: TollgateError, status: int) -> None:
    """A 4xx is the caller's, a 5xx the provider's; neither is charged by it."""
    house = TokenHouse(limit="1")
    house.gateway.realtime.answer = error
    answer = house.gateway.infer(CHAT)
    assert answer.status in {status, 424, 503}
    counter = counter_of(house.gateway)
    assert Decimal(0) < counter.spent == counter.committed < OWN_PARTS


@pytest.mark.parametrize("error", [BackendThrottledError("slow down"), CapacityError("not ready")])
def test_a_busy_provider_makes_the_request_a_job(error: TollgateError) -> None:
    """As a busy endpoint does: 202, with money held anew for the job."""
    house = TokenHouse(limit="1")
    house.gateway.realtime.answer = error
    answer = house.gateway.infer(CHAT)
    assert answer.status == 202, answer.body
    document = json.loads(answer.body)
    job = house.job(document["id"])
    assert (job.state, job.inference_type) == (JobState.QUEUED, InferenceType.ASYNC)
    assert house.gateway.async_queue.bodies == [{"kind": "job", "job_id": job.job_id, "resource": "chat/paid"}]


def test_embeddings_are_refused() -> None:
    """A model with such a deployment is a chat model."""
    answer = TokenHouse().gateway.call("POST /v1/embeddings", {"model": "chat", "input": "hello"})
    assert answer.status == 400
    assert "chat model" in json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("input_", [{"inputs": ["a", "b"]}, [{"role": "user", "content": [{"type": "image_url"}]}]])
def test_what_has_no_known_bound_is_refused_before_anything_is_held(input_: Any) -> None:
    """The caller is told why; no budget is touched."""
    house = TokenHouse(limit="1")
    assert house.gateway.infer(CHAT | {"input": input_}).status == 400
    assert house.gateway.ledger.counters == {}


def test_a_streamed_answer_is_charged_by_what_its_last_event_reports() -> None:
    """Providers say the usage at the end."""
    house = TokenHouse(limit="1")
    house.gateway.stream.pieces = [chunk("384,400"), chunk(" km", "stop"), usage_chunk(1_000, 200)]
    outlet = house.gateway.watch("POST /v1/chat/completions", STREAM)
    assert outlet.text == "384,400 km"
    assert dollars(1_000, 200) < counter_of(house.gateway).spent < dollars(1_000, 200) + OWN_PARTS


def test_a_caller_who_hangs_up_is_charged_what_was_held() -> None:
    """The provider may go on, and nobody will hear how far it came."""
    house = TokenHouse(limit="1")
    house.gateway.stream.pieces = [chunk("one"), chunk(" two"), chunk(" three", "stop"), usage_chunk(10, 3)]
    house.gateway.watch("POST /v1/chat/completions", STREAM, RecordingOutlet(leaves_after=1))
    assert counter_of(house.gateway).spent > dollars(1, 500)
    assert "effective_cost_usd" not in _line(house)


def test_a_count_that_grew_until_the_caller_hung_up_is_not_the_whole() -> None:
    """Some providers tell the usage with every piece; the model may have gone on after the last that came."""
    house = TokenHouse(limit="1")
    usage = b', "usage": {"prompt_tokens": 10, "completion_tokens": 1}}'
    house.gateway.stream.pieces = [chunk("one").strip().removesuffix(b"}") + usage + b"\n\n", chunk(" two")]
    house.gateway.watch("POST /v1/chat/completions", STREAM, RecordingOutlet(leaves_after=1))
    assert counter_of(house.gateway).spent > dollars(1, 500)


def test_a_deployment_that_cannot_say_what_was_asked_does_not_stand_in() -> None:
    """The caller hears of the failure, or has the answer of the next, not a complaint about the stand-in's API."""
    chain = '[models.chat.health]\nfallback = ["bedrock", "gpu"]\n'
    house = TokenHouse(chain + TOKENS + BEDROCK.replace('"small"', '"small"\nweight = 0') + INSTANCES)
    house.gateway.realtime.answers["gpt-4o-mini"] = ModelFailedError("down", original_status=500)
    answer = house.gateway.infer(CHAT | {"parameters": {"seed": 1}})
    assert (answer.status, answer.headers["x-tollgate-deployment"]) == (200, "chat/gpu")


@pytest.mark.parametrize(("usd", "copied"), [("0.0002", False), ("1", True)])
def test_a_copy_to_a_shadow_counts_for_the_most_that_it_may_cost(usd: str, *, copied: bool) -> None:
    """Nothing cuts such a call: 500 tokens are $0.0003, though 100 are expected. And it runs for what is held."""
    shadow = TOKENS.replace("deployments.paid", "deployments.next").replace(
        '"small"', '"small"\nrole = "shadow"\nweight = 0'
    )
    policy = f'[models.chat.choice.shadow]\nshare = 0.5\nusd_per_day = "{usd}"\n'
    house = TokenHouse(policy + TOKENS + shadow)
    assert {house.gateway.infer(CHAT).status for _ in range(20)} == {200}
    jobs = list(house.gateway.jobs.jobs.values())
    assert {job.deployment for job in jobs} == ({"next"} if copied else set())
    for job in jobs:
        house.runner().run(job.job_id)
        ended = house.job(job.job_id)
        assert (ended.state, ended.failure) == (JobState.COMPLETED, None)


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_that_only_the_total_tells_are_charged(streamed: bool) -> None:
    """Some providers count them beside the output and bill them with it."""
    house = TokenHouse(limit="1")
    usage = {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_200}
    if streamed:
        last = json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        house.gateway.stream.pieces = [chunk("384,400 km", "stop"), f"data: {last}\n\n".encode()]
        house.gateway.watch("POST /v1/chat/completions", STREAM)
    else:
        house.gateway.realtime.answer = json.dumps(json.loads(completion()) | {"usage": usage}).encode()
        house.gateway.infer(CHAT)
    assert dollars(1_000, 200) < counter_of(house.gateway).spent < dollars(1_000, 200) + OWN_PARTS


def test_a_function_that_dies_in_a_call_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider may bill the call: no later request may spend the money a second time."""
    house = TokenHouse(limit="0.0009")
    with monkeypatch.context() as dying:
        dying.setattr(Admission, "settle", lambda *_: None)
        assert house.gateway.infer(CHAT).status == 200
    held = counter_of(house.gateway).committed
    house.clock.advance(3_600)
    assert house.gateway.infer(CHAT).status == 429
    assert counter_of(house.gateway).committed == held > dollars(1, 500)


def test_a_sleeping_endpoint_is_stood_in_for() -> None:
    """A deployment that answers now is better than one that answers later, whatever the hour would have cost."""
    busy = INSTANCES.replace("0.01", "1").replace("base_seconds = 0.5", "base_seconds = 0.00001")
    house = TokenHouse(TOKENS + busy.replace("seconds_per_output_token = 1", "seconds_per_output_token = 0"))
    house.gateway.realtime.answers["chat-realtime"] = completion()
    first = house.gateway.infer(CHAT)
    assert first.headers["x-tollgate-deployment"] == "chat/gpu"
    asleep = RoadCapacity(state=RoadState.ASLEEP)
    house.gateway.capacity.capacity = Capacity({("chat/gpu", InferenceType.REALTIME): asleep})
    answer = house.gateway.infer(CHAT)
    assert (answer.status, answer.headers["x-tollgate-deployment"]) == (200, "chat/paid")


def test_a_failing_provider_is_stood_in_for_by_the_fallback_chain() -> None:
    """And the other way round: both ways of paying may stand in each other's chain."""
    chain = '[models.chat.health]\nfallback = ["gpu"]\n'
    house = TokenHouse(chain + TOKENS + INSTANCES)
    house.gateway.realtime.answers["gpt-4o-mini"] = ModelFailedError("down", original_status=500)
    answer = house.gateway.infer(CHAT)
    assert answer.status == 200, answer.body
    assert answer.headers["x-tollgate-deployment"] == "chat/gpu"
    assert [target for target, _ in house.gateway.realtime.calls] == ["gpt-4o-mini", "chat-realtime"]


def test_a_provider_that_stands_in_is_charged_by_what_it_reports() -> None:
    """Of the first's failed call nothing is known; of the other's all is."""
    chain = '[models.chat.health]\nfallback = ["spare"]\n'
    spare = TOKENS.replace("deployments.paid", "deployments.spare").replace('"small"', '"small"\nweight = 0')
    house = TokenHouse(chain + TOKENS + spare, limit="1")
    script: list[bytes | Exception] = [ModelFailedError("down", original_status=500), completion(1_000, 200)]
    house.gateway.realtime.script = lambda: script.pop(0)
    answer = house.gateway.infer(CHAT)
    assert answer.headers["x-tollgate-deployment"] == "chat/spare"
    spent = Decimal(answer.headers["x-tollgate-cost-usd"])
    assert dollars(1_000, 200) < spent < dollars(1_000, 200) + OWN_PARTS
    assert counter_of(house.gateway).spent == spent


def test_avoided_cost_compares_with_the_endpoint_that_would_have_been_kept_up() -> None:
    """The request's tokens, taken to the idle large endpoint, would have cost its seconds and their idle time."""
    large = INSTANCES.replace('tier = "small"', 'tier = "large"\nweight = 0')
    answer = TokenHouse(TOKENS + large).gateway.infer(CHAT)
    own, avoided = (Decimal(answer.headers[f"x-tollgate-{name}-usd"]) for name in ("cost", "avoided-cost"))
    hour = token_catalogue(large).models["chat"].deployments[0].roads[InferenceType.REALTIME].usd_per_hour
    assert hour is not None
    there = (Decimal("0.5") + 30 * Decimal("0.01")) * hour / 3600 * 100
    assert abs(own + avoided - there) < Decimal("0.00001")


def test_alone_it_is_its_own_baseline() -> None:
    """Nothing is avoided, and the gateway's own parts are what it costs more."""
    answer = TokenHouse().gateway.infer(CHAT)
    own = Decimal(answer.headers["x-tollgate-cost-usd"])
    assert Decimal(answer.headers["x-tollgate-avoided-cost-usd"]) == dollars(20, 30) - own


def test_the_usage_of_one_call_is_not_taken_for_that_of_another() -> None:
    """A cascade's first answer is told and priced, the larger size's time-out is not: it is charged as it was held."""
    larger = TOKENS.replace("deployments.paid", "deployments.large").replace('"small"', '"large"')
    house = TokenHouse("[models.chat.choice.cascade]\n" + TOKENS + larger, limit="1")
    script: list[bytes | Exception] = [completion(1_000, 200, text="I don't know."), BackendTimeoutError("late")]
    answers = iter(script)
    house.gateway.realtime.script = lambda: next(answers)
    house.gateway.infer(CHAT | {"input": EASY})
    assert next(answers, None) is None, "both sizes were asked"
    assert counter_of(house.gateway).spent > dollars(1_000, 200) + dollars(1, 500)
