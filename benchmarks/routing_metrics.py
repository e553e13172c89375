"""How routers between a weak and a strong model are scored.

The definitions are RouteLLM's (Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data",
arXiv 2406.18665, section 3): the performance gap recovered is PGR = (router - weak) / (strong - weak); APGR
is its average over the share of calls that the strong model gets; CPT(x) is the least share of strong calls
that reaches a PGR of x. RouteLLM averages over ten thresholds; here every possible threshold is one, the
limit of the same sum.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
RESAMPLES = 1_000


def _curve(need: Array, gain: Array) -> Array:
    """Return the gain collected by giving the neediest 0, 1, ... n prompts to the strong model."""
    order = np.lexsort((_ties(len(need)), -need))
    return np.concatenate([[0.0], np.cumsum(gain[order])])


def _ties(size: int) -> Array:
    """Return a fixed shuffle that decides between equal needs, so that the order of the file never does."""
    return np.random.default_rng(20_240_626).permutation(size)


def area(need: Array, gain: Array) -> tuple[float, float]:
    """Return the mean gain collected over all thresholds, and the whole gain: APGR is their ratio."""
    curve = _curve(need, gain)
    return float(np.trapezoid(curve, dx=1.0 / len(need))), float(gain.sum())


def apgr(need: Array, gain: Array) -> float:
    """Return the average performance gap recovered: 0.5 for a random router, higher is better."""
    collected, whole = area(need, gain)
    return collected / whole


def cpt(need: Array, gain: Array, share: float) -> float:
    """Return the least share of strong calls, 0..1, that recovers a share of the gap: lower is better."""
    curve = _curve(need, gain)
    return float(np.argmax(curve >= share * gain.sum()) / len(need))


def interval(statistic: Callable[[Array], float], size: int, seed: int = 7) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic over prompts.

    Args:
        statistic: gets the positions of the prompts of one resample.
        size: how many prompts there are.
        seed: of the resampling.

    Returns:
        The 2.5 and 97.5 % quantiles over `RESAMPLES` resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, size, size)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def line(name: str, needs: Sequence[Array], gain: Array, rival: Sequence[Array] | None = None) -> str:
    """Return a table row: APGR, both CPTs, and the difference from a rival, with intervals.

    Args:
        name: of the router.
        needs: its scores; several where cross-validation was repeated, and then averaged.
        gain: strong minus weak outcome of each prompt.
        rival: scores of the router to compare with, on the same resamples.

    Returns:
        The row.
    """

    def mean_apgr(scores: Sequence[Array], taken: Array) -> float:
        return float(np.mean([apgr(one[taken], gain[taken]) for one in scores]))

    everything = np.arange(len(gain))
    low, high = interval(lambda taken: mean_apgr(needs, taken), len(gain))
    row = (
        f"{name:<38} {mean_apgr(needs, everything):6.3f} [{low:6.3f}, {high:6.3f}]"
        f"  {100 * np.mean([cpt(one, gain, 0.5) for one in needs]):5.1f} "
        f"{100 * np.mean([cpt(one, gain, 0.8) for one in needs]):5.1f}"
    )
    if rival is None:
        return row
    low, high = interval(lambda taken: mean_apgr(needs, taken) - mean_apgr(rival, taken), len(gain))
    difference = mean_apgr(needs, everything) - mean_apgr(rival, everything)
    return f"{row}  {difference:+.3f} [{low:+.3f}, {high:+.3f}]"
