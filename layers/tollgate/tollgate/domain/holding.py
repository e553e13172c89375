"""How long a request held its place on an instance, when only its arrival and its end are known.

An asynchronous endpoint tells when it received a request and when it finished, waiting included. With c places and
first come, first served, a request starts when it arrives or when the earliest of the c places becomes free, whichever
is later. So the c latest times at which places became free are all that has to be kept.

Charged that way, requests never pay for more than c places times the wall time, however long they queued.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Places:
    """When each place of a deployment becomes free, earliest first; fewer times than places means never used."""

    free_at: tuple[datetime, ...] = ()


def take_place(places: Places, *, received: datetime, finished: datetime, count: int) -> tuple[Places, Decimal]:
    """Give the place that is free first to a request that ended at `finished`.

    A notification can come late, when the place has already been given to requests that ended after it. Then nothing
    but the time since the place's last known end can be charged, down to zero, so that no second is charged twice.

    Args:
        places: as earlier requests left them.
        received: when the request arrived.
        finished: when it ended; earlier than `received` counts as at once.
        count: places there are now, at least 1. When there are fewer than before, the earliest ones are dropped.

    Returns:
        The places afterwards, and the seconds held.
    """
    count = max(1, count)
    free = list(places.free_at[-count:])
    earliest = free.pop(0) if len(free) >= count else None
    started = received if earliest is None else max(received, earliest)
    held = max(timedelta(0), finished - started)
    free.append(max(finished, started) if earliest is None else max(finished, earliest))
    return Places(tuple(sorted(free))), Decimal(held // timedelta(microseconds=1)).scaleb(-6)
