"""What there is to see of a place, and what its rules make of that."""

from collections.abc import Sequence
from copy import replace
from datetime import datetime
from typing import TYPE_CHECKING

from tollgate.domain.errors import StorageError
from tollgate.domain.places.gathering import GATHER_LIMIT
from tollgate.domain.places.handing_on import HAND_ON_LIMIT
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import (
    Action,
    Phase,
    SleepDecision,
    Watched,
    Zones,
    decide,
    endpoint_of,
    no_zones,
)
from tollgate.ports.endpoints import ActivityMetrics, EndpointControl
from tollgate.ports.system import Telemetry
from tollgate.services.places.decisions import decided_to_hand_on
from tollgate.services.places.work import Gathered, GatheredJob, KeptPlace, PlaceWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.places.standing import Place

    # Few places have a deployment to hand on to.
    from tollgate.services.places.hand_on import HandingOn


class PlaceWatch:
    """Looks at the work and the use of places.

    `handing_on` is requested when jobs gather that may go to a token-priced provider.
    """

    def __init__(
        self,
        *,
        work: PlaceWork,
        control: EndpointControl,
        activity: ActivityMetrics,
        telemetry: Telemetry,
        zones: Zones = no_zones,
        handing_on: "Callable[[], HandingOn] | None" = None,
    ) -> None:
        self._work = work
        self._control = control
        self._activity = activity
        self._telemetry = telemetry
        self._zones = zones
        self._handing_on = handing_on
        self._last_invocations: dict[Place, datetime] = {}

    def step_for(self, kept: KeptPlace, record: PlaceRecord, now: datetime) -> SleepDecision:
        """What the place's rules call for now; `kept` is told what that is based on.

        Raises:
            BackendError, CatalogueError, StorageError: it cannot be known.
        """
        watched, jobs = self._seen(kept, record, now)
        kept.watched = watched
        if jobs:
            watched = kept.watched = self._handed_on(kept, watched, jobs, now)
        decision = decide(now, watched, kept.policy, self._zones)
        if decision.action is not Action.SLEEP or watched.given is not None:
            return decision
        # Only a place that all other rules would put to sleep is worth a question to CloudWatch.
        return self._unless_in_use(kept, decision, now)

    def _seen(self, kept: KeptPlace, record: PlaceRecord, now: datetime) -> tuple[Watched, Sequence[GatheredJob]]:
        """The situation, and the gathered jobs that could be handed on."""
        waiting = self._work.count(kept.users)
        if waiting and record.phase is not Phase.AWAKE:
            self._telemetry.count("WaitingForWake", waiting)
        gathered, given = Gathered(), None
        if record.phase is Phase.AWAKE and kept.is_steered and record.was_woken and record.before is not None:
            given = self._work.given(kept.users, waiting, record.before.desired, now)
        elif waiting and kept.policy.gather and record.phase in {Phase.ASLEEP, Phase.FALLING_ASLEEP}:
            limit = HAND_ON_LIMIT if kept.policy.hand_on_to else GATHER_LIMIT
            whole = record.phase is Phase.ASLEEP and bool(kept.policy.hand_on_to)
            gathered = self._work.gathered(kept.users, record.since, now, limit, whole=whole)
            kept.in_flight = gathered.in_flight if record.phase is Phase.FALLING_ASLEEP else 0
            waiting = gathered.impatient + gathered.in_flight - kept.in_flight
        watched = Watched(
            phase=record.phase,
            since=record.since,
            last_invocation=self._last_invocations.get(kept.place),
            waiting=waiting,
            due=tuple(gathered.due),
            given=given,
            concurrency=min(road.concurrency for _, road in kept.users),
            maximum=record.most,
            oldest_waiting=self._work.oldest(kept.users) if waiting and kept.policy.wake_backlog > 1 else None,
            asked=record.asked_at is not None,
            startup_seconds=max(record.slowest_start.total_seconds(), *(r.startup_seconds for _, r in kept.users)),
        )
        return watched, gathered.jobs

    def _unless_in_use(self, kept: KeptPlace, sleep: SleepDecision, now: datetime) -> SleepDecision:
        """`sleep`, unless CloudWatch has seen an invocation within the idle time."""
        try:
            variants = [v.name for v in self._control.describe(kept.place).variants]
            last = self._activity.last_invocation(kept.place, variants, now - kept.policy.idle, now)
        except StorageError as error:
            self._telemetry.log("WARNING", "place not measured", place=kept.place.key, error=error.message)
            return SleepDecision(Action.STAY, "not measured")
        if last is None:
            return sleep
        self._last_invocations[kept.place] = last
        return SleepDecision(Action.STAY, "in use")

    def _handed_on(self, kept: KeptPlace, watched: Watched, jobs: Sequence[GatheredJob], now: datetime) -> Watched:
        """The situation left to decide on after handing on jobs that are not worth a start."""
        wakes_anyway = decide(now, replace(watched, due=()), kept.policy, self._zones).action is Action.WAKE
        if wakes_anyway or self._handing_on is None:
            return watched
        kept.handed_on = done = self._handing_on().due(jobs, endpoint_of(watched, kept.policy), now)
        if done.handed_on:
            decided_to_hand_on(self._telemetry, kept, done, now)
        return replace(watched, due=tuple(one.work for one in done.left))
