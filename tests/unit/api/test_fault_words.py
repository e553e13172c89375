"""What a caller is told of a wrong body: the field, and in JSON's words what it should be."""

import json
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway, document
from tests.fakes.whole_api import WholeApi

CHAT, TEXTS, NATIVE = "POST /v1/chat/completions", "POST /v1/embeddings", "POST /v1/inferences"
SAMPLES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "echo", "messages": [{"role": "user", "content": "a"}]},
    TEXTS: {"model": "echo", "input": "a"},
    NATIVE: {"model": "echo", "input": "a"},
    "POST /v1/batches": {"input_file_id": "a", "endpoint": "/v1/embeddings", "completion_window": "24h"},
    "POST /v1/uploads/{id}/complete": {"part_ids": []},
    "POST /v1/feedback": {"model": "echo", "inference_id": "a", "score": 1},
    "PUT /v1/cache/{namespace}/{key}": {"value": "a"},
}


def _said(route: str, changes: dict[str, Any]) -> tuple[str, str]:
    body = SAMPLES[route] | changes
    path = {"id": "x", "namespace": "n", "key": "k"}
    answer = WholeApi().call(route, json.dumps(body), path=path)
    error = document(answer)["error"]
    assert (answer.status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_request")
    return error["param"], error["message"]


@pytest.mark.parametrize(
    ("route", "changes", "param", "message"),
    [
        (CHAT, {"messages": "a"}, "messages", "Invalid 'messages': it should be a list."),
        (CHAT, {"messages": []}, "messages", "Invalid 'messages': it should have 1 or more entries."),
        (CHAT, {"messages": [{}]}, "messages[0].role", "Missing required parameter: 'messages[0].role'."),
        (CHAT, {"stop": 5}, "stop", "Invalid 'stop': it should be a string or a list."),
        (CHAT, {"stop": ["a", 5]}, "stop[1]", "Invalid 'stop[1]': it should be a string."),
        (CHAT, {"max_tokens": 1.5}, "max_tokens", "Invalid 'max_tokens': it should be a whole number."),
        (CHAT, {"max_tokens": 0}, "max_tokens", "Invalid 'max_tokens': it should be 1 or more."),
        (CHAT, {"temperature": 3}, "temperature", "Invalid 'temperature': it should be 2 or less."),
        (CHAT, {"top_p": 0}, "top_p", "Invalid 'top_p': it should be above 0."),
        (CHAT, {"stream": "yes"}, "stream", "Invalid 'stream': it should be true or false."),
        (CHAT, {"metadata": {"a": 1}}, "metadata.a", "Invalid 'metadata.a': it should be a string."),
        (CHAT, {"user": "u" * 513}, "user", "Invalid 'user': it should have 512 or fewer characters."),
        (CHAT, {"service_tier": "x"}, "service_tier", "Invalid 'service_tier': it should be 'auto', 'default', "),
        (TEXTS, {"input": {"a": 1}}, "input", "Invalid 'input': it should be a string or a list."),
        (TEXTS, {"input": ""}, "input", "Invalid 'input': it should have 1 or more characters."),
        (NATIVE, {"parameters": []}, "parameters", "Field 'parameters': it should be an object."),
        (NATIVE, {"priority": 1}, "priority", "Field 'priority': it should be 'high', 'medium' or 'low'."),
        (NATIVE, {"deadline_seconds": -1}, "deadline_seconds", "Field 'deadline_seconds': it should be above 0."),
        (
            NATIVE,
            {"deadline_seconds": 1e9},
            "deadline_seconds",
            "Field 'deadline_seconds': it should be 604800 or less.",
        ),
        ("POST /v1/batches", {"input_file_id": 5}, "input_file_id", "Invalid 'input_file_id': it should be a string."),
        ("POST /v1/uploads/{id}/complete", {"part_ids": [5]}, "part_ids[0]", "Invalid 'part_ids[0]': it should be a "),
        ("POST /v1/feedback", {"score": 2}, "score", "Field 'score': it should be 1 or less."),
        ("PUT /v1/cache/{namespace}/{key}", {"ttl": 0}, "ttl", "Field 'ttl': it should be 1 or more."),
        ("PUT /v1/cache/{namespace}/{key}", {"tll": 9}, "tll", "Field 'tll': no such field is known."),
        ("POST /v1/feedback", {"scores": 1}, "scores", "Field 'scores': no such field is known."),
        (CHAT, {"cache": {"tll": 9}}, "cache.tll", "Invalid 'cache.tll': no such field is known."),
        (CHAT, {"cache": {"namespace": "a b"}}, "cache.namespace", "Invalid 'cache.namespace': it should match ^[A-Z"),
        (NATIVE, {"cache": {"namespace": ""}}, "cache.namespace", "Field 'cache.namespace': it should match ^[A-Z"),
    ],
)
def test_the_field_is_named_and_what_it_should_be(
    route: str, changes: dict[str, Any], param: str, message: str
) -> None:
    """No dictionary, no "input", no validation: nobody who sends JSON has to know Python."""
    named, told = _said(route, changes)
    assert named == param
    assert told.startswith(message)


@pytest.mark.parametrize("route", [route for route in SAMPLES if route not in {CHAT, TEXTS, NATIVE}])
def test_a_body_that_is_no_object_is_told_so_everywhere(route: str) -> None:
    """In the same words, and naming no field."""
    error = document(WholeApi().call(route, "[]", path={"id": "x", "namespace": "n", "key": "k"}))["error"]
    assert (error["param"], error["message"]) == (None, "The body must be a JSON object.")


@pytest.mark.parametrize("field", ["model", "input"])
def test_a_field_that_is_missing_is_told_so(field: str) -> None:
    """On the native routes, too."""
    body = {name: value for name, value in SAMPLES[NATIVE].items() if name != field}
    error = document(FakeGateway().infer(body))["error"]
    assert (error["param"], error["message"]) == (field, f"Field '{field}': it is missing.")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user"}, "messages[0].content"),
        ({"role": "system", "content": None}, "messages[0].content"),
        ({"role": "tool", "tool_call_id": "a"}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text"}]}, "messages[0].content[1].text"),
    ],
)
def test_a_message_says_something(message: dict[str, Any], param: str) -> None:
    """A container would answer what nobody asked, or fail."""
    assert _said(CHAT, {"messages": [message]}) == (param, f"Missing required parameter: '{param}'.")


def test_an_assistant_may_call_tools_instead() -> None:
    """As OpenAI's clients send it back."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages = [{"role": "user", "content": "a"}, said, {"role": "tool", "tool_call_id": "a", "content": "1"}]
    gateway = FakeGateway()
    answer = gateway.call(CHAT, SAMPLES[CHAT] | {"messages": messages, "service_tier": "priority"})
    assert document(answer).get("error", {}).get("code") != "invalid_request"


def test_what_a_part_of_a_message_needs_is_named() -> None:
    """Its place alone would not say what the model cannot do."""
    part = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    body = SAMPLES[CHAT] | {"messages": [{"role": "user", "content": [part]}]}
    error = document(FakeGateway().call(CHAT, body))["error"]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "messages[0].content[0]")
    assert "(image_url)" in error["message"]


def test_a_key_of_idempotency_that_will_not_do_is_named() -> None:
    """By the header, as other headers are."""
    answer = FakeGateway().call(NATIVE, SAMPLES[NATIVE], headers={"Idempotency-Key": ""})
    assert document(answer)["error"]["param"] == "Idempotency-Key"
