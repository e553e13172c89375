"""Commands for a stack that another process runs: start it in the background, stop it, restart its stand-in."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from local.launch import ports, state
from local.launch.errors import AlreadyRunningError, LaunchError, NotRunningError, StepFailedError
from local.launch.layout import Layout
from local.launch.leftovers import end_leftovers
from local.launch.processes import tail

STOP_SECONDS = 60.0
RESTART_SECONDS = 90.0
PAUSE_SECONDS = 0.1


def start_detached(layout: Layout, *, examples: bool) -> "subprocess.Popen[bytes]":
    """Starts a launcher in the background and returns when the stack is ready, passing its progress on.

    Returns:
        The launcher's process; a caller that lives on waits for it after `stop`.

    Raises:
        AlreadyRunningError: the stack runs already.
        LaunchError: the start failed; the launcher's own words have been printed.
    """
    if (pid := state.launcher_pid(layout)) is not None:
        raise AlreadyRunningError(layout.port, layout.url, pid)
    layout.state.mkdir(parents=True, exist_ok=True)
    log = layout.state / "launch.log"
    command = [str(layout.python("run")), "-m", "local.launch", "up", "--port", str(layout.port)]
    if not examples:
        command.append("--no-examples")
    with log.open("w") as sink:
        launcher = subprocess.Popen(  # noqa: S603 - this module's own command line
            command, cwd=layout.root, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        _follow(log, lambda: _is_ready(layout) or launcher.poll() is not None)
    except BaseException:
        launcher.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            launcher.wait(STOP_SECONDS)
        raise
    if launcher.poll() is not None:
        raise LaunchError(f"The stack did not start. The whole story: {layout.relative(log)}")
    return launcher


def stop(layout: Layout) -> str:
    """Ends the stack on these ports, or what is left of one whose launcher was killed.

    Returns:
        What was done, in a sentence.

    Raises:
        StepFailedError: the launcher did not end in time.
    """
    pid = state.launcher_pid(layout)
    if pid is None:
        ended = end_leftovers(layout)
        return f"Ended what was left over: {', '.join(ended)}." if ended else f"Nothing runs on port {layout.port}."
    os.kill(pid, signal.SIGTERM)
    if not _wait(lambda: state.launcher_pid(layout) is None, STOP_SECONDS):
        raise StepFailedError(
            f"The launcher (process {pid}) did not end within {STOP_SECONDS:.0f} s.",
            advice=f"end it by force with `kill -9 {pid}`, then run make stop again to clean up after it.",
        )
    return f"Tollgate on {layout.url} has stopped."


def restart_standin(layout: Layout) -> int:
    """Has the stack's launcher restart the SageMaker stand-in, and waits until it answers.

    Returns:
        The new stand-in's process id.

    Raises:
        NotRunningError: no stack runs on these ports.
        StepFailedError: the stand-in did not come back.
    """
    pid = state.launcher_pid(layout)
    if pid is None:
        raise NotRunningError(layout.port)
    before = standin_pid(layout)
    os.kill(pid, signal.SIGUSR1)
    if not _wait(lambda: standin_pid(layout) not in {None, before}, RESTART_SECONDS):
        log = layout.logs / "sagemaker.log"
        raise StepFailedError(
            "The SageMaker stand-in did not come back.",
            advice="read its log, then try again.",
            log_tail=tail(log),
            log_path=layout.relative(log),
        )
    return standin_pid(layout) or 0


def standin_pid(layout: Layout) -> int | None:
    """The stand-in's process id; `None` while it is down on purpose or not ready."""
    try:
        return int(layout.standin_pid_file.read_text())
    except (OSError, ValueError):
        return None


def free_port(first: int) -> int:
    """A front-door port from `first` upward whose whole block is free, for stacks that tests start.

    Raises:
        PortBusyError: none among the next thousand blocks.
    """
    return ports.free_block(first, first + 1000 * ports.PORTS_PER_STACK)


def _is_ready(layout: Layout) -> bool:
    record = state.StackRecord.read(layout.record_file)
    return record is not None and record.ready


def _follow(log: Path, done: Callable[[], bool]) -> None:
    """Prints what is written to the log until `done`, and what came last."""
    with log.open() as source:
        while True:
            over = done()
            print(source.read(), end="", flush=True)
            if over:
                return
            time.sleep(PAUSE_SECONDS)


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(PAUSE_SECONDS)
    return done()
