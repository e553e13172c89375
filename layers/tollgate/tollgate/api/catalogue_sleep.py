"""The catalogue's section ``[models.M.deployments.D.sleep]``."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.errors import CatalogueError
from tollgate.domain.places.sleeping import SleepPolicy, WarmHours

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(
    r"(?P<days>[a-z,-]+) (?P<start>[0-2]\d:[0-5]\d)-(?P<end>[0-2]\d:[0-5]\d)"
    r"(?: (?:(?P<offset>[+-][01]\d:[0-5]\d)|(?P<zone>[a-z][a-z0-9_+/-]+)))?",
    re.IGNORECASE,
)
_FORM = "mon-fri 07:30-19:00 Europe/Berlin"


class SleepEntry(BaseModel):
    """When what serves the deployment may be put to sleep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle_minutes: Annotated[int, Field(ge=0, le=10_080)]
    minimum: Annotated[int, Field(ge=0, le=1000)] = 0
    warm_hours: tuple[str, ...] = ()
    warm_minimum: Annotated[int, Field(ge=1, le=1000)] = 1
    wake_backlog: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    wake_after_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    gather: bool = False
    gather_margin_seconds: Annotated[int, Field(ge=0, le=3_600)] = 30
    hand_on_to: Annotated[str, Field(max_length=64)] = ""


def read_sleep(entry: SleepEntry | None) -> SleepPolicy | None:
    """The policy of a section, None without one.

    Raises:
        CatalogueError: hours that cannot be read, or no idle time where metrics have to say what is idle.
    """
    if entry is None:
        return None
    if entry.idle_minutes == 0 and not entry.gather:
        raise CatalogueError(
            "idle_minutes = 0 needs gather = true; without it, idle time comes from metrics, in whole minutes."
        )
    if entry.hand_on_to and not entry.gather:
        raise CatalogueError("hand_on_to needs gather = true: only requests that gather can be handed on.")
    hours = tuple(read_warm_hours(text) for text in entry.warm_hours)
    return SleepPolicy(**{**entry.model_dump(), "warm_hours": hours})


def read_warm_hours(text: str) -> WarmHours:
    """Hours such as ``mon-fri 07:30-19:00 Europe/Berlin``, ``sat,sun 10:00-02:00 +01:00`` or ``daily 00:00-00:00``.

    Raises:
        CatalogueError: they are written in another way, or there is no such time zone.
    """
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        raise CatalogueError(f"Warm hours '{text[:60]}' cannot be read; write them like '{_FORM}'.")
    offset = found["offset"] or "+00:00"
    sign = -1 if offset[0] == "-" else 1
    return WarmHours(
        _days(found["days"].lower(), text),
        _minutes(found["start"], text),
        _minutes(found["end"], text),
        sign * _minutes(offset[1:], text),
        _zone(found["zone"] or "", text),
    )


def _zone(name: str, text: str) -> str:
    if name:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            raise CatalogueError(f"Warm hours '{text[:60]}' name no time zone; write them like '{_FORM}'.") from error
    return name


def _days(words: str, text: str) -> frozenset[int]:
    if words == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in words.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise CatalogueError(f"Warm hours '{text[:60]}' name no days; write them like '{_FORM}'.")
        start, end = _DAYS.index(first), _DAYS.index(last or first)
        # A range may go over the weekend: fri-mon.
        days |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(days)


def _minutes(clock: str, text: str) -> int:
    hours, minutes = clock.split(":")
    if int(hours) > 23:
        raise CatalogueError(f"Warm hours '{text[:60]}' have an hour above 23; write midnight as 00:00.")
    return int(hours) * 60 + int(minutes)
