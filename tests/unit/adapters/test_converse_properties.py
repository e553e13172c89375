"""Whatever a caller sends: either it is refused, or botocore's model of Converse takes it."""

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

_texts = st.sampled_from(["", " ", "hello", "ä€😀", "\n\n"])
_scalars = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False) | _texts
_parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, _texts | st.none()),
    st.builds(
        lambda url: {"type": "image_url", "image_url": {"url": url}},
        st.sampled_from(["data:image/png;base64,QUJD", "data:image/svg;base64,QUJD", "https://example.com/a.png"]),
    ),
    _scalars,
)
_contents = _texts | st.none() | st.lists(_parts, max_size=3) | _scalars
_names = st.sampled_from(["clock", "a b", "", "x" * 65])
_ids = st.sampled_from(["c1", "call:1", "", "a b"]) | st.none()
_calls = st.builds(
    lambda identity, name, arguments: {
        "id": identity,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    _ids,
    _names,
    st.sampled_from(["", "{}", '{"a": [1, null]}', "[]", "nonsense"]) | st.none(),
)
_messages = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "assistant", "narrator"]),
        _contents,
    ),
    st.builds(
        lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
        _contents,
        st.lists(_calls, max_size=2) | st.none(),
    ),
    st.builds(
        lambda identity, content: {"role": "tool", "tool_call_id": identity, "content": content}, _ids, _contents
    ),
)
_tools = st.lists(
    st.builds(
        lambda name, parameters: {"type": "function", "function": {"name": name, "parameters": parameters}},
        _names,
        st.sampled_from([None, {}, {"type": "object"}, []]),
    ),
    max_size=2,
)
_parameters = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": _scalars,
        "temperature": _scalars,
        "top_p": _scalars,
        "stop": _scalars | st.lists(_texts, max_size=2),
        "tools": _tools,
        "tool_choice": st.sampled_from(
            ["auto", "none", "required", "x", {"type": "function", "function": {"name": "clock"}}]
        ),
        "response_format": st.sampled_from(
            [{"type": "text"}, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"schema": {}}}]
        ),
    },
)


@given(messages=st.lists(_messages, max_size=5), parameters=_parameters)
def test_refused_or_good(messages: list[Any], parameters: dict[str, Any]) -> None:
    """Turns alternate and begin with the user's, no text is blank, and nothing in it is unknown to Converse."""
    body, at_fault = b"", None
    try:
        body = ConverseDialect().render({"messages": messages}, parameters).body
    except InvalidRequestError as refused:
        at_fault = refused.param
    assert bool(body) != bool(at_fault)
    if not body:
        return
    document = json.loads(body)
    roles = [turn["role"] for turn in document["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    blocks = [block for turn in document["messages"] for block in turn["content"]]
    assert all(turn["content"] for turn in document["messages"])
    assert all(block["text"].strip() for block in blocks if "text" in block)
    for block in blocks:
        if "image" in block:
            source = block["image"]["source"]
            source["bytes"] = b64decode(source["bytes"])
    report = ParamValidator().validate({"modelId": "any", **document}, _INPUT)
    assert not report.has_errors(), report.generate_report()
