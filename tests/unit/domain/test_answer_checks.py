"""What is seen to be wrong with an answer, and what it is worth to ask a small model first."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.choice.answer_checks import cascade_pays, chance_of_passing, failed_check, mean_logprob
from tollgate.domain.choice.outcomes import NOTHING, of_quality, total
from tollgate.domain.choice.policy import AnswerRule, CascadePolicy, Check
from tollgate.domain.json_schema import TooManyStepsError, fits

POLICY = CascadePolicy(min_characters=3)
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 2}, "people": {"type": ["integer", "null"], "minimum": 0}},
    "required": ["city"],
    "additionalProperties": False,
}


def _check(output: Any, policy: CascadePolicy = POLICY, **parameters: Any) -> Check | None:
    return failed_check(output, policy, parameters=parameters)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "The patient said \u201cI don't know\u201d " + "after a long pause, as the notes of the ward show. " * 6,
        "Sorry seems to be the hardest word is a song by Elton John.",
        "A refusal to sign is not a breach.",
        "I can't help but admire Paris.",
        "I am afraid of spiders, and I can't say why.",
        "I would not recommend raw chicken.",
        "Users who do not know SQL can ask in words.",
        '{"confidence": "high"}',
        "Yes ",
    ],
)
def test_good_answers_pass(text: str) -> None:
    """Also those that speak of refusing or not knowing."""
    assert _check({"text": text}) is None


@pytest.mark.parametrize(
    ("output", "check"),
    [
        ({"text": "I\u2019m sorry, but I can\u2019t help with that."}, Check.REFUSAL),
        ({"text": "Yes", "refusal": "No."}, Check.REFUSAL),
        ({"text": "I don't know the answer."}, Check.REFUSAL),
        ({"text": "Well, I don't know."}, Check.REFUSAL),
        ({"text": "ok"}, Check.LENGTH),
        ({"text": " ok "}, Check.LENGTH),
        ({"text": None}, Check.LENGTH),
        ({"text": "I'm not sure, but Lyon."}, Check.UNCERTAIN),
        ({"text": "Lyon it is.", "logprobs": {"content": [{"logprob": -4.0}]}}, Check.LOGPROB),
        ([{"generated_text": "As an AI language model, I cannot say."}], Check.REFUSAL),
        ({"text": "I cannot fulfill your request. I am just an AI."}, Check.REFUSAL),
        ({"text": "Sorry, I can't do that."}, Check.REFUSAL),
        ({"text": "I apologize, but I won't write this."}, Check.REFUSAL),
        ({"text": "As an AI, I don't follow the news."}, Check.REFUSAL),
        ({"text": "Unfortunately, I don't have any information about that."}, Check.REFUSAL),
        ({"text": "The provided context does not contain the answer."}, Check.REFUSAL),
        ({"text": "I have no idea."}, Check.REFUSAL),
        ({"text": "I'm unable to browse the internet."}, Check.REFUSAL),
        ({"text": "I am not able to open links."}, Check.REFUSAL),
        ({"text": "I'm afraid I can't help with that."}, Check.REFUSAL),
        ({"text": "I'm afraid that I don't know."}, Check.REFUSAL),
        ({"text": "I am unsure."}, Check.UNCERTAIN),
        ({"text": "It is Lyon, although I am not entirely certain."}, Check.UNCERTAIN),
        ({"text": "It is Lyon, but I could be wrong."}, Check.UNCERTAIN),
        ({"text": '{"confidence":"low", "city": "Lyon"}'}, Check.UNCERTAIN),
    ],
)
def test_bad_answers_do_not(output: Any, check: Check) -> None:
    """By the first check that they do not pass."""
    assert _check(output) is check


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": "1"},
        {"type": 5},
        {"type": [["integer"]]},
        {"enum": 7},
        {"anyOf": 5},
        {"allOf": [{"exclusiveMaximum": {}}]},
        {"type": "integer"},
    ],
)
def test_a_schema_that_is_none_says_nothing(schema: dict[str, Any]) -> None:
    """Its caller has paid for the answer by now, and gets it."""
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert _check({"text": "1" + "0" * 400}, response_format=wanted) is None


def test_an_answer_of_nothing_but_brackets_is_not_json() -> None:
    """However many; reading them must not bring the function down."""
    assert _check({"text": "[" * 200_000}, response_format={"type": "json_object"}) is Check.SCHEMA


def test_a_tool_call_needs_no_words() -> None:
    """Nor the form of an answer."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert _check({"text": None, "tool_calls": [call]}, response_format={"type": "json_object"}) is None


