"""What every test stands on: which sockets it may open, and one local stack for all that need a real one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.local_stack import LocalStack, running_stack

# In a new checkout the first text that is drawn waits until hypothesis has read Unicode's tables.
_PATIENT = [HealthCheck.too_slow]
# At a desk every run tries new examples; where a change is judged, the same change gets the same verdict each time.
# How long an example takes says more about what else the machine does than about the code; pytest has a time limit.
settings.register_profile("desk", deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("judged", deadline=None, derandomize=True, suppress_health_check=_PATIENT)
settings.load_profile("judged" if os.environ.get("CI") else "desk")

LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]
UNIT_TESTS = Path(__file__).parent / "unit"
# The first test that asks for the stack also waits for the functions to be built and deployed.
STACK_SECONDS = 600
# Whose tests may start a local stack, or rely on the shared one being left alone.
STACK_TESTS = ("tests/e2e/", "tests/fuzz/", "tests/integration/")
# Except those that do neither: they have small servers of their own.
OWN_SERVERS = (
    "tests/integration/later_roads/",
    "tests/integration/local_launch/test_docker_door.py",
    "tests/integration/local_launch/test_front_door.py",
    "tests/integration/sagemaker_standin/",
)


class OneWorkerForTheStack(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives all tests of the local stack to one worker, and every other file whole to the one that is free.

    The stack's tests, which mostly wait and take longest, are begun first; the others run beside them.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if _is_of_the_stack(nodeid) else nodeid.partition("::")[0]


def _is_of_the_stack(nodeid: str) -> bool:
    return nodeid.startswith(STACK_TESTS) and not nodeid.startswith(OWN_SERVERS)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneWorkerForTheStack:
    """How several workers share the tests: in the order in which they were collected, not the fullest file first."""
    config.option.loadscopereorder = False
    return OneWorkerForTheStack(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the local stack first, and gives them the time that its start takes.

    Of these the fuzzer comes last: what it leaves behind is nobody else's business.
    """
    items.sort(key=lambda item: (not _is_of_the_stack(item.nodeid), item.nodeid.startswith("tests/fuzz/")))
    for item in items:
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
