"""The record of a place: its phase, its previous standing, and its history."""

from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta

from tollgate.domain.places.sleeping import CLOSE_LOOK_SECONDS, Phase
from tollgate.domain.places.standing import Place, Standing

HISTORY_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of a place's history: the phase it entered, when, and why; or a problem on the way."""

    at: datetime
    phase: Phase
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceRecord:
    """The record of a place.

    Attributes:
        since: when it entered the phase.
        before: how it stood when it was last put to sleep; what waking restores.
        asked_at: when a wake-up was requested; None if not since it fell asleep.
        attempts: tries that failed in this phase.
        retry_at: no other try before then: a step is under way, or the last one failed.
        problem: SageMaker's words for the latest failure.
        held_by: what keeps it down, empty if nothing does; while it is set, the place does not change.
        revision: counts the writes; a write succeeds only on the revision that was read.
        history: the latest transitions, oldest first.
    """

    place: Place
    phase: Phase
    since: datetime
    before: Standing | None = None
    asked_at: datetime | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    problem: str = ""
    held_by: str = ""
    revision: int = 0
    history: tuple[Transition, ...] = ()

    @property
    def most(self) -> int:
        """Most instances or copies that it may be woken with: autoscaling's maximum, else as many as stood."""
        if self.before is None:
            return 1
        return max((target.maximum for target in self.before.scaling), default=max(1, self.before.desired))

    @property
    def was_woken(self) -> bool:
        """Whether it is up because it was woken, and not because autoscaling or a person started it."""
        came_from = (line.phase for line in reversed(self.history) if line.phase is not Phase.AWAKE)
        return self.phase is Phase.AWAKE and next(came_from, None) is Phase.WAKING

    @property
    def slowest_start(self) -> timedelta:
        """The longest start in the history without a failed try, less the look that saw it; zero if there is none."""
        starts = [Transition(self.since, Phase.ASLEEP, ""), *self.history]
        found = [
            up.at - begun.at - timedelta(seconds=CLOSE_LOOK_SECONDS)
            for before, begun, up in zip(starts, starts[1:], starts[2:], strict=False)
            if (begun.phase, up.phase) == (Phase.WAKING, Phase.AWAKE) and before.phase is not Phase.WAKING
        ]
        return max(found, default=timedelta(0))

    def moved(self, phase: Phase, now: datetime, reason: str) -> "PlaceRecord":
        """The record after the place has entered a phase; waking clears the wake request."""
        return replace(
            self,
            phase=phase,
            since=now,
            asked_at=None if phase in {Phase.WAKING, Phase.AWAKE} else self.asked_at,
            attempts=0,
            retry_at=None,
            problem="",
            history=self._history(Transition(now, phase, reason)),
        )

    def laid_down(self, before: Standing, now: datetime, reason: str) -> "PlaceRecord":
        """The record of a place that begins to fall asleep, with its present standing."""
        return replace(self.moved(Phase.FALLING_ASLEEP, now, reason), before=before, asked_at=None)

    def grown(self, instances: int, now: datetime, reason: str) -> "PlaceRecord":
        """The record of a place that is up and needs this many instances or copies."""
        before = None if self.before is None else self.before.wanting(instances)
        return replace(self, before=before, history=self._history(Transition(now, self.phase, reason)))

    def hindered(self, now: datetime, problem: str, retry_at: datetime) -> "PlaceRecord":
        """The record after a try that failed."""
        return replace(
            self,
            attempts=self.attempts + 1,
            retry_at=retry_at,
            problem=problem,
            history=self._history(Transition(now, self.phase, f"failed: {problem}")),
        )

    def _history(self, line: Transition) -> tuple[Transition, ...]:
        return (*self.history, line)[-HISTORY_LENGTH:]
