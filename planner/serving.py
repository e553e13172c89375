"""An endpoint in simulated time: places, first come first served, and instances that follow a metric.

Between two looks at the metric the number of places does not change, so that requests take the place that is free
first, as `tollgate.domain.roads.holding` charges them. The number of instances changes as Application Auto Scaling does
it: on the metric of a minute that is already over, with a cooldown each way, and new instances serve after their
start-up.
"""

import math
from array import array
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from heapq import heappop, heappush, heapreplace


class Metric(Enum):
    """What the number of instances follows."""

    INVOCATIONS = auto()
    """Requests per minute and instance, `SageMakerVariantInvocationsPerInstance`."""
    BACKLOG = auto()
    """Requests waiting or in work per instance, `ApproximateBacklogSizePerInstance`."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many instances, and what changes that.

    Attributes:
        minimum: instances that are there from the start and never leave; 0 lets the endpoint sleep.
        maximum: never more than these.
        target: of the metric, per instance.
        delay: seconds from the end of a minute until its figure can trigger anything.
        startup: seconds until a new instance serves.
        out_cooldown: seconds between two increases.
        in_cooldown: seconds that fewer instances must have been enough before one leaves.
    """

    minimum: int = 1
    maximum: int = 1
    metric: Metric = Metric.BACKLOG
    target: float = 1.0
    delay: float = 60.0
    startup: float = 300.0
    out_cooldown: float = 60.0
    in_cooldown: float = 300.0


@dataclass(slots=True)
class Served:
    """What became of the requests of one endpoint, or of one pool of transform jobs.

    Attributes:
        ends: when each request was answered, in the order of their arrival.
        instance_seconds: billed, from launch to end.
        startup_seconds: the part of it in which instances started up.
        starts: instances launched after the beginning, or transform jobs.
        peak: most instances at the same time, or records of the largest job.
        changes: moment and number of instances that came (positive) or went.
        followed_seconds: in which the capacity function went on looking.
        elsewhere: 1 for each request that was handed on to another deployment; empty without one.
    """

    ends: "array[float]"
    instance_seconds: float = 0.0
    startup_seconds: float = 0.0
    starts: int = 0
    peak: int = 0
    changes: list[tuple[float, int]] = field(default_factory=list)
    followed_seconds: float = 0.0
    elsewhere: bytearray = field(default_factory=bytearray)


_MINUTE = 60.0


def serve(
    arrivals: "array[float]", held: "array[float]", *, concurrency: int, scaling: Scaling, horizon: float
) -> Served:
    """Serve every request on one endpoint.

    Args:
        arrivals: seconds, in order.
        held: seconds that each one holds its place.
        concurrency: places of an instance.
        scaling: number of instances over time; `maximum` at least 1.
        horizon: the bill runs at least until then.
    """
    endpoint = _Endpoint(arrivals, held, concurrency, scaling)
    if scaling.minimum == scaling.maximum:
        endpoint.advance(math.inf)
    else:
        now = 0.0
        while now < horizon or endpoint.unserved:
            now = endpoint.next_look(now, horizon)
            endpoint.advance(now)
            endpoint.scale(now)
    return endpoint.finish(horizon)


class _Endpoint:
    def __init__(self, arrivals: "array[float]", held: "array[float]", concurrency: int, scaling: Scaling) -> None:
        self._arrivals, self._held = arrivals, held
        self._concurrency, self._scaling = concurrency, scaling
        self._places = [0.0] * (scaling.minimum * concurrency)
        self._instances = scaling.minimum
        self._served = Served(ends=array("d"), peak=scaling.minimum, changes=[(0.0, scaling.minimum)])
        self._arrived = 0
        self._figures: deque[tuple[float, float]] = deque()
        self._seen = 0.0
        self._last_out = self._enough_since = -math.inf

    @property
    def unserved(self) -> bool:
        return len(self._served.ends) < len(self._arrivals)

    def next_look(self, now: float, horizon: float) -> float:
        """The next full minute; minutes in which nothing can change are skipped."""
        position = len(self._served.ends)
        quiet = self._instances == self._scaling.minimum and not self._seen and not any(f for _, f in self._figures)
        if quiet and position == self._arrived:
            ahead = self._arrivals[position] if self.unserved else horizon
            now = max(now, ahead // _MINUTE * _MINUTE)
            self._figures.clear()
        return now + _MINUTE

    def advance(self, until: float) -> None:
        """Give places to the requests that get one before `until`."""
        arrivals, held, places = self._arrivals, self._held, self._places
        ends = self._served.ends
        append = ends.append
        if not places:
            return
        for position in range(len(ends), len(arrivals)):
            start = arrivals[position]
            start = max(start, places[0])
            if start >= until:
                return
            end = start + held[position]
            heapreplace(places, end)
            append(end)

    def scale(self, now: float) -> None:
        """Look at the metric and change the number of instances."""
        scaling = self._scaling
        arrived = bisect_left(self._arrivals, now, self._arrived)
        waiting = arrived - len(self._served.ends)
        backlog = waiting + sum(1 for free in self._places if free > now) if self._instances else waiting
        figure = backlog if scaling.metric is Metric.BACKLOG else arrived - self._arrived
        self._arrived = arrived
        self._figures.append((now + scaling.delay, float(figure)))
        while self._figures and self._figures[0][0] <= now:
            self._seen = self._figures.popleft()[1]
        wanted = math.ceil(self._seen / scaling.target)
        wanted = min(scaling.maximum, max(scaling.minimum, wanted))
        if wanted >= self._instances:
            self._enough_since = now
        if wanted > self._instances and now - self._last_out >= scaling.out_cooldown:
            self._launch(wanted - self._instances, now)
        elif now - self._enough_since >= scaling.in_cooldown and (wanted or not backlog):
            self._retire(self._instances - wanted, now)
            self._enough_since = now

    def _launch(self, count: int, now: float) -> None:
        ready = now + self._scaling.startup
        for _ in range(count * self._concurrency):
            heappush(self._places, ready)
        self._instances += count
        self._last_out = now
        served = self._served
        served.instance_seconds -= count * now
        served.changes.append((now, count))
        served.startup_seconds += count * self._scaling.startup
        served.starts += count
        served.peak = max(served.peak, self._instances)

    def _retire(self, count: int, now: float) -> None:
        """The places that are free first leave; an instance stays until the last request on it ended."""
        for _ in range(count):
            freed = [heappop(self._places) for _ in range(self._concurrency)]
            self._served.instance_seconds += max(now, freed[-1])
            self._served.changes.append((max(now, freed[-1]), -1))
        self._instances -= count

    def finish(self, horizon: float) -> Served:
        self._retire(self._instances, horizon)
        return self._served
