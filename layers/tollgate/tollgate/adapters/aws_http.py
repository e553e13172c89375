"""Synchronous HTTP/1.1 over awscrt: one pool of kept-alive connections for each endpoint.

Nothing is made before the first exchange: no thread, no socket, no TLS context. So a snapshot taken after
start-up (SnapStart) holds nothing that would be dead or shared after it is restored.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpClientConnection, HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    SocketOptions,
    TlsConnectionOptions,
    TlsContextOptions,
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_IDLE_CONNECTIONS = 16


class ConnectFailedError(Exception):
    """No connection could be made, so nothing was sent."""


class ExchangeFailedError(Exception):
    """The connection broke, or the answer did not come in time.

    Attributes:
        unsent: the server cannot have received the whole request.
        reused: the connection had served another exchange before.
        answered: at least the head of an answer had arrived.
        timed_out: given up after the read time-out.
    """

    def __init__(self, detail: str, *, unsent: bool, reused: bool, answered: bool, timed_out: bool) -> None:
        super().__init__(detail)
        self.unsent = unsent
        self.reused = reused
        self.answered = answered
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is: `https://host:port/base`."""

    secure: bool
    host: str
    port: int
    host_header: str
    base_path: str

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Take a URL apart.

        Raises:
            ValueError: not http or https, or no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"an endpoint must be an http or https URL with a host, not {url!r}")
        default_port = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default_port
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            secure=parts.scheme == "https",
            host=parts.hostname,
            port=port,
            host_header=host if port == default_port else f"{host}:{port}",
            base_path=parts.path.rstrip("/"),
        )


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP answer: status, headers (names in lower case, the last of a repeated name) and whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


class ClientRuntime:
    """The event loop thread, resolver and TLS context that all connections share, each made on first use.

    Args:
        ca_file: a bundle of root certificates in PEM instead of the system's.
    """

    def __init__(self, ca_file: str | None) -> None:
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._bootstrap: ClientBootstrap | None = None
        self._tls_context: ClientTlsContext | None = None

    def bootstrap(self) -> ClientBootstrap:
        """The connection maker, with a single event loop: a Lambda handler makes one call at a time."""
        if self._bootstrap is None:
            with self._lock:
                if self._bootstrap is None:
                    loops = EventLoopGroup(1)
                    self._bootstrap = ClientBootstrap(loops, DefaultHostResolver(loops))
        return self._bootstrap

    def tls_options(self, host: str) -> TlsConnectionOptions:
        """TLS for one host: verified, HTTP/1.1 only. The context is shared, since reading roots is slow."""
        if self._tls_context is None:
            with self._lock:
                if self._tls_context is None:
                    options = TlsContextOptions()
                    if self._ca_file is not None:
                        options.override_default_trust_store_from_path(None, self._ca_file)
                    self._tls_context = ClientTlsContext(options)
        connection_options = self._tls_context.new_connection_options()
        connection_options.set_server_name(host)
        connection_options.set_alpn_list(["http/1.1"])
        return connection_options


