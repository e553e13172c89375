"""An endpoint that sleeps until a deadline wakes it: `tollgate.domain.places.wake_by_deadline` in simulated time.

The policy is asked when something may be due, not by the clock: between two answers the planner keeps a moment before
which nothing can be due, moved forward by each arrival. When nothing waits, the endpoint takes no more work than ends
before what it is doing, and then sleeps, unless the traffic of the last minutes makes it cheaper to stay up.

This is the rule without a rhythm; what the deployed stack does is `planner.keeping`.
"""

import math
from array import array
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from planner.serving import Served
from planner.waiting import Waiting
from tollgate.domain.places.wake_by_deadline import (
    SOON_STARTS,
    SleepingEndpoint,
    busy_from_the_start,
    decide_start,
    instances_worth_keeping,
)

LONGEST_WAIT_SECONDS = 86_400.0
"""A request without a deadline is served within a day, as the batch road's greatest age is one."""

_RECHECK_SECONDS = 60.0
_RECOUNT_SECONDS = 5.0
"""How old the count of work in places may get; until then what was started since is added."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What an endpoint that sleeps has to serve, in columns.

    Attributes:
        arrivals: seconds, in order.
        held: seconds that each one holds its place.
        deadlines: seconds after arrival.
        expected: seconds that the policy believes each one will hold its place; where it is not given, what it does.
    """

    arrivals: "array[float]"
    held: "array[float]"
    deadlines: "array[float]"
    expected: "array[float] | None" = None


class _Lately:
    """A sum over a sliding window of arrivals."""

    __slots__ = ("_entries", "seconds", "total")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.total = 0.0
        self._entries: deque[tuple[float, float]] = deque()

    def add(self, now: float, amount: float) -> None:
        """One more came."""
        self._entries.append((now, amount))
        self.total += amount
        if self._entries[0][0] < now - self.seconds:
            self.forget(now)

    def forget(self, now: float) -> None:
        """Let go of what came before the window."""
        entries, since = self._entries, now - self.seconds
        while entries and entries[0][0] < since:
            self.total -= entries.popleft()[1]
        if not entries:
            self.total = 0.0


def serve_waking(requests: Requests, endpoint: SleepingEndpoint) -> Served:
    """Serve every request on an endpoint that sleeps and wakes."""
    sleeper = _Sleeper(requests, endpoint)
    sleeper.run()
    return sleeper.served


