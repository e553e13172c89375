"""Asks for a sleeping place to be woken, when the gateway has accepted a job for it."""

from collections.abc import Iterable

from tollgate.domain.catalogue import Road
from tollgate.domain.errors import StorageError
from tollgate.domain.places.standing import Place, place_of
from tollgate.ports.jobs import FunctionEvents
from tollgate.ports.system import Clock

_ONCE_SECONDS = 15.0
"""How old a gateway's copy of the registry may be: for so long it takes a place that was woken to be asleep."""


class WakeRequests:
    """Sends one event for each place, however many requests this execution environment accepts for it."""

    def __init__(self, *, events: FunctionEvents, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._sent: dict[Place, float] = {}

    def want(self, roads: Iterable[Road]) -> None:
        """Have whatever serves these roads woken.

        If an event cannot be sent, the keeper finds the waiting jobs at its next look.
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
