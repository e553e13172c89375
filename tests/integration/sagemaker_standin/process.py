"""The stand-in and the AWS emulator beside it, as processes of the tests' own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[3]
REGION = "us-east-1"
ANYBODY = "test"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def interpreter(environment: str) -> Path:
    """Return the Python of `.venv/NAME`, or of `TOLLGATE_NAME_PYTHON` when that is set."""
    given = os.environ.get(f"TOLLGATE_{environment.upper()}_PYTHON")
    return Path(given) if given else ROOT / ".venv" / environment / "bin" / "python"


def until[T](get: Callable[[], T | None], seconds: float = 60.0) -> T:
    """Ask until there is an answer that is neither None nor empty; fail after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := get():
            return found
        time.sleep(0.03)
    raise AssertionError("It did not happen in time")


def client(service: Any, url: str, *, retries: int = 1, read_timeout: float = 30) -> Any:
    """Return an unmodified boto3 client of a server on this machine."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ANYBODY,
        aws_secret_access_key=ANYBODY,
        config=Config(retries={"total_max_attempts": retries}, read_timeout=read_timeout, max_pool_connections=64),
    )


class Emulator:
    """ministack on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        python = interpreter("emulator")
        settings = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": self.url.rpartition(":")[2],
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "TMPDIR": str(folder),
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (folder / "emulator.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the project's own environment
                [python, python.parent / "ministack"], env=kept | settings, stdout=log, stderr=log
            )
        until(lambda: _answers(f"{self.url}/_ministack/health"), 60)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(60)


class StandIn:
    """The stand-in, which can be killed and started again on the same port and state."""

    def __init__(self, folder: Path, aws_url: str, config: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._aws_url = aws_url
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        python = interpreter("standin")
        line = [str(python if python.exists() else sys.executable), "-m", "local.sagemaker"]
        line += ["--port", str(self.port), "--aws-endpoint", self._aws_url, "--state-dir", str(self._folder / "state")]
        line += ["--config", str(self._config)] if self._config else []
        with (self._folder / "standin.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the project's own environment
                line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=log
            )
        until(lambda: _answers(f"{self.url}/_standin/health"), 60)

    def kill(self) -> None:
        """Kill the process as the kernel would: no warning, no cleaning up."""
        self._end(signal.SIGKILL)

    def stop(self) -> tuple[int, str]:
        """Ask the process to end; return its exit code and what it printed."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> tuple[int, str]:
        assert self._process is not None
        self._process.send_signal(number)
        printed, _ = self._process.communicate(timeout=60)
        return self._process.returncode, printed.decode()

    @property
    def peak_bytes(self) -> int:
        """The most memory the process has held since it started."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """Call `/_standin/PATH`."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/_standin/{path}", body, method=method)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return json.load(answer)

    def break_(self, **fault: Any) -> None:
        """Inject one fault, and forget those before it."""
        self.admin("PUT", "faults", fault)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own server
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
