"""Chat bodies: what is read without the rules is read as by the rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.api.test_bodies import NUMBERS, TEXTS, VALUES
from tollgate.api.openai.chat_body import read_by_rules
from tollgate.api.openai.plain_chat import read_chat, read_plain
from tollgate.api.wish_rules import WISH_FIELDS
from tollgate.api.wishes import WISHES
from tollgate.domain.errors import InvalidRequestError

SAID = st.sampled_from(["", "Hello", "\U0001f600"])
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant"]), "content": SAID}
)
LIMITS = st.sampled_from([None, 1, 64, 1_000_000])
NAMES = st.sampled_from([None, "", "x" * 512])
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "service_tier": st.sampled_from([None, "auto", "default", "flex", "priority"]),
    "max_tokens": LIMITS,
    "max_completion_tokens": LIMITS,
    "temperature": st.sampled_from([None, 0, 0.0, 1, 0.7, 2]),
    "top_p": st.sampled_from([None, 5e-324, 0.9, 1]),
    "stream": st.sampled_from([None, True, False]),
    "stream_options": st.sampled_from(
        [None, {}, {"include_usage": True}, {"include_usage": False}, {"include_usage": None}]
    ),
    "user": NAMES,
    "safety_identifier": NAMES,
    "prompt_cache_key": NAMES,
}
RIGHT_BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from(["smollm2", "x" * 256]), "messages": st.lists(MESSAGES, min_size=1, max_size=3)},
    optional=RIGHT,
)
ODD_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": st.one_of(st.sampled_from(["user", "tool", "function", "USER"]), VALUES),
        "content": st.one_of(TEXTS, VALUES, st.just([{"type": "text", "text": "a"}])),
        "name": VALUES,
        "keep": VALUES,
    },
)
ANYTHING: dict[str, st.SearchStrategy[Any]] = {
    "model": st.one_of(TEXTS, VALUES),
    "messages": st.one_of(st.lists(st.one_of(MESSAGES, ODD_MESSAGES, VALUES), max_size=2), VALUES),
    "service_tier": st.one_of(TEXTS, VALUES),
    "stream_options": st.one_of(
        st.fixed_dictionaries({"include_usage": VALUES}), st.fixed_dictionaries({"other": VALUES}), VALUES
    ),
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens"),
        st.one_of(st.sampled_from([0, 1_000_001, True, 1.0]), NUMBERS, VALUES),
    ),
    **dict.fromkeys(("temperature", "top_p"), st.one_of(st.sampled_from([2.1, -0.1, True]), NUMBERS, VALUES)),
    **dict.fromkeys(("user", "safety_identifier", "prompt_cache_key", "stream"), st.one_of(TEXTS, VALUES)),
    **dict.fromkeys(("unknown", "tools", "stop", "trim", "documents", "metadata", "cache"), VALUES),
}
ODD_FIELDS = st.sampled_from(sorted(ANYTHING)).flatmap(lambda name: st.fixed_dictionaries({name: ANYTHING[name]}))


@given(RIGHT_BODIES)
def test_right_bodies_need_no_rules(body: dict[str, Any]) -> None:
    """Bodies with plain messages and fields that are right up to their limits do not cost the import of a validator."""
    plain = read_plain(body)
    assert plain is not None
    assert_as_by_rules(body)


@given(RIGHT_BODIES, ODD_FIELDS)
def test_what_is_taken_without_the_rules_they_take_as_well(body: dict[str, Any], odd: dict[str, Any]) -> None:
    """With a field that may hold anything, a body is left to the rules or read as by them."""
    if read_plain(body | odd) is not None:
        assert_as_by_rules(body | odd)


@pytest.mark.parametrize("body", [{}, {"model": "a"}, {"messages": []}, {"model": "a", "messages": []}, [], None])
def test_what_is_missing_is_named(body: Any) -> None:
    """By the rules, or by what the body is."""
    with pytest.raises(InvalidRequestError, match=r"Missing required|Invalid 'messages'|must be a JSON object"):
        read_chat(body)


def test_rules_and_readers_know_the_same_wishes() -> None:
    """Their names are listed where no rules are imported."""
    assert tuple(WISH_FIELDS) == WISHES


def assert_as_by_rules(body: dict[str, Any]) -> None:
    """Equal, and of the same types where Python calls different types equal."""
    one, other = read_plain(body), read_by_rules(body)
    assert one is not None
    assert repr(one[1:]) == repr(other[1:])
    assert {**one.body} == {**other.body}
