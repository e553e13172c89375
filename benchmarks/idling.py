"""An endpoint that sleeps when nobody uses it: `tollgate.domain.places.sleeping` in simulated time.

The same function decides as in the capacity function, on the same looks: every minute, and when a request comes for a
sleeping endpoint. While it is up its instances follow their metric; the first one takes its whole start-up.
"""

from array import array
from bisect import bisect_left
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from planner.serving import Scaling, Served, serve
from tollgate.domain.places.sleeping import Action, Phase, SleepPolicy, Watched, Zones, decide, no_zones

DRAIN_SECONDS = 20.0
"""Between the decision and the end of the endpoint; a request that comes in between keeps it up."""

_MINUTE = 60.0


@dataclass(slots=True)
class Idled:
    """What became of the requests.

    Attributes:
        served: ends and bill, as of an endpoint that never sleeps.
        wakes: starts from sleep.
        met_asleep: requests that came before the endpoint was up, and waited for its start.
    """

    served: Served = field(default_factory=lambda: Served(ends=array("d")))
    wakes: int = 0
    met_asleep: int = 0


def serve_idling(
    arrivals: "array[float]",
    held: "array[float]",
    *,
    concurrency: int,
    scaling: Scaling,
    policy: SleepPolicy,
    epoch: datetime,
    horizon: float,
    zones: Zones = no_zones,
) -> Idled:
    """Serve every request on one endpoint, which is asleep at first.

    Args:
        arrivals: seconds since `epoch`, in order.
        held: seconds that each one holds its place.
        concurrency: places of an instance.
        scaling: of the instances while it is up.
        policy: when it sleeps and wakes.
        epoch: the moment of second 0, which decides about warm hours.
        horizon: seconds until which it is looked at.
        zones: of the warm hours.
    """
    sleeper = _Idler(arrivals, held, concurrency, scaling, policy, epoch, zones)
    sleeper.run(horizon)
    return sleeper.idled


@dataclass(slots=True)
class _Idler:
    arrivals: "array[float]"
    held: "array[float]"
    concurrency: int
    scaling: Scaling
    policy: SleepPolicy
    epoch: datetime
    zones: Zones
    idled: Idled = field(default_factory=Idled)

    def run(self, horizon: float) -> None:
        asleep_since, position = 0.0, 0
        while True:
            woken = self._wakes_at(asleep_since, position, horizon)
            if woken is None:
                return
            ready = woken + self.scaling.startup
            down = self._sleeps_at(ready, position, horizon)
            end = bisect_left(self.arrivals, down, lo=position)
            self._serve(position, end, woken, ready, down)
            asleep_since, position = down, end

    def _wakes_at(self, since: float, position: int, horizon: float) -> float | None:
        """The decision to wake: at the next arrival, or before it at a look every minute."""
        arrival = self.arrivals[position] if position < len(self.arrivals) else None
        now = since
        while self.policy.warm_hours and now < (horizon if arrival is None else arrival):
            if self._decides(now, self._asleep(since, asked=False), Action.WAKE):
                return now
            now += _MINUTE
        if arrival is None or not self._decides(arrival, self._asleep(since, asked=True), Action.WAKE):
            return None
        return arrival

    def _sleeps_at(self, ready: float, position: int, horizon: float) -> float:
        """When the endpoint is gone again, or the horizon."""
        now = ready
        while now < horizon:
            now += _MINUTE
            count = bisect_left(self.arrivals, now, lo=position)
            # A metric's minute counts until its end.
            last = (self.arrivals[count - 1] // _MINUTE + 1) * _MINUTE if count > position else None
            watched = Watched(
                Phase.AWAKE, self._at(ready), last_invocation=None if last is None else self._at(min(last, now))
            )
            turned = count < len(self.arrivals) and self.arrivals[count] < now + DRAIN_SECONDS
            if not turned and self._decides(now, watched, Action.SLEEP):
                return now + DRAIN_SECONDS
        return max(now, self.arrivals[-1] + DRAIN_SECONDS)

    def _serve(self, start: int, end: int, woken: float, ready: float, down: float) -> None:
        came = self.arrivals[start:end]
        shifted = array("d", [max(0.0, arrival - ready) for arrival in came])
        part = serve(
            shifted,
            self.held[start:end],
            concurrency=self.concurrency,
            scaling=replace(self.scaling, minimum=max(1, self.scaling.minimum)),
            horizon=down - ready,
        )
        served, startup = self.idled.served, ready - woken
        served.ends.extend(ready + each for each in part.ends)
        served.instance_seconds += part.instance_seconds + startup
        served.startup_seconds += part.startup_seconds + startup
        served.starts += part.starts + 1
        served.peak = max(served.peak, part.peak)
        self.idled.wakes += 1
        self.idled.met_asleep += sum(arrival < ready for arrival in came)

    def _asleep(self, since: float, *, asked: bool) -> Watched:
        return Watched(Phase.ASLEEP, self._at(since), asked=asked, startup_seconds=self.scaling.startup)

    def _decides(self, now: float, watched: Watched, action: Action) -> bool:
        return decide(self._at(now), watched, self.policy, self.zones).action is action

    def _at(self, seconds: float) -> datetime:
        return self.epoch + timedelta(seconds=seconds)
