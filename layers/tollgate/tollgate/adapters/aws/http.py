"""Synchronous HTTP/1.1 over awscrt: one pool of kept-alive connections for each endpoint.

Nothing is made before the first exchange: no thread, no socket, no TLS context. So a snapshot taken after
start-up (SnapStart) holds nothing that would be dead or shared after it is restored.
"""

import re
import threading
import time
from _thread import allocate_lock
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from io import BytesIO
from typing import NamedTuple

from awscrt.exceptions import AwsCrtError, from_code
from awscrt.http import HttpClientConnection, HttpClientStream, HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    ClientTlsContext,
    DefaultHostResolver,
    EventLoopGroup,
    SocketOptions,
    TlsConnectionOptions,
    TlsContextOptions,
)

# urllib.parse would do this too, but nothing else on the hot path needs it, and its import takes 2 to 4 ms.
_ENDPOINT = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[^?#]*)?")
# awscrt reports what fails at once as RuntimeError or OSError, what fails later as its own class.
CRT_ERRORS = (AwsCrtError, OSError, RuntimeError)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_MAX_IDLE_CONNECTIONS = 16
# Importing ctypes costs 2.7 ms, what it saves on each exchange is 35 microseconds: it pays from the 77th on.
# Doing it about there is never worse than twice the best choice, however long the environment lives.
_EXCHANGES_BEFORE_KEEPING_THREAD_STATE = 64


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


class Endpoint(NamedTuple):
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
        match = _ENDPOINT.fullmatch(url)
        if match is None:
            raise ValueError(f"an endpoint is http[s]://host[:port][/path], not {url!r}")
        scheme, host, port_text, path = match.groups()
        default_port = _DEFAULT_PORTS[scheme]
        port = int(port_text) if port_text else default_port
        return cls(
            secure=scheme == "https",
            host=host.strip("[]"),
            port=port,
            host_header=host if port == default_port else f"{host}:{port}",
            base_path=(path or "").rstrip("/"),
        )


class HttpResponse(NamedTuple):
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
        self._exchanges = 0

    def count_exchange(self) -> None:
        """Called on the event loop's thread for every answer; makes the thread cheaper once it pays."""
        self._exchanges += 1
        if self._exchanges == _EXCHANGES_BEFORE_KEEPING_THREAD_STATE:
            _keep_thread_state()

    def bootstrap(self) -> ClientBootstrap:
        """The connection maker, with a single event loop: a Lambda handler makes one call at a time."""
        if self._bootstrap is None:
            with self._lock:
                if self._bootstrap is None:
                    loops = EventLoopGroup(1)
                    self._bootstrap = ClientBootstrap(loops, DefaultHostResolver(loops))
        return self._bootstrap

    def tls_context(self) -> ClientTlsContext:
        """The root certificates and settings of TLS, read once: 5 ms for Amazon's roots, 15 for a system's.

        Raises:
            ConnectFailedError: the bundle of roots cannot be read.
        """
        if self._tls_context is None:
            with self._lock:
                if self._tls_context is None:
                    self._tls_context = _new_tls_context(self._ca_file)
        return self._tls_context

    def tls_options(self, host: str) -> TlsConnectionOptions:
        """TLS for one host: verified, HTTP/1.1 only.

        Raises:
            ConnectFailedError: the bundle of roots cannot be read.
        """
        connection_options = self.tls_context().new_connection_options()
        connection_options.set_server_name(host)
        connection_options.set_alpn_list(["http/1.1"])
        return connection_options


def _new_tls_context(ca_file: str | None) -> ClientTlsContext:
    options = TlsContextOptions()
    try:
        if ca_file is not None:
            options.override_default_trust_store_from_path(None, ca_file)
        return ClientTlsContext(options)
    except CRT_ERRORS as error:
        raise ConnectFailedError(f"cannot read root certificates: {error}") from error


class _Stream(HttpClientStream):  # type: ignore[misc]  # awscrt has no type marker
    """One request and its answer, gathered by awscrt's callbacks on the event loop's thread.

    The callbacks are overridden instead of handed over, and a bare lock stands for the end of the answer
    instead of a `Future`: together 12 of 100 microseconds of an exchange. The contract tests hold this to the
    pinned awscrt.
    """

    __slots__ = ("_runtime", "chunks", "ended", "error_code", "headers", "status")

    def __init__(self, connection: HttpClientConnection, request: HttpRequest, runtime: "ClientRuntime") -> None:
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.chunks: list[bytes] = []
        self.error_code = 0
        self.ended = allocate_lock()
        self.ended.acquire()
        self._runtime = runtime
        super().__init__(connection, request)

    def _on_response(self, status_code: int, name_value_pairs: Sequence[tuple[str, str]]) -> None:
        self.status = status_code
        self.headers = name_value_pairs
        self._runtime.count_exchange()

    def _on_body(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def _on_complete(self, error_code: int) -> None:
        # Done with the body; awscrt's own callback drops it here too.
        self._request = None  # type: ignore[misc]  # a slot of the untyped base
        self.error_code = error_code
        self.ended.release()


class _Idle(NamedTuple):
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
        read_timeout_s: float | None,
        max_idle_s: float,
        until: float | None = None,
    ) -> HttpResponse:
        """Send one request and wait for the whole answer.

        Args:
            request: signed request whose body stream is `body`.
            body: the same stream; its position tells how much was handed to the socket.
            read_timeout_s: from sending until the answer is complete; None leaves that to `until`.
            max_idle_s: do not use a connection that has rested longer than this.
            until: moment of the monotonic clock after which nobody waits any more, not for a connection either.

        Raises:
            ConnectFailedError: nothing was sent.
            ExchangeFailedError: the connection broke or the time was up.
        """
        pooled = self._take(max_idle_s)
        connection = self._connect(until) if pooled is None else pooled
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                connection.close()
                raise ConnectFailedError(f"no time is left to ask {self.endpoint.host_header}")
            read_timeout_s = left if read_timeout_s is None else min(left, read_timeout_s)
        try:
            stream = _Stream(connection, request, self._runtime)
            stream.activate()
        except CRT_ERRORS as error:  # closed since it was taken
            connection.close()
            raise ExchangeFailedError(
                str(error), unsent=True, reused=pooled is not None, answered=False, timed_out=False
            ) from error
        ended = stream.ended.acquire(timeout=-1 if read_timeout_s is None else read_timeout_s)
        if not ended or stream.error_code:
            connection.close()
            raise ExchangeFailedError(
                str(from_code(stream.error_code)) if ended else f"no whole answer within {read_timeout_s} s",
                unsent=body.tell() < body.getbuffer().nbytes,
                reused=pooled is not None,
                answered=stream.status != 0,
                timed_out=not ended,
            )
        self._give_back(connection)
        return HttpResponse(
            status=stream.status,
            headers={name.lower(): value for name, value in stream.headers},
            body=stream.chunks[0] if len(stream.chunks) == 1 else b"".join(stream.chunks),
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

    def _connect(self, until: float | None = None) -> HttpClientConnection:
        within = self._connect_timeout_s
        if until is not None:
            within = max(0.001, min(within, until - time.monotonic()))
        options = SocketOptions()
        options.connect_timeout_ms = max(1, int(within * 1000))
        pending: Future[HttpClientConnection] = HttpClientConnection.new(
            self.endpoint.host,
            self.endpoint.port,
            self._runtime.bootstrap(),
            options,
            self._runtime.tls_options(self.endpoint.host) if self.endpoint.secure else None,
        )
        try:
            return pending.result(within)
        except FutureTimeoutError as error:
            pending.add_done_callback(_close_late)
            raise ConnectFailedError(f"no connection to {self.endpoint.host_header} within {within:.3g} s") from error
        except CRT_ERRORS as error:
            raise ConnectFailedError(f"no connection to {self.endpoint.host_header}: {error}") from error


def _keep_thread_state() -> None:
    """Let the calling thread, which awscrt made, keep its interpreter state between callbacks.

    Without this CPython makes and destroys a thread state, with a memory mapping of 16 KiB, for each of the
    four callbacks of an exchange. One `PyGILState_Ensure` that is never released holds the state for as long
    as the thread lives. https://docs.python.org/3/c-api/init.html#c.PyGILState_Ensure
    """
    import ctypes  # noqa: PLC0415  # see _EXCHANGES_BEFORE_KEEPING_THREAD_STATE

    ctypes.pythonapi.PyGILState_Ensure()


def _close_late(pending: "Future[HttpClientConnection]") -> None:
    if not pending.cancelled() and pending.exception() is None:
        pending.result().close()


def new_request(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> tuple[HttpRequest, BytesIO]:
    """An awscrt request and the stream of its body; GET and HEAD have an empty one that is not sent."""
    stream = BytesIO(body)
    return HttpRequest(method, path, HttpHeaders(headers), None if method in _WITHOUT_BODY else stream), stream
