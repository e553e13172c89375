"""Asking for a sleeping place to be woken, from a gateway that has just accepted a request for it."""

from collections.abc import Iterable

from tollgate.domain.catalogue import Road
from tollgate.domain.errors import StorageError
from tollgate.domain.places.standing import Place, place_of
from tollgate.ports.jobs import FunctionEvents
from tollgate.ports.system import Clock

_ONCE_SECONDS = 15.0
"""As old as a gateway's copy of the registry may be: until then it takes the place for asleep."""


class WakeRequests:
    """Sends one event a place, whatever number of requests this execution environment accepts for it."""

    def __init__(self, *, events: FunctionEvents, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._sent: dict[Place, float] = {}

    def want(self, roads: Iterable[Road]) -> None:
        """Have what serves these roads woken.

        An event that cannot be sent is made up for by the keeper's next look, which counts the jobs that wait.
        """
        now = self._clock.monotonic()
        for place in {place_of(road) for road in roads}:
            if now - self._sent.get(place, -_ONCE_SECONDS) < _ONCE_SECONDS:
                continue
            try:
                self._events.send({"kind": "wake", "place": place.key})
            except StorageError:
                continue
            self._sent[place] = now
