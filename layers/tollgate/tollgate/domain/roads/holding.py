"""How long a request held its place on an instance, when only its arrival and its end are known.

An asynchronous endpoint tells when it received a request and when it finished, waiting included. With c places and
first come, first served, a request starts when it arrives or when the earliest of the c places becomes free, whichever
is later. So the latest end at each of the c places is all that has to be kept.

Charged that way, requests never pay for more than c places times the wall time, however long they queued.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class InstancePlace:
    """A place that was used: when it becomes free, by whom it was last held, and for how many seconds."""

    free_at: datetime
    request_id: str
    held_seconds: Decimal


type InstancePlaces = tuple[InstancePlace, ...]
"""Earliest free first. Fewer than there are places means that the rest was never used."""


def take_place(
    places: InstancePlaces, *, request_id: str, received: datetime, finished: datetime, count: int
) -> tuple[InstancePlaces, Decimal]:
    """Give the place that is free first to a request that ended at `finished`.

    A notification can come late, when the place was already given to a request that ended after it. Then only the time
    after the place's last known end is charged, down to zero, so that no second is charged twice. A notification that
    comes twice finds the place it was given before, as long as nobody else has had it since.

    Args:
        places: as earlier requests left them.
        request_id: whose end this is.
        received: when the request arrived.
        finished: when it ended; earlier than `received` counts as at once.
        count: places there are now, at least 1. When there are fewer than before, the earliest ones rest until there
            are more again; a place that came back as if never used would be charged twice for the same time.

    Returns:
        The places afterwards, and the seconds held.
    """
    for place in places:
        if place.request_id == request_id:
            return places, place.held_seconds
    count = max(1, count)
    resting, kept = places[:-count], list(places[-count:])
    earliest = kept.pop(0).free_at if len(kept) >= count else None
    started = received if earliest is None else max(received, earliest)
    held = Decimal(max(timedelta(0), finished - started) // timedelta(microseconds=1)).scaleb(-6)
    kept.append(InstancePlace(free_at=max(finished, started), request_id=request_id, held_seconds=held))
    return tuple(sorted((*resting, *kept), key=lambda place: place.free_at)), held
