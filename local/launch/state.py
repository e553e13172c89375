"""What a running stack writes down: its lock, its record, and the `env` file for the user's shell."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Self

from local.launch import scratch
from local.launch.errors import AlreadyRunningError
from local.launch.layout import Layout
from local.launch.processes import ProcessIdentity


@dataclass(frozen=True, slots=True)
class StackRecord:
    """A snapshot of the stack: who runs, and which resources were deployed (the template's outputs)."""

    launcher: ProcessIdentity
    children: tuple[ProcessIdentity, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)
    ready: bool = False

    def write(self, path: Path) -> None:
        """Replaces the file in one step, so that no reader sees half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The last snapshot; `None` when there is none or it cannot be read."""
        try:
            data = json.loads(path.read_text())
            return cls(
                launcher=ProcessIdentity(**data["launcher"]),
                children=tuple(ProcessIdentity(**child) for child in data["children"]),
                outputs=data["outputs"],
                ready=data["ready"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


class StackLock:
    """One launcher per front-door port: an advisory lock that ends with its process, however that ends."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Takes the lock and writes this process's id into it.

        Raises:
            AlreadyRunningError: another launcher holds it.
        """
        self._layout.state.mkdir(parents=True, exist_ok=True)
        file = self._layout.lock_file.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise AlreadyRunningError(self._layout.port, self._layout.url, launcher_pid(self._layout) or 0) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Gives the lock back. The file stays: removing it could pull it from under the next owner."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def launcher_pid(layout: Layout) -> int | None:
    """The process id of the launcher that holds the lock; `None` when nobody does."""
    try:
        with layout.lock_file.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
    except OSError:
        return None
    return None


def write_env(layout: Layout, key: str) -> None:
    """Writes `TOLLGATE_URL` and `TOLLGATE_KEY` for shells and scripts, readable by this user only."""
    for path in (layout.env_file, layout.last_env_file):
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"TOLLGATE_URL={layout.url}\nTOLLGATE_KEY={key}\n")


def clear(layout: Layout) -> None:
    """Removes everything that only means something while the stack runs; logs stay. It may take a second or two."""
    if layout.env_file.exists():
        if layout.last_env_file.exists() and layout.last_env_file.read_text() == layout.env_file.read_text():
            layout.last_env_file.unlink()
        layout.env_file.unlink()
    layout.record_file.unlink(missing_ok=True)
    layout.sam_variables_file.unlink(missing_ok=True)
    layout.standin_pid_file.unlink(missing_ok=True)
    scratch.remove(layout)
