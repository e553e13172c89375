"""A stack's life as a person sees it: side by side, stopped half way, killed, and what is left afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.launch import control, state
from local.launch.layout import HOST, ROOT, Layout
from local.launch.ports import PORTS_PER_STACK
from local.launch.processes import began_at
from tests.local_stack import BLOCKS, LocalStack

pytestmark = pytest.mark.integration

# Sessions that start at the same moment begin their search at different ports.
FIRST_PORT = 20_500 + os.getpid() % BLOCKS * PORTS_PER_STACK
UP_SECONDS = 300
DOWN_SECONDS = 90


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A second stack's layout, cleaned up whatever happens."""
    layout = Layout(ROOT, control.free_port(FIRST_PORT))
    yield layout
    control.stop(layout)


def launch(layout: Layout, log: Path) -> "subprocess.Popen[bytes]":
    """Starts a launcher as `make run` does, with its words in a file."""
    command = [str(layout.python("run")), "-m", "local.launch", "up", "--no-examples", "--port", str(layout.port)]
    with log.open("wb") as sink:
        return subprocess.Popen(  # noqa: S603 - the launcher itself
            command, cwd=layout.root, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )


def wait_for_processes(layout: Layout, *names: str) -> list[int]:
    """Waits until the stack's record names these children; gives their ids."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        record = state.StackRecord.read(layout.record_file)
        found = {child.name: child.pid for child in record.children} if record else {}
        if set(names) <= set(found):
            return [found[name] for name in names]
        time.sleep(0.05)
    raise AssertionError(f"{names} did not start")


def group_is_gone(pid: int) -> bool:
    """Whether no process of the group runs; an orphan that nobody has collected yet does not run."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return True
    return began_at(pid) == ""


@pytest.mark.timeout(600)
def test_two_stacks_side_by_side_and_ctrl_c_ends_only_one(
    local_stack: LocalStack, layout: Layout, tmp_path: Path
) -> None:
    """The second has a state of its own; after SIGINT nothing of it runs, and its temporary folder is gone."""
    with launch(layout, tmp_path / "log") as second:
        deadline = time.monotonic() + UP_SECONDS
        while not layout.env_file.exists() and second.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert layout.env_file.exists(), (tmp_path / "log").read_text()
        children = wait_for_processes(layout, "emulator", "sagemaker")
        second.send_signal(signal.SIGINT)
        assert second.wait(DOWN_SECONDS) == 0
    assert all(group_is_gone(pid) for pid in children)
    assert sorted(path.name for path in layout.state.iterdir()) == ["launcher.pid", "logs"]
    assert state.launcher_pid(local_stack.layout) is not None
    assert local_stack.aws("dynamodb").list_tables()["TableNames"]


def test_a_stack_stopped_half_way_leaves_nothing(layout: Layout, tmp_path: Path) -> None:
    """SIGTERM while the servers are starting ends them too."""
    with launch(layout, tmp_path / "log") as launcher:
        children = wait_for_processes(layout, "emulator")
        launcher.terminate()
        assert launcher.wait(DOWN_SECONDS) == 0
    assert all(group_is_gone(pid) for pid in children)
    assert not layout.temporary.exists()


def test_make_stop_cleans_up_after_a_launcher_that_was_killed(layout: Layout, tmp_path: Path) -> None:
    """SIGKILL gives the launcher no chance; its children are found through the record."""
    with launch(layout, tmp_path / "log") as launcher:
        children = wait_for_processes(layout, "emulator")
        launcher.kill()
    assert not all(group_is_gone(pid) for pid in children)
    assert "emulator" in control.stop(layout)
    assert all(group_is_gone(pid) for pid in children)
    assert not layout.temporary.exists()


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_busy_port_is_reported_before_anything_starts(layout: Layout, tmp_path: Path, offset: int) -> None:
    """Whichever of the three it is; no process, no temporary folder."""
    shutil.rmtree(layout.logs, ignore_errors=True)
    with socket.create_server((HOST, layout.port + offset)), launch(layout, tmp_path / "log") as launcher:
        assert launcher.wait(DOWN_SECONDS) == 1
    said = (tmp_path / "log").read_text()
    assert f"Port {layout.port + offset} " in said
    assert "What to do" in said
    assert not layout.temporary.exists()
    assert not layout.logs.exists()


def test_a_second_launcher_on_the_same_port_says_that_one_runs(local_stack: LocalStack, tmp_path: Path) -> None:
    """It names the address, the process and the way to end it, and leaves the stack alone."""
    with launch(local_stack.layout, tmp_path / "log") as launcher:
        assert launcher.wait(DOWN_SECONDS) == 1
    said = (tmp_path / "log").read_text()
    assert f"already running on {local_stack.url}" in said
    assert "make stop" in said
    assert local_stack.layout.env_file.exists()


def test_the_standin_comes_back_after_a_crash(local_stack: LocalStack) -> None:
    """Killed and restarted, it has another process id and its endpoints; the rest of the stack stays."""
    before = control.standin_pid(local_stack.layout)
    local_stack.kill_standin()
    after = local_stack.restart_standin()
    assert after != before
    names = [endpoint["EndpointName"] for endpoint in local_stack.aws("sagemaker").list_endpoints()["Endpoints"]]
    assert "tollgate-echo-realtime" in names


def test_time_to_live_is_on_for_every_table(local_stack: LocalStack) -> None:
    """The emulator does not take it from the template, so the launcher sets it."""
    tables = [value for name, value in local_stack.outputs.items() if name.endswith("TableName")]
    assert tables
    for table in tables:
        answer = local_stack.aws("dynamodb").describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        assert answer == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
