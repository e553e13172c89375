"""Calls to AWS whose answer is read while it comes, over the same connections, credentials and errors as all others."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import NamedTuple

from awscrt.auth import AwsCredentialsProvider
from awscrt.exceptions import from_code
from awscrt.http import HttpClientConnection, HttpClientStream, HttpRequest

from tollgate.adapters.aws.call import AwsCall
from tollgate.adapters.aws.credentials import RequestSigner
from tollgate.adapters.aws.errors import AwsConnectionError, AwsError, AwsTimeoutError, error_from_response
from tollgate.adapters.aws.http import (
    CRT_ERRORS,
    ClientRuntime,
    ConnectFailedError,
    ConnectionPool,
    Endpoint,
)
from tollgate.adapters.aws.retry import FailureKind
from tollgate.adapters.aws.transport import TransportConfig, signed_request


class _Head(NamedTuple):
    status: int
    headers: Sequence[tuple[str, str]]


class _End(NamedTuple):
    error_code: int


class _LiveStream(HttpClientStream):  # type: ignore[misc]  # awscrt has no type marker
    """One request; head, pieces and end of its answer are queued by awscrt's callbacks on the event loop's thread."""

    __slots__ = ("events",)

    def __init__(self, connection: HttpClientConnection, request: HttpRequest) -> None:
        self.events: SimpleQueue[_Head | bytes | _End] = SimpleQueue()
        super().__init__(connection, request)

    def _on_response(self, status_code: int, name_value_pairs: Sequence[tuple[str, str]]) -> None:
        self.events.put(_Head(status_code, name_value_pairs))

    def _on_body(self, chunk: bytes) -> None:
        self.events.put(bytes(chunk))

    def _on_complete(self, error_code: int) -> None:
        self._request = None  # type: ignore[misc]  # a slot of the untyped base
        self.events.put(_End(error_code))


class _Exchange(NamedTuple):
    """A request on its way, and what comes back until a moment of the monotonic clock."""

    stream: _LiveStream
    sent: BytesIO
    until: float
    operation: str

    def next(self) -> _Head | bytes | _End:
        try:
            return self.stream.events.get(timeout=max(0.001, self.until - time.monotonic()))
        except Empty as error:
            raise AwsTimeoutError(
                "ReadTimeout", "the answer has not ended in time", operation=self.operation, kind=self._kind()
            ) from error

    def broken(self, event: bytes | _End) -> AwsConnectionError:
        detail = str(from_code(event.error_code)) if isinstance(event, _End) and event.error_code else "no answer"
        return AwsConnectionError("ConnectionClosed", detail, operation=self.operation, kind=self._kind())

    def _kind(self) -> FailureKind:
        """Whether the other side can have received the request."""
        return FailureKind.UNSENT if self.sent.tell() < self.sent.getbuffer().nbytes else FailureKind.TRANSIENT


class OpenAnswer:
    """An answer whose head has come.

    Attributes:
        status: of HTTP.
        headers: names in lower case, the last of a repeated name.
    """

    def __init__(self, pool: "LiveConnections", connection: HttpClientConnection, exchange: _Exchange) -> None:
        self._pool = pool
        self._connection: HttpClientConnection | None = connection
        self._exchange = exchange
        head = exchange.next()
        if not isinstance(head, _Head):
            raise exchange.broken(head)
        self.status = head.status
        self.headers = {name.lower(): value for name, value in head.headers}

    def pieces(self) -> Generator[bytes]:
        """The body as it comes.

        Raises:
            AwsConnectionError: the connection broke.
            AwsTimeoutError: the time is up.
        """
        while True:
            event = self._exchange.next()
            if isinstance(event, bytes):
                yield event
            elif isinstance(event, _End):
                if event.error_code:
                    raise self._exchange.broken(event)
                if self._connection is not None:
                    self._pool.rest(self._connection)
                    self._connection = None
                return

    def close(self) -> None:
        """Whoever has not read all of it tells the other side to stop."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class LiveConnections(ConnectionPool):
    """Connections to one endpoint for answers that are read while they come.

    Args:
        endpoint, runtime, connect_timeout_s: see `ConnectionPool`.
        max_idle_s: how long a connection may have rested to be used again. None is by default: one found dead could not
            be replaced for a call that is made only once.
    """

    def __init__(
        self, endpoint: Endpoint, runtime: ClientRuntime, connect_timeout_s: float, max_idle_s: float = 0.0
    ) -> None:
        super().__init__(endpoint, runtime, connect_timeout_s)
        self._max_idle_s = max_idle_s

    def send(self, request: HttpRequest, sent: BytesIO, *, timeout_s: float, operation: str) -> OpenAnswer:
        """Send a request and wait for the head of its answer.

        Args:
            request: whose body stream is `sent`.
            sent: the same stream; its position tells how much was handed to the socket.
            timeout_s: from connecting to the end of the answer.
            operation: for errors.

        Raises:
            AwsConnectionError: no connection, or it broke.
            AwsTimeoutError: the time is up.
        """
        until = time.monotonic() + timeout_s
        try:
            connection = self._take(self._max_idle_s) or self._connect(until)
        except ConnectFailedError as error:
            raise _not_connected(str(error), operation) from error
        if time.monotonic() >= until:
            connection.close()
            raise _not_connected(f"no time is left to ask {self.endpoint.host_header}", operation)
        try:
            stream = _LiveStream(connection, request)
            stream.activate()
            return OpenAnswer(self, connection, _Exchange(stream, sent, until, operation))
        except CRT_ERRORS as error:
            connection.close()
            raise _not_connected(f"{self.endpoint.host_header} closed the connection: {error}", operation) from error
        except AwsError:
            connection.close()
            raise

    def rest(self, connection: HttpClientConnection) -> None:
        """Take back a connection whose answer has been read to its end."""
        if self._max_idle_s:
            self._give_back(connection)
        else:
            connection.close()


