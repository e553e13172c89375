"""Which of several models to send a prompt to: predicted quality against price, under one dial."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from tollgate.domain.catalogue import Tier
from tollgate.domain.choice.complexity_model import Reading, shipped_model
from tollgate.domain.choice.exchange import best_lead, best_value, cautious_share, exchange_rate

ENOUGH_RECORDS: Final = 30
"""Outcomes below which a model's own record is ignored."""

MOST_LEANING: Final = 0.02
"""How far a model's leaning may move its quality on an unfamiliar prompt, among many models: enough to separate nearly
equal ones. The largest of several bold guesses is the one most likely to be wrong.
"""

GENERAL_SHARE: Final = {Tier.SMALL: 0.0, Tier.MEDIUM: 0.125, Tier.LARGE: 0.25}
"""How much of the need that general signals show is counted in favour of a model of each size, among many."""

_HAIR: Final = 1e-4
GENERAL_SPREAD: Final = 0.15
"""Need that one standard deviation of the general signals stands for (`PRIOR_WEIGHT` of the training)."""

OWN_SPREAD: Final = 0.05
"""How far a model's prediction strays from its mean by itself on familiar prompts, one standard deviation. The trees'
corrections stray twice as far, but half of that is common to all models or wrong."""


class ModelProfile(NamedTuple):
    """What is known of a model's quality before a prompt is seen.

    Args:
        name: the model's name in the catalogue.
        mean_quality: its mean quality over the traffic, 0..1; None where nothing was measured.
        resembles: which of `known_models()` it behaves like; None where none does.
        tier: its size class; large models gain where a prompt looks demanding.
    """

    name: str
    mean_quality: float | None = None
    resembles: str | None = None
    tier: Tier = Tier.SMALL


@dataclass(frozen=True, slots=True)
class QualityRecord:
    """A model's own outcomes: on this kind of prompt, or overall.

    Args:
        mean: mean outcome, 0..1.
        count: how many outcomes.
    """

    mean: float
    count: int


class Candidate(NamedTuple):
    """A model that could answer.

    Args:
        name: the model's name in the catalogue.
        quality: its predicted quality on this prompt, 0..1.
        estimated_cost: what this prompt is expected to cost on it, in US dollars.
        record: its own outcomes, where there are any.
        mean: its mean quality over the traffic, 0..1; None where only the prediction is known.
        general: how far its predictions move with the general signals, one standard deviation.
    """

    name: str
    quality: float
    estimated_cost: Decimal
    record: QualityRecord | None = None
    mean: float | None = None
    general: float = 0.0


class Prediction(NamedTuple):
    """Predictions for several models on one prompt.

    Args:
        qualities: of each model, 0..1.
        means: of each model over all prompts, 0..1.
        general: how far each one's predictions move with the general signals, one standard deviation.
        familiarity: of the prompt, 0..1, by the stricter gate.
    """

    qualities: tuple[float, ...]
    means: tuple[float, ...]
    general: tuple[float, ...]
    familiarity: float


class ModelChoice(NamedTuple):
    """The chosen model and why.

    Args:
        candidate: the chosen one.
        reason: a short stable phrase for the route reason: `only-candidate`, `best-quality`, `best-on-average` (no
            other one is predicted to be clearly better) or `cheapest-enough`.
        ruled_out: names of the dearer candidates whose own records show them to be no better, cheapest
            first.
    """

    candidate: Candidate
    reason: str
    ruled_out: tuple[str, ...]


def known_models() -> tuple[str, ...]:
    """Return the models whose quality the shipped data can predict for a prompt."""
    return shipped_model().known_models


def predict(measured: list[float], profiles: Sequence[ModelProfile], reading: Reading | None = None) -> Prediction:
    """Predict the quality of several models on a prompt.

    For a model that resembles a known one this is the known model's prediction moved to the profile's own mean; for any
    other its mean, since nothing learned would apply. General signals never put a larger model below a smaller one with
    the lower mean: they tell where the larger one's price is spent best, not that it is worse.

    Args:
        measured: the prompt's `measure`ments.
        profiles: what is known of each model.
        reading: the shipped model's, where it was taken before.

    Raises:
        ValueError: a profile has neither a mean quality nor a known model that it resembles.
    """
    model = shipped_model()
    seen = reading or model.read(measured)
    known = model.familiarity(seen.strangeness, strict=True)
    places = [_place(profile) for profile in profiles]
    means = [_mean(profile, place) for profile, place in zip(profiles, places, strict=True)]
    corrections = iter(model.quality.corrections(measured, [place for place in places if place is not None]))
    qualities: list[float] = []
    general: list[float] = []
    for profile, place, mean in zip(profiles, places, means, strict=True):
        if place is None:
            qualities.append(mean)
            general.append(0.0)
            continue
        share = GENERAL_SHARE[profile.tier]
        below = max((m for p, m in zip(profiles, means, strict=True) if _smaller(p, profile) and m < mean), default=0.0)
        quality = max(mean + share * seen.general, below + _HAIR if share else mean) + known * next(corrections)
        quality += (1.0 - known) * max(-MOST_LEANING, min(MOST_LEANING, model.leaning(seen.standard, place)))
        qualities.append(max(0.0, min(1.0, quality)))
        general.append(share * GENERAL_SPREAD)
    return Prediction(tuple(qualities), tuple(means), tuple(general), known)


