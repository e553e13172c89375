"""Waiting for a server that was just started."""

import asyncio
import time

from aiohttp import ClientError, ClientSession, ClientTimeout

from local.launch.processes import Child, Children

PAUSE_SECONDS = 0.1


async def until_answers(url: str, child: Child, children: Children, seconds: float) -> None:
    """Asks until the URL answers 200.

    Raises:
        StepFailedError: the process ended, or `seconds` have passed.
    """
    deadline = time.monotonic() + seconds
    async with ClientSession(timeout=ClientTimeout(total=5)) as session:
        while True:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except (ClientError, TimeoutError, OSError):
                pass
            if (code := child.process.returncode) is not None:
                raise children.failed(
                    f"The {child.name} ended while it was starting (exit code {code}).",
                    child.log,
                    "read the log; if the port was taken meanwhile, choose another TOLLGATE_PORT.",
                )
            if time.monotonic() > deadline:
                raise children.failed(
                    f"The {child.name} did not answer within {seconds:.0f} s.",
                    child.log,
                    "the machine may be very busy: run make run again.",
                )
            await asyncio.sleep(PAUSE_SECONDS)
