"""The estimate, its tiers and its promise of quality."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate.domain.catalogue import Tier
from tollgate.domain.choice.complexity import (
    choose_tier,
    estimate_complexity,
    kept_quality,
    routing_text,
    threshold_for_quality,
    weigh,
)
from tollgate.domain.choice.complexity_features import READ_LIMIT, measure
from tollgate.domain.choice.policy import TierThresholds

SHARES = st.floats(0.0, 1.0)
SIMPLE = ("hi", 'Translate "good morning" to French.', "who won the world cup in 2010")
PUZZLE = (
    "Q: There are 4 houses in a row. Each person has a different pet, drink and car. The person with "
    "the cat is directly left of the one who drinks tea. The red car is not next to the blue one. Either the "
    "dog or the bird is in the first house. In which house does the milk drinker live? Choices: 1, 2, 3, 4."
)
AGES = (
    "Ann is twice as old as Ben was when Ann was as old as Ben is now. If the sum of their ages is 63 and "
    "each of their three children is a third as old as the parent they resemble, how many years must pass "
    "until all five together are at least 150, unless the eldest leaves?"
)
DEMANDING = (PUZZLE, AGES)


@given(st.text())
def test_estimate_is_a_share_and_repeats(text: str) -> None:
    """Any text at all gets a complexity between 0 and 1, and the same one twice."""
    complexity, familiarity = weigh(measure(text))
    assert 0.0 <= complexity <= 1.0
    assert 0.0 <= familiarity <= 1.0
    assert estimate_complexity(text) == complexity


@pytest.mark.parametrize(
    "text", ["", " \n\t ", "\ud800", "\x00" * 50, "中文" * 3_000, "🧮" * 500, "مرحبا كيف حالك", "1" * 9_000]
)
def test_odd_texts_are_estimated(text: str) -> None:
    """Empty, blank, broken, unspaced and endless texts are estimated like any other."""
    assert 0.0 <= estimate_complexity(text) <= 1.0


@pytest.mark.parametrize("simple", SIMPLE)
@pytest.mark.parametrize("demanding", DEMANDING)
def test_demanding_prompts_rank_above_simple_ones(simple: str, demanding: str) -> None:
    """A puzzle with many conditions needs the strong model more than a greeting or a lookup."""
    assert estimate_complexity(demanding) > estimate_complexity(simple) + 0.2


def test_only_the_ends_of_a_long_text_count() -> None:
    """What stands in the middle of a huge prompt is not read, apart from its length."""
    half = READ_LIMIT // 2
    head, tail = ("word " * half)[:half], ("thing " * half)[:half]
    assert measure(head + "x" * 10_000 + tail) == measure(head + "?" * 10_000 + tail)


@pytest.mark.parametrize("piece", ["a", "\n", " ", "1.", "- \n", "(", '"', "A. ", "中", "1 / ", "$\\_{"])
def test_time_does_not_grow_with_a_hostile_text(piece: str) -> None:
    """A megabyte of any repeated piece costs about what four kilobytes cost: no pattern backtracks."""
    estimate_complexity(piece)
    started = time.process_time()
    estimate_complexity(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 0.1


def test_tiers_begin_where_the_thresholds_say() -> None:
    """Small below the first threshold, large from the second on, medium between."""
    assert [choose_tier(share) for share in (0.0, 0.299, 0.3, 0.699, 0.7, 1.0)] == [
        Tier.SMALL,
        Tier.SMALL,
        Tier.MEDIUM,
        Tier.MEDIUM,
        Tier.LARGE,
        Tier.LARGE,
    ]
    assert choose_tier(0.5, TierThresholds(medium=0.6, large=0.9)) is Tier.SMALL


@given(SHARES, SHARES, SHARES, SHARES)
def test_a_harder_prompt_never_gets_a_smaller_tier(one: float, other: float, medium: float, large: float) -> None:
    """For any thresholds the tier grows with the complexity."""
    thresholds = TierThresholds(*sorted((medium, large)))
    sizes = list(Tier)
    low, high = sorted((one, other))
    assert sizes.index(choose_tier(low, thresholds)) <= sizes.index(choose_tier(high, thresholds))


@pytest.mark.parametrize(("medium", "large"), [(0.7, 0.3), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_thresholds_out_of_order_are_refused(medium: float, large: float) -> None:
    """Thresholds that name no tiers are an error, not a silent default."""
    with pytest.raises(ValueError, match="tier thresholds"):
        TierThresholds(medium, large)


@given(SHARES, SHARES, st.floats(0.01, 1.0))
def test_the_threshold_keeps_what_was_asked(quality: float, weak: float, strong: float) -> None:
    """The chosen threshold keeps the asked share, and a step more would not."""
    threshold = threshold_for_quality(quality, weak, strong)
    if threshold > 0.0:
        assert kept_quality(threshold, weak, strong) >= quality
    if threshold < 1.0:
        assert kept_quality(min(1.0, threshold + 0.01), weak, strong) < quality


@settings(max_examples=50)
@given(SHARES, SHARES, st.floats(0.01, 1.0), st.floats(0.0, 0.99))
def test_more_strong_calls_never_keep_less(threshold: float, other: float, strong: float, part: float) -> None:
    """The promised quality falls with the threshold, from all of it at 0."""
    low, high = sorted((threshold, other))
    assert kept_quality(low, part * strong, strong) >= kept_quality(high, part * strong, strong)
    assert kept_quality(0.0, part * strong, strong) == pytest.approx(1.0)


def test_a_weak_model_that_is_no_worse_keeps_everything() -> None:
    """Where the strong model's own record is no better, nothing but the top threshold is chosen."""
    assert threshold_for_quality(1.0, weak_quality=0.8, strong_quality=0.8) == 1.0
    assert kept_quality(1.0, weak_quality=0.9, strong_quality=0.6) == pytest.approx(1.5)


@pytest.mark.parametrize("arguments", [(1.1, 0.5, 0.6), (0.5, -0.1, 0.6), (0.5, 0.5, 0.0), (-0.1, 0.5, 0.6)])
def test_impossible_qualities_are_refused(arguments: tuple[float, float, float]) -> None:
    """A share outside 0..1 is an error."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_for_quality(*arguments)


def test_a_conversation_is_judged_by_its_last_question() -> None:
    """The last user turn decides, with the one before a short follow-up; system text never counts."""
    question = "Explain the proof. " * 20
    told = [
        ("system", "You are terse."),
        ("user", "Name a river."),
        ("assistant", "Elbe."),
        ("user", question),
    ]
    assert routing_text(told) == question
    assert routing_text([*told, ("assistant", "..."), ("user", "And shorter?")]) == f"{question}\nAnd shorter?"
    assert routing_text([("system", "You are terse."), ("user", "")]) == "You are terse."
    assert routing_text([("system", "You are terse."), ("assistant", question)]) == question
    assert routing_text([("user", "")]) == ""
