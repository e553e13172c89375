"""How long a request held its place on an instance, when only its arrival and its end are known.

An asynchronous endpoint tells when it received a request and when it finished, waiting included. With c places and
first come, first served, a request starts when it arrives or when the earliest of the c places becomes free, whichever
is later. So the latest end at each of the c places is all that has to be kept. Nor can it have started earlier than its
container may work: before that it waited for an instance to come up, which may take minutes, or for hours.

Charged that way, requests never pay for more than c places times the wall time, however long they queued.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

REMEMBERED = 20
GAPS = 8
"""Requests whose places have been given on, and times in which a place was idle, that are still known. More would not
fit into a kilobyte with the places, which is what a write is charged by."""

_BEFORE = timedelta(days=1)
"""A place that was never used was idle for so long."""

_NAMED_BY = 10
"""Last characters of a request's id that it is remembered by: 50 bits of chance."""


@dataclass(frozen=True, slots=True)
class InstancePlace:
    """A place that was used: when it becomes free, by whom it was last held, and for how many seconds."""

    free_at: datetime
    request_id: str
    held_seconds: Decimal


class Holdings(NamedTuple):
    """Who held the places of a deployment last, and for how long.

    Attributes:
        places: earliest free first. Fewer than there are places means that the rest was never used.
        earlier: who held them before that, latest last, by the end of their ids.
        gaps: when places were idle between two requests, latest last.
    """

    places: tuple[InstancePlace, ...] = ()
    earlier: tuple[tuple[str, Decimal], ...] = ()
    gaps: tuple[tuple[datetime, datetime], ...] = ()


def take_place(
    before: Holdings,
    *,
    request_id: str,
    received: datetime,
    finished: datetime,
    count: int,
    most_seconds: int | None = None,
) -> tuple[Holdings, Decimal]:
    """Give the place that is free first to a request that ended at `finished`.

    A notification can come late, when every place was already given to a request that ended after it. Then only time in
    which a place was idle is charged, so that no second is charged twice. A notification that comes again, because the
    first time its job could not be ended, gets the seconds it got before: also when its place has been given on since,
    to up to `REMEMBERED` others.

    Args:
        before: as earlier requests left them.
        request_id: whose end this is.
        received: when the request arrived.
        finished: when it ended; earlier than `received` counts as at once.
        count: places there are now, at least 1. When there are fewer than before, the earliest ones rest until there
            are more again; a place that came back as if never used would be charged twice for the same time.
        most_seconds: after which the call is cut off; None if nobody knows.

    Returns:
        The places afterwards, and the seconds held.
    """
    for place in before.places:
        if place.request_id == request_id:
            return before, place.held_seconds
    for name, seconds in before.earlier:
        if name == request_id[-_NAMED_BY:]:
            return before, seconds
    count = max(1, count)
    resting, kept = before.places[:-count], list(before.places[-count:])
    given_on = kept.pop(0) if len(kept) >= count else None
    free_at = received - _BEFORE if given_on is None else given_on.free_at
    began = received
    if most_seconds is not None:
        began = max(began, finished - timedelta(seconds=most_seconds))
    if finished <= free_at:
        return _late(before, request_id, began, finished)
    started = max(began, free_at)
    held = _seconds(finished - started)
    kept.append(InstancePlace(free_at=max(finished, started), request_id=request_id, held_seconds=held))
    places = tuple(sorted((*resting, *kept), key=lambda place: place.free_at))
    gone = () if given_on is None else ((given_on.request_id[-_NAMED_BY:], given_on.held_seconds),)
    idle = ((free_at, started),) if free_at < started else ()
    return Holdings(places, (*before.earlier, *gone)[-REMEMBERED:], (*before.gaps, *idle)[-GAPS:]), held


def _late(before: Holdings, request_id: str, began: datetime, finished: datetime) -> tuple[Holdings, Decimal]:
    """Charge a request that ended before all those that hold the places for the time in which one of them was idle."""
    found = max(before.gaps, key=lambda gap: min(finished, gap[1]) - max(began, gap[0]), default=(finished, finished))
    start, end = max(began, found[0]), min(finished, found[1])
    gaps = before.gaps
    if start < end:
        rest = [gap for gap in ((found[0], start), (end, found[1])) if gap[0] < gap[1]]
        place = gaps.index(found)
        gaps = (*gaps[:place], *rest, *gaps[place + 1 :])[-GAPS:]
    held = _seconds(end - start)
    return Holdings(before.places, (*before.earlier, (request_id[-_NAMED_BY:], held))[-REMEMBERED:], gaps), held


def _seconds(time: timedelta) -> Decimal:
    return Decimal(max(timedelta(0), time) // timedelta(microseconds=1)).scaleb(-6)
