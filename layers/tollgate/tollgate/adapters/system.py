"""The real clock and the real source of ids."""

import os
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHIFTS = range(125, -1, -5)


class SystemClock:
    """Time of the machine."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds for measuring durations."""
        return time.monotonic()


class TimeSortedIds:
    """Ids of 48 bits of milliseconds and 80 random bits, in 26 characters of base 32, like ULIDs.

    The random bits come from the operating system each time, so environments restored from one snapshot differ.
    """

    def new(self, prefix: str) -> str:
        """A name like ``inf_01kb3...``: unique, and sorted by time as text."""
        value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
        return f"{prefix}_" + "".join([_ALPHABET[(value >> shift) & 31] for shift in _SHIFTS])
