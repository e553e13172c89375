"""The likeness of texts by their words: its scale, its symmetry, and the file that ships."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tollgate.adapters.texts.word_vectors import FILE, likeness
from tollgate.domain.near.guard import ladder_of
from tollgate.domain.near.match import verify_match
from tollgate.domain.near.policy import NearPolicy, Strictness
from tollgate.domain.near.words import MAGIC, WordVectors, WordVectorsError

SMALL = WordVectors.decode(
    WordVectors.encode({"car": [1.0, 0.0], "auto": [0.96, 0.28], "bread": [0.0, 1.0], "tree": [-1.0, 0.0]})
)
TEXTS = some.lists(some.sampled_from("car auto bread tree the is boat cars how 7".split()), max_size=6).map(" ".join)


@given(TEXTS, TEXTS)
def test_it_is_symmetric_and_in_range(one: str, other: str) -> None:
    """Whichever text comes first; 1 for a text and itself."""
    found = SMALL.likeness(one, other)
    assert 0 <= found <= 1
    assert math.isclose(found, SMALL.likeness(other, one))
    assert SMALL.likeness(one, one) == 1


def test_synonyms_cost_little_and_strangers_their_whole_weight() -> None:
    """Near words, far words, words without a vector, and a word with nothing on the other side."""
    same, near = SMALL.likeness("bread car", "bread cars"), SMALL.likeness("bread car", "bread auto")
    far, unknown = SMALL.likeness("bread car", "bread tree"), SMALL.likeness("bread car", "bread boat")
    assert same == 1
    assert near == pytest.approx(1 - 2 * 0.04 / 4, abs=0.01)
    assert far == unknown == pytest.approx(0.5)
    assert SMALL.likeness("bread car", "bread") == pytest.approx(1 - 1 / 3)


def test_grammar_costs_less_than_matter() -> None:
    """Another article moves the likeness less than another noun."""
    assert SMALL.likeness("the bread car", "bread car") > SMALL.likeness("bread car", "car")


@pytest.mark.parametrize("data", [b"", b"other", MAGIC, FILE.read_bytes()[:-1], FILE.read_bytes() + b"x"])
def test_a_file_that_is_not_whole_is_refused(data: bytes) -> None:
    """Another file, and one that is cut or too long."""
    with pytest.raises(WordVectorsError):
        WordVectors.decode(data)


def test_without_a_file_there_is_no_likeness() -> None:
    """Near matching is off then; nothing fails."""
    assert likeness(FILE.with_name("none.bin")) is None
    assert likeness(FILE.with_name("prices.json")) is None


def test_the_file_that_ships_knows_synonyms() -> None:
    """Paraphrases are on the ladder of the loosest policy, other questions below all of it."""
    alike = likeness()
    assert alike is not None
    loosest = ladder_of(NearPolicy(Strictness.LOOSE))[0]
    for one, other in (("purchase a", "buy a"), ("buy a big", "buy a large")):
        texts = f"How do I {one} car in Geneva?", f"How do I {other} car in Geneva?"
        assert verify_match(*texts, cosine=alike(*texts), threshold=loosest).accepted
    assert alike("How do I fix my car?", "How do I repair my automobile?") > 0.8
    assert alike("How do I fix my car?", "How do I bake my bread?") < 0.8
    assert alike("How do I renew my passport?", "How do I renew my driving licence?") < loosest
