"""microburst between functions and their tables: a share of the table calls is throttled.

It is in the environment `.venv/faults`, which `make bench-budgets` makes; TOLLGATE_MICROBURST names another program.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

_START_SECONDS = 20.0
_ERROR = "ProvisionedThroughputExceededException"


class ThrottledTables:
    """The proxy, which lets everything through until it is told otherwise.

    Attributes:
        url: what stands in for the endpoint of DynamoDB.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._fired = 0

    @contextmanager
    def throttling(self, share: float) -> Iterator[None]:
        """Throttle this share of the table calls for as long as the context lasts."""
        if not share:
            yield
            return
        rule = {"service": "dynamodb", "probability": share, "error": {"code": _ERROR}}
        self.ask("PATCH", "rules", [rule])
        try:
            yield
        finally:
            self._fired = sum(int(found["fired_count"]) for found in self.ask("GET", "rules"))
            self.ask("DELETE", "rules", [])

    @property
    def throttled(self) -> int:
        """Calls that were throttled the last time."""
        return self._fired

    def ask(self, method: str, what: str, body: Any = None) -> Any:
        """A call of microburst's own API; it wants a body with DELETE."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        text = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/_microburst/{what}", text, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read() or b"[]")
        finally:
            connection.close()


@contextmanager
def throttled_tables(root: Path, upstream: str) -> Iterator[ThrottledTables]:
    """A proxy in front of `upstream` for as long as the context lasts.

    Raises:
        SystemExit: microburst is not installed, or does not start.
    """
    program = Path(os.environ.get("TOLLGATE_MICROBURST", root / ".venv" / "faults" / "bin" / "microburst"))
    if not program.exists():
        raise SystemExit(f"There is no {program}: make bench-budgets installs it, TOLLGATE_MICROBURST names another.")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [str(program), "--upstream", upstream, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 -- ours
    try:
        tables = ThrottledTables(port)
        _until_up(tables, process)
        yield tables
    finally:
        process.kill()  # It holds nothing that would need an orderly end, and on a busy machine that takes its time.
        process.wait()


def _until_up(tables: ThrottledTables, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            tables.ask("GET", "rules")
        except (OSError, HTTPException, ValueError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("microburst does not start.") from None
            time.sleep(0.1)
        else:
            return
