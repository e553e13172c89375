"""Puts places to sleep when they are idle, and wakes them when they are needed.

Only the function that has just written the record takes a step: the record of the intended step is written first, on
the revision that was read, so that of any number of concurrent calls one acts and the others do nothing. The record
also keeps others away until the outcome of the step is written. Every step can be repeated. Unfinished work, or work
about to be due, is looked at again a few seconds later by the same call, and in any case every minute.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import replace
from datetime import datetime, timedelta

from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import BackendError, NoCatalogueError, TollgateError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import (
    CLOSE_LOOK_SECONDS,
    TICK_SECONDS,
    Action,
    Phase,
    SleepDecision,
    SleepPolicy,
    retry_seconds,
    shared_policy,
)
from tollgate.domain.places.standing import Place, PlaceKind, Standing, StandStatus, Step, places_of
from tollgate.domain.roads.capacity import RoadState
from tollgate.ports.endpoints import EndpointControl, PlaceRecords
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.places.decisions import decided
from tollgate.services.places.news import PlaceNews
from tollgate.services.places.watch_places import PlaceWatch
from tollgate.services.places.work import KeptPlace

DRAIN_SECONDS = 20
"""Between telling the gateways and taking a place down: their copies of the registry are up to 15 s old."""

LOOK_AGAIN_SECONDS = CLOSE_LOOK_SECONDS
"""Between two looks at a place that is changing, or about to."""

STEP_SECONDS = 3
"""Time for which one function alone acts on a place; less than between two looks, so that it also takes the next."""

FOLLOW_SECONDS = TICK_SECONDS - LOOK_AGAIN_SECONDS
"""How long one call continues to look; by then the next minute's call takes over."""

_RELEASE_AGAIN = timedelta(minutes=5)
_ALWAYS_UP = SleepPolicy(idle_minutes=60, minimum=1)
"""For a place whose policy was removed while it slept."""


