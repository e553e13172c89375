"""What the launcher says while it works: one line for each step, with the seconds it took."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rich.console import Console

HEARTBEAT_SECONDS = 15.0


class Terminal:
    """Writes progress to a person's terminal, or plain lines to a pipe or a log."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, line: str = "") -> None:
        """Prints one line as it is: no markup, no wrapping."""
        self._console.print(line, markup=False)

    @asynccontextmanager
    async def step(self, title: str) -> AsyncIterator[None]:
        """Shows that a step is going on, and its duration when it is over."""
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{title} ..."):
                yield
        else:
            heartbeat = asyncio.create_task(self._beat(title, began))
            try:
                yield
            finally:
                heartbeat.cancel()
        self.say(f"  {title:<44} {time.monotonic() - began:5.1f} s")

    async def _beat(self, title: str, began: float) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.say(f"  ... {title}: {time.monotonic() - began:.0f} s so far")
