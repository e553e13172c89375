"""Whatever chat a caller sends: botocore's model of Converse takes what becomes of it, or the fault is named."""

import json
from base64 import b64decode
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.domain.errors import InvalidRequestError

_INPUT: Any = (
    botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape
)

_words = st.sampled_from(["hello", "ä€😀", " x ", "{}"])
_silence = st.sampled_from(["", " ", "\n\n"]) | st.none()
_name = st.sampled_from(["clock", "weather_in-town"])
_identity = st.sampled_from(["c1", "call:1.2"])


def _part(text: str | None) -> dict[str, Any]:
    return {"type": "text", "text": text or ""}


_image = st.builds(
    lambda form: {"type": "image_url", "image_url": {"url": f"data:image/{form};base64,QUJD"}},
    st.sampled_from(["png", "jpg", "webp"]),
)
_said = _words | st.builds(
    lambda first, rest: [_part(first), *map(_part, rest)], _words, st.lists(_silence, max_size=2)
)
_shown = st.builds(lambda text, image: [_part(text), image], _words | _silence, _image)
_call = st.builds(
    lambda identity, name, arguments: {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    _identity,
    _name,
    st.sampled_from(["", "{}", '{"a": [1, null, "ü"]}']),
)
_user = st.builds(lambda content: {"role": "user", "content": content}, _said | _shown)
_system = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "developer"]), _said | _silence
)
_assistant = st.builds(
    lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
    _said | _silence,
    st.lists(_call, max_size=2) | st.none(),
)
_result = st.builds(
    lambda identity, content: {"role": "tool", "tool_call_id": identity, "content": content},
    _identity,
    _said | _silence,
)
_tool = st.builds(
    lambda name, parameters: {"type": "function", "function": {"name": name, "parameters": parameters}},
    _name,
    st.sampled_from([None, {}, {"type": "object", "properties": {"a": {"type": "string"}}}]),
)
_chat = st.builds(
    lambda before, first, rest: [*before, first, *rest],
    st.lists(_system, max_size=2),
    _user,
    st.lists(_system | _user | _assistant | _result, max_size=6),
)
_parameters = st.fixed_dictionaries(
    {"tools": st.lists(_tool, min_size=1, max_size=2)},
    optional={
        "max_tokens": st.integers(1, 1000),
        "temperature": st.floats(0, 1) | st.just(0),
        "top_p": st.floats(0, 1),
        "stop": _words | st.lists(_words, max_size=2),
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "clock"}}]),
        "response_format": st.sampled_from(
            [{"type": "text"}, {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}]
        ),
    },
)


@given(messages=_chat, parameters=_parameters)
def test_every_chat_becomes_a_request_of_converse(messages: list[Any], parameters: dict[str, Any]) -> None:
    """Turns alternate and begin with the user's, no text is blank, and nothing in it is unknown to Converse."""
    document = json.loads(ConverseDialect().render({"messages": messages}, parameters).body)
    roles = [turn["role"] for turn in document["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    blocks = [block for turn in document["messages"] for block in turn["content"]]
    assert all(turn["content"] for turn in document["messages"])
    assert all(block["text"].strip() for block in [*blocks, *document.get("system", ())] if "text" in block)
    assert sum("toolUse" in block for block in blocks) == sum(len(m.get("tool_calls") or ()) for m in messages)
    assert sum("toolResult" in block for block in blocks) == sum(m["role"] == "tool" for m in messages)
    for block in blocks:
        if "image" in block:
            source = block["image"]["source"]
            source["bytes"] = b64decode(source["bytes"])
    report = ParamValidator().validate({"modelId": "any", **document}, _INPUT)
    assert not report.has_errors(), report.generate_report()


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "image_url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    messages=st.lists(_user | _anything, max_size=3) | _anything,
    parameters=st.dictionaries(
        st.sampled_from(["max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "response_format", "n"]),
        _anything,
        max_size=3,
    ),
)
def test_nonsense_is_refused_and_nothing_else(messages: Any, parameters: dict[str, Any]) -> None:
    """With the field at fault, whatever is in its place."""
    param: str | None = "nothing was wrong"
    try:
        ConverseDialect().render({"messages": messages}, parameters)
    except InvalidRequestError as refused:
        param = refused.param
    assert param
