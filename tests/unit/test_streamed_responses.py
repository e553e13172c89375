"""Streamed responses, as OpenAI's client reads them: whole from the gateway, in pieces from the streaming function."""

import json
from copy import replace
from typing import Any

import httpx2
import openai
import pytest
from openai import OpenAI

from tests.fakes.examples import make_catalogue
from tests.fakes.gateway import FakeGateway, document
from tests.fakes.streams import DONE, RecordingOutlet, chunk, usage_chunk
from tollgate.domain.errors import CapacityError, ModelFailedError

ROUTE = "POST /v1/responses"
ASK: dict[str, Any] = {"model": "echo", "input": "hello", "stream": True, "service_tier": "priority"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SAID = [chunk(role="assistant"), chunk("three"), chunk(" two"), chunk(None, "stop"), usage_chunk(4, 2), DONE]
COMPLETION: dict[str, Any] = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "three two"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 2},
}
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def _gateway(message: dict[str, Any] | None = None, reason: str = "stop") -> FakeGateway:
    catalogue = make_catalogue()
    model = catalogue.models["echo"]
    deployment = replace(model.deployments[0], dialect="messages", supports=frozenset({"tools"}))
    catalogue = replace(catalogue, models={"echo": replace(model, deployments=(deployment,))})
    gateway = FakeGateway(catalogue=catalogue)
    gateway.stream.pieces = SAID
    choice = {**COMPLETION["choices"][0], "finish_reason": reason}
    choice["message"] = message or choice["message"]
    gateway.realtime.answer = json.dumps({**COMPLETION, "choices": [choice]}).encode()
    return gateway


