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

type Array = np.ndarray[Any, Any]
RESAMPLES = 1_000


def _order(need: Array) -> Array:
    """Return the prompts from the neediest down; a fixed shuffle decides ties, not the order of the file."""
    return np.asarray(np.lexsort((np.random.default_rng(20_240_626).permutation(len(need)), -need)))


def area(need: Array, gain: Array) -> tuple[float, float]:
    """Return the mean gain collected over all thresholds, and the whole gain: APGR is their ratio."""
    return _area(_order(need), gain, np.ones(len(gain)))


def _area(order: Array, gain: Array, times: Array) -> tuple[float, float]:
    """Return the same where each prompt counts as often as a resample drew it."""
    often = times[order]
    step = often * gain[order]
    curve = np.cumsum(step)
    return float(((curve - step / 2.0) * often).sum() / often.sum()), float(curve[-1])


def apgr(need: Array, gain: Array) -> float:
    """Return the average performance gap recovered: 0.5 for a random router, higher is better."""
    collected, whole = area(need, gain)
    return collected / whole


def cpt(need: Array, gain: Array, share: float) -> float:
    """Return the least share of strong calls, 0..1, that recovers a share of the gap: lower is better."""
    curve = np.concatenate([[0.0], np.cumsum(gain[_order(need)])])
    return float(np.argmax(curve >= share * gain.sum()) / len(need))


def interval(statistic: Callable[[Array], float], size: int, seed: int = 7) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic over prompts.

    Args:
        statistic: gets how often one resample drew each prompt.
        size: how many prompts there are.
        seed: of the resampling.

    Returns:
        The 2.5 and 97.5 % quantiles over `RESAMPLES` resamples.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.bincount(rng.integers(0, size, size), minlength=size).astype(float)) for _ in range(RESAMPLES)
    ]
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
    orders = [_order(need) for need in needs]
    low, high = interval(lambda times: _mean_apgr(orders, gain, times), len(gain))
    row = (
        f"{name:<38} {_mean_apgr(orders, gain, np.ones(len(gain))):6.3f} [{low:6.3f}, {high:6.3f}]"
        f"  {100 * np.mean([cpt(one, gain, 0.5) for one in needs]):5.1f} "
        f"{100 * np.mean([cpt(one, gain, 0.8) for one in needs]):5.1f}"
    )
    return row if rival is None else f"{row}  {difference(needs, rival, gain)}"


def difference(needs: Sequence[Array], rival: Sequence[Array], gain: Array, tasks: Array | None = None) -> str:
    """Return by how much a router's APGR is above a rival's on the same resamples, with its interval.

    Args:
        needs: the router's scores, see `line`.
        rival: the other's.
        gain: strong minus weak outcome of each prompt.
        tasks: of each prompt, to draw whole tasks anew: what other tasks would have said. None for prompts.
    """
    own, other = [_order(need) for need in needs], [_order(need) for need in rival]
    drawn = np.arange(len(gain)) if tasks is None else np.unique(tasks, return_inverse=True)[1]

    def above(times: Array) -> float:
        return _mean_apgr(own, gain, times) - _mean_apgr(other, gain, times)

    low, high = interval(lambda times: above(times[drawn]), int(drawn.max()) + 1)
    return f"{above(np.ones(len(gain))):+.3f} [{low:+.3f}, {high:+.3f}]"


def _mean_apgr(orders: Sequence[Array], gain: Array, times: Array) -> float:
    ratios = []
    for order in orders:
        collected, whole = _area(order, gain, times)
        ratios.append(collected / whole)
    return float(np.mean(ratios))
