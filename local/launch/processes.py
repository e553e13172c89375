"""The stack's child processes: each in a process group of its own, with a log, and none left behind."""

import asyncio
import contextlib
import os
import signal
import subprocess
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.launch.errors import StepFailedError
from local.launch.layout import Layout

LOG_TAIL_LINES = 15
GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process id together with the moment its process began, because ids are given out again."""

    name: str
    pid: int
    began: str

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return bool(self.began) and began_at(self.pid) == self.began


def began_at(pid: int) -> str:
    """When the process began, in the system's own words; empty when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] == "Z" else fields[19]
    listing = subprocess.run(  # noqa: S603 - a fixed command; the only argument is a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listing.stdout.strip()


def end_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to every process of the group that the child leads; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


@dataclass(slots=True)
class Child:
    """One running child."""

    name: str
    process: Process
    log: Path
    identity: ProcessIdentity

    async def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Asks the whole group to end, waits, then ends it by force."""
        if self.process.returncode is None:
            end_group(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), grace)
        # Also after a clean end: the leader may have left workers behind in its group.
        end_group(self.process.pid, signal.SIGKILL)
        await self.process.wait()


class Children:
    """Starts processes and remembers them until they have ended."""

    def __init__(self, layout: Layout, on_change: Callable[[], None] = lambda: None) -> None:
        self._layout = layout
        self._on_change = on_change
        self._running: list[Child] = []

    @property
    def running(self) -> tuple[Child, ...]:
        """Every child that has been started and not yet been stopped, in that order."""
        return tuple(self._running)

    @property
    def identities(self) -> list[ProcessIdentity]:
        """Every child that has been started and not yet been stopped."""
        return [child.identity for child in self._running]

    async def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> Child:
        """Starts a server in the background; its output goes to `<name>.log`."""
        log = self._layout.logs / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            spawning = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *command,
                    cwd=self._layout.root,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=sink,
                    start_new_session=True,
                )
            )
            try:
                process = await asyncio.shield(spawning)
            except asyncio.CancelledError:
                # A process that was just being born would otherwise live on unseen.
                end_group((await spawning).pid, signal.SIGKILL)
                raise
        child = Child(name, process, log, ProcessIdentity(name, process.pid, began_at(process.pid)))
        self._running.append(child)
        self._on_change()
        return child

    async def run(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], *, failure: str, advice: str
    ) -> str:
        """Runs a command to its end and returns what this run wrote to its log.

        Raises:
            StepFailedError: it ended with another exit code than 0.
        """
        log = self._layout.logs / f"{name}.log"
        offset = log.stat().st_size if log.exists() else 0
        child = await self.start(name, command, environment)
        try:
            code = await child.process.wait()
        finally:
            await self.stop(child)
        if code:
            raise self.failed(f"{failure} (exit code {code}).", log, advice)
        with log.open("rb") as source:
            source.seek(offset)
            return source.read().decode(errors="replace")

    async def stop(self, child: Child) -> None:
        """Ends one child and forgets it."""
        await child.stop()
        if child in self._running:
            self._running.remove(child)
            self._on_change()

    async def stop_all(self) -> None:
        """Ends every child, all at the same time."""
        await asyncio.gather(*(self.stop(child) for child in self.running))

    def kill_all(self) -> None:
        """Ends every child by force, at once."""
        for child in self._running:
            end_group(child.process.pid, signal.SIGKILL)

    def failed(self, what: str, log: Path, advice: str) -> StepFailedError:
        """The error of a step whose story stands in a log."""
        return StepFailedError(what, advice=advice, log_tail=tail(log), log_path=self._layout.relative(log))


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> list[str]:
    """The last lines of a log; empty when there is none."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
