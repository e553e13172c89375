"""What a stack writes down, and who may hold its ports."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local.launch import state
from local.launch.errors import AlreadyRunningError
from local.launch.layout import Layout
from local.launch.leftovers import end_leftovers
from local.launch.processes import ProcessIdentity, began_at


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A stack's layout in a folder of its own."""
    return Layout(tmp_path, 4666)


def record(*children: ProcessIdentity) -> state.StackRecord:
    return state.StackRecord(ProcessIdentity("launcher", 1, "1"), children, {"ApiId": "x"}, ready=True)


def test_a_record_reads_back_as_it_was_written(layout: Layout) -> None:
    """Processes and outputs survive the file."""
    written = record(ProcessIdentity("emulator", 42, "4711"))
    written.write(layout.record_file)
    assert state.StackRecord.read(layout.record_file) == written


@pytest.mark.parametrize("content", ["", "{", "[]", '{"launcher": {}}'])
def test_a_broken_record_counts_as_none(layout: Layout, content: str) -> None:
    """A launcher that was killed while the disk was full must not block the next one."""
    layout.state.mkdir(parents=True)
    layout.record_file.write_text(content)
    assert state.StackRecord.read(layout.record_file) is None


def test_only_one_launcher_holds_a_port(layout: Layout) -> None:
    """The second is told where the first runs, and how to end it."""
    first, second = state.StackLock(layout), state.StackLock(layout)
    first.acquire()
    with pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()}.*\n.*make stop TOLLGATE_PORT=4666"):
        second.acquire()
    assert state.launcher_pid(layout) == os.getpid()
    first.release()
    assert state.launcher_pid(layout) is None
    second.acquire()
    second.release()


def test_the_env_file_is_for_this_user_only(layout: Layout) -> None:
    """It holds a secret; both copies have the same lines."""
    layout.state.mkdir(parents=True)
    state.write_env(layout, "tg_made-up")
    assert layout.env_file.read_text() == "TOLLGATE_URL=http://127.0.0.1:4666\nTOLLGATE_KEY=tg_made-up\n"
    assert layout.last_env_file.read_text() == layout.env_file.read_text()
    assert stat.S_IMODE(layout.env_file.stat().st_mode) == 0o600


def test_clearing_keeps_another_stacks_env_file(layout: Layout) -> None:
    """The last stack that became ready owns `.local/env`, whichever stops first."""
    other = Layout(layout.root, 4766)
    for one in (layout, other):
        one.temporary.mkdir(parents=True)
        state.write_env(one, f"tg_{one.port}")
    state.clear(layout)
    assert "4766" in other.last_env_file.read_text()
    state.clear(other)
    assert not other.last_env_file.exists()
    assert not layout.temporary.exists()


def test_leftovers_are_ended_and_strangers_spared(layout: Layout) -> None:
    """A process is known by its beginning: another one with a recorded id goes on."""
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(command, start_new_session=True) as ours,  # noqa: S603 - a constant command
        subprocess.Popen(command, start_new_session=True) as stranger,  # noqa: S603 - the same
    ):
        try:
            mine = ProcessIdentity("emulator", ours.pid, began_at(ours.pid))
            record(mine, ProcessIdentity("sagemaker", stranger.pid, "long ago")).write(layout.record_file)
            assert end_leftovers(layout) == ["emulator"]
            assert ours.wait(30) != 0
            assert stranger.poll() is None
            assert not layout.record_file.exists()
        finally:
            ours.kill()
            stranger.kill()


def test_a_process_that_is_gone_has_no_beginning() -> None:
    """So no identity of it is alive."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert began_at(gone.pid) == ""
    assert not ProcessIdentity("x", gone.pid, "").is_alive()
