"""OpenAI's routes over fakes: what containers are sent, what clients get back, and what each refusal names."""

import json
from copy import replace
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.openai_calls import COMPLETION, chat, events_of, openai_gateway, sent_by
from tollgate.domain.catalogue import ModelKind


def test_a_chat_is_answered_in_openais_shape() -> None:
    """With an id of its kind, the tier that was used, a fingerprint, the usage, and Tollgate's headers."""
    answer = chat(openai_gateway())
    body = document(answer)
    assert answer.status == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["service_tier"] == "priority"
    assert body["system_fingerprint"].startswith("fp_")
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "there hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer.headers["x-request-id"] == answer.headers["x-tollgate-request-id"]
    assert float(answer.headers["x-tollgate-cost-usd"]) > 0


def test_the_container_gets_what_was_asked_and_nothing_else() -> None:
    """Limits under one name, roles and content that templates know; nothing that only the gateway needs."""
    gateway = openai_gateway()
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "name": None},
    ]
    answer = chat(
        gateway,
        messages=messages,
        max_completion_tokens=9,
        temperature=0,
        user="u",
        n=1,
        logprobs=False,
        response_format={"type": "text"},
        tool_choice="auto",
        store=False,
        metadata={"a": "b"},
    )
    assert answer.status == 200
    assert sent_by(gateway) == {
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "one\ntwo"}],
        "max_tokens": 9,
        "temperature": 0,
    }


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"seed": 1}, "seed"),
        ({"n": 2}, "n"),
        ({"logprobs": True, "top_logprobs": 2}, "logprobs"),
        ({"store": True}, "store"),
        ({"top_k": 5}, "top_k"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    ],
)
def test_what_no_container_supports_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    """400 with the parameter, before anything runs."""
    gateway = openai_gateway()
    answer = chat(gateway, **changes)
    error = document(answer)["error"]
    assert answer.status == 400
    assert error["code"] == "unsupported_parameter"
    assert error["param"] == param
    assert gateway.realtime.calls == []


def test_what_an_assistant_refused_is_text() -> None:
    """As OpenAI's clients send it back among the parts of a message; chat templates know no such part."""
    gateway = openai_gateway()
    said: list[dict[str, Any]] = [{"type": "text", "text": "Well."}, {"type": "refusal", "refusal": "No."}]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "b"},
    ]
    assert chat(gateway, messages=messages).status == 200
    assert sent_by(gateway)["messages"][1]["content"] == "Well.\nNo."
    refused = chat(gateway, messages=[{"role": "assistant", "content": [{"type": "refusal"}]}])
    assert document(refused)["error"]["param"] == "messages[0].content[0].refusal"


def test_what_a_container_supports_reaches_it() -> None:
    """A capability opens all parameters that belong to it."""
    gateway = openai_gateway(supports=frozenset({"tools", "top_k"}))
    tools = [{"type": "function", "function": {"name": "f"}}]
    chat(gateway, tools=tools, tool_choice="auto", parallel_tool_calls=False, top_k=5)
    sent = sent_by(gateway)
    assert sent["tools"] == tools
    assert sent["tool_choice"] == "auto"
    assert sent["parallel_tool_calls"] is False
    assert sent["top_k"] == 5


def test_a_request_goes_to_a_deployment_that_understands_it() -> None:
    """The others are not considered, however heavy they are."""
    gateway = openai_gateway()
    (model,) = gateway.catalogue.models.values()
    plain = replace(model.deployments[0], name="plain", weight=1000)
    able = replace(model.deployments[0], name="able", weight=1, supports=frozenset({"seed"}))
    gateway = FakeGateway(
        catalogue=replace(gateway.catalogue, models={"echo": replace(model, deployments=(plain, able))})
    )
    gateway.realtime.answer = json.dumps(COMPLETION).encode()
    assert chat(gateway, seed=1).headers["x-tollgate-deployment"] == "echo/able"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
def test_a_malformed_field_is_named(changes: dict[str, Any], param: str) -> None:
    """As OpenAI names it."""
    error = document(chat(openai_gateway(), **changes))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_missing_messages_are_named() -> None:
    """The body without them is refused."""
    answer = openai_gateway().call("POST /v1/chat/completions", {"model": "echo"})
    assert answer.status == 400
    assert document(answer)["error"]["param"] == "messages"


@pytest.mark.parametrize(("kind", "param"), [(ModelKind.EMBEDDING, "model"), (ModelKind.CUSTOM, "model")])
def test_a_model_for_something_else_is_refused(kind: ModelKind, param: str) -> None:
    """With the route that it is for."""
    answer = chat(openai_gateway(kind=kind))
    assert answer.status == 400
    assert document(answer)["error"]["param"] == param


def test_an_unknown_model_is_a_404() -> None:
    """So that the SDK raises NotFoundError."""
    answer = chat(openai_gateway(), model="nobody")
    assert answer.status == 404
    assert document(answer)["error"]["code"] == "model_not_found"


def test_a_stream_has_role_content_reason_usage_and_an_end() -> None:
    """Chunks of one id, the usage in the last of them."""
    answer = chat(openai_gateway(), stream=True, stream_options={"include_usage": True})
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.to_event()["headers"]["Content-Type"].startswith("text/event-stream")
    assert answer.to_event()["headers"]["Cache-Control"] == "no-store"
    events = events_of(answer)
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1
    assert [event["choices"][0]["delta"] for event in events[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "there hello"},
        {},
    ]
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert [event["usage"] for event in events[:-1]] == [None] * 3
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 4


def test_a_stream_passes_half_a_surrogate_pair_on() -> None:
    """As the escape it came as, like every other answer."""
    gateway = openai_gateway()
    gateway.realtime.answer = json.dumps([{"generated_text": "\ud83d"}]).encode()
    answer = chat(gateway, stream=True)
    assert answer.body.encode()
    assert events_of(answer)[1]["choices"][0]["delta"] == {"content": "\ud83d"}


def test_a_stream_carries_tool_calls_with_their_place() -> None:
    """The index is what clients put the pieces together by."""
    gateway = openai_gateway(supports=frozenset({"tools"}))
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    gateway.realtime.answer = json.dumps(COMPLETION | {"choices": [choice]}).encode()
    events = events_of(chat(gateway, tools=[{"type": "function"}], stream=True))
    assert [event["choices"][0]["delta"] for event in events[1:]] == [{"tool_calls": [call | {"index": 0}]}, {}]
    assert all("usage" not in event for event in events)


def test_one_model_can_be_looked_up() -> None:
    """With its kind and what it supports; an unknown one is a 404."""
    gateway = openai_gateway(supports=frozenset({"seed"}), kind=ModelKind.CHAT)
    found = document(gateway.call("GET /v1/models/{model}", path={"model": "echo"}))
    assert found["object"] == "model"
    assert found["id"] == "echo"
    assert found["kind"] == "chat"
    assert found["supports"] == ["seed"]
    assert gateway.call("GET /v1/models/{model}", path={"model": "other"}).status == 404


@pytest.mark.parametrize("route", ["POST /v1/chat/completions", "POST /v1/completions", "POST /v1/embeddings"])
def test_running_needs_its_scope(route: str) -> None:
    """A key that only reads is refused before its body is looked at."""
    gateway = openai_gateway()
    assert gateway.call(route, {"model": "echo"}, scopes="read").status == 403
