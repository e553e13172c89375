"""Runs the brakes: signals are received, steps applied and undone, people notified.

The record is written first and carried out afterwards, so a function that dies on the way leaves a record of what is
still to do; the next call, at the latest the schedule's within a minute, continues from there. One call at a time works
on the steps (a lease in the record); the others only record the signals they received.
"""

from collections.abc import Callable
from copy import replace
from datetime import datetime, timedelta

from tollgate.domain.brakes.level import BrakeLevel, Control, Signal, closed, dismissed, heard, lowered, raised
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.domain.money import ZERO, usd_text
from tollgate.ports.control import Announcer, ControlStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, IdSource, Telemetry
from tollgate.services.brakes.steps import BrakeSteps

LEASE_SECONDS = 150
"""Longer than the function may run."""

_WRITE_ROUNDS = 8


class Brakes:
    """Receives signals and carries out what follows from them."""

    def __init__(
        self,
        *,
        store: ControlStore,
        steps: BrakeSteps,
        catalogues: CatalogueSource,
        announcer: Announcer,
        telemetry: Telemetry,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self._store = store
        self._steps = steps
        self._catalogues = catalogues
        self._announcer = announcer
        self.telemetry = telemetry
        self._clock = clock
        self._ids = ids

    def hear(self, signal: Signal) -> bool:
        """Record a signal; what it calls for is in force when this returns. Returns whether it changed anything.

        Raises:
            StorageError: nothing is known to have been written; send it again.
        """
        before = self._store.read()
        after = self._change(lambda control, now: heard(control, signal, now))
        news = after.revision != before.revision
        self.telemetry.log(
            "WARNING" if news else "INFO",
            "brake signal",
            cause=signal.cause,
            asked=signal.level.word,
            in_force=after.level.word,
            news=news,
            reason=signal.reason,
        )
        return news

    def resume(self, who: str) -> Control:
        """Release every brake that is on now; `settle` undoes the steps.

        Raises:
            StorageError
        """
        self.telemetry.log("WARNING", "brakes resumed by a person", who=who)
        return self._change(dismissed)

    def resume_if_any(self, who: str) -> Control:
        """`resume` and `settle`, if there is anything to release.

        Raises:
            StorageError
        """
        control = self._store.read()
        if control.wanted(self._clock.now()) is not BrakeLevel.NONE:
            self.resume(who)
        return self.settle()

    def settle(self) -> Control:
        """Bring gateway, endpoints and notifications into line with the record.

        Raises:
            StorageError: the schedule continues.
        """
        control = self._store.read()
        if self._is_settled(control):
            return control
        if not self._lease():
            return control  # Another function is at work, and looks at the record again before leaving.
        try:
            while True:
                left = self._store.save(replace(self._carry_out(), lease_until=None))
                if left is not None:
                    return left
                # A signal came meanwhile: its level is in the record, its steps are still to do.
        except BaseException:
            self._change(lambda present, _: replace(present, lease_until=None))
            raise

    def _is_settled(self, control: Control) -> bool:
        wanted = control.wanted(self._clock.now())
        if not control.level == control.announced == wanted:
            return False
        return not control.episode or (
            wanted is not BrakeLevel.NONE and self._steps.are_done(control.episode, self._catalogues.current(), wanted)
        )

    def _carry_out(self) -> Control:
        """Do and undo steps and notify people; returns the record, which keeps the lease."""
        control = self._change(lambda present, _: present)
        if not control.episode:
            return control
        wanted = control.wanted(self._clock.now())
        if wanted < control.level:
            # Undoing begins before the gateway opens, so that nobody is admitted to endpoints that are not being
            # started.
            self._steps.undo(control.episode, above=wanted, patience=0.0)
            control = self._tell(self._change(lowered))
        else:
            if wanted is not BrakeLevel.NONE:
                self._steps.plan(control.episode, self._catalogues.current(), wanted)
            control = self._tell(control)
        undone = self._steps.undo(control.episode, above=wanted)
        if wanted is not BrakeLevel.NONE:
            self._steps.apply(control.episode, self._catalogues.current(), wanted)
        elif undone:
            control = self._change(lambda present, _: closed(present))
        return control

    def _tell(self, control: Control) -> Control:
        if control.level is control.announced:
            return control
        now = self._clock.now()
        entries = self._steps.entries(control.episode)
        saved = sum((e.usd_per_hour or ZERO for e in entries if e.is_in_force), start=ZERO)
        notice = {
            "event": "brake.raised" if control.level > control.announced else "brake.lowered",
            "level": control.level.word,
            "before": control.announced.word,
            "reason": control.reason,
            "until": None if control.until is None else control.until.isoformat(),
            "steps": len(entries),
            "saves_usd_per_hour": usd_text(saved),
            "revision": control.revision,
        }
        self.telemetry.count("BrakeLevel", int(control.level), unit="None")
        self.telemetry.log(
            "WARNING",
            "brakes changed",
            in_force=control.level.word,
            before=control.announced.word,
            reason=control.reason,
            saves_usd_per_hour=usd_text(saved),
        )
        try:
            self._announcer.announce(notice, at=now)
        except StorageError as error:
            self.telemetry.log("ERROR", "brakes not announced", error=error.message)
            return control
        return self._change(lambda present, _: replace(present, announced=control.level))

    def _lease(self) -> bool:
        now = self._clock.now()
        control = self._store.read()
        if control.lease_until is not None and control.lease_until > now:
            return False
        until = now + timedelta(seconds=LEASE_SECONDS)
        return self._store.save(replace(control, lease_until=until)) is not None

    def _change(self, change: Callable[[Control, datetime], Control]) -> Control:
        """Change the record, despite concurrent writers; a level that is called for is in force at once."""
        for _ in range(_WRITE_ROUNDS):
            control, now = self._store.read(), self._clock.now()
            after = raised(change(control, now), now, self._ids.new("brake"))
            if after == control:
                return control
            saved = self._store.save(after)
            if saved is not None:
                return saved
        raise ConflictError("The record of the brakes is busy; try again.", retry_after=1)
