"""The local stack that integration and end-to-end tests share: started by the launcher that `make run` uses."""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from local.launch import control, deploy, state
from local.launch.layout import ROOT, Layout
from local.launch.ports import PORTS_PER_STACK

# The TOLLGATE_PORT of a stack that runs already: the tests then use that one, for quick rounds while developing.
RUNNING = "TOLLGATE_TEST_PORT"
FIRST_PORT = 14_566
BLOCKS = 800


@dataclass(frozen=True)
class LocalStack:
    """A running stack, and handles on its parts.

    Attributes:
        key: an admin key.
        outputs: the deployed template's outputs, for example `JobsTableName`.
    """

    layout: Layout
    key: str
    outputs: Mapping[str, str]

    @property
    def url(self) -> str:
        """Base URL for clients, without `/v1`."""
        return self.layout.url

    @property
    def standin_url(self) -> str:
        """Where the SageMaker stand-in answers, its administration under `/_standin/`."""
        return self.layout.standin_url

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the admin key."""
        return {"Authorization": f"Bearer {self.key}"}

    def aws(self, service: str) -> Any:
        """A boto3 client of the emulator; `sagemaker` and `sagemaker-runtime` lead to the stand-in."""
        return deploy.client(service, self.layout)

    def kill_standin(self) -> None:
        """Ends the SageMaker stand-in as a crash would: at once, with no chance to tidy up."""
        pid = control.standin_pid(self.layout)
        assert pid is not None, "the stand-in is not running"
        self.layout.standin_pid_file.unlink()
        os.kill(pid, signal.SIGKILL)

    def restart_standin(self) -> int:
        """Starts the stand-in anew on the state it left, ending it first if it runs; returns its process id."""
        return control.restart_standin(self.layout)


@contextmanager
def running_stack() -> Iterator[LocalStack]:
    """Starts a stack on free ports and ends it with the context, or lends the one that `TOLLGATE_TEST_PORT` names."""
    if named := os.environ.get(RUNNING):
        yield _described(Layout(ROOT, int(named)))
        return
    # Sessions that start at the same moment begin their search at different ports.
    first = FIRST_PORT + os.getpid() % BLOCKS * PORTS_PER_STACK
    layout = Layout(ROOT, control.free_port(first))
    with control.start_detached(layout, examples=False):
        try:
            yield _described(layout)
        finally:
            control.stop(layout)


def _described(layout: Layout) -> LocalStack:
    record = state.StackRecord.read(layout.record_file)
    assert record is not None, f"no stack runs on port {layout.port}"
    variables = dict(line.split("=", 1) for line in layout.env_file.read_text().splitlines())
    return LocalStack(layout, variables["TOLLGATE_KEY"], record.outputs)
