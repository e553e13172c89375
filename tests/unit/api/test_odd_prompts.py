"""Whatever stands anywhere in a prompt or its parameters, a refusal or an answer comes of it, in every dialect."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.gateway import FakeGateway
from tests.fakes.token_house import BEDROCK, TOKENS, completion, token_catalogue

_PLAIN = """
[models.{dialect}]
choice = {{}}
[models.{dialect}.deployments.a]
tier = "small"
dialect = "{dialect}"
instance_type = "ml.g5.xlarge"
supports = ["n", "stop", "tools", "response_format"]
timing = {{ base_seconds = 0.5, seconds_per_output_token = 0.001, expected_output_tokens = 100 }}
realtime = {{ endpoint = "r", utilisation = "0.5" }}
async = {{ endpoint = "s", utilisation = "0.5" }}
batch = {{ transform_model = "b" }}
[models.{dialect}.deployments.b]
tier = "large"
dialect = "{dialect}"
instance_type = "ml.g5.xlarge"
supports = ["n", "stop", "tools", "response_format"]
timing = {{ base_seconds = 0.5, seconds_per_output_token = 0.001, expected_output_tokens = 100 }}
realtime = {{ endpoint = "r", utilisation = "0.5" }}
"""
_DIALECTS = ("inputs", "messages", "openai", "tgi")
_CATALOGUE = token_catalogue(
    "".join(_PLAIN.format(dialect=dialect) for dialect in _DIALECTS)
    + TOKENS.replace("models.chat", "models.paid")
    + BEDROCK.replace("models.chat", "models.bedrock"),
    limit="1000",
)
_MESSAGES = [
    {"role": "user", "content": "How far is the moon?", "name": "bob", "keep": True},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "far"}]},
]
_PARAMETERS = {
    "max_tokens": 5,
    "temperature": 0,
    "n": 1,
    "stop": ["."],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}},
}
_WISHES = {"trim": {"input_tokens": 5_000, "documents_top_k": 1}, "cascade": {"checks": ["schema", "rule"]}}
_BODIES: dict[str, dict[str, Any]] = {
    "a chat": {"input": {"messages": _MESSAGES, "documents": ["a", {"text": "b", "id": "c"}]}, **_WISHES},
    "a text": {"input": {"inputs": "a b c", "parameters": {"max_new_tokens": 5}}, **_WISHES},
    "a list": {"input": _MESSAGES},
}
_ODD: list[Any] = [
    *(None, True, -1, 1.5, 1e308, 10**25, 10**300, 10**400, -(10**400), "", "a", "\x00"),
    *([], {}, [None], [[]], ["a"], {"a": 1}, {"type": []}, [{"type": "image_url"}]),
]


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (name,)
        yield from ((name, *rest) for rest in _places(part))


def _changed(body: dict[str, Any], place: tuple[Any, ...], odd: Any) -> dict[str, Any]:
    found = copy.deepcopy(body)
    *way, last = place
    node: Any = found
    for step in way:
        node = node[step]
    node[last] = odd
    return found


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
@pytest.mark.parametrize("model", [*_DIALECTS, "paid", "bedrock"])
def test_no_odd_value_is_a_failure_of_the_gateway(model: str, body: dict[str, Any]) -> None:
    """One value after the other, in each place of a prompt and its parameters, run now and later."""
    gateway = FakeGateway(catalogue=_CATALOGUE)
    gateway.realtime.answer = completion()
    whole = {"model": model, "priority": "high", "parameters": _PARAMETERS, **body}
    for place in _places(whole):
        for odd in _ODD if place[0] in {"input", "parameters"} else _ODD[:3]:
            changed = _changed(whole, place, odd)
            answer = gateway.infer(changed)
            assert answer.status < 500 or json.loads(answer.body)["error"]["code"] == "model_error", (place, odd)
            answer = gateway.infer(changed | {"priority": "medium"})
            assert answer.status < 500, (place, odd, answer.body)
