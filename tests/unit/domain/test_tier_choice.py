"""The choice of a size as a pure function."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.sizes import EASY, HARD
from tollgate.domain.catalogue import TIER_ORDER, Tier
from tollgate.domain.choice.complexity import estimate_complexity
from tollgate.domain.choice.outcomes import (
    ESCALATED,
    NOTHING,
    TOPICS,
    Tally,
    marked,
    marked_by,
    of_quality,
    topic_of,
    total,
)
from tollgate.domain.choice.policy import ChoicePolicy, TierThresholds
from tollgate.domain.choice.tier_choice import Option, decide_tier, thresholds_for_quality

POLICY = ChoicePolicy()


def _records(mean: float, count: int = 60) -> Tally:
    return total(of_quality(mean) for _ in range(count))


def _options(
    small: Tally = NOTHING, medium: Tally = NOTHING, large: Tally = NOTHING, names: tuple[str, ...] = ("", "", "")
) -> list[Option]:
    return [
        Option(Tier.SMALL, Decimal("0.001"), record=small, resembles=names[0]),
        Option(Tier.MEDIUM, Decimal("0.003"), record=medium, resembles=names[1]),
        Option(Tier.LARGE, Decimal("0.010"), record=large, resembles=names[2]),
    ]


def test_three_sizes_split_by_the_thresholds() -> None:
    """Small below, large from the upper one on, medium between them."""
    complexity = estimate_complexity(HARD)
    sizes = [
        decide_tier(HARD, _options(), ChoicePolicy(thresholds=TierThresholds(low, high))).tier
        for low, high in [(1.0, 1.0), (complexity, 1.0), (0.0, complexity)]
    ]
    assert sizes == [Tier.SMALL, Tier.MEDIUM, Tier.LARGE]


def test_a_missing_size_is_replaced_by_the_next_larger() -> None:
    """What needs a medium model is not given to a small one while there is a large one."""
    small, _, large = _options()
    middling = ChoicePolicy(thresholds=TierThresholds(0.0, 1.0))
    assert decide_tier(EASY, [small, large], middling).tier is Tier.LARGE
    assert decide_tier(HARD, [small], middling).tier is Tier.SMALL


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_dial_never_chooses_a_smaller_size(low: float, high: float) -> None:
    """Monotone in the dial."""
    low, high = sorted((low, high))
    for text in (EASY, HARD):
        chosen = [decide_tier(text, _options(), POLICY, quality=dial).tier for dial in (low, high)]
        assert TIER_ORDER[chosen[0]] <= TIER_ORDER[chosen[1]]


def test_the_dial_uses_what_is_known_of_the_sizes() -> None:
    """Where the small size is nearly as good, it gets nearly everything; where it is far behind, little."""
    small, _, large = _options(_records(0.88), large=_records(0.90))
    near = thresholds_for_quality(0.95, [small, large])
    small, _, large = _options(_records(0.30), large=_records(0.90))
    far = thresholds_for_quality(0.95, [small, large])
    assert near.medium == 1.0
    assert far.medium <= 0.45


@given(st.floats(0, 1), st.floats(0, 1), st.integers(30, 80))
def test_a_dearer_size_with_records_no_better_is_never_chosen(small: float, large: float, count: int) -> None:
    """Whatever the prompt, the dial and the draw."""
    options = [*_options(_records(small, count))[:1], _options(large=_records(large, count))[2]]
    for quality in (None, 0.5, 1.0):
        found = decide_tier(HARD, options, POLICY, quality=quality, draw=0.99, extra_usd=Decimal(1))
        if found.tier is Tier.LARGE:
            assert options[1].record.mean_quality > options[0].record.mean_quality  # type: ignore[operator]


def test_models_that_resemble_known_ones_are_predicted() -> None:
    """With the dial, the prediction for the prompt decides instead of the thresholds."""
    options = _options(names=("qwen2.5-7b-instruct", "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct"))
    best = decide_tier(HARD, options, POLICY, quality=1.0)
    assert ";by=prediction" in best.reason
    assert decide_tier(EASY, options, POLICY, quality=0.0).tier is Tier.SMALL
    assert "prediction" not in decide_tier(EASY, options, POLICY).reason


def test_earlier_turns_and_a_known_floor_keep_a_conversation_up() -> None:
    """Unless the owner does not want it."""
    assert decide_tier(EASY, _options(), POLICY, earlier=[HARD]).tier is Tier.LARGE
    assert decide_tier(EASY, _options(), POLICY, floor=Tier.MEDIUM).tier is Tier.MEDIUM
    loose = ChoicePolicy(sticky=False)
    assert decide_tier(EASY, _options(), loose, earlier=[HARD], floor=Tier.LARGE).tier is Tier.SMALL


def test_exploring_keeps_the_settled_size() -> None:
    """The conversation goes on with that one."""
    found = decide_tier(EASY, _options(), POLICY, draw=0.9, extra_usd=Decimal(1))
    assert found.tier is not Tier.SMALL
    assert found.settled is Tier.SMALL
    assert decide_tier(EASY, _options(), POLICY, draw=0.9, extra_usd=Decimal("0.0001")).tier is Tier.SMALL


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        (EASY, "question"),
        (HARD, "numbers"),
        ("Write a limerick about tolls", "task"),
        ("```\nx\n```", "code"),
        ("word " * 400, "long"),
        ("", "other"),
    ],
)
def test_topics(text: str, topic: str) -> None:
    """By outward signs."""
    assert topic_of(text) == topic
    assert topic in TOPICS


@given(st.sampled_from((*TOPICS, ESCALATED)), st.sampled_from(["a", "b", "c"]), st.text(max_size=8))
def test_a_mark_tells_what_answered(topic: str, deployment: str, tenant: str) -> None:
    """To the tenant that it was given to."""
    names = ["a", "b", "c"]
    name = marked("inf_01ka", tenant=tenant, model="m", deployment=deployment, topic=topic, seal="a")
    assert marked_by(name, tenant=tenant, model="m", deployments=names, seal="a") == (deployment, topic)
    assert marked_by(name, tenant=tenant, model="n", deployments=names, seal="a") is None
    assert marked_by(name, tenant=f"{tenant}x", model="m", deployments=names, seal="a") is None
    assert marked_by(name, tenant=tenant, model="m", deployments=names, seal="") is None
    assert marked_by("inf_01ka", tenant=tenant, model="m", deployments=names, seal="a") is None
