"""Read access to the brakes, and to the places that sleep and wake."""

from collections.abc import Sequence

from tollgate.domain.brakes.level import Control
from tollgate.domain.brakes.plan import BrakeEntry
from tollgate.domain.places.record import PlaceRecord
from tollgate.ports.control import ControlStore
from tollgate.ports.endpoints import PlaceRecords


class BrakeQueries:
    """Reads the records; changes nothing."""

    def __init__(self, store: ControlStore, places: PlaceRecords) -> None:
        self._store = store
        self._places = places

    def control(self) -> Control:
        """The record as it is now.

        Raises:
            StorageError
        """
        return self._store.read()

    def steps(self, control: Control) -> Sequence[BrakeEntry]:
        """The steps of the present episode, in order; none while no brake is on.

        Raises:
            StorageError
        """
        return self._store.entries(control.episode) if control.episode else ()

    def places(self) -> Sequence[PlaceRecord]:
        """Every place that may sleep, with its phase and how it came to be in it.

        Raises:
            StorageError
        """
        return self._places.all()