class _Exchange:
    """What the event loop's thread gathers of one answer; its methods are awscrt's callbacks."""

    __slots__ = ("chunks", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.chunks: list[bytes] = []

    def on_response(
        self, http_stream: Any, status_code: int, headers: Sequence[tuple[str, str]], **_future: Any
    ) -> None:
        del http_stream
        self.status = status_code
        self.headers = headers

    def on_body(self, http_stream: Any, chunk: bytes, **_future: Any) -> None:
        del http_stream
        self.chunks.append(bytes(chunk))


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: HttpClientConnection
    since_monotonic: float
    since_wall: float


class ConnectionPool:
    """Kept-alive connections to one endpoint, the last used first. Thread safe.

    Args:
        endpoint: where to connect.
        runtime: shared event loop and TLS.
        connect_timeout_s: for name, TCP and TLS together.
    """

    def __init__(self, endpoint: Endpoint, runtime: ClientRuntime, connect_timeout_s: float) -> None:
        self.endpoint = endpoint
        self._runtime = runtime
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[_Idle] = []

    def exchange(
        self,
        request: HttpRequest,
        body: BytesIO,
        *,
        read_timeout_s: float,
        max_idle_s: float,
    ) -> HttpResponse:
        """Send one request and wait for the whole answer.

        Args:
            request: signed request whose body stream is `body`.
            body: the same stream; its position tells how much was handed to the socket.
            read_timeout_s: from sending until the answer is complete.
            max_idle_s: do not use a connection that has rested longer than this.

        Raises:
            ConnectFailedError: nothing was sent.
            ExchangeFailedError: the connection broke or the time was up.
        """
        pooled = self._take(max_idle_s)
        connection = self._connect() if pooled is None else pooled
        exchange = _Exchange()
        body.seek(0)
        try:
            stream = connection.request(request, exchange.on_response, exchange.on_body)
            stream.activate()
            status = stream.completion_future.result(read_timeout_s)
        except (AwsCrtError, OSError, FutureTimeoutError) as error:
            timed_out = isinstance(error, FutureTimeoutError)
            connection.close()
            raise ExchangeFailedError(
                f"no whole answer within {read_timeout_s} s" if timed_out else str(error),
                unsent=body.tell() < body.getbuffer().nbytes,
                reused=pooled is not None,
                answered=exchange.status != 0,
                timed_out=timed_out,
            ) from error
        self._give_back(connection)
        return HttpResponse(
            status=status,
            headers={name.lower(): value for name, value in exchange.headers},
            body=exchange.chunks[0] if len(exchange.chunks) == 1 else b"".join(exchange.chunks),
        )

    def discard_idle(self) -> None:
        """Close every resting connection: when one was found dead, its siblings are as old."""
        while self._idle:
            try:
                self._idle.pop().connection.close()
            except IndexError:
                return

    def _take(self, max_idle_s: float) -> HttpClientConnection | None:
        while self._idle:
            try:
                idle = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            # Both clocks: the monotonic one may stand still while Lambda freezes the environment, the
            # wall clock may be set back.
            rested_s = max(time.monotonic() - idle.since_monotonic, time.time() - idle.since_wall)
            if rested_s <= max_idle_s and idle.connection.is_open():
                return idle.connection
            idle.connection.close()
        return None

    def _give_back(self, connection: HttpClientConnection) -> None:
        if len(self._idle) < _MAX_IDLE_CONNECTIONS and connection.is_open():
            self._idle.append(_Idle(connection, time.monotonic(), time.time()))
        else:
            connection.close()

    def _connect(self) -> HttpClientConnection:
        options = SocketOptions()
        options.connect_timeout_ms = max(1, int(self._connect_timeout_s * 1000))
        pending: Future[HttpClientConnection] = HttpClientConnection.new(
            self.endpoint.host,
            self.endpoint.port,
            self._runtime.bootstrap(),
            options,
            self._runtime.tls_options(self.endpoint.host) if self.endpoint.secure else None,
        )
        try:
            return pending.result(self._connect_timeout_s)
        except FutureTimeoutError as error:
            pending.add_done_callback(_close_late)
            raise ConnectFailedError(
                f"no connection to {self.endpoint.host_header} within {self._connect_timeout_s} s"
            ) from error
        except (AwsCrtError, OSError) as error:
            raise ConnectFailedError(f"no connection to {self.endpoint.host_header}: {error}") from error


def _close_late(pending: "Future[HttpClientConnection]") -> None:
    if not pending.cancelled() and pending.exception() is None:
        pending.result().close()


def new_request(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> tuple[HttpRequest, BytesIO]:
    """An awscrt request and the stream of its body."""
    stream = BytesIO(body)
    return HttpRequest(method, path, HttpHeaders(headers), stream), stream
