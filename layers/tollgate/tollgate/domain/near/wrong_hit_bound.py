"""How many near hits of one model are wrong at most, and which threshold follows from it.

A small share of near hits is run again and the two answers are compared. The guard counts agreements and
disagreements at the threshold in force and moves along a ladder of thresholds:

* one step stricter as soon as the sample shows that the rate of wrong hits is above the limit (lower
  confidence bound above it), or when `max_sample` comparisons could not show that it is below;
* one step looser once the sample shows that it is below the limit (upper confidence bound at or under it).

Above the strictest threshold is a last step that serves no near hits at all. Comparisons may go on there, on
what would have been served, and lead back. The limit bounds false *trust*: the upper bound is looked at
at sample sizes that double, and the looks share the error probability as 1/2, 1/6, 1/12, ... which sums to 1, so
repeated looks do not use it up. The lower bound is looked at after every comparison, as a needless step
towards safety does no harm.
"""

import math
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass


def upper_bound(wrong: int, sample: int, error: float) -> float:
    """Largest rate of wrong hits that the sample does not contradict, 0..1 (Clopper-Pearson, one-sided).

    Args:
        wrong: wrong hits in the sample.
        sample: comparisons made; with none, the bound is 1.
        error: probability, in 0..1, that the true rate is above the bound.

    Raises:
        ValueError: `wrong` is not in 0..`sample`, or `error` not between 0 and 1.
    """
    _check(wrong, sample, error)
    if wrong == sample:
        return 1.0
    return _solve(lambda rate: _at_most(wrong, sample, rate) - error)


@dataclass(frozen=True, slots=True)
class WrongHitBound:
    """State of the guard for one model; each comparison gives the next state.

    Args:
        ladder: thresholds, rising; the step after the last serves nothing.
        limit: share of near hits that may be wrong, between 0 and 1.
        error: probability of trusting a threshold whose true rate is above the limit.
        step: position on the ladder; `len(ladder)` is off.
        agreed: comparisons at this step whose answers agreed.
        disagreed: comparisons at this step whose answers did not.
        max_sample: comparisons after which a threshold not shown to be good is given up.

    Raises:
        ValueError: a value is out of range, or no sample of `max_sample` could ever show the limit to be
            kept.
    """

    ladder: tuple[float, ...]
    limit: float = 0.05
    error: float = 0.05
    step: int = 0
    agreed: int = 0
    disagreed: int = 0
    max_sample: int = 1280

    def __post_init__(self) -> None:
        """Reject settings under which the guard could not keep its promise."""
        if not 0 < self.limit < 1 or not 0 < self.error < 1:
            raise ValueError("limit and error lie between 0 and 1")
        if not self.ladder or list(self.ladder) != sorted(set(self.ladder)):
            raise ValueError("the ladder has rising thresholds")
        if not 0 <= self.step <= len(self.ladder) or min(self.agreed, self.disagreed) < 0:
            raise ValueError("the state is not on the ladder")
        if not _provable(self.limit, self.error, self.max_sample):
            raise ValueError("max_sample is too small to show that the limit is kept")

    @property
    def serves(self) -> bool:
        """Whether near hits may be served at all."""
        return self.step < len(self.ladder)

    @property
    def threshold(self) -> float:
        """Score from which a near match counts; with `serves` false, the one to go on comparing at."""
        return self.ladder[min(self.step, len(self.ladder) - 1)]

    @property
    def sample(self) -> int:
        """Comparisons at this step."""
        return self.agreed + self.disagreed

    @property
    def wrong_rate_bound(self) -> float:
        """Upper confidence bound on the rate of wrong hits at this step; 1 with no comparisons."""
        return upper_bound(self.disagreed, self.sample, self.error)

    def observe(self, *, agrees: bool) -> "WrongHitBound":
        """The state after one more comparison of a near hit with a fresh answer."""
        seen = replace(self, agreed=self.agreed + agrees, disagreed=self.disagreed + (not agrees))
        if not agrees and _shown_above(seen.disagreed, seen.sample, seen.limit, seen.error):
            return _moved(seen, 1)
        look = _look(seen.sample)
        if look is not None:
            share = seen.error / (look * (look + 1))
            if _shown_below(seen.disagreed, seen.sample, seen.limit, share):
                return _moved(seen, -1)
        if seen.sample >= seen.max_sample:
            return _moved(seen, 1)
        return seen


def _moved(guard: WrongHitBound, steps: int) -> WrongHitBound:
    """Move along the ladder and restart the count: results at one threshold say little about another."""
    step = min(max(guard.step + steps, 0), len(guard.ladder))
    return replace(guard, step=step, agreed=0, disagreed=0)


_FIRST_LOOK = 20


def _look(sample: int) -> int | None:
    """Which look at the upper bound is due: the first is at 20 comparisons, the second at 40, the third at 80."""
    doublings, rest = divmod(sample, _FIRST_LOOK)
    if rest or doublings == 0 or doublings & (doublings - 1):
        return None
    return doublings.bit_length()


def _provable(limit: float, error: float, max_sample: int) -> bool:
    """Whether a faultless sample would show the limit to be kept at some look."""
    look, sample = 1, _FIRST_LOOK
    while sample <= max_sample:
        if _shown_below(0, sample, limit, error / (look * (look + 1))):
            return True
        look, sample = look + 1, sample * 2
    return False


def _shown_above(wrong: int, sample: int, limit: float, error: float) -> bool:
    """Whether the lower bound is above the limit, from one tail instead of a search for the bound."""
    return wrong > 0 and 1 - _at_most(wrong - 1, sample, limit) < error


def _shown_below(wrong: int, sample: int, limit: float, error: float) -> bool:
    """Whether `upper_bound` is at or under the limit, from one tail instead of a search for the bound."""
    return _at_most(wrong, sample, limit) <= error


def _check(wrong: int, sample: int, error: float) -> None:
    if not 0 <= wrong <= sample:
        raise ValueError("wrong hits are part of the sample")
    if not 0 < error < 1:
        raise ValueError("an error probability lies between 0 and 1")


def _at_most(wrong: int, sample: int, rate: float) -> float:
    """Probability of at most `wrong` successes in `sample` trials of probability `rate`, 0 < rate < 1."""
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(
            math.lgamma(sample + 1)
            - math.lgamma(count + 1)
            - math.lgamma(sample - count + 1)
            + count * log_rate
            + (sample - count) * log_rest
        )
        for count in range(wrong + 1)
    )


def _solve(falling: Callable[[float], float]) -> float:
    """The zero of a function that falls over 0..1, from above, to 1e-9."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return high
