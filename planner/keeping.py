"""An endpoint that gathers, as the deployed capacity function keeps it, in simulated time.

The same rules (`tollgate.domain.places.sleeping`) decide on the same looks: one a minute while nothing is near, one
every few seconds before something is due and for as long as the endpoint is up. While it is up every request is
handed over as it comes, and SageMaker serves them in that order; when nothing waits for a place it takes no more.

`planner.waking` is the same rule without a rhythm: what could be saved by looking all the time and by handing over in
the order of deadlines.
"""

import math
from array import array
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappush, heapreplace
from itertools import chain, islice

from planner.serving import Served
from planner.waiting import Waiting
from planner.waking import Requests
from tollgate.domain.catalogue import AsyncPolicy
from tollgate.domain.places.gathering import GATHER_LIMIT, SAMPLE, GivenWork
from tollgate.domain.places.sleeping import (
    CLOSE_LOOK_SECONDS,
    TICK_SECONDS,
    Action,
    Phase,
    SleepDecision,
    SleepPolicy,
    Watched,
    decide,
)
from tollgate.domain.places.wake_by_deadline import SOON_STARTS, DueWork, SleepingEndpoint

HAND_OVER_SECONDS = 2.0
"""From the gateway's yes, or the keeper's, to SageMaker's queue."""

_NOBODY = -1
_POLICY = SleepPolicy(idle_minutes=0, gather=True)
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_BASE = _EPOCH.timestamp()
_MOST_PATIENT = float(AsyncPolicy().request_ttl_seconds)


def serve_keeping(requests: Requests, endpoint: SleepingEndpoint) -> Served:
    """Serve every request on an endpoint that the capacity function puts to sleep and wakes.

    Args:
        requests: in order of arrival; `expected` is the longest that each may take.
        endpoint: whose margin is the policy's own.
    """
    kept = Kept(requests, endpoint)
    kept.run()
    return kept.served


