"""What can be seen of the brakes."""

from collections.abc import Sequence

from tollgate.domain.brake_plan import BrakeEntry
from tollgate.domain.brakes import Control
from tollgate.ports.control import ControlStore


class BrakeQueries:
    """Reads the record; changes nothing."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    def control(self) -> Control:
        """The record as it is now.

        Raises:
            StorageError
        """
        return self._store.read()

    def steps(self, control: Control) -> Sequence[BrakeEntry]:
        """The steps of the present episode, in order; none while nothing brakes.

        Raises:
            StorageError
        """
        return self._store.entries(control.episode) if control.episode else ()
