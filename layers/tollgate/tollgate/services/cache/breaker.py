"""Stops asking a table that does not answer, and says which requests may run without it.

Each execution environment counts for itself. The breaker only decides how long a request waits for the table. Which
requests may run without it is decided one by one, for every request that got no answer, so that a table that throttles
half of its callers is no way around the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.selection import selector_of

if TYPE_CHECKING:
    from tollgate.ports.system import Clock

FAILURES = 4
"""In a row, after which the table is taken to be down."""

REST_SECONDS = 5.0
"""Until one request may try again."""


class CacheBreaker:
    """Closed as long as the table answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._tries_at = 0.0

    def is_open(self) -> bool:
        """Whether not to ask now. After each rest one request is let through, and the next rest begins."""
        if self._failures < FAILURES:
            return False
        now = self._clock.monotonic()
        if now < self._tries_at:
            return True
        self._tries_at = now + REST_SECONDS
        return False

    def failed(self) -> None:
        """Note that the table did not answer."""
        self._failures += 1
        if self._failures == FAILURES:
            self._tries_at = self._clock.monotonic() + REST_SECONDS

    def worked(self) -> None:
        """Note that the table answered."""
        self._failures = 0


def may_go_on(request_id: str, share: float) -> bool:
    """Whether a request belongs to the share that may run without the cache; the same for all environments."""
    return selector_of(f"{request_id}/uncached") < share
