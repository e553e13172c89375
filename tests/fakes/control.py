"""The record of the brakes in memory, and who is told."""

from collections.abc import Mapping, Sequence
from copy import replace
from datetime import datetime
from typing import Any

from tollgate.domain.brakes.level import NO_CONTROL, Control
from tollgate.domain.brakes.plan import BrakeEntry
from tollgate.domain.errors import StorageError
from tollgate.domain.places.standing import Place


class InMemoryControl:
    """The `ControlStore` of tests.

    Attributes:
        fail_after: so many writes succeed, then each fails; None for no failure.
    """

    def __init__(self) -> None:
        self.control = NO_CONTROL
        self.steps: dict[tuple[str, int], BrakeEntry] = {}
        self.history: list[BrakeEntry] = []
        self.writes = 0
        self.fail_after: int | None = None

    def read(self) -> Control:
        return self.control

    def save(self, control: Control) -> Control | None:
        self._write()
        if control.revision != self.control.revision:
            return None
        self.control = replace(control, revision=control.revision + 1)
        return self.control

    def entries(self, episode: str) -> Sequence[BrakeEntry]:
        return [entry for (name, _), entry in sorted(self.steps.items()) if name == episode]

    def put(self, entry: BrakeEntry) -> None:
        self._write()
        self.steps[entry.episode, entry.number] = entry
        self.history.append(entry)

    def _write(self) -> None:
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise StorageError("throttled")
            self.fail_after -= 1
        self.writes += 1


class FixedBrakes:
    """The `BrakeSource` of tests."""

    def __init__(self) -> None:
        self.control = NO_CONTROL
        self.reads = 0

    def in_force(self) -> Control:
        self.reads += 1
        return self.control


class RecordingAnnouncer:
    """The `Announcer` of tests."""

    def __init__(self) -> None:
        self.notices: list[dict[str, Any]] = []
        self.fail = False

    def announce(self, notice: Mapping[str, Any], *, at: datetime) -> None:
        assert at.tzinfo
        if self.fail:
            raise StorageError("no topic")
        self.notices.append(dict(notice))


class RecordingHolds:
    """The `PlaceHolds` of tests."""

    def __init__(self) -> None:
        self.held: dict[Place, str] = {}

    def hold(self, place: Place, by: str, now: datetime) -> None:
        assert now.tzinfo
        self.held[place] = by

    def let_go(self, place: Place, by: str) -> None:
        assert self.held.get(place, by) == by
        self.held.pop(place, None)
