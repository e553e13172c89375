"""Records of places, metrics and road states in memory."""

from collections.abc import Sequence
from copy import replace
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import StorageError
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.sleeping import Phase
from tollgate.domain.places.standing import Place
from tollgate.domain.roads.capacity import RoadState


@dataclass
class FakePlaces:
    """A `PlaceRecords` and `RoadStates`, as careful about racing writers as the table is."""

    records: dict[Place, PlaceRecord] = field(default_factory=dict)
    states: dict[tuple[str, InferenceType], tuple[RoadState, int]] = field(default_factory=dict)
    asked: int = 0
    _lock: Lock = field(default_factory=Lock)

    def all(self) -> Sequence[PlaceRecord]:
        """See `PlaceRecords`."""
        return list(self.records.values())

    def get(self, place: Place) -> PlaceRecord | None:
        """See `PlaceRecords`."""
        return self.records.get(place)

    def write(self, record: PlaceRecord) -> bool:
        """See `PlaceRecords`."""
        with self._lock:
            stored = self.records.get(record.place)
            if (stored.revision if stored is not None else 0) != record.revision:
                return False
            self.records[record.place] = replace(record, revision=record.revision + 1)
            return True

    def ask(self, place: Place, now: datetime) -> bool:
        """See `PlaceRecords`."""
        with self._lock:
            self.asked += 1
            stored = self.records.get(place)
            sleeps = stored is not None and stored.phase in {Phase.ASLEEP, Phase.FALLING_ASLEEP}
            if stored is None or not sleeps or stored.asked_at is not None or stored.held_by:
                return False
            self.records[place] = replace(stored, asked_at=now, revision=stored.revision + 1)
            return True

    def hold(self, place: Place, by: str, now: datetime) -> None:
        """See `PlaceRecords`."""
        with self._lock:
            stored = self.records.get(place) or PlaceRecord(place, Phase.AWAKE, now)
            self.records[place] = replace(stored, held_by=by, revision=stored.revision + 1)

    def let_go(self, place: Place, by: str) -> None:
        """See `PlaceRecords`."""
        with self._lock:
            stored = self.records.get(place)
            if stored is not None and stored.held_by == by:
                self.records[place] = replace(stored, held_by="", revision=stored.revision + 1)

    def record_state(self, resource: str, inference_type: InferenceType, state: RoadState, instances: int) -> None:
        """See `RoadStates`."""
        self.states[resource, inference_type] = (state, instances)


@dataclass
class FakeActivity:
    """An `ActivityMetrics`; `broken` makes it unreadable."""

    last: dict[Place, datetime] = field(default_factory=dict)
    broken: bool = False
    asked: int = 0

    def last_invocation(self, place: Place, variants: Sequence[str], since: datetime, now: datetime) -> datetime | None:
        """See `ActivityMetrics`."""
        del variants, now
        self.asked += 1
        if self.broken:
            raise StorageError("The metrics cannot be read.")
        found = self.last.get(place)
        return found if found is not None and found >= since else None
