"""What nobody can go below, even knowing every request ahead: a lower bound of the bill, not a schedule.

Every request must find some instance up between its arrival and the last moment at which it can start (its window), or
belong to a transform job that was created after it came and can still end in time. So with m start-ups and U the time
in which at least one instance serves, a schedule costs m x start-up + the instance time, and that is at least U and at
least the work (place-seconds divided by places). For any weights s(t) from 0 to 1 the instance time is then at least

    the integral of s(t) over U + the sum over requests of work x the least (1 - s(t)) in the request's window.

For given weights the cheapest way to meet all windows is found exactly, in one pass: nobody starts before the first
window that is not met yet is about to close, and nobody stays up beyond an arrival. Leaving windows out can only lower
the figure. Every choice of weights gives a bound; subgradient steps look for a great one, and the greatest is kept.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_BLOCK_SECONDS = 3600.0
_STEPS = 12
_SHARES = (0.001, 0.05, 0.2, 0.5, 0.8, 1.0)
_MOST_WINDOWS = 60_000
_LONGEST = 86_400.0 * 365


@dataclass(frozen=True, slots=True)
class Startups:
    """Seconds from a decision to the first answer, all billed.

    Attributes:
        endpoint: of an endpoint's instance, which then serves what waits and what comes.
        job: of a transform job, which serves what was there when it was created; None without that road.
    """

    endpoint: float
    job: float | None = None


def least_instance_seconds(
    arrivals: "array[float]",
    held: "array[float]",
    deadlines: "array[float]",
    *,
    concurrency: int,
    startups: Startups,
    horizon: float,
) -> float:
    """Instance seconds that no schedule can go below while every deadline is met that can be met.

    Args:
        arrivals: seconds, in order.
        held: place-seconds of each request.
        deadlines: seconds after arrival; infinite ones do not bind.
        concurrency: places of an instance.
        startups: of the roads that are open.
        horizon: seconds for which an instance that never sleeps is billed.
    """
    if not arrivals:
        return 0.0
    work = sum(held) / concurrency
    windows = meaningful_windows(arrivals, held, deadlines)
    load = _Load(arrivals, held, deadlines, concurrency)
    least, share = max((_with_constant(windows, load, startups, share), share) for share in _SHARES)
    shares = [share] * load.blocks
    for step in range(_STEPS):
        cover = cheapest_cover(windows, shares, startups)
        credit, worked = load.credit(shares)
        least = max(least, cover.cost + credit)
        reach = 0.1 * 0.9**step
        for block, (up, busy) in enumerate(zip(cover.bridged, worked, strict=True)):
            if up + busy > 0:
                shares[block] = min(1.0, max(0.0, shares[block] + reach * (up - busy) / (up + busy)))
    return min(max(least, work), max(work, horizon))


def _with_constant(windows: Sequence[tuple[float, float]], load: "_Load", startups: Startups, share: float) -> float:
    shares = [share] * load.blocks
    return cheapest_cover(windows, shares, startups).cost + load.credit(shares)[0]


def meaningful_windows(
    arrivals: "array[float]", held: "array[float]", deadlines: "array[float]"
) -> list[tuple[float, float]]:
    """Windows that contain no other one, in order; at most some tens of thousands of them, evenly chosen.

    A window that contains another is met whenever that one is.
    """
    found: list[tuple[float, float]] = []
    for arrival, seconds, deadline in zip(arrivals, held, deadlines, strict=True):
        last = arrival + min(_LONGEST, max(0.0, deadline - seconds))
        while found and found[-1][1] >= last:
            found.pop()
        found.append((arrival, last))
    stride = -(-len(found) // _MOST_WINDOWS)
    return found[::stride]


@dataclass(frozen=True, slots=True)
class Cover:
    """A cheapest way to meet all windows.

    Attributes:
        cost: start-ups and weighted time up between two windows, in seconds.
        bridged: seconds up in each block, from each start to the last arrival that it waited for.
        starts: endpoints and jobs that were started.
    """

    cost: float
    bridged: Sequence[float]
    starts: int


def cheapest_cover(windows: Sequence[tuple[float, float]], shares: Sequence[float], startups: Startups) -> Cover:
    """Exact for the given weights.

    Args:
        windows: arrival and last moment to start, both increasing.
        shares: weight of time up by block of an hour, 0 to 1; the last one holds for ever after.
        startups: of the roads.
    """
    count = len(windows)
    opens = [window[0] for window in windows]
    whole = list(accumulate((share * _BLOCK_SECONDS for share in shares), initial=0.0))

    def weighted(moment: float) -> float:
        block = min(int(moment // _BLOCK_SECONDS), len(shares) - 1)
        return whole[block] + shares[block] * (moment - block * _BLOCK_SECONDS)

    infinite = float("inf")
    job = infinite if startups.job is None else startups.job
    cost = [0.0, *[infinite] * count]
    came_from = [0] * (count + 1)
    reach, best, best_from = 0, infinite, 0
    reached: list[int] = []  # windows met by a start at the last moment of each state's first open window
    for state in range(count + 1):
        while reach < state and reached[reach] < state:
            staying = cost[reach] - weighted(windows[reach][1])
            if staying < best:
                best, best_from = staying, reach
            reach += 1
        if state and best < infinite:
            waited = best + startups.endpoint + weighted(opens[state - 1])
            if waited < cost[state]:
                cost[state], came_from[state] = waited, best_from
        if state == count:
            break
        last = windows[state][1]
        reached.append(bisect_right(opens, last))
        for startup, met in ((startups.endpoint, reached[state]), (job, bisect_right(opens, last - job))):
            if met > state and cost[state] + startup < cost[met]:
                cost[met], came_from[met] = cost[state] + startup, state
    return _followed(cost[count], came_from, windows, len(shares))


def _followed(cost: float, came_from: Sequence[int], windows: Sequence[tuple[float, float]], blocks: int) -> Cover:
    """The cover that the states lead to, from its end."""
    bridged, starts, state = [0.0] * blocks, 0, len(windows)
    while state:
        before = came_from[state]
        _spread(bridged, windows[before][1], windows[state - 1][0])
        starts, state = starts + 1, before
    return Cover(cost, bridged, starts)


def _spread(blocks: list[float], begin: float, end: float) -> None:
    while begin < end:
        block = min(int(begin // _BLOCK_SECONDS), len(blocks) - 1)
        until = end if block == len(blocks) - 1 else min(end, (block + 1) * _BLOCK_SECONDS)
        blocks[block] += until - begin
        begin = until


class _Load:
    """Work by the blocks between which it can be chosen, an instance's seconds."""

    def __init__(
        self, arrivals: "array[float]", held: "array[float]", deadlines: "array[float]", concurrency: int
    ) -> None:
        self.blocks = int(arrivals[-1] // _BLOCK_SECONDS) + 2
        self._work: defaultdict[tuple[int, int], float] = defaultdict(float)
        for arrival, seconds, deadline in zip(arrivals, held, deadlines, strict=True):
            ends = arrival + max(deadline, seconds)
            last = self.blocks - 1 if ends >= self.blocks * _BLOCK_SECONDS else int(ends // _BLOCK_SECONDS)
            self._work[int(arrival // _BLOCK_SECONDS), last] += seconds / concurrency

    def credit(self, shares: Sequence[float]) -> tuple[float, list[float]]:
        """The work's part of the bound, and the work in the block where each piece of it counts least."""
        total, worked = 0.0, [0.0] * self.blocks
        for (first, last), work in self._work.items():
            block = first if first == last else max(range(first, last + 1), key=shares.__getitem__)
            total += work * (1.0 - shares[block])
            worked[block] += work
        return total, worked
