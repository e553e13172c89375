"""Native bodies: what is read without the rules is read as by the rules."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.api.bodies import read_inference, read_plain
from tollgate.api.inference_rules import read_by_rules
from tollgate.domain.errors import InvalidRequestError
from tollgate.services.requests.plan import InferenceRequest

# Halves of surrogate pairs and lengths at the limits included, which JSON can bring and the rules refuse.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=4),
    st.sampled_from(
        ["", "high", "low", "\ud800", "\U0001f600" * 256, *("x" * n for n in (64, 65, 256, 257, 512, 513))]
    ),
    st.sampled_from(["x" * 2048, "x" * 2049]),
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 604_800, 604_801, 10**400, 0.0, -0.0, 604_800.0, 604_800.1, 5e-324]), st.floats()
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "priority": st.sampled_from(["high", "medium", "low", None]),
    "deadline_seconds": st.sampled_from([None, 1, 0.5, 604_800, 604_800.0, 5e-324]),
    "parameters": st.dictionaries(st.sampled_from(["", "max_tokens", "é"]), VALUES, max_size=2),
    "webhook_url": st.sampled_from([None, "", "https://example.com/hook", "x" * 2048]),
    "metadata": st.one_of(
        st.dictionaries(st.sampled_from(["", "é", "x" * 64]), st.sampled_from(["", "x" * 512]), max_size=3),
        st.just({str(n): "" for n in range(16)}),
    ),
}
MODELS = st.sampled_from(["smollm2", "modèle", "x" * 256])
RIGHT_BODIES = st.fixed_dictionaries({"model": MODELS, "input": VALUES}, optional=RIGHT)
# One field that may be anything, near its limits more often than not.
ANYTHING: dict[str, st.SearchStrategy[Any]] = {
    "model": st.one_of(TEXTS, VALUES),
    "priority": st.one_of(TEXTS, VALUES),
    "deadline_seconds": st.one_of(NUMBERS, VALUES),
    "parameters": st.one_of(st.dictionaries(TEXTS, VALUES, max_size=2), VALUES),
    "webhook_url": st.one_of(TEXTS, VALUES),
    "metadata": st.one_of(
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.dictionaries(TEXTS, VALUES, max_size=2),
        st.just({str(n): "" for n in range(17)}),
        VALUES,
    ),
    **dict.fromkeys(("unknown", "quality", "trim", "cascade", "conversation_id", "cache"), VALUES),
}
ODD_FIELDS = st.sampled_from(sorted(ANYTHING)).flatmap(lambda name: st.fixed_dictionaries({name: ANYTHING[name]}))


@given(RIGHT_BODIES)
def test_right_bodies_need_no_rules(body: dict[str, Any]) -> None:
    """Bodies with plain fields that are right up to their limits do not cost the import of a validator."""
    plain = read_plain(body)
    assert plain is not None
    assert_same(plain, read_by_rules(body, {}))


@given(RIGHT_BODIES, ODD_FIELDS)
def test_what_is_taken_without_the_rules_they_take_as_well(body: dict[str, Any], odd: dict[str, Any]) -> None:
    """With a field that may hold anything, a body is left to the rules or read as by them."""
    plain = read_plain(body | odd)
    if plain is not None:
        assert_same(plain, read_by_rules(body | odd, {}))


@pytest.mark.parametrize("body", [{}, {"model": "smollm2"}, {"input": ""}, {"model": "", "input": ""}])
def test_bodies_without_model_or_input_are_for_the_rules(body: dict[str, Any]) -> None:
    """What is missing is named by the rules."""
    assert read_plain(body) is None


@pytest.mark.parametrize("header", ["no-cache", "max-age=5"])
def test_a_cache_header_is_read_with_a_plain_body(header: str) -> None:
    """Wishes of the headers reach the request although the body has none."""
    request = read_inference({"model": "smollm2", "input": "Hello"}, {"cache-control": header})
    assert request.cache is not None


def test_faults_keep_their_words() -> None:
    """What the quick look does not take is refused in the validator's words, with the field's name."""
    with pytest.raises(InvalidRequestError, match="Field 'deadline_seconds': it should be above 0"):
        read_inference({"model": "smollm2", "input": "", "deadline_seconds": 0})


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p", "stop"])
def test_a_parameter_outside_parameters_is_led_there(name: str) -> None:
    """Callers who know OpenAI's routes write it beside the input."""
    with pytest.raises(InvalidRequestError, match=f"Unknown field '{name}'.*goes into 'parameters'") as refused:
        read_inference({"model": "smollm2", "input": "", name: 1})
    assert refused.value.param == name


def assert_same(one: InferenceRequest, other: InferenceRequest) -> None:
    """Equal, and of the same types where Python calls different types equal."""
    assert repr(one) == repr(other)
