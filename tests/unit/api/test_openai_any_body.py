"""Whatever clients send to OpenAI's routes, the answer is a documented one and never a failure of the gateway's own."""

import json
from copy import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.gateway import FakeGateway, document
from tests.unit.api.test_openapi import DOCUMENT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SAMPLES: dict[str, dict[str, Any]] = {
    "POST /v1/chat/completions": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "text"},
        "stop": ["a"],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "POST /v1/completions": {"prompt": ["a"], "stop": "b", "stream": True, "logit_bias": {"1": 2}},
    "POST /v1/embeddings": {"input": ["a", "b"], "encoding_format": "base64", "dimensions": 3},
    "POST /v1/responses": {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
        ],
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "background": True,
    },
}
COMMON = {"model": "echo", "service_tier": "priority", "metadata": {"a": "b"}}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, entry in inner for found in _places(entry, (*path, key))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def _requests(draw: st.DrawFn) -> tuple[str, Any]:
    route = draw(st.sampled_from(sorted(SAMPLES)))
    body: Any = COMMON | SAMPLES[route]
    for _ in range(draw(st.integers(0, 3))):
        body = _replaced(body, draw(st.sampled_from(_places(body))), draw(JSON))
    return route, body | draw(st.dictionaries(st.text(min_size=1), JSON, max_size=1))


ANSWERS = st.sampled_from(
    [
        [{"generated_text": "a"}],
        [[1.0, 2.0], [3.0, 4.0]],
        {"object": "chat.completion", "choices": [{"message": {"content": None, "tool_calls": [CALL]}}]},
    ]
)


def _gateway(model_says: Any) -> FakeGateway:
    gateway = FakeGateway()
    (model,) = gateway.catalogue.models.values()
    supports = frozenset("tools response_format stop dimensions logit_bias n seed image_url".split())
    deployment = replace(model.deployments[0], dialect="tgi", supports=supports)
    models = {"echo": replace(model, deployments=(deployment,))}
    gateway = FakeGateway(catalogue=replace(gateway.catalogue, models=models))
    gateway.realtime.answer = json.dumps(model_says).encode()
    return gateway


@given(request=_requests(), model_says=ANSWERS)
def test_any_body_gets_a_documented_answer(request: tuple[str, Any], model_says: Any) -> None:
    """500 is never among them; 502 is the model's, when what it said does not answer the question."""
    route, body = request
    answer = _gateway(model_says).call(route, body)
    method, path = route.lower().split(" ")
    assert str(answer.status) in DOCUMENT["paths"][path][method]["responses"]
    assert answer.status in {200, 400, 404, 502, 504}
    if answer.status != 200:
        assert set(document(answer)["error"]) == {"message", "type", "param", "code"}


@given(body=JSON)
def test_any_json_is_answered(body: Any) -> None:
    """Also what is no object at all."""
    for route in SAMPLES:
        assert _gateway([]).call(route, raw=json.dumps(body)).status == 400


@pytest.mark.parametrize(
    ("texts", "told"),
    [([], "1 or more entries"), (["a"] * 2049, "2048 or fewer entries"), (5, "a string or a list"), ([5], "a string.")],
)
def test_of_several_forms_the_one_that_was_meant_is_explained(texts: object, told: str) -> None:
    """A list that is too long is not told to be a text."""
    answer = FakeGateway().call("POST /v1/embeddings", {"model": "echo", "input": texts})
    assert answer.status == 400
    assert told in document(answer)["error"]["message"]