class PlaceKeeper:
    """Manages sleep and wake-up of every place whose deployments have a sleep policy."""

    def __init__(
        self,
        *,
        catalogues: CatalogueSource,
        records: PlaceRecords,
        control: EndpointControl,
        watch: PlaceWatch,
        news: PlaceNews,
        telemetry: Telemetry,
        clock: Clock,
        pause: Callable[[float], None],
    ) -> None:
        self._catalogues = catalogues
        self._records = records
        self._control = control
        self._watch = watch
        self._news = news
        self.telemetry = telemetry
        self._clock = clock
        self._pause = pause
        self._next_place = 0

    def tick(self) -> Collection[Place]:
        """Look at every place; called each minute. What there is no time for is looked at first by the next call.

        Returns:
            The places that are changing, or about to: `follow` them.

        Raises:
            CatalogueError, StorageError: nothing could be looked at; the next minute tries again.
        """
        try:
            catalogue = self._catalogues.current()
        except NoCatalogueError:
            return ()
        records = {record.place: record for record in self._records.all()}
        kept, began = list(self._kept(catalogue, records)), self._clock.monotonic()
        changing = []
        for _ in kept:
            self._next_place %= len(kept)
            one = kept[self._next_place]
            self._next_place += 1
            if self._guarded(one):
                changing.append(one.place)
            if self._clock.monotonic() - began >= TICK_SECONDS:
                break
        return changing

    def wake(self, place: Place) -> Collection[Place]:
        """Wake a place because a request waits for it. Only the first call for a sleeping place has an effect.

        Returns:
            The place if it is changing because of this call.

        Raises:
            CatalogueError, StorageError: try again.
        """
        if not self._records.ask(place, self._clock.now()):
            self.telemetry.count("WakeSuppressed")
            return ()
        self.telemetry.count("WakeRequested")
        return self._look_at([place])

    def follow(self, places: Collection[Place]) -> None:
        """Look every few seconds, until no change is expected or the next minute's call takes over.

        Raises:
            CatalogueError, StorageError: the next minute tries again.
        """
        began = self._clock.monotonic()
        for _ in range(int(FOLLOW_SECONDS // LOOK_AGAIN_SECONDS)):
            if not places or self._clock.monotonic() - began + LOOK_AGAIN_SECONDS > FOLLOW_SECONDS:
                return
            self._pause(LOOK_AGAIN_SECONDS)
            places = self._look_at(places, close=True)

    def _look_at(self, places: Collection[Place], *, close: bool = False) -> Collection[Place]:
        """Look at these places now; returns those to look at again soon."""
        found = {place: self._records.get(place) for place in places}
        records = {place: record for place, record in found.items() if record is not None}
        kept = self._kept(self._catalogues.current(), records)
        return [each.place for each in kept if each.place in found and self._guarded(each, close=close)]

    def _kept(self, catalogue: Catalogue, records: Mapping[Place, PlaceRecord]) -> Iterator[KeptPlace]:
        for place, users in places_of(catalogue).items():
            policy = shared_policy(deployment.sleep for deployment, _ in users)
            record = records.get(place)
            if place.kind is PlaceKind.BATCH or (policy is None and (record is None or record.phase is Phase.AWAKE)):
                continue
            yield KeptPlace(place, users, policy or _ALWAYS_UP, record)

    def _guarded(self, kept: KeptPlace, *, close: bool = False) -> bool:
        """Look at one place; a failure there must not keep the others from being looked at."""
        try:
            return self._look(kept, close=close)
        except BackendError as error:
            self._hindered(kept.place, error.message)
        except (TollgateError, LookupError) as error:
            # This includes a time zone unknown to this machine, though known where the catalogue was read.
            self.telemetry.log("ERROR", "place not looked at", place=kept.place.key, error=str(error))
        return True

    def _hindered(self, place: Place, problem: str) -> None:
        record = self._records.get(place)
        self.telemetry.count("PlaceHindered")
        self.telemetry.log("WARNING", "place hindered", place=place.key, problem=problem)
        if record is not None:
            now = self._clock.now()
            wait = retry_seconds(record.attempts + 1)
            self._records.write(record.hindered(now, problem, now + timedelta(seconds=wait)))

    # -- one look

    def _look(self, kept: KeptPlace, *, close: bool) -> bool:
        """Decide and take one step; returns whether another one will follow soon.

        Args:
            kept: the place.
            close: whether it was looked at a few seconds ago: changes made by other people are left for the next
                minute.
        """
        now = self._clock.now()
        record = kept.record
        if record is None:
            return self._first_look(kept, now)
        if record.held_by:
            return False
        if record.retry_at is not None and now < record.retry_at:
            return True
        return self._act(kept, record, now, close=close)

    def _act(self, kept: KeptPlace, record: PlaceRecord, now: datetime, *, close: bool) -> bool:
        decision = self._watch.step_for(kept, record, now)
        if decision.action is Action.WAKE:
            return self._wake_up(kept, record, decision)
        if decision.action is Action.SLEEP:
            return self._lay_down(kept, record, decision.reason)
        if decision.action is Action.GROW:
            claimed = self._claimed(record.grown(decision.instances, now, decision.reason))
            if claimed is not None:
                decided(self.telemetry, kept, Action.GROW, decision.reason, now, instances=decision.instances)
                self._adopt(kept, claimed, now)
            return True
        if close and record.phase in {Phase.AWAKE, Phase.ASLEEP}:
            return decision.soon
        return self._go_on(kept, record, now) or decision.soon

    def _go_on(self, kept: KeptPlace, record: PlaceRecord, now: datetime) -> bool:
        match record.phase:
            case Phase.WAKING:
                return self._go_on_waking(kept, record)
            case Phase.FALLING_ASLEEP:
                return self._go_on_falling(kept, record, now)
            case Phase.ASLEEP | Phase.AWAKE:
                return self._adopt(kept, record, now)

    def _first_look(self, kept: KeptPlace, now: datetime) -> bool:
        self._records.write(PlaceRecord(kept.place, Phase.AWAKE, now).moved(Phase.AWAKE, now, "first seen"))
        return False

    def _move(self, kept: KeptPlace, record: PlaceRecord, phase: Phase, reason: str) -> bool:
        """Enter a phase; if another writer came in between, that one takes the step."""
        now = self._clock.now()
        moved = record.moved(phase, now, reason)
        claimed = self._claimed(moved) if phase is Phase.WAKING else self._written(moved)
        if claimed is None:
            return True
        self.telemetry.count(f"Place{phase.value.title().replace('_', '')}")
        if phase is Phase.WAKING:
            wanted = self._wanted(kept, claimed)
            decided(self.telemetry, kept, Action.WAKE, reason, now, instances=wanted.desired if wanted else 0)
            return self._step_up(kept, claimed)
        self.telemetry.log("INFO", "place moved", place=kept.place.key, phase=phase.value, reason=reason)
        return False

    def _claimed(self, record: PlaceRecord) -> PlaceRecord | None:
        """The record with the right to take the next step; None if another function has it."""
        return self._written(replace(record, retry_at=self._clock.now() + timedelta(seconds=STEP_SECONDS)))

    def _written(self, record: PlaceRecord) -> PlaceRecord | None:
        """The record as it is stored now; None if another writer came in between."""
        return replace(record, revision=record.revision + 1) if self._records.write(record) else None

    def _wake_up(self, kept: KeptPlace, record: PlaceRecord, decision: SleepDecision) -> bool:
        if record.before is not None:
            # On the way down it may still have more instances than it should wake with, and they may be at work.
            falling = kept.is_steered and record.phase is Phase.FALLING_ASLEEP
            stand = self._control.describe(kept.place).desired if falling else 0
            record = replace(record, before=record.before.wanting(max(decision.instances, stand)))
        return self._move(kept, record, Phase.WAKING, decision.reason)

    # -- down

    def _lay_down(self, kept: KeptPlace, record: PlaceRecord, reason: str) -> bool:
        before = self._control.describe(kept.place)
        if before.status is not StandStatus.UP:
            return self._adopt(kept, record, self._clock.now(), before) or kept.is_steered
        if kept.is_steered:
            before = before.with_instances(kept.policy.warm_minimum).suspended_as(record.before or before)
        moved = record.laid_down(before, self._clock.now(), reason)
        if self._records.write(moved):
            self.telemetry.count("PlaceFallingAsleep")
            decided(self.telemetry, kept, Action.SLEEP, reason, self._clock.now())
            self._news.tell(kept, RoadState.ASLEEP, 0)
        return True

    def _go_on_falling(self, kept: KeptPlace, record: PlaceRecord, now: datetime) -> bool:
        self._news.tell(kept, RoadState.ASLEEP, 0)
        drain = LOOK_AGAIN_SECONDS if kept.is_steered else DRAIN_SECONDS
        if record.before is None or kept.in_flight or now - record.since < timedelta(seconds=drain):
            return True
        claimed = self._claimed(record)
        if claimed is None:
            return True
        step = self._control.take_down(record.before, pinned=False)
        return self._after(kept, claimed, step, Phase.ASLEEP)

    # -- up

    def _go_on_waking(self, kept: KeptPlace, record: PlaceRecord) -> bool:
        claimed = self._claimed(record)
        return claimed is None or self._step_up(kept, claimed)

    def _wanted(self, kept: KeptPlace, record: PlaceRecord) -> Standing | None:
        """What should stand when the place is up; None if nothing was taken down."""
        return record.before and record.before.wanting(max(kept.policy.warm_minimum, kept.policy.minimum))

    def _step_up(self, kept: KeptPlace, record: PlaceRecord) -> bool:
        wanted = self._wanted(kept, record)
        if wanted is None:
            return self._move(kept, record, Phase.AWAKE, "nothing was taken down")
        step = self._control.bring_up(wanted.steered() if kept.is_steered else wanted)
        return self._after(kept, record, step, Phase.AWAKE)

    def _after(self, kept: KeptPlace, record: PlaceRecord, step: Step, wanted: Phase) -> bool:
        now = self._clock.now()
        if step.changes:
            self.telemetry.log("INFO", "place changed", place=kept.place.key, changes=list(step.changes))
        if step.failed:
            wait = timedelta(seconds=retry_seconds(record.attempts + 1))
            self._records.write(record.hindered(now, step.problem, now + wait))
            self.telemetry.count("PlaceHindered")
            return True
        if not step.settled:
            return True
        reason = f"after {(now - record.since).total_seconds():.0f} s"
        if not self._records.write(record.moved(wanted, now, reason)):
            return True
        self.telemetry.count(f"Place{wanted.value.title()}")
        self.telemetry.log("INFO", "place moved", place=kept.place.key, phase=wanted.value, reason=reason)
        if wanted is Phase.AWAKE:
            self.telemetry.count("TimeToWake", (now - record.since).total_seconds(), unit="Seconds")
            standing = self._control.describe(kept.place)
            self._news.tell(kept, RoadState.AWAKE, standing.current)
            self._news.release(kept)
            return kept.is_steered  # The work it was woken for may be finished long before the next minute.
        return False

    def _adopt(self, kept: KeptPlace, record: PlaceRecord, now: datetime, seen: Standing | None = None) -> bool:
        """Record what autoscaling or a person has changed meanwhile; order instances that are missing."""
        standing = seen or self._control.describe(kept.place)
        if record.phase is Phase.ASLEEP and standing.status is StandStatus.UP and standing.current:
            if self._records.write(record.moved(Phase.AWAKE, now, "found up")):
                self._news.tell(kept, RoadState.AWAKE, standing.current)
                self._news.release(kept)
        elif record.phase is Phase.AWAKE and standing.status is StandStatus.DOWN:
            asleep = record.moved(Phase.ASLEEP, now, "found down")
            if self._records.write(replace(asleep, before=standing)):
                self._news.tell(kept, RoadState.ASLEEP, 0)
        else:
            awake = record.phase is Phase.AWAKE
            self._news.tell(kept, RoadState.AWAKE if awake else RoadState.ASLEEP, standing.current if awake else 0)
            if kept.is_steered and record.was_woken and record.before and standing.desired < record.before.desired:
                self._control.bring_up(record.before.steered())
            if awake and now - record.since < _RELEASE_AGAIN:
                self._news.release(kept)
        return False
