"""Applies and undoes the steps of the brakes; each is recorded before it begins and after it is done."""

from collections.abc import Callable, Sequence
from copy import replace

from tollgate.domain.brakes.level import BrakeLevel
from tollgate.domain.brakes.plan import GATEWAY, BrakeEntry, EntryState, brake_plan
from tollgate.domain.catalogue import Catalogue
from tollgate.domain.errors import BackendError
from tollgate.domain.places.standing import Place, Standing, Step
from tollgate.ports.control import ControlStore, PlaceHolds
from tollgate.ports.endpoints import EndpointControl
from tollgate.ports.system import Clock, Telemetry

PATIENCE_SECONDS = 25.0
"""How long one call waits for endpoints that change; the next call continues."""

_PAUSE_SECONDS = 1.0
_HOLDER = "brakes"
_MOST_CHANGES = 50


class BrakeSteps:
    """Carries out the plan of the brakes.

    Args:
        pause: waits for so many seconds.
    """

    def __init__(
        self,
        *,
        store: ControlStore,
        endpoints: EndpointControl,
        telemetry: Telemetry,
        clock: Clock,
        pause: Callable[[float], None],
        holds: PlaceHolds | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._telemetry = telemetry
        self._clock = clock
        self._pause = pause
        self._holds = holds
        self._patience = patience_seconds

    def entries(self, episode: str) -> Sequence[BrakeEntry]:
        """The steps recorded so far.

        Raises:
            StorageError
        """
        return self._store.entries(episode)

    def _looked_at(self, places: Sequence[Place]) -> dict[Place, Standing]:
        found: dict[Place, Standing] = {}
        for place in places:
            try:
                found[place] = self._endpoints.describe(place)
            except BackendError as error:
                self._telemetry.log("WARNING", "place cannot be looked at", place=place.key, error=error.message)
        return found

    def apply(self, episode: str, catalogue: Catalogue, level: BrakeLevel) -> bool:
        """Do every step up to a level that was not done yet; returns whether all of them are now done.

        Raises:
            StorageError
        """
        entries = self.plan(episode, catalogue, level)
        return self._until_settled(entries, EntryState.DONE, self._down)

    def are_done(self, episode: str, catalogue: Catalogue, level: BrakeLevel) -> bool:
        """Whether every step up to a level is recorded as done, and none above it is in force.

        Raises:
            StorageError
        """
        state = {(entry.level, entry.target): entry.state for entry in self._store.entries(episode)}
        wanted = {(s.level, s.target) for s in brake_plan(catalogue, level) if not s.exempt}
        return all(state.get(key) is EntryState.DONE for key in wanted) and all(
            found is EntryState.UNDONE for key, found in state.items() if key[0] > level
        )

    def undo(self, episode: str, *, above: BrakeLevel, patience: float | None = None) -> bool:
        """Undo every step above a level, the last one first; returns whether all of them are now undone.

        Args:
            episode: whose steps.
            above: steps of this level and below stay.
            patience: seconds to wait for endpoints that change; 0 asks each once.

        Raises:
            StorageError
        """
        entries = [e for e in reversed(self._store.entries(episode)) if e.level > above and e.is_in_force]
        return self._until_settled(entries, EntryState.UNDONE, self._up, patience)

    def plan(self, episode: str, catalogue: Catalogue, level: BrakeLevel) -> list[BrakeEntry]:
        """The steps up to a level as entries, new ones stored; steps undone meanwhile are planned anew.

        Raises:
            StorageError
        """
        known = {(entry.level, entry.target): entry for entry in self._store.entries(episode)}
        steps = [step for step in brake_plan(catalogue, level) if not step.exempt]
        again = {EntryState.UNDONE, EntryState.GOING_UP}
        new = [s for s in steps if (s.level, s.target) not in known or known[s.level, s.target].state in again]
        places = [Place.from_key(step.target) for step in new if step.target != GATEWAY]
        standing = self._looked_at(places) if places else {}
        priced = {(s.level, s.target): s for s in brake_plan(catalogue, level, standing)} if places else {}
        number = max((entry.number for entry in known.values()), default=0)
        for step in new:
            earlier = known.get((step.level, step.target))
            before = None if step.target == GATEWAY else standing.get(Place.from_key(step.target))
            if earlier is None:
                number += 1
            elif earlier.state is EntryState.GOING_UP:
                # A place on its way up is restored to its target, not to how it looks now.
                before = earlier.before
            entry = BrakeEntry(
                episode=episode,
                number=number if earlier is None else earlier.number,
                level=step.level,
                target=step.target,
                what=step.what,
                state=EntryState.PLANNED,
                planned_at=self._clock.now(),
                usd_per_hour=priced.get((step.level, step.target), step).usd_per_hour,
                before=before,
            )
            self._store.put(entry)
            known[step.level, step.target] = entry
        return [known[step.level, step.target] for step in steps]

    def _until_settled(
        self,
        entries: Sequence[BrakeEntry],
        wanted: EntryState,
        act: Callable[[BrakeEntry], BrakeEntry],
        patience: float | None = None,
    ) -> bool:
        """Act on the entries, in this order, repeatedly, until all are as wanted or patience has run out."""
        began = self._clock.monotonic()
        most = self._patience if patience is None else patience
        waiting = [entry for entry in entries if entry.state is not wanted]
        while waiting:
            acted = [act(entry) for entry in waiting]
            waiting = [entry for entry in acted if entry.state is not wanted]
            if not waiting or self._clock.monotonic() - began >= most:
                break
            self._pause(_PAUSE_SECONDS)
        return not waiting

    def _down(self, entry: BrakeEntry) -> BrakeEntry:
        now = self._clock.now()
        if entry.target == GATEWAY:
            return self._keep(entry, replace(entry, state=EntryState.DONE, changes=(entry.what,), done_at=now))
        try:
            if entry.before is None:
                before = self._endpoints.describe(Place.from_key(entry.target))
                entry = self._keep(entry, replace(entry, before=before))
            else:
                before = entry.before
            if self._holds is not None:
                self._holds.hold(before.place, _HOLDER, now)
            step = self._endpoints.take_down(before)
        except BackendError as error:
            return self._failed(entry, error)
        return self._keep(entry, self._stepped(entry, step, EntryState.GOING_DOWN, EntryState.DONE))

    def _up(self, entry: BrakeEntry) -> BrakeEntry:
        now = self._clock.now()
        if entry.target == GATEWAY or entry.before is None:
            words = (f"no longer: {entry.what}",) if entry.target == GATEWAY else ("nothing had been changed",)
            return self._keep(entry, replace(entry, state=EntryState.UNDONE, undone=words, undone_at=now))
        try:
            step = self._endpoints.bring_up(entry.before)
            if step.settled and self._holds is not None:
                self._holds.let_go(entry.before.place, _HOLDER)
        except BackendError as error:
            return self._failed(entry, error)
        return self._keep(entry, self._stepped(entry, step, EntryState.GOING_UP, EntryState.UNDONE))

    def _stepped(self, entry: BrakeEntry, step: Step, going: EntryState, gone: EntryState) -> BrakeEntry:
        now = self._clock.now()
        state = gone if step.settled else going
        if gone is EntryState.DONE:
            changes = (*entry.changes, *step.changes)[-_MOST_CHANGES:]
            done = now if step.settled else None
            return replace(entry, state=state, changes=changes, done_at=done, problem=step.problem)
        undone = (*entry.undone, *step.changes)[-_MOST_CHANGES:] or ("asked to be as before",)
        over = now if step.settled else None
        return replace(entry, state=state, undone=undone, undone_at=over, problem=step.problem)

    def _failed(self, entry: BrakeEntry, error: BackendError) -> BrakeEntry:
        self._telemetry.count("BrakeStepFailed")
        self._telemetry.log("ERROR", "brake step failed", target=entry.target, error=error.message)
        return self._keep(entry, replace(entry, problem=error.message))

    def _keep(self, before: BrakeEntry, after: BrakeEntry) -> BrakeEntry:
        if after != before:
            self._store.put(after)
        return after
