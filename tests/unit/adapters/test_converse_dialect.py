"""Chats in the words of Bedrock's Converse API, and what cannot be said in them.

The whole of a request and of an answer is held to botocore in the contract tests.
"""

import json
from typing import Any

import pytest

from tollgate.adapters.dialects.converse import ConverseDialect
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError

USER = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "noon"}
TOOLS = [{"type": "function", "function": {"name": "clock"}}]


def _rendered(payload: Any, **parameters: Any) -> Any:
    return json.loads(ConverseDialect().render(payload, parameters).body)


@pytest.mark.parametrize("payload", ["hello", [USER], {"messages": [USER]}, {"inputs": "hello"}, {"prompt": "hello"}])
def test_every_form_of_a_chat(payload: Any) -> None:
    """As the other dialects take them."""
    assert _rendered(payload) == {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}


def test_turns_alternate() -> None:
    """Neighbours of one role are one turn, whoever says nothing is left out, and system messages stand apart."""
    document = _rendered(
        [
            {"role": "developer", "content": "Be brief."},
            USER,
            {"role": "assistant", "content": "  "},
            {"role": "user", "content": [{"type": "text", "text": "again"}]},
            {"role": "assistant", "content": None, "refusal": None},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "system", "content": "Be polite."},
            USER,
        ]
    )
    assert document == {
        "system": [{"text": "Be brief."}, {"text": "Be polite."}],
        "messages": [
            {"role": "user", "content": [{"text": "hello"}, {"text": "again"}]},
            {"role": "assistant", "content": [{"text": "No."}]},
            {"role": "user", "content": [{"text": "hello"}]},
        ],
    }


def test_results_of_one_turns_calls_come_together() -> None:
    """Bedrock wants all of them in the next turn; one that is empty is a result, too."""
    second = {**CALL, "id": "c2"}
    document = _rendered(
        [
            USER,
            {"role": "assistant", "content": "Well.", "tool_calls": [CALL, second]},
            RESULT,
            {**RESULT, "tool_call_id": "c2", "content": ""},
        ],
        tools=TOOLS,
    )
    assert [next(iter(block)) for block in document["messages"][1]["content"]] == ["text", "toolUse", "toolUse"]
    assert document["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "c1", "content": [{"text": "noon"}]}},
        {"toolResult": {"toolUseId": "c2", "content": []}},
    ]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", {}),
        (None, {}),
        ("required", {"toolChoice": {"any": {}}}),
        ({"type": "function", "function": {"name": "clock"}}, {"toolChoice": {"tool": {"name": "clock"}}}),
    ],
)
def test_choices_of_a_tool(choice: Any, said: dict[str, Any]) -> None:
    """The default is not said, since not every model takes a choice."""
    config = _rendered("hello", tools=TOOLS, tool_choice=choice)["toolConfig"]
    assert {name: value for name, value in config.items() if name != "tools"} == said


def test_no_choice_is_no_tools() -> None:
    """Converse has no word for none."""
    assert "toolConfig" not in _rendered("hello", tools=TOOLS, tool_choice="none")


def test_what_asks_for_nothing_is_left_out() -> None:
    """Clients like to send it."""
    nothing = {
        "n": 1,
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "stop": None,
        "stream": True,
        "tools": [],
        "user": "me",
    }
    assert set(_rendered("hello", **nothing)) == {"messages"}


@pytest.mark.parametrize("form", ["jpeg", "jpg", "gif", "webp", "png"])
def test_images(form: str) -> None:
    """As data of the kinds that Bedrock knows."""
    url = f"data:image/{form};base64,QUJD"
    [turn] = _rendered([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])["messages"]
    expected = {"format": "jpeg" if form == "jpg" else form, "source": {"bytes": "QUJD"}}
    assert turn["content"] == [{"image": expected}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "system", "content": "x"}], "messages"),
        ([{"role": "assistant", "content": "x"}, USER], "messages"),
        (["x"], "messages[0]"),
        ([USER, {"role": "function", "content": "x"}], "messages[1].role"),
        ([{"role": "user", "content": " "}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages[0].content[0]"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}],
            "messages[0].content[0].image_url",
        ),
        (
            [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ"}}]}],
            "messages[0].content",
        ),
        ([USER, {**CALLED, "tool_calls": "x"}], "messages[1].tool_calls"),
        ([USER, {**CALLED, "tool_calls": [{"type": "custom"}]}], "messages[1].tool_calls[0]"),
        ([USER, {**CALLED, "tool_calls": [{**CALL, "id": "x" * 65}]}], "messages[1].tool_calls[0].id"),
        (
            [USER, {**CALLED, "tool_calls": [{**CALL, "function": {"name": "a b", "arguments": "{}"}}]}],
            "messages[1].tool_calls[0].function.name",
        ),
        (
            [USER, {**CALLED, "tool_calls": [{**CALL, "function": {"name": "a", "arguments": "[1]"}}]}],
            "messages[1].tool_calls[0].function.arguments",
        ),
        ([USER, CALLED, {**RESULT, "tool_call_id": None}], "messages[2].tool_call_id"),
        ([USER, CALLED, RESULT], "tools"),
    ],
)
def test_messages_that_converse_cannot_say(messages: Any, param: str) -> None:
    """The place is named."""
    with pytest.raises(InvalidRequestError) as refused:
        _rendered({"messages": messages})
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": "x"}, "top_p"),
        ({"stop": [""]}, "stop"),
        ({"stop": 7}, "stop"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format"),
        ({"tools": "x"}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "x", "parameters": [1]}}]}, "tools[0]"),
        ({"tools": TOOLS, "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    ],
)
def test_parameters_that_are_wrong(parameters: Any, param: str) -> None:
    """The parameter is named."""
    with pytest.raises(InvalidRequestError) as refused:
        _rendered("hello", **parameters)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "parameters",
    [
        {"n": 2},
        {"seed": 7},
        {"logit_bias": {"1": 1.0}},
        {"parallel_tool_calls": False},
        {"guardrailConfig": {}},
        {"serviceTier": {"type": "priority"}},
    ],
)
def test_parameters_that_converse_has_not(parameters: Any) -> None:
    """None is left out silently, and none of Bedrock's own slips through, some of which cost more."""
    with pytest.raises(UnsupportedParameterError) as refused:
        _rendered("hello", **parameters)
    assert refused.value.param in parameters


def test_tools_cannot_be_forbidden_after_a_call() -> None:
    """Bedrock takes blocks of tools with their tools only, and knows no choice of none."""
    with pytest.raises(UnsupportedParameterError) as refused:
        _rendered({"messages": [USER, CALLED, RESULT]}, tools=TOOLS, tool_choice="none")
    assert refused.value.param == "tool_choice"


@pytest.mark.parametrize("payload", ["", " ", 7, {}, {"inputs": ["a"]}, None])
def test_what_is_no_chat(payload: Any) -> None:
    """Is refused with what would be one."""
    with pytest.raises(InvalidRequestError, match="Send a string"):
        _rendered(payload)
