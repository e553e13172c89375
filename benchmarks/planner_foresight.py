"""How much of the distance to the clairvoyant bound is knowledge that nobody can have.

A model of its own, in which the best rule can be computed: requests take no time, arrive within each ten minutes at a
rate that is known weeks ahead, at seconds that are not, and must be served by a start-up within their deadline. Three
rules pay for start-ups and time up: waking as late as possible, as the gateway does; the best one that knows all rates
(by going backwards through time); and the cheapest schedule of somebody who knows the seconds too.
"""

import math
from array import array
from dataclasses import dataclass
from random import Random

from planner.bound import Prices, Windows, foreseen_schedule

_WINDOW = 600.0
_STEP = 5.0
_DRAWS = 3


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Instance seconds, means over the draws."""

    as_late_as_possible: float
    rates_known: float
    all_known: float


def worth_of_knowing(arrivals: "array[float]", deadline: float, startup: float) -> Knowledge:
    """Redraw the seconds within each ten minutes, and let each of the three serve the requests.

    Args:
        arrivals: of requests with this deadline, in order.
        deadline: seconds after arrival.
        startup: seconds, billed.
    """
    counts = [0] * (int(arrivals[-1] // _WINDOW) + 1)
    for arrival in arrivals:
        counts[int(arrival // _WINDOW)] += 1
    late = known = 0.0
    for seed in range(_DRAWS):
        random = Random(seed)  # noqa: S311 -- draws of traffic, no secrets
        drawn = array(
            "d", sorted(_WINDOW * (n + random.random()) for n, count in enumerate(counts) for _ in range(count))
        )
        late += startup * _stabs(drawn, deadline)
        none = array("d", bytes(8 * len(drawn)))
        prices = Prices(array("d", [math.inf]) * len(drawn), none, 1.0, startup, 1.0)
        known += foreseen_schedule(Windows(drawn, none, array("d", [deadline]) * len(drawn), prices)).dollars
    return Knowledge(late / _DRAWS, _least_expected(counts, deadline, startup), known / _DRAWS)


def _stabs(arrivals: "array[float]", deadline: float) -> int:
    """Start-ups of a rule that is up for a moment as late as the first one that waits allows."""
    stabs, served_until = 0, -math.inf
    for arrival in arrivals:
        if arrival > served_until:
            stabs, served_until = stabs + 1, arrival + deadline
    return stabs


def _least_expected(counts: list[int], deadline: float, startup: float) -> float:
    """Expected seconds of the best rule that knows the counts: asleep with nobody waiting, or up, at each moment."""
    steps, wait = int(len(counts) * _WINDOW / _STEP), int(deadline / _STEP)
    asleep, up = [0.0] * (steps + wait + 1), [0.0] * (steps + wait + 1)
    for step in range(steps - 1, -1, -1):
        nobody = math.exp(-counts[int(step * _STEP // _WINDOW)] * _STEP / _WINDOW)
        # The first to come is met a deadline later, with all who came meanwhile.
        asleep[step] = (1.0 - nobody) * (startup + up[step + wait]) + nobody * asleep[step + 1]
        up[step] = min(asleep[step], _STEP + up[step + 1])
    return asleep[0]