def _mean(profile: ModelProfile, place: int | None) -> float:
    """Mean quality of a model: as measured, or of the known one, less a margin for its uncertainty across tasks."""
    if profile.mean_quality is not None:
        return profile.mean_quality
    if place is None:
        raise ValueError(f"nothing is known of the quality of {profile.name!r}")
    return shipped_model().cautious[place]


def _smaller(one: ModelProfile, other: ModelProfile) -> bool:
    return GENERAL_SHARE[one.tier] < GENERAL_SHARE[other.tier]


def _place(profile: ModelProfile) -> int | None:
    """Return which known model a profile resembles, or None."""
    known = shipped_model().known_models
    if profile.resembles is None or profile.resembles not in known:
        return None
    return known.index(profile.resembles)


def choose_model(candidates: Sequence[Candidate], quality: float, familiarity: float | None = None) -> ModelChoice:
    """Choose the model that keeps enough of the best one's quality for the least money.

    A dearer candidate whose own record is no better than that of a cheaper one is never chosen, whatever is
    predicted for the prompt, once both have `ENOUGH_RECORDS`. Of the rest, where the means of all are known, the one
    with the best prediction for its price, at the rate of `exchange_rate`; otherwise the cheapest whose prediction is
    at least `quality` times the best. Equal prices are decided by quality, then by name.

    Args:
        candidates: at least one.
        quality: the dial, 0 (the cheapest) to 1 (the best).
        familiarity: of the prompt; None to look at the predictions alone.

    Returns:
        The choice with its reason.

    Raises:
        ValueError: there is no candidate, or the dial is out of range.
    """
    if not candidates:
        raise ValueError("there is no model to choose from")
    if not 0.0 <= quality <= 1.0:
        raise ValueError("quality lies between 0 and 1")
    by_price = sorted(candidates, key=lambda one: (one.estimated_cost, -one.quality, one.name))
    standing: list[Candidate] = []
    ruled_out: list[str] = []
    for one in by_price:
        if any(_record_no_better(one, cheaper) for cheaper in standing):
            ruled_out.append(one.name)
        else:
            standing.append(one)
    best = max(standing, key=lambda one: one.quality)
    chosen = next(one for one in standing if one.quality >= quality * best.quality)
    if familiarity is not None:
        chosen = _best_value(standing, quality, familiarity) or chosen
    if len(standing) == 1:
        return ModelChoice(chosen, "only-candidate", tuple(ruled_out))
    reason = "best-quality" if chosen.quality == best.quality else "cheapest-enough"
    if chosen.quality < best.quality and chosen.estimated_cost > best.estimated_cost:
        reason = "best-on-average"
    return ModelChoice(chosen, reason, tuple(ruled_out))


def _best_value(standing: Sequence[Candidate], quality: float, familiarity: float) -> Candidate | None:
    """The candidate worth its price at the dial's rate; None where a mean or every price is unknown.

    The less a prompt resembles those that predictions were learned from, the less quality is given up; and the more
    is to be kept, the clearer the evidence must be against the model that is best on average.
    """
    dearest = max(one.estimated_cost for one in standing)
    means = [one.mean for one in standing if one.mean is not None]
    if len(means) < len(standing) or not dearest:
        return None
    prices = [float(one.estimated_cost / dearest) for one in standing]
    # Rounded, so that requests of similar shape share a rate that was worked out before.
    known = round(familiarity, 1)
    share = cautious_share(quality, known)
    rate = exchange_rate(
        tuple(means),
        tuple(round(price, 2) for price in prices),
        tuple(one.general for one in standing),
        OWN_SPREAD * known,
        share,
    )
    qualities = [one.quality for one in standing]
    qualities[means.index(max(means))] += best_lead(share)
    return standing[best_value(qualities, prices, rate)]


def _record_no_better(dearer: Candidate, cheaper: Candidate) -> bool:
    """Whether a model costs more than another and has a record that is no better."""
    return (
        dearer.estimated_cost > cheaper.estimated_cost
        and dearer.record is not None
        and cheaper.record is not None
        and min(dearer.record.count, cheaper.record.count) >= ENOUGH_RECORDS
        and dearer.record.mean <= cheaper.record.mean
    )