class _Sleeper:
    """The endpoint and what waits for it."""

    def __init__(self, requests: Requests, endpoint: SleepingEndpoint) -> None:
        self._arrivals, self._held, self._deadlines = requests.arrivals, requests.held, requests.deadlines
        self._expected = requests.held if requests.expected is None else requests.expected
        self._endpoint = endpoint
        self._waiting = Waiting()
        self._next = 0
        self._ready: list[float] = []
        self._places: list[float] = []
        self._look_at = math.inf
        self._closes = math.inf
        self._counted_at, self._at_most_in_work = -math.inf, 0.0
        able = endpoint.startup_seconds + endpoint.margin_seconds
        patient = min((d for d in set(self._deadlines) if d > able), default=able)
        self._work_lately = _Lately(min(patient, LONGEST_WAIT_SECONDS))
        self.served = Served(ends=array("d", bytes(8 * len(self._arrivals))))

    def run(self) -> None:
        """Event by event: an arrival, a place that gets free for what waits, a look, the end of the last work."""
        arrivals, count, waiting = self._arrivals, len(self._arrivals), self._waiting
        infinite = math.inf
        while True:
            coming = arrivals[self._next] if self._next < count else infinite
            free = self._places[0] if waiting and self._ready and self._closes == infinite else infinite
            if free <= coming and free <= self._look_at:
                if free == infinite:
                    if self._closes == infinite:
                        return
                    self._close()
                else:
                    self._start(free)
            elif self._closes <= coming and self._closes <= self._look_at:
                self._close()
            elif coming <= self._look_at:
                self._arrive(coming)
            else:
                self._look(self._look_at)

    def _arrive(self, now: float) -> None:
        position = self._next
        self._next += 1
        work = self._expected[position]
        self._work_lately.add(now, work)
        if self._closes < math.inf:
            end = max(now, self._places[0]) + self._held[position]
            if end <= self._closes:  # on a place that is paid anyway
                self.served.ends[position] = end
                heapreplace(self._places, end)
                return
        latest = now + min(self._deadlines[position], LONGEST_WAIT_SECONDS) - work
        self._waiting.add(position, now, latest, work)
        if self._ready and self._closes == math.inf and self._places[0] <= now:
            return  # its place is free; the next event is its start
        self._expect(now, latest, work)

    def _expect(self, now: float, latest: float, work: float) -> None:
        """Move the next look forward so that it cannot come too late for what has just arrived."""
        places, endpoint = self._endpoint.concurrency, self._endpoint
        limit = latest - endpoint.margin_seconds
        lead = limit - endpoint.startup_seconds
        if self._ready and self._closes == math.inf:
            lead += sum([max(0.0, limit - max(now, ready)) for ready in self._ready])
        look_at = self._look_at - work / places
        if now - self._counted_at > _RECOUNT_SECONDS:
            self._counted_at, self._at_most_in_work = now, self._in_work(now)
        own = lead - (self._waiting.work + self._at_most_in_work) / places
        if own < look_at:
            own = lead - (self._waiting.until(latest) + self._at_most_in_work) / places
            look_at = min(look_at, own)
        self._look_at = now if self._starts_early(now) else max(now, look_at)

    def _starts_early(self, now: float) -> bool:
        """Whether what is due soon is enough work for an instance, so that none has to wait for more."""
        enough = self._endpoint.startup_seconds * self._endpoint.concurrency
        if self._ready or self._waiting.work < enough:  # the sum of what is due soon takes longer
            return False
        soon = now + SOON_STARTS * self._endpoint.startup_seconds
        return busy_from_the_start(self._waiting.until(soon), self._endpoint)

    @property
    def _up(self) -> list[float]:
        """Instances that will take what waits."""
        return self._ready if self._closes == math.inf else []

    def _in_work(self, now: float) -> float:
        if not self._up:
            return 0.0
        taken = sum(max(now, free) for free in self._places)
        return taken - self._endpoint.concurrency * sum(max(now, ready) for ready in self._ready)

    def _start(self, free: float) -> None:
        position = self._waiting.pop()
        now = max(free, self._arrivals[position])
        end = now + self._held[position]
        heapreplace(self._places, end)
        self._at_most_in_work += end - now
        self.served.ends[position] = end
        if not self._waiting:
            self._rest(now)

    def _rest(self, now: float) -> None:
        """Nothing waits: decide who stays up."""
        self._work_lately.forget(now)
        quiet = self._work_lately.seconds
        busy = self._work_lately.total / (self._endpoint.concurrency * max(quiet, 1.0))
        keep = instances_worth_keeping(busy, quiet, self._endpoint.startup_seconds)
        if keep <= 0 or self._next >= len(self._arrivals):  # the trace ends: nobody will come
            self._closes, self._look_at = max(self._places), math.inf
            return
        if keep < len(self._ready):
            self._retire(len(self._ready) - keep, now)
        self._look_at = now + _RECHECK_SECONDS

    def _look(self, now: float) -> None:
        while self._waiting:
            decision = decide_start(
                now,
                self._waiting.due(
                    places=self._endpoint.concurrency,
                    in_work=self._in_work(now),
                    wait=now + self._endpoint.startup_seconds + self._endpoint.margin_seconds,
                    up_from=max(now, min(self._up)) + self._endpoint.margin_seconds if self._up else None,
                ),
                self._up,
                self._endpoint,
            )
            self._look_at = decision.look_again_at
            if decision.start <= 0:
                if self._starts_early(now):
                    self._wake(1, now)
                break
            if self._closes < math.inf:  # still up: cheaper than a start
                self._closes = math.inf
            else:
                self._wake(decision.start, now)
        if not self._waiting:
            self._look_at = math.inf
            if self._ready and self._closes == math.inf:
                self._rest(now)
        if self._look_at <= now:
            self._look_at = now + 1.0

    def _wake(self, count: int, now: float) -> None:
        ready = now + self._endpoint.startup_seconds
        for _ in range(count):
            self._ready.append(ready)
            for _ in range(self._endpoint.concurrency):
                heappush(self._places, ready)
        served = self.served
        served.instance_seconds -= count * now
        served.changes.append((now, count))
        served.startup_seconds += count * self._endpoint.startup_seconds
        served.starts += count
        served.peak = max(served.peak, len(self._ready))

    def _retire(self, count: int, now: float) -> None:
        for _ in range(count):
            freed = [heappop(self._places) for _ in range(self._endpoint.concurrency)]
            self.served.instance_seconds += max(now, freed[-1])
            self.served.changes.append((max(now, freed[-1]), -1))
        self._ready = self._ready[count:]

    def _close(self) -> None:
        self._retire(len(self._ready), -math.inf)
        self._closes = math.inf
