"""A local AWS stand-in that records requests and answers by script, and both clients pointed at it."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.loaders import create_loader

from tests.contract.aws.provider_world import ProviderWorld
from tollgate.adapters.aws.transport import AwsTransport, TransportConfig

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "session/token+with=signs",
}
SERVICE_MODELS = create_loader()


@dataclass(frozen=True)
class Recorded:
    """One request as it came over the wire, and the number of its connection."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True)
class Answer:
    """What the recorder does with one request.

    `cut` sends only that many bytes of the body and resets; `reset` resets before a byte is sent; `hang`
    waits so many seconds first; `chunked` frames the body in chunks of seven bytes; `close_after` closes the
    connection once the answer is out, without having said so.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    cut: int | None = None
    reset: bool = False
    hang: float = 0.0
    close_after: bool = False

    def frame(self) -> bytes:
        """The bytes of the whole answer."""
        headers = {"content-type": "application/x-amz-json-1.0", "x-amzn-RequestId": "REQ-1", **self.headers}
        if self.chunked:
            headers["Transfer-Encoding"] = "chunked"
            pieces = [self.body[start : start + 7] for start in range(0, len(self.body), 7)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        else:
            headers["Content-Length"] = str(len(self.body))
            body = self.body
        head = f"HTTP/1.1 {self.status} X\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
        return head.encode() + b"\r\n" + body


class Recorder:
    """Listens on the loopback; answers from `script`, then as `otherwise` says, by default with an empty object."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.script: list[Answer] = []
        self.otherwise: Callable[[Recorded], Answer] = lambda _request: Answer()
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        self._acceptor.join(5)

    def drop_connections(self) -> None:
        """Close all open connections, as a server does with idle ones."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            while True:
                try:
                    if not self._serve_one(connection, stream, number):
                        return
                except OSError:
                    return

    def _serve_one(self, connection: socket.socket, stream: Any, number: int) -> bool:
        line = stream.readline().decode()
        if not line:
            return False
        method, target, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while (header := stream.readline().decode("latin-1").strip("\r\n")) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("expect") == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # or boto3 waits a second for it
        body = stream.read(int(headers.get("content-length", "0")))
        self.requests.append(Recorded(method, target, headers, body, number))
        answer = self.script.pop(0) if self.script else self.otherwise(self.requests[-1])
        time.sleep(answer.hang)
        if answer.reset or answer.cut is not None:
            if answer.cut is not None:
                connection.sendall(answer.frame()[: -len(answer.body) + answer.cut])
                time.sleep(0.05)
            # linger zero: close with RST instead of FIN
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        connection.sendall(answer.frame())
        if answer.close_after:
            connection.shutdown(socket.SHUT_RDWR)
            return False
        return True


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CREDENTIALS, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    # boto3's shared session remembers the credentials of whichever test used it first.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    # Nor would reading the services' models anew for each test show anything.
    monkeypatch.setattr("botocore.session.create_loader", lambda _path: SERVICE_MODELS)


def until_noticed(client: Any) -> None:
    """Until a client, of these pools, knows that the server has closed its resting connections."""
    end = time.monotonic() + 20
    while any(idle.connection.is_open() for pool in client._pools.values() for idle in pool._idle):
        assert time.monotonic() < end, "A resting connection is still open"
        time.sleep(0.01)


@dataclass
class Ours:
    """A transport at the recorder, with what it slept."""

    transport: AwsTransport
    slept: list[float]


@pytest.fixture
def make_transport(recorder: Recorder) -> Callable[..., Ours]:
    def make(**settings: Any) -> Ours:
        config = TransportConfig(
            **{
                "region": "eu-central-1",
                "dynamodb_endpoint": recorder.url,
                "sqs_endpoint": recorder.url,
                "sagemaker_runtime_endpoint": recorder.url,
                "s3_endpoint": recorder.url,
                "lambda_endpoint": recorder.url,
                "bedrock_runtime_endpoint": recorder.url,
                "ssm_endpoint": recorder.url,
                "read_timeout_s": 5.0,
                "connect_timeout_s": 5.0,
                **settings,
            }
        )
        slept: list[float] = []
        transport = AwsTransport(config, sleep=slept.append, jitter=lambda: 0.5)
        return Ours(transport, slept)

    return make


@pytest.fixture
def ours(make_transport: Callable[..., Ours]) -> Ours:
    return make_transport()


@pytest.fixture
def world(recorder: Recorder, ours: Ours) -> ProviderWorld:
    return ProviderWorld(recorder, Answer, ours.transport)


@pytest.fixture
def make_boto(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    # botocore waits for seconds after a throttle; the number of its attempts is what matters here
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)

    def make(service: str, **settings: Any) -> Any:
        config = Config(
            **{
                "retries": {"mode": "standard", "total_max_attempts": 3},
                "inject_host_prefix": False,
                **settings,
            }
        )
        return boto3.client(  # type: ignore[call-overload]  # the service is a parameter here
            service, region_name="eu-central-1", endpoint_url=recorder.url, config=config
        )

    return make
