"""An endpoint that sleeps until a deadline wakes it.

Requests wait, sorted into bands of equal time to their deadline. The endpoint is woken at the last moment at which the
tightest band can still be served, works off everything that waits (work that must be done anyway, and the start-up is
paid), and sleeps again when a look finds nothing left. While it is up, requests are served as they come. Waiting for
the earliest deadline is what makes the fewest wake-ups: each request that wakes it came after the last wake-up ended.

For bursts several instances are woken: at a few points of each band's queue, the work that is due until then must fit
into what the instances that are up, or starting, can do by then.
"""

import math
from array import array
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from planner.serving import Served

_MOST_BANDS = 8
_POINTS = 8
_RUN_SHARE = 0.25
"""Share of a deadline that the work may take; more work than that at once takes more instances."""


@dataclass(frozen=True, slots=True)
class Waking:
    """How the endpoint wakes and sleeps.

    Attributes:
        maximum: never more instances.
        startup: seconds until an instance serves.
        look_seconds: time between two looks at what waits.
        margin: seconds that are left before a deadline, for bursts and for bringing the answer back.
    """

    maximum: int
    startup: float
    look_seconds: float = 60.0
    margin: float = 30.0


def serve_waking(
    arrivals: "array[float]", held: "array[float]", deadlines: "array[float]", *, concurrency: int, waking: Waking
) -> Served:
    """Serve every request.

    Args:
        arrivals: seconds, in order.
        held: seconds that each one holds its place.
        deadlines: seconds after arrival.
        concurrency: places of an instance.
        waking: of the endpoint.
    """
    endpoint = _Sleeper(arrivals, held, _bands(deadlines), concurrency, waking)
    now = 0.0
    while endpoint.unfinished:
        now = endpoint.next_look(now)
        endpoint.work_until(now)
        endpoint.look(now)
    return endpoint.served


def _bands(deadlines: "array[float]") -> "array[float]":
    """The deadlines themselves where there are few different ones, else rounded down to powers of two."""
    if len(set(deadlines)) <= _MOST_BANDS:
        return deadlines
    return array("d", [d if d in {0.0, math.inf} else 2.0 ** math.floor(math.log2(d)) for d in deadlines])


class _Sleeper:
    def __init__(
        self,
        arrivals: "array[float]",
        held: "array[float]",
        bands: "array[float]",
        concurrency: int,
        waking: Waking,
    ) -> None:
        self._arrivals, self._held, self._bands = arrivals, held, bands
        self._concurrency, self._waking = concurrency, waking
        self._waiting: dict[float, deque[int]] = {band: deque() for band in sorted(set(bands))}
        self._entered = dict.fromkeys(self._waiting, 0.0)
        self._started = dict.fromkeys(self._waiting, 0.0)
        self._work_until = array("d", bytes(8 * len(arrivals)))  # place-seconds that entered the band up to a request
        self._ready: list[float] = []
        self._next = 0
        self._queued = 0
        self._places: list[float] = []
        self.served = Served(ends=array("d", bytes(8 * len(arrivals))))

    @property
    def unfinished(self) -> bool:
        return self._next < len(self._arrivals) or self._queued > 0 or bool(self._ready)

    def next_look(self, now: float) -> float:
        """Asleep, nothing changes before the next arrival or the moment at which what waits is due."""
        look = self._waking.look_seconds
        if not self._ready:
            coming = self._arrivals[self._next] if self._next < len(self._arrivals) else math.inf
            until = min(coming, self._due())
            if until > now and until < math.inf:
                now = max(now, until // look * look)
            elif until == math.inf and self._queued:  # no deadline will ever wake it
                self._wake(1, now)
        return now + look

    def work_until(self, until: float) -> None:
        """Take arrivals in, and give places to what waits, earliest deadline first, as long as they start in time."""
        places = self._places
        while True:
            coming = self._arrivals[self._next] if self._next < len(self._arrivals) else math.inf
            free = places[0] if places else math.inf
            if coming < until and (coming <= free or not self._queued):
                self._take_in()
            elif self._queued and free < until:
                self._start(free)
            else:
                return

    def _take_in(self) -> None:
        band = self._bands[self._next]
        self._waiting[band].append(self._next)
        self._entered[band] += self._held[self._next]
        self._work_until[self._next] = self._entered[band]
        self._next += 1
        self._queued += 1

    def _start(self, free: float) -> None:
        arrivals = self._arrivals
        band = min((b for b, queue in self._waiting.items() if queue), key=lambda b: arrivals[self._waiting[b][0]] + b)
        position = self._waiting[band].popleft()
        held = self._held[position]
        self._started[band] = self._work_until[position]
        self._queued -= 1
        end = max(free, arrivals[position]) + held
        heapreplace(self._places, end)
        self.served.ends[position] = end

    def _demands(self) -> dict[float, list[tuple[float, float]]]:
        """By band: deadlines in order, each with the place-seconds of the band that are due until then."""
        found: dict[float, list[tuple[float, float]]] = {}
        for band, queue in self._waiting.items():
            if queue:
                last = len(queue) - 1
                positions = [queue[last * n // _POINTS] for n in range(_POINTS + 1)] if last else [queue[0]]
                done = self._started[band]
                found[band] = [(self._arrivals[p] + band, self._work_until[p] - done) for p in positions]
        return found

    def _due(self) -> float:
        """The last moment at which an instance must be started for what waits now."""
        return min(
            (
                deadline_at - self._lead - min(work / self._concurrency, _RUN_SHARE * band)
                for band, points in self._demands().items()
                for deadline_at, work in points
            ),
            default=math.inf,
        )

    @property
    def _lead(self) -> float:
        return self._waking.startup + self._waking.margin + self._waking.look_seconds

    def look(self, now: float) -> None:
        """Wake, add, or send away instances."""
        if not self._queued:
            self._retire(len(self._ready), now)
            return
        more = self._missing(now)
        if not self._ready:
            more = max(1, more) if self._due() <= now + self._waking.look_seconds else 0
        self._wake(min(more, self._waking.maximum - len(self._ready)), now)

    def _missing(self, now: float) -> int:
        """Instances that must be started now so that the work is done by its deadlines."""
        startup, look = self._waking.startup, self._waking.look_seconds
        demands = self._demands()
        missing = 0
        for band, points in demands.items():
            for deadline_at, own in points:
                end = deadline_at - self._waking.margin
                left = end - now - startup
                if math.isinf(band) or left > _RUN_SHARE * band + look:
                    continue  # there is time to see what comes
                work = own + sum(_due_until(others, deadline_at) for b, others in demands.items() if b != band)
                able = sum(max(0.0, end - max(now, ready)) for ready in self._ready)
                missing = max(missing, math.ceil((work / self._concurrency - able) / max(left, look)))
        return missing

    def _wake(self, count: int, now: float) -> None:
        for _ in range(count):
            self._ready.append(now + self._waking.startup)
            for _ in range(self._concurrency):
                heappush(self._places, now + self._waking.startup)
        served = self.served
        served.instance_seconds -= count * now
        served.startup_seconds += count * self._waking.startup
        served.starts += count
        served.peak = max(served.peak, len(self._ready))

    def _retire(self, count: int, now: float) -> None:
        for _ in range(count):
            freed = [heappop(self._places) for _ in range(self._concurrency)]
            self.served.instance_seconds += max(now, freed[-1])
        self._ready = self._ready[count:]


def _due_until(points: list[tuple[float, float]], moment: float) -> float:
    """Another band's work that is due until then, rounded up to its next point."""
    if points[0][0] > moment:
        return 0.0
    return next((work for deadline_at, work in points if deadline_at >= moment), points[-1][1])
