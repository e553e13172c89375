"""Time zones of the IANA database: the runtime's own where it has one, else the package tzdata of the layer."""

from functools import cache
from zoneinfo import ZoneInfo


@cache
def time_zone(name: str) -> ZoneInfo:
    """The clock of a zone such as ``Europe/Berlin``.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is none of that name.
    """
    return ZoneInfo(name)
