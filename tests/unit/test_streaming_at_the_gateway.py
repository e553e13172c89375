"""Streams as their callers meet them: what is seen when."""

import json
from copy import replace
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.live_gateway import (
    ASK,
    CHAT,
    PIECES,
    TEXT,
    last_record,
    live_gateway,
)
from tests.fakes.sizes import chat_answer, sized_catalogue
from tests.fakes.streams import DONE, RecordingOutlet, chunk, token
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.choice.policy import CascadePolicy, ChoicePolicy


def test_pieces_are_passed_on_as_they_come() -> None:
    """Each goes out before the next one comes, the head with the first."""
    gateway, seen = live_gateway(), []
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
    gateway = live_gateway()
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
    sent = whole.to_event()["headers"]
    assert {name.lower() for name in live.headers} | at_the_end == {name.lower() for name in sent}


def _said(event: dict[str, Any]) -> str:
    return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in event["choices"])


def test_the_usage_comes_last_with_the_cost() -> None:
    """As the container counted it, and as it was settled."""
    gateway = live_gateway()
    outlet = gateway.watch(CHAT, ASK | {"stream_options": {"include_usage": True}})
    last = outlet.events[-2]
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert last["tollgate"]["cost_usd"] == last_record(gateway)["effective_cost_usd"]
    assert all(event["usage"] is None for event in outlet.events[:-2])


def test_usage_that_nobody_said_is_an_estimate_and_says_so() -> None:
    """A price by tokens needs one; the client can tell it from a count."""
    gateway = live_gateway()
    gateway.stream.pieces = PIECES
    usage = gateway.watch(CHAT, ASK | {"stream_options": {"include_usage": True}}).events[-2]["usage"]
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens"] > 0
    assert usage["estimated"] is True


def test_the_container_is_asked_for_a_stream_with_its_usage() -> None:
    """Whether or not the client wants to see it: the price needs it."""
    gateway = live_gateway()
    gateway.watch(CHAT, ASK)
    (body,) = gateway.stream.bodies
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_stream_may_be_larger_than_a_function_may_return() -> None:
    """It has gone out already: its end is [DONE], with no error behind it, live and as a repetition."""
    gateway = live_gateway()
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
    gateway = live_gateway()
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
    gateway = live_gateway()
    gateway.realtime.answer = chat_answer("hi")
    outlet = gateway.watch(CHAT, ASK | {"stream": False})
    assert outlet.status == 200
    assert len(outlet.written) == 1
    assert float(outlet.headers["x-tollgate-cost-usd"]) > 0
    assert gateway.stream.bodies == []


def test_only_whoever_has_an_outlet_sees_pieces() -> None:
    """The gateway function itself has none, and its answers are what they were."""
    gateway = live_gateway()
    gateway.realtime.answer = chat_answer("whole")
    answer = gateway.call(CHAT, ASK)
    assert '"content":"whole"' in answer.body
    assert gateway.stream.bodies == []
