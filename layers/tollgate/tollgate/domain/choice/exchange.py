"""How much money a little quality is worth, so that a share of the best model's quality is kept at the least cost.

A budget is best spent at one rate for all prompts: whatever a dollar buys least is left out first (the Lagrange
multiplier of a constrained sum; H. Everett, Operations Research, 1963). A rule that looks at each prompt alone (the
cheapest model that comes near the best one) pays for large models where the same dollar would buy more elsewhere.

The rate follows from what is known before the prompt is seen: each model's mean quality and price, and how far
predictions for single prompts stray from the mean. The expectation is taken over fixed points that fill that space
evenly, so the same question always has the same answer.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from math import log, sqrt
from typing import Final

POINTS: Final = 24
STEPS: Final = 18
LARGEST_RATE: Final = 64.0
SMALLEST_RATE: Final = 1e-3
"""Quality for the price of the dearest model: above the largest rate only the cheapest model stands a chance, below the
smallest price hardly counts.
"""

KEEN: Final = 0.95
"""From this share on the rate also fades linearly to zero: predictions flatter the best of several models."""

STRICTER: Final = 0.5
"""How much nearer to 1, in powers, a share is taken for a prompt unlike any training prompt: taken literally, 0.95 kept
0.92 on new kinds of prompts, 1.6 times the loss that was allowed.
"""

LEAD: Final = 0.04
"""Quality by which another model must beat the one with the best mean if everything is to be kept: about the error of
predictions for single prompts, so that a smaller lead is as likely as not no lead at all.
"""

_LOGISTIC: Final = 1.702
"""Turns a logistic quantile into nearly a normal one (Camilli, Psychometrika, 1994)."""

_PRIMES: Final = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


def _normal(point: int, place: int) -> float:
    """Coordinate of a point of a Kronecker sequence (fractional parts of multiples of roots), as a normal deviate."""
    share = ((point + 0.5) * sqrt(_PRIMES[place % len(_PRIMES)])) % 1.0
    return log(share / (1.0 - share)) / _LOGISTIC


_NORMALS: Final = tuple(tuple(_normal(point, place) for place in range(len(_PRIMES))) for point in range(POINTS))


def best_value(qualities: Sequence[float], prices: Sequence[float], rate: float) -> int:
    """The place of the model whose quality less rate x price is largest; of equal ones the first."""
    values = [quality - rate * price for quality, price in zip(qualities, prices, strict=True)]
    return values.index(max(values))


def cautious_share(share: float, familiarity: float) -> float:
    """The share of the best mean quality to work with, so that the requested one is kept on new kinds of prompts.

    Args:
        share: that was asked for, 0..1.
        familiarity: of the prompt, 0..1.
    """
    power = 1.0 - STRICTER * (1.0 - familiarity)
    return math.pow(share, power)


def best_lead(share: float) -> float:
    """By how much another model must beat the one with the best mean: from `KEEN` on, rising to `LEAD`."""
    return LEAD * max(0.0, share - KEEN) / (1.0 - KEEN)


@lru_cache(maxsize=1024)
def exchange_rate(
    means: tuple[float, ...],
    prices: tuple[float, ...],
    general: tuple[float, ...],
    own: float,
    share: float,
) -> float:
    """Return the rate at which quality is given up for money.

    Args:
        means: mean quality of each model, 0..1.
        prices: of each model as a share of the dearest one's, 0..1.
        general: how far each model's prediction moves with what is common to all of them, one standard deviation.
        own: how far it moves by itself, one standard deviation.
        share: of the best mean quality, to be kept; 1 gives nothing up.

    Returns:
        Quality that is given up to save the price of the dearest model: the highest rate at which the expected quality
        is at least the share of the best mean, and less beyond `KEEN`.
    """
    if share >= 1.0:
        return 0.0
    if share > KEEN:
        fading = exchange_rate(means, prices, general, own, KEEN) * (1.0 - share) / (1.0 - KEEN)
        return min(fading, _highest_rate(means, prices, general, own, share))
    return _highest_rate(means, prices, general, own, share)


def _highest_rate(
    means: tuple[float, ...], prices: tuple[float, ...], general: tuple[float, ...], own: float, share: float
) -> float:
    """The highest rate at which the expected quality is at least a share of the best mean."""
    wanted = share * max(means)
    count = range(len(means))
    points = [
        [means[at] + general[at] * normals[0] + own * normals[1 + at % (len(_PRIMES) - 1)] for at in count]
        for normals in _NORMALS
    ]
    low, high = SMALLEST_RATE, LARGEST_RATE
    if _kept(points, prices, high) >= wanted:
        return high
    for _ in range(STEPS):
        middle = sqrt(low * high)
        if _kept(points, prices, middle) >= wanted:
            low = middle
        else:
            high = middle
    return low


def _kept(points: Sequence[Sequence[float]], prices: tuple[float, ...], rate: float) -> float:
    """Expected quality under a rate."""
    return sum(point[best_value(point, prices, rate)] for point in points) / len(points)