class Kept:
    """The endpoint, what waits for it, and what it was given."""

    def __init__(self, requests: Requests, endpoint: SleepingEndpoint) -> None:
        self._arrivals, self._held = requests.arrivals, requests.held
        self._patience = array("d", [min(deadline, _MOST_PATIENT) for deadline in requests.deadlines])
        self._expected = requests.held if requests.expected is None else requests.expected
        self._endpoint = endpoint
        self._policy, self._limit = _POLICY, GATHER_LIMIT
        self._next = 0
        self._waiting = Waiting()
        self._handed: deque[int] = deque()
        self._places: list[tuple[float, int]] = []  # until when each is busy, and with whom; a heap
        self._instances = 0
        self._growing: deque[tuple[float, int]] = deque()
        self.served = Served(ends=array("d", bytes(8 * len(requests.arrivals))))

    def run(self) -> None:
        """From one sleep to the next."""
        now = 0.0
        while (started := self._asleep(now)) is not None:
            woken, instances = started
            self._start(instances, woken)
            up = _look_after(woken + self._endpoint.startup_seconds)
            self._up(up)
            now = self._until_gone(up)
            self.served.followed_seconds += now - woken

    # -- asleep

    def _asleep(self, now: float) -> tuple[float, int] | None:
        """When it is woken, and with how many instances; None when nobody waits or comes any more."""
        while self._waiting or self._next < len(self._arrivals):
            decision = self._decide(Phase.ASLEEP, now) if self._waiting else None
            if decision is not None and decision.action is Action.WAKE:
                return now, max(1, decision.instances)
            if decision is not None and decision.soon:
                later = _look_after(now)
            else:
                quiet = not self._waiting and self._next < len(self._arrivals)
                idle_until = max(now, self._arrivals[self._next]) if quiet else now
                later = (math.floor(idle_until / TICK_SECONDS) + 1) * TICK_SECONDS
            hurried = self._hurried(later)
            now = later if hurried is None else max(now, hurried)
            self._gather(now)
            if hurried is not None:
                return now, 1
        return None

    def _hurried(self, until: float) -> float | None:
        """When the first request comes, of those until then, that cannot wait for a look: the gateway has it woken."""
        for position in range(self._next, len(self._arrivals)):
            if self._arrivals[position] > until:
                return None
            ends = self._endpoint.startup_seconds + self._expected[position]
            if not self._policy.gathers(self._patience[position] - ends):
                return self._arrivals[position]
        return None

    def _gather(self, now: float) -> None:
        while self._next < len(self._arrivals) and self._arrivals[self._next] <= now:
            position = self._next
            arrival = self._arrivals[position]
            work = self._expected[position]
            latest = arrival + self._patience[position] - work
            self._waiting.add(position, arrival, latest, work, self._saved(position))
            self._next += 1

    def _saved(self, _position: int) -> float:
        """Dollars that an instance saves on the request against somebody else, of whom there is none here."""
        return 0.0

    def _decide(self, phase: Phase, now: float) -> SleepDecision:
        due: Iterator[DueWork] = iter(())
        crowd = len(self._waiting) > self._limit
        if not crowd:
            soon = now + SOON_STARTS * self._endpoint.startup_seconds
            due = self._waiting.due(places=self._endpoint.concurrency, in_work=0.0, wait=soon, up_from=None)
        watched = Watched(
            phase,
            _EPOCH,
            waiting=len(self._waiting) if crowd else 0,
            due=tuple(DueWork(_BASE + work.latest_start_at, work.place_seconds) for work in due),
            concurrency=self._endpoint.concurrency,
            maximum=self._endpoint.maximum,
            startup_seconds=self._endpoint.startup_seconds,
        )
        return decide(_EPOCH + timedelta(seconds=now), watched, self._policy)

    # -- up

    def _start(self, count: int, now: float) -> None:
        served = self.served
        served.instance_seconds -= count * now
        served.changes.append((now, count))
        served.startup_seconds += count * self._endpoint.startup_seconds
        served.starts += count
        self._instances += count
        served.peak = max(served.peak, self._instances)

    def _up(self, now: float) -> None:
        """It was seen to be up: what gathered is handed over, the most pressing first."""
        self._gather(now)
        self._places = [(now + HAND_OVER_SECONDS, _NOBODY)] * (self._instances * self._endpoint.concurrency)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting:
            self._handed.append(self._waiting.pop())

    def _until_gone(self, now: float) -> float:
        """Serve until nothing is left to do; when it is gone."""
        closing = False
        self._growing.clear()
        while True:
            now += CLOSE_LOOK_SECONDS
            if closing:
                self._serve(now)
                self._gather(now)
                if self._waiting and self._decide(Phase.FALLING_ASLEEP, now).action is Action.WAKE:
                    closing = False
                    self._hand_over()
                elif not self._in_service(now):
                    self._end(now)
                    return now
                continue
            self._take(now)
            while self._growing and self._growing[0][0] <= now:
                self._add_places(self._growing.popleft()[1], now)
            decision = self._decide_up(now)
            closing = decision.action is Action.SLEEP
            if decision.action is Action.GROW:
                more = decision.instances - self._instances
                self._growing.append((now + self._endpoint.startup_seconds, more))
                self._start(more, now)

    def _decide_up(self, now: float) -> SleepDecision:
        handed, in_service = self._handed, self._in_service(now)
        count = len(handed) + len(in_service)
        sample = list(islice(chain(in_service, handed), SAMPLE))
        mean = sum(self._expected[position] for position in sample) / max(1, len(sample))
        patience = min((self._patience[position] for position in sample), default=math.inf)
        given = GivenWork(self._instances, count, count * mean, patience)
        watched = Watched(
            Phase.AWAKE,
            _EPOCH,
            given=given,
            concurrency=self._endpoint.concurrency,
            maximum=self._endpoint.maximum,
            startup_seconds=self._endpoint.startup_seconds,
        )
        return decide(_EPOCH + timedelta(seconds=now), watched, _POLICY)

    def _take(self, now: float) -> None:
        """Hand over what has come until now, and serve."""
        arrivals, handed = self._arrivals, self._handed
        while self._next < len(arrivals) and arrivals[self._next] <= now:
            self._serve(arrivals[self._next])
            handed.append(self._next)
            self._next += 1
        self._serve(now)

    def _serve(self, until: float) -> None:
        handed, places = self._handed, self._places
        while handed and places[0][0] <= until:
            position = handed.popleft()
            end = max(places[0][0], self._arrivals[position] + HAND_OVER_SECONDS) + self._held[position]
            heapreplace(places, (end, position))
            self.served.ends[position] = end

    def _in_service(self, now: float) -> list[int]:
        return [position for free, position in self._places if free > now and position != _NOBODY]

    def _add_places(self, instances: int, now: float) -> None:
        for _ in range(instances * self._endpoint.concurrency):
            heappush(self._places, (now, _NOBODY))
        self._serve(now)

    def _end(self, now: float) -> None:
        self.served.instance_seconds += self._instances * now
        self.served.changes.append((now, -self._instances))
        self._instances, self._places = 0, []


def _look_after(moment: float) -> float:
    """The next close look."""
    return (math.floor(moment / CLOSE_LOOK_SECONDS) + 1) * CLOSE_LOOK_SECONDS
