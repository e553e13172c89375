"""Whether one variant is better than another, as far as the observations of both can show.

Intervals are of 95 %. Shares (errors, quality) have Wilson's score interval (JASA 1927), which holds for few
observations and also for scores between 0 and 1, whose variance is never above a share's. Means (cost, seconds) have
Student's. Differences combine the two arms' intervals as Newcombe does (Statistics in Medicine 1998, method 10).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, sqrt
from typing import Final

from tollgate.domain.choice.outcomes import Tally

_Z: Final = 1.959964
_FEWEST: Final = 2

SHARE_MARGIN: Final = 0.05
"""A difference in quality or errors that would matter: five points."""

MEAN_MARGIN: Final = 0.10
"""A difference in cost or seconds that would matter: a tenth of the champion's."""


class Verdict(StrEnum):
    """What can be said of a difference."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference that matters"
    UNKNOWN = "not enough data"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval.

    Args:
        mean: None without observations.
        low: lower end.
        high: upper end.
        count: observations.
    """

    mean: float | None
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Challenger minus champion in one respect.

    Args:
        verdict: the conclusion.
        mean: the difference; of cost and seconds as a share of the champion's; None where it is unknown.
        low: lower end of the interval.
        high: upper end.
        needed: about how many observations each would need to tell a difference that matters; 0 where known enough.
    """

    verdict: Verdict
    mean: float | None
    low: float
    high: float
    needed: int


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations of a variant."""

    usd: Interval
    seconds: Interval
    errors: Interval
    quality: Interval


def observed_of(tally: Tally) -> Observed:
    """The observations in a variant's sums."""
    answered = tally.requests - tally.errors
    return Observed(
        usd=mean_interval(tally.usd, tally.usd_squared, tally.priced),
        seconds=mean_interval(tally.seconds, tally.seconds_squared, answered),
        errors=share_interval(tally.errors, tally.requests),
        quality=share_interval(tally.quality, tally.judged),
    )


def mean_interval(total: float, squares: float, count: float) -> Interval:
    """Student's interval of a mean.

    Args:
        total: sum of the values.
        squares: sum of their squares.
        count: of the values.
    """
    if count < 1:
        return Interval(None, float("-inf"), float("inf"), 0)
    mean = total / count
    if count < _FEWEST:
        return Interval(mean, float("-inf"), float("inf"), int(count))
    variance = max(0.0, (squares - count * mean * mean) / (count - 1))
    half = _student(count - 1) * sqrt(variance / count)
    return Interval(mean, mean - half, mean + half, int(count))


def _student(freedom: float) -> float:
    """The 97.5 % point of Student's distribution: Abramowitz and Stegun 26.7.5, within 1 % from 4 degrees on."""
    z, n = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def share_interval(hits: float, count: float) -> Interval:
    """Wilson's interval of a share, or of a mean of scores between 0 and 1.

    Args:
        hits: how many, or the sum of the scores.
        count: of all.
    """
    if count < 1:
        return Interval(None, 0.0, 1.0, 0)
    share = min(1.0, max(0.0, hits / count))
    spread = _Z * _Z / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * sqrt(share * (1 - share) / count + spread / (4 * count))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), int(count))


def share_difference(champion: Interval, challenger: Interval, *, more_is_better: bool) -> Difference:
    """The difference in quality, or in errors."""
    if champion.mean is None or challenger.mean is None:
        return Difference(Verdict.UNKNOWN, None, -1.0, 1.0, _needed_for_share(champion))
    low, high = _combined(champion, challenger)
    return _judged(
        challenger.mean - champion.mean,
        low,
        high,
        SHARE_MARGIN,
        more_is_better=more_is_better,
        needed=_needed_for_share(champion),
    )


def mean_difference(champion: Interval, challenger: Interval) -> Difference:
    """The difference in cost, or in seconds, as a share of the champion's; less is better."""
    if champion.mean is None or champion.mean <= 0:
        return Difference(Verdict.UNKNOWN, None, float("-inf"), float("inf"), _FEWEST)
    scale = champion.mean
    needed = _needed_for_mean(champion, challenger, scale)
    if challenger.mean is None:
        return Difference(Verdict.UNKNOWN, None, float("-inf"), float("inf"), max(needed, _FEWEST))
    low, high = _combined(champion, challenger)
    return _judged(
        (challenger.mean - scale) / scale,
        low / scale,
        high / scale,
        MEAN_MARGIN,
        more_is_better=False,
        needed=max(needed, _FEWEST),
    )


def _needed_for_mean(champion: Interval, challenger: Interval, scale: float) -> int:
    """Observations of each that make the interval of a difference as narrow as the margin.

    One that was not yet seen to vary is taken to vary as the other; 0 where neither was.
    """
    halves = [((one.high - one.low) / 2, one.count) for one in (champion, challenger)]
    variances = [(half / _Z) ** 2 * count for half, count in halves if half < float("inf")]
    return ceil(_Z * _Z * 2 * sum(variances) / len(variances) / (MEAN_MARGIN * scale) ** 2) if variances else 0


def _combined(champion: Interval, challenger: Interval) -> tuple[float, float]:
    """Interval of a difference of means."""
    a, b = champion.mean or 0.0, challenger.mean or 0.0
    low = b - a - sqrt((b - challenger.low) ** 2 + (champion.high - a) ** 2)
    high = b - a + sqrt((challenger.high - b) ** 2 + (a - champion.low) ** 2)
    return low, high


def _needed_for_share(champion: Interval) -> int:
    """Observations of each that make the interval of a difference as narrow as the margin."""
    share = 0.5 if champion.mean is None else min(0.95, max(0.05, champion.mean))
    return ceil(2 * _Z * _Z * share * (1 - share) / SHARE_MARGIN**2)


def _judged(mean: float, low: float, high: float, margin: float, *, more_is_better: bool, needed: int) -> Difference:
    if low > 0 or high < 0:
        verdict = Verdict.BETTER if (low > 0) == more_is_better else Verdict.WORSE
    elif -margin <= low and high <= margin:
        verdict = Verdict.SAME
    else:
        return Difference(Verdict.UNKNOWN, mean, low, high, needed)
    return Difference(verdict, mean, low, high, 0)
