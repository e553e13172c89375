"""The model file and the trees in it."""

import json

import pytest

from tollgate.domain.choice.complexity_features import FEATURES, measure
from tollgate.domain.choice.complexity_model import (
    LEAF,
    MAGIC,
    MODEL_FILE,
    ComplexityModelError,
    Forest,
    _numbers,
    decode,
    shipped_model,
)


def stump(left: int, right: int) -> Forest:
    """Return a forest of one tree with one question: is the first feature at most 1?"""
    return Forest(
        roots=(0,),
        feature=_numbers("B", bytes([0, LEAF, LEAF])),
        threshold=_numbers("f", bytes([0, 0, 128, 63]) + bytes(8)),
        target=_numbers("I", b"".join(n.to_bytes(4, "little") for n in (2, 0, 1))),
        values=_numbers("h", left.to_bytes(2, "little", signed=True) + right.to_bytes(2, "little", signed=True)),
        means=(0.5,),
    )


def test_a_tree_goes_left_at_and_below_its_threshold() -> None:
    """The question is "at most", and leaf values are ten-thousandths."""
    forest = stump(-2_500, 1_000)
    assert forest.corrections([1.0]) == [-0.25]
    assert forest.corrections([1.01]) == [0.1]


def test_the_shipped_model_is_complete() -> None:
    """The file that ships fits this code: ordered ranks, a falling curve, qualities for nine models."""
    model = shipped_model()
    assert list(model.ranks) == sorted(model.ranks)
    assert list(model.recovered) == sorted(model.recovered, reverse=True)
    assert model.recovered[0] == 1.0
    assert len(model.known_models) == len(model.quality.means) == len(model.leanings) == 9
    assert all(0 <= place < len(FEATURES) and sign in {1, -1} for place, sign in model.prior)
    assert model.rank(model.ranks[0] - 1) == 0.0
    assert model.rank(model.ranks[-1] + 1) == 1.0
    assert model.rank(model.ranks[50]) == pytest.approx(0.5)


def test_a_prompt_unlike_any_other_is_left_to_the_prior() -> None:
    """The trees are all but silent on measurements far from every prototype."""
    model = shipped_model()
    strange = tuple(4.0 if place % 2 else -4.0 for place in range(len(FEATURES)))
    assert model.familiarity(model.strangeness(strange)) < 0.01
    assert model.familiarity(model.strangeness(model.prototypes[0])) > 0.9


def test_a_reading_taken_before_changes_nothing() -> None:
    """Whoever has a reading gets with it what is found without."""
    model, measured = shipped_model(), measure("Prove that if either x or y must be even, then x+y is odd.")
    assert model.need_of(measured, model.read(measured)) == model.need_of(measured)


def test_only_the_outputs_asked_for_are_added_up() -> None:
    """Of the nine models' trees those asked for say what they say among all, in the order of asking."""
    quality, measured = shipped_model().quality, measure("How many apples has Ann?")
    whole = quality.corrections(measured)
    assert quality.corrections(measured, [3, 0]) == [whole[3], whole[0]]


def test_a_file_of_another_kind_is_refused() -> None:
    """A file with other first bytes is not run."""
    with pytest.raises(ComplexityModelError, match="version"):
        decode(b"something else")


def test_a_model_of_other_features_is_refused() -> None:
    """A model trained on other measurements would give numbers without meaning."""
    head = json.dumps({"features": ["length"]}).encode()
    with pytest.raises(ComplexityModelError, match="other features"):
        decode(MAGIC + len(head).to_bytes(4, "little") + head)


@pytest.mark.parametrize("end", [len(MAGIC) + 2, 2_000, 300_000, -8, -1])
def test_a_file_that_is_cut_is_refused(end: int) -> None:
    """In its head, in the middle of a table, or short of the last tree's leaves: whatever is left is not run."""
    with pytest.raises(ComplexityModelError, match=r"cut|another length"):
        decode(MODEL_FILE.read_bytes()[:end])


def test_a_file_that_goes_on_is_refused() -> None:
    """What follows the last table was not written by the training."""
    with pytest.raises(ComplexityModelError, match="another length"):
        decode(MODEL_FILE.read_bytes() + b"x")


def test_a_damaged_head_is_refused() -> None:
    """A head that is no JSON, or no text, is no reason for another kind of error."""
    whole = MODEL_FILE.read_bytes()
    for damage in (b"\0", b"\xff"):
        with pytest.raises(ComplexityModelError, match="damaged"):
            decode(whole[: len(MAGIC) + 50] + damage + whole[len(MAGIC) + 51 :])
