"""Which requests a provider paid by the token may be sent."""

from typing import Any

import pytest

from tests.fakes.token_house import INSTANCES, TOKENS, token_catalogue
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.providers.requests import bounded_chat, bounded_offer

IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]


@pytest.mark.parametrize(
    "payload",
    [
        "hello",
        "are there messages?",
        [{"role": "user", "content": "hello"}],
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "temperature": 0.5},
        [
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "1", "content": "2"},
        ],
    ],
)
def test_chats_of_texts_pass(payload: Any) -> None:
    """In all the forms that the messages dialect knows."""
    chat = bounded_chat(payload, {"stop": ["\n"]}, 100)
    assert (chat.parameters["max_tokens"], chat.most_output, chat.schemas) == (100, 100, False)


def test_calls_of_tools_pass_as_openais_clients_send_them() -> None:
    """With their ids, which the results refer to, and what steers the next call."""
    call = {"id": "1", "index": 0, "type": "function", "function": {"name": "look", "arguments": "{}"}}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    steering = {"tool_choice": "auto", "parallel_tool_calls": False, "user": "ann", "logit_bias": {"7": -100}}
    sampling = {"temperature": 0, "top_p": 1, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 7}
    chat = bounded_chat(turns, steering | sampling, 100)
    assert chat.parameters == {**steering, **sampling, "max_tokens": 100}


@pytest.mark.parametrize(
    ("payload", "parameters"),
    [
        ({"inputs": ["a", "b"]}, {}),
        ({"inputs": "a"}, {}),
        ("", {}),
        ([], {}),
        ([{"content": "no role"}], {}),
        (["hello"], {}),
        (IMAGE, {}),
        ([{"role": "user", "content": {"text": "hello"}}], {}),
        ([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}], {}),
        ([{"role": "user", "content": "hello", "audio": {"id": "1"}}], {}),
        ("hello", {"service_tier": "priority"}),
        ("hello", {"prediction": {"type": "content", "content": "x"}}),
        ("hello", {"web_search_options": {}}),
        ({"messages": [{"role": "user", "content": "a"}], "modalities": ["audio"]}, {}),
        ("hello", {"tools": [{"type": "web_search"}]}),
        ("hello", {"tools": "all"}),
        ("hello", {"tools": [{"type": "function", "function": {"name": "a"}, "cache_control": {"type": "ephemeral"}}]}),
        ("hello", {"tools": [{"type": "function", "function": {"name": "a", "cache_control": {}}}]}),
        ([{"role": "assistant", "tool_calls": [{"type": "function", "function": {}, "cache_control": {}}]}], {}),
        ([{"role": "assistant", "tool_calls": "all"}], {}),
        (["messages"], {}),
        ("hello", {"n": 0}),
        ("hello", {"n": 129}),
        ("hello", {"n": True}),
        ("hello", {"tools": [{"type": "custom", "function": {"name": "a"}}]}),
        ("hello", {"max_tokens": 0}),
        ("hello", {"max_tokens": True}),
        ("hello", {"max_completion_tokens": "10"}),
    ],
)
def test_what_might_cost_more_than_text_and_limit_is_refused(payload: Any, parameters: dict[str, Any]) -> None:
    """Images, prompt-cache writes, dearer tiers, tools at the provider, and whatever is not known."""
    with pytest.raises(InvalidRequestError):
        bounded_chat(payload, parameters, 100)


@pytest.mark.parametrize(
    ("payload", "parameters", "param"),
    [
        ([{"role": "user", "content": "a"}, {"content": "b"}], {}, "input[1]"),
        ([{"role": "assistant", "tool_calls": "all"}], {}, "input[0]"),
        (IMAGE, {}, "input[0]"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens"),
        ("a", {"n": 0}, "n"),
        ("a", {"tools": "all"}, "tools"),
        ("a", {"service_tier": "priority"}, "service_tier"),
        ([], {}, "input"),
    ],
)
def test_a_refusal_names_the_field(payload: Any, parameters: dict[str, Any], param: str) -> None:
    """That is in the way, for clients that show it beside their own."""
    with pytest.raises(InvalidRequestError) as refused:
        bounded_chat(payload, parameters, 100)
    assert refused.value.param == param


def test_what_is_null_was_not_said() -> None:
    """OpenAI's clients send fields that nobody has filled in."""
    chat = bounded_chat("a", {"service_tier": None, "max_tokens": None, "tools": None, "n": None}, 100)
    assert (chat.parameters, chat.most_output) == ({"max_tokens": 100}, 100)


def test_a_prompt_is_refused_by_its_name() -> None:
    """The caller of /v1/completions sent no `input`, so that is not what is wrong."""
    with pytest.raises(InvalidRequestError, match="/v1/completions") as refused:
        bounded_chat({"prompt": "one two"}, {}, 100)
    assert refused.value.param == "prompt"


def test_the_smallest_limit_holds() -> None:
    """Of all names that callers use for it, wherever they say it; choices and tools are counted."""
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    payload = {"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 70}
    chat = bounded_chat(payload, {"max_tokens": 80, "max_new_tokens": 90, "n": 3, "tools": [tool]}, 100)
    assert chat.parameters == {"max_tokens": 70, "n": 3, "tools": [tool]}
    assert (chat.most_output, chat.schemas) == (210, True)


def test_the_form_of_an_answer_counts_as_tools_do() -> None:
    """A schema may be written out for the model; that an answer is to be JSON is a word."""
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    found = [
        bounded_chat("a", {"response_format": form}, 1).schemas for form in (schema, {"type": "json_object"}, None)
    ]
    assert found == [True, False, False]


def test_what_a_provider_may_not_be_sent_goes_to_instances() -> None:
    """Where the model has some; otherwise the caller is told."""
    both = token_catalogue(TOKENS + INSTANCES).models["chat"]
    assert [d.name for d in bounded_offer(both, IMAGE, {}).deployments] == ["gpu"]
    assert bounded_offer(both, "hello", {}) is both
    standby = INSTANCES.replace('tier = "small"', 'tier = "small"\nweight = 0')
    for text in (TOKENS, TOKENS + standby):
        with pytest.raises(InvalidRequestError, match="other than text"):
            bounded_offer(token_catalogue(text).models["chat"], IMAGE, {})
