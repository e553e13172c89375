"""The bound of `planner.bound` where each request may also be paid by the token, at its own price.

A request that no instance serves costs its tokens. One that an instance serves costs, for a weight s of time up against
work, (1 - s) of its work, so that a schedule costs at least

    the sum of min(tokens, (1 - s) x work) + start-ups + s x time up + what tokens cost more for each window not met.

A request that finds nobody up costs a job more, or goes to the tokens. The last three are minimised exactly in one
sweep over time. Kept is the least cost so far by the moment at which some
instance was up last; a window that closes adds its price to all states older than its arrival. A later state
that costs no more replaces an earlier one, so that states lie in order of cost and only their differences are needed.
"""

import math
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from heapq import merge

SHARES = (0.05, 0.35, 0.7, 1.0)


@dataclass(frozen=True, slots=True)
class TokenWorld:
    """Prices of the two ways to serve a request.

    Attributes:
        tokens_usd: of each request by the token.
        later_usd: what each request costs more when no instance is up as it comes: it becomes a job.
        place_second_usd: of a place that is fully used.
        start_usd: of a start-up.
        instance_second_usd: of an instance.
    """

    tokens_usd: "array[float]"
    later_usd: "array[float]"
    place_second_usd: float
    start_usd: float
    instance_second_usd: float


def least_dollars(
    arrivals: "array[float]", held: "array[float]", deadlines: "array[float]", prices: TokenWorld
) -> float:
    """Dollars for instances and tokens that no schedule can go below.

    Args:
        arrivals: seconds, in order.
        held: place-seconds of each request.
        deadlines: seconds after arrival.
        prices: with the shortest start-up.
    """
    return max(_swept(arrivals, held, deadlines, prices, (1.0 - share, share)) for share in SHARES)


def foreseen_dollars(
    arrivals: "array[float]", held: "array[float]", deadlines: "array[float]", prices: TokenWorld
) -> float:
    """What the cheapest schedule costs that pays work and time up apart and never runs out of places."""
    return _swept(arrivals, held, deadlines, prices, (1.0, 1.0))


def _swept(
    arrivals: "array[float]",
    held: "array[float]",
    deadlines: "array[float]",
    prices: TokenWorld,
    weights: tuple[float, float],
) -> float:
    work_usd, up_usd = weights[0] * prices.place_second_usd, weights[1] * prices.instance_second_usd
    tokens_usd, start_usd = prices.tokens_usd, prices.start_usd
    opening: list[tuple[float, float, float]] = []
    closing: list[tuple[float, float, float]] = []
    certain = 0.0
    for arrival, seconds, deadline, tokens, later in zip(
        arrivals, held, deadlines, tokens_usd, prices.later_usd, strict=True
    ):
        certain += min(tokens, work_usd * seconds)
        more = max(0.0, tokens - work_usd * seconds)
        waiting = min(later, more)  # nobody up: it waits as a job, or goes to the tokens
        opening.append((arrival, arrival, waiting))
        if more > waiting and deadline < math.inf:
            closing.append((arrival + max(0.0, deadline - seconds), arrival, more - waiting))
    closing.sort()
    states = _States()
    up, now = math.inf, 0.0
    for moment, arrival, more in merge(opening, closing):
        up = min(up + up_usd * (moment - now), states.least + start_usd)
        now = moment
        states.append(moment, up)
        if more:
            states.raise_before(arrival, more)
    return certain + states.least


class _States:
    """Costs by the moment of being up last, in increasing order of both.

    Each living state keeps how much dearer the next living one is; dead ones point towards the living one before them.
    """

    def __init__(self) -> None:
        self._moments = array("d", [-math.inf])
        self._gaps = array("d", [0.0])
        self._before = array("q", [-1])  # the living state before a living one
        self._after = array("q", [-1])  # and the one after it
        self._living = array("q", [0])  # itself, or a state nearer to the living one before it
        self._last = 0
        self._last_cost = 0.0
        self.least = 0.0

    def append(self, moment: float, cost: float) -> None:
        """A state that is newer than all others; those that cost as much or more die."""
        if self._last_cost >= cost:
            while self._last >= 0 and self._last_cost >= cost:
                dead, self._last = self._last, self._before[self._last]
                self._living[dead] = self._last
                if self._last >= 0:
                    self._last_cost -= self._gaps[self._last]
        new = len(self._moments)
        self._moments.append(moment)
        self._gaps.append(0.0)
        self._before.append(self._last)
        self._after.append(-1)
        self._living.append(new)
        if self._last < 0:
            self.least = cost
        else:
            self._gaps[self._last] = cost - self._last_cost
            self._after[self._last] = new
        self._last, self._last_cost = new, cost

    def raise_before(self, moment: float, amount: float) -> None:
        """All states older than `moment` cost more."""
        state = self._alive(bisect_left(self._moments, moment) - 1)
        if state < 0:
            return
        self.least += amount
        if state == self._last:
            self._last_cost += amount
            return
        self._gaps[state] -= amount
        while self._gaps[state] <= 0:  # the next one costs no more and is newer
            before, gap = self._before[state], self._gaps[state]
            following = self._after[state]
            self._before[following] = before
            self._living[state] = before
            if before < 0:
                self.least += gap
                return
            self._after[before] = following
            self._gaps[before] += gap
            state = before

    def _alive(self, state: int) -> int:
        living = self._living
        root = state
        while root >= 0 and living[root] != root:
            root = living[root]
        while state >= 0 and living[state] != root and state != root:
            living[state], state = root, living[state]
        return root
