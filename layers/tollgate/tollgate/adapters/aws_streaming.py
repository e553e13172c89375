"""Calls to AWS whose answer is read while it comes, over the same connections, credentials and errors as all others."""

import time
from collections.abc import Generator, Sequence
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import NamedTuple

from awscrt.auth import AwsCredentialsProvider
from awscrt.exceptions import from_code
from awscrt.http import HttpClientConnection, HttpClientStream, HttpRequest

from tollgate.adapters.aws_call import AwsCall
from tollgate.adapters.aws_credentials import RequestSigner
from tollgate.adapters.aws_errors import AwsConnectionError, AwsTimeoutError, error_from_response
from tollgate.adapters.aws_http import (
    CRT_ERRORS,
    ClientRuntime,
    ConnectFailedError,
    ConnectionPool,
    Endpoint,
)
from tollgate.adapters.aws_retry import FailureKind
from tollgate.adapters.aws_transport import TransportConfig, signed_request


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


class _Connections(ConnectionPool):
    """A new connection for every answer: one found dead could not be replaced, since the call is made only once."""

    def begin(self, request: HttpRequest) -> tuple[HttpClientConnection, _LiveStream]:
        """Connect and send a request.

        Raises:
            ConnectFailedError: nothing was sent.
        """
        connection = self._connect()
        try:
            stream = _LiveStream(connection, request)
            stream.activate()
        except CRT_ERRORS as error:
            connection.close()
            raise ConnectFailedError(f"the connection to {self.endpoint.host_header} was closed: {error}") from error
        return connection, stream


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
        self._pools: dict[str, _Connections] = {}

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
            AwsError: AWS answered with an error; see the tree in `aws_errors`.
            AwsConnectionError: no connection, or it broke.
            AwsTimeoutError: the time is up.
        """
        pool = self._pool(call)
        request, sent = signed_request(call, pool.endpoint, self._signer)
        until = time.monotonic() + timeout_s
        try:
            connection, stream = pool.begin(request)
        except ConnectFailedError as error:
            raise AwsConnectionError(
                "ConnectionFailed", str(error), operation=call.operation, kind=FailureKind.UNSENT
            ) from error
        try:
            head = _next(stream, until, call, sent)
            if not isinstance(head, _Head):
                raise _broken(call, head, sent)
            if head.status >= 300:
                headers = {name.lower(): value for name, value in head.headers}
                body = b"".join(_rest(stream, until, call, sent))
                raise error_from_response(call.operation, head.status, headers, body)
            yield from _rest(stream, until, call, sent)
        finally:
            # With half an answer on it, this tells the other side to stop.
            connection.close()

    def _pool(self, call: AwsCall) -> _Connections:
        pool = self._pools.get(call.service)
        if pool is None:
            endpoint = Endpoint.parse(self._config.endpoint_url(call.service))
            pool = self._pools[call.service] = _Connections(endpoint, self._runtime, self._config.connect_timeout_s)
        return pool


def _rest(stream: _LiveStream, until: float, call: AwsCall, sent: BytesIO) -> Generator[bytes]:
    while True:
        event = _next(stream, until, call, sent)
        if isinstance(event, bytes):
            yield event
        elif isinstance(event, _End):
            if event.error_code:
                raise _broken(call, event, sent)
            return


def _next(stream: _LiveStream, until: float, call: AwsCall, sent: BytesIO) -> _Head | bytes | _End:
    try:
        return stream.events.get(timeout=max(0.001, until - time.monotonic()))
    except Empty as error:
        kind = _kind(sent)
        raise AwsTimeoutError(
            "ReadTimeout", "the answer has not ended in time", operation=call.operation, kind=kind
        ) from error


def _broken(call: AwsCall, event: bytes | _End, sent: BytesIO) -> AwsConnectionError:
    detail = str(from_code(event.error_code)) if isinstance(event, _End) and event.error_code else "no answer"
    return AwsConnectionError("ConnectionClosed", detail, operation=call.operation, kind=_kind(sent))


def _kind(sent: BytesIO) -> FailureKind:
    """Whether AWS can have received the request."""
    return FailureKind.UNSENT if sent.tell() < sent.getbuffer().nbytes else FailureKind.TRANSIENT
