"""What a launcher that was killed outright left behind, and its removal."""

import signal
import time

from local.launch import state
from local.launch.layout import Layout
from local.launch.processes import GRACE_SECONDS, end_group

PAUSE_SECONDS = 0.1


def end_leftovers(layout: Layout) -> list[str]:
    """Ends the processes of an earlier run that still live, and removes its files.

    A process is only touched when it began at the moment that the record says: ids are given out again.

    Returns:
        The names of the processes that were ended.
    """
    record = state.StackRecord.read(layout.record_file)
    alive = [child for child in record.children if child.is_alive()] if record else []
    for child in alive:
        end_group(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(child.is_alive() for child in alive) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    for child in alive:
        end_group(child.pid, signal.SIGKILL)
    state.clear(layout)
    return [child.name for child in alive]
