"""What nobody can go below, even knowing every request ahead: a lower bound of the bill, not a schedule.

Each request must find some instance up between its arrival and the last moment at which it can start (its window),
belong to a transform job, or, where there is such a backend, be paid by the token. One that an instance serves costs,
for a weight s of time up against work, (1 - s) of its work, so that a schedule costs at least

    the sum of min(tokens, (1 - s) x work) + start-ups + s x time up + what each window not met costs more.

A request that finds nobody up costs a job more, or goes to the tokens. The last three are minimised exactly in one
sweep over time. Kept is the least cost so far by the moment at which some instance was up last; a window that closes
adds its price to all states older than its arrival. A later state that costs no more replaces an earlier one, so that
states lie in order of cost and only their differences are needed.

A transform job starts sooner than an endpoint, but serves nobody who comes after it was created, and nobody whose
window closes before it is ready. No cheapest schedule has an endpoint up while a job starts: the endpoint would meet
all of the job's windows. So windows that close in that time are not met by anybody, and a job is weighed with the costs
as they will be then: a second set of states, for which every window closes a job's start-up earlier.

The weights may differ from hour to hour; a piece of work then counts by the greatest weight in its window. Every choice
gives a bound, and subgradient steps look for a great one.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, compress

_SHARES = (0.35, 1.0, 0.05, 0.1, 0.7)
_BLOCK_SECONDS = 3600.0
_STEPS = 24
_REACH, _SHRINKS, _KEPT = 0.1, 0.95, 0.6
_OPENS, _CLOSES = 0, 1
_SWEPT = 2_400_000
"""Requests of all sweeps together, about; long traces get fewer sweeps and a lower bound."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of the two ways to serve a request.

    Attributes:
        elsewhere_usd: of each request that no instance serves; infinite where one must.
        later_usd: what each request costs more when no instance is up as it comes: it becomes a job.
        place_second_usd: of a place that is fully used.
        start_usd: of an endpoint's start-up.
        instance_second_usd: of an instance.
        job_usd: of a transform job's start-up; infinite without that road.
        job_seconds: how long that takes.
    """

    elsewhere_usd: "array[float]"
    later_usd: "array[float]"
    place_second_usd: float
    start_usd: float
    instance_second_usd: float
    job_usd: float = math.inf
    job_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Least:
    """Dollars for instances, for what is served elsewhere, and for waiting, that no schedule can go below.

    Attributes:
        dollars: on all roads.
        without_jobs: without transform jobs, for the weights that gave `dollars`.
    """

    dollars: float
    without_jobs: float


def least_dollars(windows: "Windows") -> Least:
    """Find the greatest bound that a few sweeps give."""
    sweeps = max(4, _SWEPT // len(windows))
    if windows.prices.job_usd == math.inf:
        least = _greatest(windows, sweeps, jobs=False)
        return Least(least, least)
    least = _greatest(windows, sweeps, jobs=True)
    return Least(least, max(least, _greatest(windows, sweeps // 2, jobs=False)))


def _greatest(windows: "Windows", sweeps: int, *, jobs: bool) -> float:
    """The greatest bound of so many sweeps: first one weight for all hours, then each hour's own."""
    swept = {
        share: windows.swept([share] * windows.blocks, 1.0, jobs=jobs)
        for share in _SHARES[: min(sweeps, max(3, sweeps // 4))]
    }
    share = max(swept, key=lambda one: swept[one].dollars)
    least, shares, found = swept[share].dollars, [share] * windows.blocks, swept[share]
    up, busy = [0.0] * windows.blocks, [0.0] * windows.blocks
    for step in range(min(_STEPS, sweeps - len(swept))):
        now_up, now_busy = found.seconds_up(windows.blocks), windows.worked(shares, found)
        for block in range(windows.blocks):
            # The last steps' mean: from one to the next a day's work may jump to another hour.
            up[block] = _KEPT * up[block] + (1.0 - _KEPT) * now_up[block]
            busy[block] = _KEPT * busy[block] + (1.0 - _KEPT) * now_busy[block]
            if up[block] + busy[block] > 0:
                change = _REACH * _SHRINKS**step * (up[block] - busy[block]) / (up[block] + busy[block])
                shares[block] = min(1.0, max(0.0, shares[block] + change))
        found = windows.swept(shares, 1.0, jobs=jobs)
        least = max(least, found.dollars)
    return least


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The cheapest schedule of endpoints that pays work and time up apart and never runs out of places.

    Attributes:
        dollars: instances, what is served elsewhere, and what waiting costs.
        instance_dollars: of it, for start-ups, work and time up.
        starts: of endpoints.
        elsewhere: 1 for each request that no instance serves.
    """

    dollars: float
    instance_dollars: float
    starts: int
    elsewhere: bytearray


def foreseen_schedule(windows: "Windows") -> Foreseen:
    """Find it, with all requests known."""
    prices = windows.prices
    swept = windows.swept([0.0] * windows.blocks, 0.0, jobs=False)
    served = windows.served([1.0] * len(windows.spans), swept)
    instances = prices.place_second_usd * sum(compress(windows.held, served))
    for begin, end in swept.stretches:
        instances += prices.start_usd + prices.instance_second_usd * (end - begin)
    return Foreseen(swept.dollars, instances, len(swept.stretches), bytearray(not one for one in served))


@dataclass(frozen=True, slots=True)
class _Swept:
    """A cheapest schedule for some weights: dollars, and when it is up."""

    dollars: float
    stretches: Sequence[tuple[float, float]]

    def seconds_up(self, blocks: int) -> list[float]:
        seconds = [0.0] * blocks
        for begin, end in self.stretches:
            now = begin
            while now < end:
                block = min(int(now // _BLOCK_SECONDS), blocks - 1)
                until = end if block == blocks - 1 else min(end, (block + 1) * _BLOCK_SECONDS)
                seconds[block] += until - now
                now = until
        return seconds


class Windows:
    """Requests by when they may start, made ready once for all sweeps.

    Attributes:
        held: place-seconds of each request.
        prices: of both ways to serve it.
        blocks: hours that the windows touch.
        spans: first and last block of the windows, each pair once.
    """

    def __init__(
        self, arrivals: "array[float]", held: "array[float]", deadlines: "array[float]", prices: Prices
    ) -> None:
        """Put the moments at which windows open and close in order.

        Args:
            arrivals: seconds, in order; not empty.
            held: place-seconds of each request.
            deadlines: seconds after arrival.
            prices: of both ways to serve a request.
        """
        self._arrivals, self.held, self.prices = arrivals, held, prices
        self.blocks = int(arrivals[-1] // _BLOCK_SECONDS) + 2
        self._latest = array("d", [a + max(0.0, d - h) for a, h, d in zip(arrivals, held, deadlines, strict=True)])
        spans: dict[tuple[int, int], int] = {}
        self._span = array("L")
        for arrival, seconds, deadline in zip(arrivals, held, deadlines, strict=True):
            ends = arrival + max(deadline, seconds)
            last = self.blocks - 1 if ends >= self.blocks * _BLOCK_SECONDS else int(ends // _BLOCK_SECONDS)
            self._span.append(spans.setdefault((int(arrival // _BLOCK_SECONDS), last), len(spans)))
        self.spans = list(spans)
        count, latest = len(arrivals), self._latest
        sooner = array("d", [max(a, end - prices.job_seconds) for a, end in zip(arrivals, latest, strict=True)])
        times = arrivals + latest + (sooner if prices.job_usd < math.inf else array("d"))
        binding = self._bind()
        order = [n for n in range(len(times)) if times[n] < math.inf and (n < count or binding[n % count])]
        order.sort(key=times.__getitem__)
        self._moments = array("d", map(times.__getitem__, order))
        self._blocks = array("L", [min(int(moment // _BLOCK_SECONDS), self.blocks - 1) for moment in self._moments])
        self._positions = array("L", [n % count for n in order])
        self._kinds = bytearray(n // count for n in order)

    def __len__(self) -> int:
        return len(self._arrivals)

    def _bind(self) -> bytearray:
        """1 for each window that matters: one that contains another, which must be met, is met with it."""
        binding = bytearray([1]) * len(self._arrivals)
        earliest = math.inf
        for position in range(len(binding) - 1, -1, -1):
            if self.prices.elsewhere_usd[position] < math.inf:
                continue
            if self._latest[position] >= earliest:
                binding[position] = 0
            earliest = min(earliest, self._latest[position])
        return binding

    def _dearest(self, shares: Sequence[float]) -> list[int]:
        """The block of each span in which work counts least."""
        return [max(range(first, last + 1), key=shares.__getitem__) for first, last in self.spans]

    def _weighed(self, by_span: Sequence[float]) -> "tuple[float, array[float], array[float]]":
        """Dollars that are due anyway, what each request costs more if it waits, and more yet if nobody serves it.

        Args:
            by_span: dollars of a place-second of work, by the request's span.
        """
        prices, certain = self.prices, 0.0
        waits, dearer = array("d"), array("d")
        columns = zip(self.held, self._span, prices.elsewhere_usd, prices.later_usd, strict=True)
        for seconds, span, tokens, later in columns:
            work = by_span[span] * seconds
            certain += min(tokens, work)
            # Who must be served would cost a start of his own at most; more than that need not be charged.
            more = max(0.0, tokens - work) if tokens < math.inf else 2 * prices.start_usd + later
            waits.append(min(later, more))  # nobody up: it waits as a job, or goes elsewhere
            dearer.append(more - waits[-1])
        return certain, waits, dearer

    def swept(self, shares: Sequence[float], overlap: float, *, jobs: bool) -> _Swept:
        """The cheapest schedule; with no `overlap` work counts in full, and so does time up.

        What is due anyway is left out of all costs on the way. So is what waiting has cost who was not up: all older
        states would have to be raised by it, and so the one that was up is lowered.
        """
        prices, arrivals = self.prices, self._arrivals
        due_anyway, waits, dearer = self._weighed(
            [prices.place_second_usd * (1.0 - overlap * shares[block]) for block in self._dearest(shares)]
        )
        # Dollars of being up from second 0 on: at the start of each block, and for each second of it.
        rates = [prices.instance_second_usd * (share * overlap + 1.0 - overlap) for share in shares]
        bases = [
            before - rate * block * _BLOCK_SECONDS
            for block, (before, rate) in enumerate(
                zip(accumulate((rate * _BLOCK_SECONDS for rate in rates), initial=0.0), rates, strict=False)
            )
        ]
        states, for_jobs, starts = _States(), _States(), _Starts()
        start_usd, job_usd = prices.start_usd, prices.job_usd
        up, now_usd, current = math.inf, 0.0, 0
        events = zip(self._moments, self._blocks, self._positions, self._kinds, strict=True)
        for moment, block, position, kind in events:
            price = dearer[position]
            if kind != _OPENS and (price <= 0 or (kind != _CLOSES and not jobs)):
                continue
            up -= now_usd
            now_usd = bases[block] + rates[block] * moment
            up += now_usd
            if states.least + start_usd < up:
                up = states.least + start_usd
                current = starts.noted(moment, states)
            cost, start = up, current
            if jobs and for_jobs.least + job_usd < up:
                cost, start = for_jobs.least + job_usd, starts.noted(moment, for_jobs)
            if kind == _OPENS:
                wait = waits[position]
                due_anyway += wait
                up -= wait
                cost -= wait
            states.append(moment, cost, start)
            if jobs:
                for_jobs.append(moment, cost, start)
            if kind != _OPENS:
                (states if kind == _CLOSES else for_jobs).raise_before(arrivals[position], price)
        return _Swept(due_anyway + states.least, starts.stretches(states))

    def served(self, weights: Sequence[float], swept: _Swept) -> bytearray:
        """1 for each request that an instance serves, if work of each span counts with this weight."""
        prices, stretches = self.prices, swept.stretches
        begins = [begin for begin, _ in stretches]
        found = bytearray(len(self._arrivals))
        columns = zip(self._arrivals, self._latest, self.held, self._span, prices.elsewhere_usd, strict=True)
        for position, (arrival, latest, seconds, span, tokens) in enumerate(columns):
            if tokens > prices.place_second_usd * weights[span] * seconds:
                before = bisect_right(begins, latest) - 1
                found[position] = before >= 0 and stretches[before][1] >= arrival
        return found

    def worked(self, shares: Sequence[float], swept: _Swept) -> list[float]:
        """Seconds of an instance's work in the block where it counts least, of the requests that instances serve."""
        busy, dearest = [0.0] * self.blocks, self._dearest(shares)
        per_second = self.prices.place_second_usd / self.prices.instance_second_usd
        served = self.served([1.0 - shares[block] for block in dearest], swept)
        for seconds, span, mine in zip(self.held, self._span, served, strict=True):
            if mine:
                busy[dearest[span]] += per_second * seconds
        return busy


class _Starts:
    """How each stretch up began, for finding the cheapest schedule's stretches from its end."""

    def __init__(self) -> None:
        self._moments = array("d", [-math.inf])
        self._ended = array("d", [-math.inf])  # when the stretch before it did
        self._before = array("q", [0])  # how that one began

    def noted(self, moment: float, left: "_States") -> int:
        """A stretch begins, after the one that the cheapest state ended."""
        self._moments.append(moment)
        self._ended.append(left.moments[0])
        self._before.append(left.starts[0])
        return len(self._moments) - 1

    def stretches(self, states: "_States") -> list[tuple[float, float]]:
        """From the beginning to the last moment up, in order."""
        found = []
        end, start = states.moments[0], states.starts[0]
        while start > 0:
            found.append((self._moments[start], end))
            end, start = self._ended[start], self._before[start]
        return found[::-1]


class _States:
    """Costs by the moment of being up last, in increasing order of both.

    Kept is how much dearer each is than the one before it.
    """

    __slots__ = ("_last_cost", "_rises", "least", "moments", "starts")

    def __init__(self) -> None:
        self.moments = [-math.inf]
        self.starts = [0]  # how the stretch began that ends at each state
        self._rises = [0.0]
        self._last_cost = 0.0
        self.least = 0.0

    def append(self, moment: float, cost: float, start: int) -> None:
        """A state that is newer than all others; those that cost as much or more die."""
        moments, rises, last_cost = self.moments, self._rises, self._last_cost
        while moments and last_cost >= cost:
            moments.pop()
            self.starts.pop()
            last_cost -= rises.pop()
        if moments:
            rises.append(cost - last_cost)
        else:
            rises.append(0.0)
            self.least = cost
        moments.append(moment)
        self.starts.append(start)
        self._last_cost = cost

    def raise_before(self, moment: float, amount: float) -> None:
        """All states older than `moment` cost more; those that then cost as much as the next one die."""
        rises = self._rises
        newer = bisect_left(self.moments, moment)
        if not newer:
            return
        self.least += amount
        if newer == len(rises):
            self._last_cost += amount
            return
        rise, alive = rises[newer] - amount, newer
        while rise <= 0 and alive:
            alive -= 1
            rise += rises[alive]
        if not alive:
            self.least += rise
            rise = 0.0
        rises[newer] = rise
        del rises[alive:newer], self.moments[alive:newer], self.starts[alive:newer]