def _client(gateway: FakeGateway, *, pieces: bool) -> OpenAI:
    """OpenAI's client, whose calls go straight to a gateway function."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        if pieces:
            outlet = gateway.watch(ROUTE, body)
            return httpx2.Response(outlet.status, headers=dict(outlet.headers), text=outlet.body)
        given = gateway.call(ROUTE, body)
        return httpx2.Response(given.status, headers=dict(given.to_event()["headers"]), text=given.body)

    return OpenAI(
        base_url="http://gateway/v1",
        api_key="key",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


def _events(text: str) -> list[dict[str, Any]]:
    """The documents of all events, each under its own name."""
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.mark.parametrize("pieces", [False, True])
def test_the_events_come_in_openais_order(*, pieces: bool) -> None:
    """Numbered from 0; in pieces there are only more deltas."""
    gateway = _gateway()
    text = gateway.watch(ROUTE, ASK).body if pieces else gateway.call(ROUTE, ASK).body
    events = _events(text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"] for event in events]
    assert list(dict.fromkeys(kinds)) == ORDER
    assert kinds.count("response.output_text.delta") == (2 if pieces else 1)


@pytest.mark.parametrize("pieces", [False, True])
def test_the_last_event_has_the_same_response_as_a_call_without_stream(*, pieces: bool) -> None:
    """But for what a later call cannot share; in pieces it also tells the cost."""
    gateway = _gateway()
    text = gateway.watch(ROUTE, ASK).body if pieces else gateway.call(ROUTE, ASK).body
    streamed = _events(text)[-1]["response"]
    assert ("tollgate" in streamed) == pieces
    streamed.pop("tollgate", None)
    plain = document(_gateway().call(ROUTE, ASK | {"stream": False}))
    assert streamed | {"created_at": 0} == plain | {"created_at": 0}


@pytest.mark.parametrize("pieces", [False, True])
def test_openais_client_gathers_the_response(*, pieces: bool) -> None:
    """With `responses.stream`, which checks that the events fit together, and with `create(stream=True)`."""
    with _client(_gateway(), pieces=pieces) as client:
        with client.responses.stream(model="echo", input="hello", service_tier="priority") as stream:
            said = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        assert "".join(said) == final.output_text == "three two"
        assert final.usage is not None
        assert final.usage.total_tokens == 6
        events = list(client.responses.create(model="echo", input="hello", stream=True, service_tier="priority"))
    assert events[-1].type == "response.completed"


@pytest.mark.parametrize("pieces", [False, True])
def test_tool_calls_are_streamed_as_items(*, pieces: bool) -> None:
    """With their arguments as they grow, beside what was thought and said."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": "wait", "reasoning_content": "hm", "tool_calls": [call]}
    gateway = _gateway(message, "tool_calls")
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
    gateway.stream.pieces = [
        chunk(reasoning_content="hm"),
        chunk("wait"),
        chunk(tool_calls=[first]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
        chunk(None, "tool_calls"),
        usage_chunk(4, 2),
        DONE,
    ]
    with (
        _client(gateway, pieces=pieces) as client,
        client.responses.stream(
            model="echo",
            input="hello",
            tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
            service_tier="priority",
        ) as stream,
    ):
        grown = [event for event in stream if event.type == "response.function_call_arguments.delta"]
        output = stream.get_final_response().output
    assert "".join(event.delta for event in grown) == '{"a": 1}'
    assert [item.type for item in output] == ["reasoning", "message", "function_call"]
    called = output[-1]
    assert called.type == "function_call"
    assert (called.call_id, called.name, called.arguments, called.status) == ("c1", "f", '{"a": 1}', "completed")


@pytest.mark.parametrize("pieces", [False, True])
def test_what_a_model_refuses_is_told(*, pieces: bool) -> None:
    """As a part of its own, streamed and not; sent in again, it is what the assistant said."""
    gateway = _gateway({"role": "assistant", "content": None, "refusal": "No, thanks."})
    gateway.stream.pieces = [chunk(refusal="No, "), chunk(refusal="thanks."), chunk(None, "stop"), DONE]
    with _client(gateway, pieces=pieces) as client:
        with client.responses.stream(model="echo", input="hello", service_tier="priority") as stream:
            grown = [event.delta for event in stream if event.type == "response.refusal.delta"]
            (item,) = stream.get_final_response().output
        plain = client.responses.create(model="echo", input="hello", service_tier="priority")
        assert [other.model_dump(exclude={"id"}) for other in plain.output] == [item.model_dump(exclude={"id"})]
        again = [{"role": "user", "content": "hello"}, item.model_dump(), {"role": "user", "content": "why?"}]
        client.responses.create(model="echo", input=again, service_tier="priority")  # type: ignore[call-overload]
    assert "".join(grown) == "No, thanks."
    assert item.type == "message"
    assert [part.model_dump() for part in item.content] == [{"type": "refusal", "refusal": "No, thanks."}]
    assert json.loads(gateway.realtime.calls[-1][1])["messages"][1] == {"role": "assistant", "content": "No, thanks."}


@pytest.mark.parametrize("pieces", [False, True])
def test_an_answer_that_was_cut_short_is_incomplete(*, pieces: bool) -> None:
    """With the reason, in the last event and in all its items."""
    gateway = _gateway(reason="length")
    gateway.stream.pieces = [chunk("three two"), chunk(None, "length"), usage_chunk(4, 2), DONE]
    text = gateway.watch(ROUTE, ASK).body if pieces else gateway.call(ROUTE, ASK).body
    last = _events(text)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_an_empty_answer_is_an_empty_message() -> None:
    """So that clients always find one."""
    gateway = _gateway()
    gateway.stream.pieces = [chunk(role="assistant"), chunk(None, "stop"), usage_chunk(4, 0), DONE]
    events = _events(gateway.watch(ROUTE, ASK).body)
    assert [event["type"] for event in events] == [kind for kind in ORDER if not kind.endswith("delta")]
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""


def test_a_break_in_the_middle_fails_the_response_and_raises_in_the_client() -> None:
    """First OpenAI's own event for it, then the error that its client turns into an exception."""
    gateway = _gateway()
    broke = ModelFailedError("The model container broke off its answer.", original_status=502)
    gateway.stream.pieces = [chunk("three"), broke]
    seen: list[Any] = []
    with (
        _client(gateway, pieces=True) as client,
        client.responses.create(model="echo", input="hello", stream=True, service_tier="priority") as stream,
        pytest.raises(openai.APIError) as raised,
    ):
        seen.extend(stream)
    assert raised.value.code == "model_error"
    failed = seen[-1]
    assert failed.type == "response.failed"
    assert failed.response.error is not None
    assert failed.response.output[0].model_dump()["content"][0]["text"] == "three"


def test_a_reasoning_that_is_no_text_is_the_models_failure() -> None:
    """There is nothing that could be told of it; streamed or not."""
    gateway = _gateway({"role": "assistant", "content": "x", "reasoning_content": [1]})
    for stream in (True, False):
        answer = gateway.call(ROUTE, ASK | {"stream": stream})
        assert answer.status == 502
        assert document(answer)["error"]["code"] == "model_error"


def test_an_error_before_the_first_word_is_a_plain_one() -> None:
    """With its own status."""
    gateway = _gateway()
    gateway.stream.pieces = [ModelFailedError("no", original_status=500)]
    outlet = gateway.watch(ROUTE, ASK)
    assert outlet.status == 502
    assert json.loads(outlet.body)["error"]["code"] == "model_error"


def test_a_job_that_was_waited_for_comes_as_events() -> None:
    """As for chats: no capacity makes a job, and its answer is a stream all the same."""
    gateway = _gateway()
    gateway.stream.pieces = [CapacityError("none", retry_after=1)]
    outlet = gateway.watch(ROUTE, ASK | {"service_tier": "flex"}, RecordingOutlet())
    assert outlet.status == 504
    assert json.loads(outlet.body)["error"]["code"] == "job_not_finished"


def test_a_repetition_gets_the_same_events_again() -> None:
    """With an Idempotency-Key, at no cost."""
    gateway = _gateway()
    first, second = (gateway.watch(ROUTE, ASK, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert len(gateway.stream.bodies) == 1
    assert _events(second.body)[-1]["response"]["id"] == _events(first.body)[-1]["response"]["id"]
    assert second.headers["x-tollgate-idempotent-replay"] == "true"
