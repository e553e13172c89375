"""The measurements behind the estimate."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollgate.domain.choice.complexity_features import FEATURES, READ_LIMIT, excerpt, measure


def named(text: str) -> dict[str, float]:
    return dict(zip(FEATURES, measure(text), strict=True))


@given(st.text())
def test_every_measurement_is_finite_and_not_negative(text: str) -> None:
    """Any text gives one finite number a feature, none of them negative."""
    values = measure(text)
    assert len(values) == len(FEATURES)
    assert all(math.isfinite(value) and value >= 0.0 for value in values)


@given(st.text(min_size=READ_LIMIT - 5, max_size=READ_LIMIT + 5))
def test_excerpt_keeps_both_ends(text: str) -> None:
    """A text within the limit is read whole; of a longer one both ends are."""
    read = excerpt(text)
    half = READ_LIMIT // 2
    assert read == text or (
        len(read) == READ_LIMIT + 1 and read.startswith(text[:half]) and read.endswith(text[-half:])
    )


def test_feature_names_are_unique() -> None:
    """A name means one measurement, so that a model file can be checked by names."""
    assert len(set(FEATURES)) == len(FEATURES)


@pytest.mark.parametrize(
    ("feature", "having", "lacking"),
    [
        ("fractions", "She ate 3/4 of it and half of the rest.", "She ate some of it and more of the rest."),
        (
            "comparisons",
            "Tom has three times as many apples as Ann.",
            "Tom has three apples and Ann has some.",
        ),
        ("decimals", "It costs 3.50 today.", "It costs 350 today."),
        ("code", "def run(x):\n    return x", "Define a run of x."),
        ("latex", r"Let $\frac{a}{b}$ be given.", "Let a over b be given."),
        ("options", "Pick one.\nA. red\nB. blue", "Pick one: red or blue."),
        ("bullets", "Rules:\n- short\n- clear", "Rules: short, clear."),
        ("ends_asking", "Is it so?", "It is so."),
        ("opens_asking", "Where is it?", "Find it."),
        ("opens_telling", "Write a letter.", "A letter came."),
        ("names", "then Maria met Hannes", "then mother met father"),
        ("foreign", "größer", "larger"),
        ("blanks", "The sky is __ today.", "The sky is blue today."),
        ("count_constraint", "It must only use exactly two words.", "It may use two words."),
        ("count_ratio", "Twice the percentage of half.", "Some part of it."),
    ],
)
def test_feature_tells_texts_apart(feature: str, having: str, lacking: str) -> None:
    """Each feature rises where the thing that it is named for occurs."""
    assert named(having)[feature] > named(lacking)[feature]


def test_length_counts_the_whole_text() -> None:
    """Size is that of the prompt, though only its ends are read."""
    assert named("word " * 5_000)["words"] == pytest.approx(math.log1p(5_000), rel=0.01)


def test_size_is_fair_to_dense_scripts() -> None:
    """Ten Chinese characters weigh more than ten Latin ones."""
    assert named("请解释一下量子纠缠的")["bytes"] > named("abcdefghij")["bytes"]


_FIGURES = ("numbers", "distinct_numbers", "largest_number", "digits", "decimals", "fractions", "numbered_sentences")
_SIGNS = ("operators", "code", "sentences", "latex", "options", "bullets", "commas")


@given(st.text(alphabet='abZ 0129.,;:/!?\n\t(){}<>=+*^`"$%_-', max_size=200))
def test_both_ways_of_reading_agree(text: str) -> None:
    """ASCII is read by tables of bytes, other text by patterns: one foreign word changes no figure or sign."""
    text = f"{text.strip()} "
    plain, foreign = named(f"{text}ab"), named(f"{text}\u00e4\u00f6")
    assert [plain[name] for name in (*_FIGURES, *_SIGNS)] == [foreign[name] for name in (*_FIGURES, *_SIGNS)]
    assert plain["words"] == foreign["words"]


def test_typographic_signs_do_not_change_the_words() -> None:
    """Text with curly quotes and dashes, but no foreign letter, has the words and numbers of its plain twin."""
    plain, curly = named('He said "3.5 miles" - no more.'), named("He said \u201c3.5 miles\u201d \u2014 no more.")
    for name in ("words", "numbers", "decimals", "distinct_words", "count_measure"):
        assert plain[name] == curly[name]


@given(st.text(alphabet="12 /a\n\u0663", max_size=60))
def test_fractions_are_found_as_by_the_plain_pattern(text: str) -> None:
    """A pattern that begins with the stroke finds as many as one that begins with the digit before it."""
    assert named(text)["fractions"] == math.log1p(len(re.findall(r"\d\s?/\s?\d", text.strip())))


_CODE = ("def ", "return ", "import ", "SELECT ", "```", "=>", ">>>", "{\n", ";\n", "):\n", "()", "</")


@given(st.lists(st.sampled_from([*_CODE, "`", "=", " > ", "{", ";", ")", ":", "(", "<", "\n", "x", " ", "\u00e9"])))
def test_signs_of_code_are_counted_in_the_whole_text(pieces: list[str]) -> None:
    """Looking among the signs first passes over none that stands in the text."""
    text = "".join(pieces).strip()
    assert named(text)["code"] == math.log1p(sum(map(text.count, _CODE)))


@given(st.text(alphabet="aAZ[ .,\n\t\x0b\x1c9'", max_size=80))
def test_names_are_the_pieces_that_begin_with_a_capital(text: str) -> None:
    """Looking for capitals finds the pieces between blanks that begin with one, and none that has one further on."""
    pieces = {piece.strip("\"'.,:;!?()[]") for piece in text.split() if "A" <= piece[0] <= "Z"}
    assert named(text)["names"] == math.log1p(sum(piece.lower() != "a" for piece in pieces))
