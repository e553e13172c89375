"""Whether two answers say the same, by what they are."""

from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tollgate.domain.catalogue import ModelKind
from tollgate.domain.near.agreement import answers_agree

LONG = (
    "To renew a passport, fill in the form, attach two photographs and the old document, and pay the fee of 60 dollars "
    "at the counter of the passport office in your town."
)
RETOLD = (
    "You renew a passport at the passport office in your town: take two photographs and the old document along, fill "
    "in a form there, and pay the fee of 60 dollars at a counter."
)
SHORTENED = (
    "For a new passport go to the office in your town with the old document and two photographs, complete the form "
    "that you are given there, and have 60 dollars ready for the fee, which is paid in cash at any counter."
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Good day.", "good day", True),
        ({"generated_text": "Yes."}, {"generated_text": "yes"}, True),
        ({"generated_text": "Yes."}, {"generated_text": "No."}, False),
        ("It is open on Monday", "It is not open on Monday", False),
        ("It costs 5 dollars", "It costs 6 dollars", False),
        ("It is -5 degrees", "It is 5 degrees", False),
        ("The root is x + 5", "The root is x - 5", False),
        ("The share is 2/3", "The share is 3/2", False),
        ("The slope is -x", "The slope is x", False),
        ("**Paris** it is", "Paris it is", True),
        (LONG, SHORTENED, True),
        ({"text": "Done.", "tool_calls": [{"id": "a"}]}, {"text": "done", "tool_calls": [{"id": "b"}]}, False),
        ("The capital is Paris", "The capital is Rome", False),
        (LONG, RETOLD, True),
        (LONG, RETOLD.replace("60", "90"), False),
        (LONG, "Bread is baked from flour, water, salt and 60 grams of yeast, and rises for an hour or two.", False),
        ({"label": "en", "score": 0.93}, {"label": "en", "score": 0.95}, True),
        ({"label": "en", "score": 0.93}, {"label": "fr", "score": 0.93}, False),
        ({"label": "en", "score": 0.93}, {"label": "en", "score": 0.5}, False),
        ({"label": "en"}, {"label": "en", "other": 1}, False),
        ([1, True], [1, 1], False),
        ([1, 2], [1], False),
        (None, "text", False),
        ([{"generated_text": "Hi"}], [{"generated_text": "hi"}], True),
        ([{"generated_text": "Hi"}], [{"generated_text": "hi"}, {"generated_text": "hi"}], False),
    ],
)
def test_answers(one: Any, other: Any, *, expected: bool) -> None:
    """Same words, numbers, labels; a long text may be told otherwise, and no order of the two matters."""
    assert answers_agree(one, other, ModelKind.ANY) is expected
    assert answers_agree(other, one, ModelKind.ANY) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([[1.0, 0.0]], [[0.99, 0.1]], True),
        ([[1.0, 0.0]], [[0.0, 1.0]], False),
        ([[4.0, 0.0]], [[1.0, 1.0]], False),
        ([[0.1, 0.0]], [[0.2, 0.0]], True),
        ([[1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], False),
        ([[1.0, 0.0]], [[1.0]], False),
        ([[0.0, 0.0]], [[0.0, 0.0]], False),
        ("text", [[1.0]], False),
    ],
)
def test_vectors(one: Any, other: Any, *, expected: bool) -> None:
    """Embeddings agree where each pair points the same way; what is no vector agrees with nothing."""
    assert answers_agree(one, other, ModelKind.EMBEDDING) is expected


def test_answers_with_long_gaps_are_soon_compared() -> None:
    """A small model may repeat an end of line until it is stopped; how far its words are apart says nothing."""
    gap = "\n" * 50_000
    began = process_time()
    assert answers_agree(f"It is open{gap}on Monday", "It is open on Monday", ModelKind.ANY)
    assert process_time() - began < 2


@given(
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=20),
        lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    )
)
def test_an_answer_agrees_with_itself(output: Any) -> None:
    """Whatever its shape."""
    assert answers_agree(output, output, ModelKind.ANY)
