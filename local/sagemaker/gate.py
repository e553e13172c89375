"""How many requests a variant takes at once, and how many may wait."""

import asyncio
from collections import deque


class SaturatedError(Exception):
    """Every place is taken and the queue in front is full."""


class Gate:
    """A first-come, first-served semaphore whose size can change while it is in use.

    Args:
        places: requests served at once.
        queue_limit: requests that may wait beyond them.
    """

    def __init__(self, places: int, queue_limit: int) -> None:
        self._places = places
        self._queue_limit = queue_limit
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def places(self) -> int:
        """Requests served at once."""
        return self._places

    @property
    def busy(self) -> int:
        """Requests being served now."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(not future.done() for future in self._waiting)

    @property
    def free(self) -> int:
        """Places a newcomer could have without waiting."""
        return max(0, self._places - self._busy)

    def resize(self, places: int) -> None:
        """Change the number of places; those already served finish."""
        self._places = places
        self._admit()

    async def enter(self) -> None:
        """Take a place, waiting for one if need be.

        Raises:
            SaturatedError: as many wait as may.
        """
        if self._busy < self._places and not self.waiting:
            self._busy += 1
            return
        if self.waiting >= self._queue_limit:
            raise SaturatedError
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        self._busy -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._busy < self._places:
            future = self._waiting.popleft()
            if not future.done():
                self._busy += 1
                future.set_result(None)