@pytest.mark.parametrize(
    ("name", "arguments", "passes"),
    [
        ("find", '{"city": "Rome"}', True),
        ("find", '{"city": 5}', False),
        ("find", '{"city": "Rome"', False),
        ("find", "", False),
        ("find", None, False),
        ("find", {"city": "Rome"}, True),
        ("find", [], False),
        ("plain", "", True),
        ("invented", "{}", False),
        (["lost"], "{}", False),
    ],
)
def test_a_tool_call_has_the_form_of_its_tool(name: Any, arguments: Any, passes: bool) -> None:
    """A caller's program would fail over any other."""
    tools = [
        {"type": "function", "function": {"name": "find", "parameters": CITY}},
        {"type": "function", "function": {"name": "plain"}},
        {"type": "function", "function": {"name": ["find"]}},
    ]
    output = {"text": None, "tool_calls": [{"id": "c", "function": {"name": name, "arguments": arguments}}]}
    assert (_check(output, tools=tools) is None) is passes


def test_a_call_of_a_tool_that_nobody_can_read_needs_json_alone() -> None:
    """The container may know more of its tools."""
    output: Any = {"text": None, "tool_calls": [{"id": "c", "function": {"name": "find", "arguments": "{}"}}]}
    assert _check(output, tools=[{"type": "web_search"}]) is None
    output["tool_calls"][0]["function"]["arguments"] = "{"
    assert _check(output, tools=[{"type": "web_search"}]) is Check.SCHEMA


def test_only_the_checks_of_the_policy_apply() -> None:
    """An owner may look at refusals alone."""
    policy = CascadePolicy(checks=frozenset({Check.REFUSAL}), min_characters=100)
    assert _check({"text": "I'm not sure"}, policy) is None


def test_the_callers_rule() -> None:
    """Of custom models too, whose answers nobody here can read."""
    rule = AnswerRule(must_contain=("[1]",), must_not_contain=("TODO",))
    policy = CascadePolicy(rule=rule)
    assert _check({"text": "As [1] says."}, policy) is None
    assert _check({"text": "As somebody says."}, policy) is Check.RULE
    assert _check({"text": "[1] TODO"}, policy) is Check.RULE
    assert _check({"label": "en"}, policy) is Check.RULE
    assert _check({"label": "[1]"}, policy) is None
    assert _check({"label": "en"}) is None
    assert _check({"label": "en"}, CascadePolicy(checks=frozenset({Check.LENGTH}), rule=rule)) is None


def test_every_text_of_a_rule_has_to_occur() -> None:
    """As it is written, in custom models' answers too: nothing is escaped."""
    policy = CascadePolicy(rule=AnswerRule(must_contain=("Z\u00fcrich\n", "\u20ac")))
    for output in ("Z\u00fcrich\n5 \u20ac", {"text": "Z\u00fcrich\n5 \u20ac"}):
        assert _check(output, policy) is None
    assert _check({"text": "Z\u00fcrich\n5"}, policy) is Check.RULE
    assert _check({"label": "Z\u00fcrich"}, CascadePolicy(rule=AnswerRule(must_contain=("Z\u00fcrich",)))) is None


def test_an_answer_as_probable_as_asked_for_passes() -> None:
    """Only a mean below the least one fails."""
    for mean, check in ((-1.5, None), (-1.51, Check.LOGPROB)):
        assert _check({"text": "Lyon it is.", "logprobs": {"content": [{"logprob": mean}]}}) is check


