"""What every test stands on: which sockets it may open, and one local stack for all that need a real one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import settings

from tests.local_stack import LocalStack, running_stack

# At a desk every run tries new examples; where a change is judged, the same change gets the same verdict each time.
settings.register_profile("judged", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("judged")

LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]
UNIT_TESTS = Path(__file__).parent / "unit"
# The first test that asks for the stack also waits for the functions to be built and deployed.
STACK_SECONDS = 300
# Folders whose tests may start a whole local stack, or rely on the shared one being left alone.
STACK_TESTS = (Path(__file__).parent / "integration", Path(__file__).parent / "e2e", Path(__file__).parent / "fuzz")
STANDIN_TESTS = STACK_TESTS[0] / "sagemaker_standin"


# Before pytest-xdist, which reads the groups in a hook of the same name.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives the tests of the local stack the time that its start takes, and all of them to one worker.

    Every other file goes whole to the worker that is free; the group of most tests is begun first. So the stack's
    tests, which mostly wait, run on one processor and the others beside them.
    """
    for item in items:
        on_stack = any(item.path.is_relative_to(folder) for folder in STACK_TESTS)
        shared = on_stack and not item.path.is_relative_to(STANDIN_TESTS)
        item.add_marker(
            pytest.mark.xdist_group("stack" if shared else str(item.path.relative_to(Path(__file__).parent)))
        )
        if "local_stack" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(STACK_SECONDS))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Unit tests open no socket at all; every other test stays on this machine."""
    if item.path.is_relative_to(UNIT_TESTS):
        pytest_socket.disable_socket(allow_unix_socket=True)
    else:
        pytest_socket.enable_socket()
        pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)


@pytest.fixture(scope="session")
def local_stack() -> Iterator[LocalStack]:
    """The whole of Tollgate on this machine, started once for all tests; see `tests/local_stack.py`."""
    with running_stack() as stack:
        yield stack