def _not_connected(detail: str, operation: str) -> AwsConnectionError:
    return AwsConnectionError("ConnectionFailed", detail, operation=operation, kind=FailureKind.UNSENT)


class StreamingTransport:
    """Sends calls once, without a second attempt: what has begun to answer may have cost something.

    Args:
        config: endpoints and time-outs.
        credentials_provider: see `AwsTransport`.
    """

    def __init__(self, config: TransportConfig, *, credentials_provider: AwsCredentialsProvider | None = None) -> None:
        self._config = config
        self._runtime = ClientRuntime(config.ca_file)
        self._signer = RequestSigner(config.region, self._runtime, credentials_provider)
        self._pools: dict[str, LiveConnections] = {}

    @property
    def signer(self) -> RequestSigner:
        """See `AwsTransport`."""
        return self._signer

    def open(self, call: AwsCall, *, timeout_s: float) -> Generator[bytes]:
        """The body of the answer in pieces; nothing is sent before the first is asked for.

        Args:
            call: what to send.
            timeout_s: from sending to the end of the answer.

        Raises:
            AwsError: AWS answered with an error; see the tree in `aws.errors`.
            AwsConnectionError: no connection, or it broke.
            AwsTimeoutError: the time is up.
        """
        pool = self._pool(call)
        request, sent = signed_request(call, pool.endpoint, self._signer)
        with closing(pool.send(request, sent, timeout_s=timeout_s, operation=call.operation)) as answer:
            if answer.status >= 300:
                raise error_from_response(call.operation, answer.status, answer.headers, b"".join(answer.pieces()))
            yield from answer.pieces()

    def _pool(self, call: AwsCall) -> LiveConnections:
        pool = self._pools.get(call.service)
        if pool is None:
            endpoint = Endpoint.parse(self._config.endpoint_url(call.service))
            pool = self._pools[call.service] = LiveConnections(endpoint, self._runtime, self._config.connect_timeout_s)
        return pool