@pytest.mark.parametrize("described", [5, None, {"name": "n"}, {"name": "n", "schema": True}])
def test_a_format_without_a_schema_asks_for_json_alone(described: object) -> None:
    """What is no description says nothing about the value."""
    wanted = {"type": "json_schema", "json_schema": described}
    assert _check({"text": "[1]"}, response_format=wanted) is None
    assert _check({"text": "one"}, response_format=wanted) is Check.SCHEMA


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ('{"city": "Rome"}', True),
        ('{"city": "Rome", "people": null}', True),
        ('{"city": "Rome", "people": 2.0}', True),
        ('{"city": "R"}', False),
        ('{"city": "Rome", "people": true}', False),
        ('{"city": "Rome", "people": -1}', False),
        ('{"people": 3}', False),
        ('{"city": "Rome", "more": 1}', False),
        ("[]", False),
        ("Rome", False),
    ],
)
def test_a_schema_of_the_request(text: str, passes: bool) -> None:
    """In OpenAI's form."""
    wanted = {"type": "json_schema", "json_schema": {"name": "c", "schema": CITY}}
    policy = CascadePolicy(checks=frozenset({Check.SCHEMA}))
    assert (_check({"text": text}, policy, response_format=wanted) is None) is passes


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (1, {"enum": [True]}, False),
        ("a", {"enum": ["a", 1]}, True),
        (3, {"const": 3}, True),
        (3, {"exclusiveMinimum": 3}, False),
        (3, {"exclusiveMaximum": 4}, True),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, False),
        ([1], {"minItems": 2}, False),
        ("abc", {"maxLength": 2}, False),
        (1, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, True),
        (1, {"oneOf": [{"type": "number"}, {"type": "integer"}]}, False),
        (1, {"allOf": [{"type": "number"}, {"minimum": 2}]}, False),
        (1, {"not": {"type": "integer"}}, False),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, False),
        ({"a": 1}, False, False),
        ({"a": 1}, {"unheard": "of"}, True),
        ({"a": "x"}, {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}, False),
        ({"a": 1}, {"properties": {"a": {"$ref": "#/$defs/n~1m~0"}}, "$defs": {"n/m~": {"type": "integer"}}}, True),
        ([[["x"]]], {"type": "array", "items": {"$ref": "#"}}, False),
        ([[[]]], {"type": "array", "items": {"$ref": "#"}}, True),
        (1, {"$ref": "#"}, True),
        (1, {"$ref": "https://example.com/schema"}, True),
        (1, {"$ref": "#/nowhere/at/all"}, True),
        ({"a": 1}, {"type": "object", "properties": {"a": {"$ref": "#anchor"}}}, True),
        (1, {"$ref": 7}, True),
    ],
)
def test_schemas(value: Any, schema: Any, expected: bool) -> None:
    """Every keyword that is understood; others say nothing."""
    assert fits(value, schema) is expected


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ([0] * 100_000, {"items": {"allOf": [{"type": "integer"}] * 50}}),
        ([0] * 100_000, {"items": {"allOf": [True] * 50}}),
        ([0] * 1_000, {"items": {"enum": [*range(1, 1_000), 0]}}),
        ([{"a": 0}] * 1_000, {"items": {"required": ["a"] * 1_000}}),
        ([0] * 1_000, {"items": {"type": [*["string"] * 1_000, "integer"]}}),
    ],
    ids=["parts", "booleans", "enum", "required", "types"],
)
def test_what_takes_too_many_steps_is_not_checked(value: Any, schema: Any) -> None:
    """A caller's schema times an answer has no bound of its own; nothing follows from what nobody can say."""
    with pytest.raises(TooManyStepsError):
        fits(value, schema)
    wanted = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert _check({"text": json.dumps(value)}, response_format=wanted) is None


@given(st.recursive(st.none() | st.booleans() | st.floats(-9, 9) | st.text(), st.lists))
def test_the_empty_schema_takes_everything(value: Any) -> None:
    """As the standard says."""
    assert fits(value, {})


def test_probabilities_are_averaged() -> None:
    """None where there are none."""
    assert mean_logprob({"content": [{"logprob": -1.0}, {"logprob": -2}, {"logprob": None}]}) == -1.5
    assert mean_logprob({"content": ["x", {"logprob": True}, {"logprob": -1.0}]}) == -1.0
    assert mean_logprob({"content": []}) is None
    assert mean_logprob(None) is None


def test_what_a_cascade_is_worth() -> None:
    """Worked example: small 1, large 10. It pays from a chance of more than a tenth on."""
    small, large = Decimal("0.001"), Decimal("0.010")
    assert cascade_pays(small, large, 0.11)
    assert not cascade_pays(small, large, 0.1)
    assert not cascade_pays(None, large, 1.0)
    assert not cascade_pays(small, None, 1.0)


def test_records_take_over_from_expectation() -> None:
    """Four answers' worth of it at first."""
    assert chance_of_passing(NOTHING, 0.3) == pytest.approx(0.7)
    bad = total(of_quality(0.0) for _ in range(100))
    assert chance_of_passing(bad, 0.3) < 0.05


@pytest.mark.parametrize("kind", [[], {}, ["json_object"], 5])
def test_a_format_of_no_known_type_is_none(kind: object) -> None:
    """The answer is paid for by then, so it passes."""
    policy = CascadePolicy(checks=frozenset({Check.SCHEMA}))
    assert failed_check({"text": "no JSON"}, policy, parameters={"response_format": {"type": kind}}) is None
