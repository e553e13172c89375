"""The choice of a size as a pure function."""

from decimal import Decimal
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.sizes import EASY, HARD
from tollgate.domain.catalogue import TIER_ORDER, Tier
from tollgate.domain.choice.complexity import estimate_complexity, threshold_for_quality
from tollgate.domain.choice.model_choice import ENOUGH_RECORDS
from tollgate.domain.choice.outcomes import (
    ESCALATED,
    NOTHING,
    TOPICS,
    Tally,
    marked,
    marked_by,
    of_quality,
    of_run,
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


def _step(share: float, weak: Option, strong: Option) -> float:
    assert weak.quality is not None
    assert strong.quality is not None
    return threshold_for_quality(share, weak.quality, strong.quality)


def test_each_step_between_sizes_keeps_its_share() -> None:
    """Of the next size's quality, whichever sizes there are; with three both steps together keep it."""
    sizes = _options(_records(0.5), _records(0.55), _records(0.6))
    small, medium, large = sizes
    assert thresholds_for_quality(0.95, [small, large]).medium == _step(0.95, small, large)
    assert thresholds_for_quality(0.95, [small, medium]) == TierThresholds(_step(0.95, small, medium), 1.0)
    assert thresholds_for_quality(0.95, [medium, large]) == TierThresholds(0.0, _step(0.95, medium, large))
    first, second = _step(sqrt(0.95), small, medium), _step(sqrt(0.95), medium, large)
    assert thresholds_for_quality(0.95, sizes) == TierThresholds(first, max(first, second))


def test_a_first_step_that_is_worth_nothing_passes_over_the_size() -> None:
    """Where medium is hardly better than small and large is far ahead, medium's share is none."""
    found = thresholds_for_quality(0.95, _options(_records(0.59), _records(0.6), _records(0.9)))
    assert found.medium == found.large == 1.0


def test_a_size_without_a_deployment_between_two_is_no_reason_to_fail() -> None:
    """In any order of the options, and with a dial for one size alone."""
    small, medium, large = _options()
    for options in ([large, small], [large, medium], [medium, small], [medium]):
        assert decide_tier(HARD, options, POLICY, quality=1.0).tier is max(
            (option.tier for option in options), key=TIER_ORDER.__getitem__
        )


def test_the_owners_dial_holds_where_the_caller_has_none() -> None:
    """And the reason says no more than what happened."""
    policy = ChoicePolicy(quality=1.0)
    assert (
        decide_tier(EASY, _options(), policy).reason
        == f"tier=large;complexity={estimate_complexity(EASY):.2f};quality=1"
    )
    assert ";quality=0" in decide_tier(EASY, _options(), policy, quality=0.0).reason
    kept = decide_tier(EASY, _options()[:2], ChoicePolicy(thresholds=TierThresholds(0.0, 0.0)), floor=Tier.LARGE)
    assert kept.reason == f"tier=medium;complexity={estimate_complexity(EASY):.2f}"


def test_a_prediction_needs_all_sizes_known() -> None:
    """One that resembles nothing known, or has no price, leaves the choice to the thresholds."""
    names = ("qwen2.5-7b-instruct", "llama-3.1-8b-instruct", "llama-3.1-nemotron-51b-instruct")
    unpriced = _options(names=names)
    unpriced[1] = unpriced[1]._replace(estimated_cost=None)
    for options in (_options(names=(*names[:2], "")), unpriced):
        assert "prediction" not in decide_tier(HARD, options, POLICY, quality=1.0).reason


def test_records_count_from_thirty_outcomes_on() -> None:
    """Before that the owner's measurement is the quality."""
    few, enough = _records(0.5, ENOUGH_RECORDS - 1), _records(0.5, ENOUGH_RECORDS)
    measured = Option(Tier.SMALL, None, expected_quality=0.8)
    assert measured._replace(record=few).quality == 0.8
    assert measured._replace(record=enough).quality == 0.5


LARGE_ONLY, SMALL_ONLY = (ChoicePolicy(thresholds=TierThresholds(share, share)) for share in (0.0, 1.0))


def test_who_rules_out_a_size() -> None:
    """A size is ruled out by the cheapest one with records as good, of those whose price and records are known."""
    good, better, few = _records(0.8), _records(0.9), _records(0.9, ENOUGH_RECORDS - 1)
    for small, medium, large, tier in (
        (good, good, good, Tier.SMALL),
        (NOTHING, better, good, Tier.MEDIUM),
        (few, NOTHING, good, Tier.LARGE),
        (better, better, _records(0.5, ENOUGH_RECORDS - 1), Tier.LARGE),
        (good, good, better, Tier.LARGE),
    ):
        assert decide_tier(EASY, _options(small, medium, large), LARGE_ONLY).tier is tier
    unpriced = _options(better, NOTHING, good)
    unpriced[0] = unpriced[0]._replace(estimated_cost=None)
    assert decide_tier(EASY, unpriced, LARGE_ONLY).tier is Tier.LARGE
    assert decide_tier(EASY, _options(good, NOTHING, better), SMALL_ONLY).tier is Tier.SMALL


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


def _measured(small: float, large: float) -> list[Option]:
    first, _, last = _options()
    return [first._replace(expected_quality=small), last._replace(expected_quality=large)]


def test_a_cheaper_size_is_tried_if_it_may_keep_the_dials_share() -> None:
    """That costs nothing extra; without a dial the share is 0.95."""
    for policy, small, tier in (
        (LARGE_ONLY, 0.58, Tier.SMALL),
        (LARGE_ONLY, 0.56, Tier.LARGE),
        (ChoicePolicy(quality=0.99), 0.58, Tier.LARGE),
    ):
        found = decide_tier(HARD, _measured(small, 0.6), policy, floor=Tier.LARGE, draw=0.5)
        assert (found.tier, found.settled) == (tier, Tier.LARGE)
        assert (";explore_instead_of=large" in found.reason) is (tier is Tier.SMALL)


def test_a_dearer_size_is_tried_if_it_may_be_better_and_there_is_money() -> None:
    """All of the money that is left may go, and no more."""
    for large, left, tier in (
        (0.61, Decimal("0.009"), Tier.LARGE),
        (0.61, Decimal("0.0089"), Tier.SMALL),
        (0.61, None, Tier.SMALL),
        (0.60, Decimal(1), Tier.SMALL),
    ):
        assert decide_tier(EASY, _measured(0.6, large), SMALL_ONLY, draw=0.5, extra_usd=left).tier is tier


def test_a_size_is_not_tried_at_an_unknown_price() -> None:
    """Neither its own price nor that of what is chosen may be unknown; nor is one tried that is ruled out."""
    for at in (0, 1):
        options = _measured(0.5, 0.9)
        options[at] = options[at]._replace(estimated_cost=None)
        assert decide_tier(EASY, options, SMALL_ONLY, draw=0.9, extra_usd=Decimal(1)).tier is Tier.SMALL
    small, _, large = _options(_records(0.6), large=_records(0.6))
    assert decide_tier(EASY, [small, large], SMALL_ONLY, draw=0.99, extra_usd=Decimal(1)).tier is Tier.SMALL


@pytest.mark.parametrize(("count", "tier"), [(30, Tier.SMALL), (3_000, Tier.LARGE)])
def test_exploring_ends_by_itself(count: int, tier: Tier) -> None:
    """The more records show a size to be worse, the less the same draw speaks for it."""
    small, _, large = _options(_records(0.55, count), large=_records(0.6, count))
    assert decide_tier(HARD, [small, large], LARGE_ONLY, draw=0.7).tier is tier


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        (EASY, "question"),
        (HARD, "numbers"),
        ("Write a limerick about tolls", "task"),
        ("```\nx\n```", "code"),
        ("word " * 400, "long"),
        ("Is it far? \n", "question"),
        ("", "other"),
        (" \n", "other"),
    ],
)
def test_topics(text: str, topic: str) -> None:
    """By outward signs."""
    assert topic_of(text) == topic
    assert topic in TOPICS


def test_a_run_counts_for_what_is_known_of_it() -> None:
    """A failure has no length and no time of an answer, but its cost; an unknown cost is no cost of 0."""
    failed = of_run(failed=True, seconds=2.0, usd=3.0, output_tokens=5)
    assert failed == Tally(requests=1, errors=1, usd=3, usd_squared=9, priced=1)
    unknown = of_run(failed=False, seconds=2.0, usd=None, output_tokens=None)
    assert unknown == Tally(requests=1, seconds=2, seconds_squared=4)
    known = of_run(failed=False, seconds=2.0, usd=0.0, output_tokens=0)
    assert known == Tally(requests=1, seconds=2, seconds_squared=4, priced=1, counted=1)


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
