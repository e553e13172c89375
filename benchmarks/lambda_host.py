"""Runs one handler under the real Lambda runtime client and reads its CPU and memory from the kernel.

The runtime client (awslambdaric) is Lambda's own. This module plays the Lambda service, which the client asks for
events over HTTP (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). It is in the measuring process, so
none of its work is counted.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU in milliseconds, of all threads of the function's process.

    Attributes:
        init: from the start of the process to its first request for an event, interpreter and runtime client included.
        first: of the first invocation.
        warm: of one of many later invocations.
        latency: the wall's time of one of those, the runtime API's included.
        resident_mb: resident set at the end, shared libraries included; what Lambda's "Max Memory Used" shows.
        own_mb: proportional set at the end: of a page that n processes share, a share of 1/n.
        failure: what the first invocation answered if it failed, else empty.
    """

    init: float
    first: float
    warm: float
    latency: float
    resident_mb: float
    own_mb: float
    failure: str = ""


class _QuietServer(ThreadingHTTPServer):
    """A function that is stopped drops its connection; that is no news."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over dropped connections."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Service:
    """The Lambda service for one function."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._event = json.dumps(event).encode()
        self._permits = threading.Semaphore(0)
        self._answered = threading.Semaphore(0)
        self.asked = threading.Event()
        self.last_answer = b""
        service = self

        class Handler(BaseHTTPRequestHandler):
            """The runtime API."""

            protocol_version = "HTTP/1.1"
            # Head and body leave together: apart, the second would wait 40 ms for the first one's acknowledgement.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                """The client asks for the next event."""
                service.asked.set()
                service._permits.acquire()
                self._send(200, service._event)

            def do_POST(self) -> None:
                """The client answers, or says that it failed."""
                service.last_answer = self._body()
                self._send(202, b"{}")
                service._answered.release()

            def _body(self) -> bytes:
                if "Content-Length" in self.headers:
                    return self.rfile.read(int(self.headers["Content-Length"]))
                pieces = []
                while size := int(self.rfile.readline(), 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass  # trailers
                return b"".join(pieces)

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "req-1")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:bench")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Stay silent."""

        self.server = _QuietServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def invoke(self, times: int) -> None:
        """Let the function have so many events, one after the other, and wait for the answers."""
        for _ in range(times):
            self._permits.release()
            if not self._answered.acquire(timeout=30):
                raise TimeoutError("the function did not answer within 30 s")


def cpu_ms(pid: int) -> float:
    """User and system time of a process so far, in milliseconds, to the microsecond where the kernel gives it."""
    schedstat = Path(f"/proc/{pid}/task")
    total = 0
    for task in schedstat.iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def _memory_mb(pid: int) -> dict[str, float]:
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {words[0]: int(words[1]) / 1024 for words in lines}


def measure(
    handler: str,
    directory: Path,
    event: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    warm: int = 300,
    layer: Path | None = None,
) -> Measured:
    """Run a handler: init, one invocation, some to warm up, and many to measure.

    Args:
        handler: ``module.function`` in `directory`; a function with a runtime client of its own is run as ``app``.
        directory: the function's code.
        event: sent each time.
        environment: of the function.
        warm: measured invocations.
        layer: packages that it has besides those of this interpreter.
    """
    service = Service(event)
    port = service.server.server_address[1]
    client = ["app"] if (directory / "bootstrap").exists() else ["awslambdaric", handler]
    process = subprocess.Popen(  # noqa: S603 -- our own function
        [sys.executable, "-m", *client],
        cwd=directory,
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(
                map(str, (directory, ROOT / "layers" / "tollgate", *([layer] if layer else ())))
            ),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "PYTHONDONTWRITEBYTECODE": "",
            "PATH": os.environ["PATH"],
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not service.asked.wait(timeout=60):
            raise TimeoutError(f"{handler} in {directory.name} did not start")
        time.sleep(0.05)
        init = cpu_ms(process.pid)
        service.invoke(1)
        time.sleep(0.05)
        first = cpu_ms(process.pid) - init
        failure = _failure(service.last_answer)
        service.invoke(min(warm, 80))  # more than it takes awscrt's thread to settle down
        before, began = cpu_ms(process.pid), time.perf_counter()
        service.invoke(warm)
        used, passed = cpu_ms(process.pid) - before, (time.perf_counter() - began) * 1e3
        memory = _memory_mb(process.pid)
        return Measured(
            init=init,
            first=first,
            warm=used / warm,
            latency=passed / warm,
            resident_mb=memory["Rss:"],
            own_mb=memory["Pss:"],
            failure=failure,
        )
    finally:
        process.terminate()
        process.wait(timeout=60)
        service.server.shutdown()


def _failure(answer: bytes) -> str:
    head, _, _ = answer.partition(bytes(8))  # a streamed answer has its status before eight zeros, its body after them
    document = json.loads(head) if head.startswith(b"{") else {}
    failed = document.get("statusCode", 200) >= 400 or "errorMessage" in document
    return answer.decode("utf-8", "replace") if failed else ""
