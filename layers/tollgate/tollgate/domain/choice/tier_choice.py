"""Which of a model's sizes answers a request: the smallest that will do, by its records and the owner's dial.

In this order: the prompt's complexity names a size; a conversation does not go back to a smaller one; a dearer size
whose records are no better than a cheaper one's is never chosen; and where records are few and money is set aside for
it, another size is tried.
"""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from tollgate.domain.catalogue import TIER_ORDER, Tier
from tollgate.domain.choice.complexity import choose_tier, estimate_complexity, threshold_for_quality, weigh
from tollgate.domain.choice.complexity_features import measure
from tollgate.domain.choice.complexity_model import shipped_model
from tollgate.domain.choice.exchange import cautious_share
from tollgate.domain.choice.model_choice import (
    ENOUGH_RECORDS,
    Candidate,
    ModelProfile,
    QualityRecord,
    choose_model,
    predict,
)
from tollgate.domain.choice.outcomes import NOTHING, Tally
from tollgate.domain.choice.policy import TierThresholds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from tollgate.domain.choice.complexity_model import Reading
    from tollgate.domain.choice.policy import ChoicePolicy

REFERENCE_QUALITY: Final = {Tier.SMALL: 0.561, Tier.MEDIUM: 0.591, Tier.LARGE: 0.621}
"""Mean qualities that the dial assumes for sizes without measurements: of the pair that complexity was learned from
(Llama-3.1-8B and Nemotron-51B, see docs/models/complexity.md), and half way between the two.
"""

_LOGISTIC: Final = 1.702
"""Turns a logistic quantile into nearly a normal one (Camilli, Psychometrika, 1994)."""


class Option(NamedTuple):
    """One size of a model, as it applies to this request.

    Args:
        tier: the size.
        estimated_cost: dollars of this request on it; None where the price is unknown.
        expected_quality: by the owner's own measurements, 0..1.
        resembles: known model that it behaves like; empty for none.
        record: its own outcomes, on this topic where there are enough of them.
    """

    tier: Tier
    estimated_cost: Decimal | None
    expected_quality: float | None = None
    resembles: str = ""
    record: Tally = NOTHING

    @property
    def quality(self) -> float | None:
        """Mean quality: recorded, or else as the owner measured it."""
        return self.record.mean_quality if self.record.judged >= ENOUGH_RECORDS else self.expected_quality


class TierDecision(NamedTuple):
    """The chosen size and why.

    Args:
        tier: the size.
        complexity: of the prompt, 0..1.
        reason: for the route's reason, parts joined by ``;``.
        settled: the size without exploring, which the conversation continues with.
    """

    tier: Tier
    complexity: float
    reason: str
    settled: Tier


def decide_tier(
    text: str,
    options: Sequence[Option],
    policy: ChoicePolicy,
    *,
    quality: float | None = None,
    earlier: Sequence[str] = (),
    floor: Tier = Tier.SMALL,
    draw: float | None = None,
    extra_usd: Decimal | None = None,
) -> TierDecision:
    """Choose a size.

    Args:
        text: what decides, see `tollgate.domain.choice.complexity.routing_text`.
        options: at least one, one for each size.
        policy: the owner's.
        quality: the caller's dial, 0..1, which overrides the owner's; None for the owner's.
        earlier: texts of earlier turns of the same conversation.
        floor: the size that the conversation is known to need.
        draw: 0..1, for exploring; None where this request is not to explore.
        extra_usd: dollars that exploring may still cost; None for nothing.

    Raises:
        ValueError: there is no option, or the dial is out of range.
    """
    by_size = sorted(options, key=lambda option: TIER_ORDER[option.tier])
    dial = policy.quality if quality is None else quality
    measured = measure(text)
    reading = shipped_model().read(measured)
    complexity, familiarity = weigh(measured, reading)
    reason = f"complexity={complexity:.2f}" + ("" if dial is None else f";quality={dial:g}")
    if dial is not None and all(option.resembles and option.estimated_cost is not None for option in by_size):
        chosen = _predicted(measured, reading, by_size, dial)
        reason += ";by=prediction"
    else:
        chosen = _smallest_from(by_size, choose_tier(complexity, _thresholds(policy, dial, familiarity, by_size)))
    needed = floor
    if policy.sticky and earlier and chosen is not by_size[-1]:
        # Weighing earlier turns costs as much as this one, so they are weighed only where they can still change
        # something.
        thresholds = _thresholds(policy, dial, familiarity, by_size)
        sizes = (choose_tier(estimate_complexity(turn), thresholds) for turn in earlier)
        needed = max((floor, *sizes), key=TIER_ORDER.__getitem__)
    if policy.sticky and TIER_ORDER[needed] > TIER_ORDER[chosen.tier]:
        stays = _smallest_from(by_size, needed)
        if stays is not chosen:
            chosen = stays
            reason += ";sticky"
    better = _not_ruled_out(chosen, by_size)
    if better is not chosen:
        reason += f";ruled_out={chosen.tier}"
        chosen = better
    tried = chosen
    if draw is not None:
        tried = _explored(chosen, by_size, draw, 0.95 if dial is None else dial, extra_usd)
        if tried is not chosen:
            reason += f";explore_instead_of={chosen.tier}"
    return TierDecision(tried.tier, complexity, f"tier={tried.tier};{reason}", chosen.tier)


