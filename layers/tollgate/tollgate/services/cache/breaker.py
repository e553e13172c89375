"""Stops asking a table that does not answer, and says who may go on without it.

Each execution environment counts for itself. Whether the breaker is open only decides how long a request waits for the
table; how many may go on without it is decided for every request that got no answer, so that a table that throttles
half of its callers is no way around the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.selection import selector_of

if TYPE_CHECKING:
    from tollgate.ports.system import Clock

FAILURES = 4
"""In a row, after which the table counts as down."""

REST_SECONDS = 5.0
"""Until one request may try again."""


class CacheBreaker:
    """Closed as long as the table answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._tries_at = 0.0

    def is_open(self) -> bool:
        """Whether not to ask. When its rest is over, one request is let through, and the rest begins anew."""
        if self._failures < FAILURES:
            return False
        now = self._clock.monotonic()
        if now < self._tries_at:
            return True
        self._tries_at = now + REST_SECONDS
        return False

    def failed(self) -> None:
        """The table did not answer."""
        self._failures += 1
        if self._failures == FAILURES:
            self._tries_at = self._clock.monotonic() + REST_SECONDS

    def worked(self) -> None:
        """The table did."""
        self._failures = 0


def may_go_on(request_id: str, share: float) -> bool:
    """Whether a request belongs to the share that may run without the cache; the same for all environments."""
    return selector_of(f"{request_id}/uncached") < share