def _thresholds(
    policy: ChoicePolicy, dial: float | None, familiarity: float, by_size: Sequence[Option]
) -> TierThresholds:
    if dial is None:
        return policy.thresholds
    return thresholds_for_quality(cautious_share(dial, round(familiarity, 1)), by_size)


def thresholds_for_quality(quality: float, by_size: Sequence[Option]) -> TierThresholds:
    """The thresholds that keep a share of the largest size's quality.

    With three sizes each step keeps the square root of the share, so that both together keep the share.

    Args:
        quality: the share, 0..1.
        by_size: the options, smallest first.
    """
    means = {option.tier: _mean(option) for option in by_size}
    sizes = [option.tier for option in by_size]
    if len(sizes) == 1:
        return TierThresholds()  # any will do
    share = sqrt(quality) if len(sizes) == 3 else quality
    steps = [threshold_for_quality(share, means[small], max(means[large], 0.001)) for small, large in pairwise(sizes)]
    if sizes[0] is Tier.MEDIUM:
        return TierThresholds(0.0, steps[0])
    if len(steps) == 1:
        # With two sizes one threshold counts: below it the smaller, from it on the larger, whatever its name.
        return TierThresholds(steps[0], 1.0) if sizes[1] is Tier.MEDIUM else TierThresholds(steps[0], steps[0])
    return TierThresholds(steps[0], max(steps))


def _mean(option: Option) -> float:
    return REFERENCE_QUALITY[option.tier] if option.quality is None else option.quality


def _smallest_from(by_size: Sequence[Option], tier: Tier) -> Option:
    """The smallest size that is at least this; if there is none, the largest."""
    return next((option for option in by_size if TIER_ORDER[option.tier] >= TIER_ORDER[tier]), by_size[-1])


def _predicted(measured: list[float], reading: Reading, by_size: Sequence[Option], dial: float) -> Option:
    profiles = [
        ModelProfile(option.tier.value, option.quality, resembles=option.resembles, tier=option.tier)
        for option in by_size
    ]
    found = predict(measured, profiles, reading)
    candidates = [
        Candidate(option.tier.value, quality, option.estimated_cost, _record(option), mean, general)
        for option, quality, mean, general in zip(by_size, found.qualities, found.means, found.general, strict=True)
        if option.estimated_cost is not None
    ]
    name = choose_model(candidates, dial, found.familiarity).candidate.name
    return next(option for option in by_size if option.tier.value == name)


def _record(option: Option) -> QualityRecord | None:
    mean = option.record.mean_quality
    return None if mean is None else QualityRecord(mean, int(option.record.judged))


def is_ruled_out(option: Option, options: Sequence[Option]) -> bool:
    """Whether a cheaper one of the options has records that are at least as good."""
    return _not_ruled_out(option, options) is not option


def _not_ruled_out(chosen: Option, by_size: Sequence[Option]) -> Option:
    """The chosen size, or the cheapest one that costs less and whose records are at least as good."""
    cost, mean = chosen.estimated_cost, chosen.record.mean_quality
    if cost is None or mean is None or chosen.record.judged < ENOUGH_RECORDS:
        return chosen
    better = [
        (option.estimated_cost, option)
        for option in by_size
        if option.estimated_cost is not None
        and option.estimated_cost < cost
        and option.record.judged >= ENOUGH_RECORDS
        and (option.record.mean_quality or 0.0) >= mean
    ]
    return min(better, key=lambda pair: pair[0])[1] if better else chosen


def _explored(chosen: Option, by_size: Sequence[Option], draw: float, dial: float, extra_usd: Decimal | None) -> Option:
    """Thompson sampling (Biometrika, 1933) with one draw: a size that may be as good, as far as is known, is tried.

    A cheaper size is tried where it may keep the dial's share; a dearer one where it may be better and the extra
    money is available. The more records there are, the less the draw can move, so exploring ends by itself.
    """
    cost = chosen.estimated_cost
    if cost is None:
        return chosen
    z = log(draw / (1.0 - draw)) / _LOGISTIC if 0.0 < draw < 1.0 else 0.0
    now = _sampled(chosen, -z)
    for option in by_size:
        if option is chosen or option.estimated_cost is None or is_ruled_out(option, by_size):
            continue
        sampled = _sampled(option, z)
        extra = option.estimated_cost - cost
        if extra <= 0 and sampled >= dial * now:
            return option
        if extra > 0 and sampled > now and extra_usd is not None and extra <= extra_usd:
            return option
    return chosen


def _sampled(option: Option, z: float) -> float:
    """A quantile of the possible mean quality, from a Beta distribution's mean and deviation.

    The expected quality of a size counts as much as two outcomes.
    """
    expected = REFERENCE_QUALITY[option.tier] if option.expected_quality is None else option.expected_quality
    count = option.record.judged + 2.0
    mean = (option.record.quality + 2.0 * expected) / count
    return mean + z * sqrt(max(0.0, mean * (1.0 - mean)) / (count + 1.0))
