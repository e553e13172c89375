"""The Lambda service as a streaming function sees it: the Runtime API, with chunked answers and their trailers.

It plays `InvokeWithResponseStream` too: whoever invokes gets the head and then the pieces, as API Gateway does.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import base64
import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
_BASE = "/2018-06-01/runtime/"
_DELIMITER = b"\0" * 8
# The head has to be among the first 16 KB of a stream, as API Gateway wants it.
_LARGEST_HEAD = 16 * 1024
_ERROR_TYPE, _ERROR_BODY = "lambda-runtime-function-error-type", "lambda-runtime-function-error-body"


class FunctionFailedError(Exception):
    """The function said that it failed, or said nothing in time; API Gateway would answer 502."""


class Invocation:
    """One event on its way through a function, and what comes back.

    Attributes:
        request_id: Lambda's.
        mode: the response mode that the function asked for.
        trailer: the error type and text that ended the stream, empty if it ended well.
    """

    def __init__(self, event: Mapping[str, Any], *, seconds: float) -> None:
        self.request_id = str(uuid.uuid4())
        self.body = json.dumps(event).encode()
        self.deadline_ms = int((time.time() + seconds) * 1000)
        self.mode = ""
        self.content_type = ""
        self.trailer: tuple[str, str] = ("", "")
        self.left = threading.Event()
        self._ends = time.monotonic() + seconds
        self._pieces: SimpleQueue[bytes | Exception | None] = SimpleQueue()
        self._read = b""

    def head(self) -> tuple[int, dict[str, str]]:
        """Wait for the status and headers.

        Raises:
            FunctionFailedError: there are none.
        """
        while _DELIMITER not in self._read:
            piece = self._next()
            if piece is None or len(self._read) > _LARGEST_HEAD:
                raise FunctionFailedError("the function sent no head")
            self._read += piece
        head, _, self._read = self._read.partition(_DELIMITER)
        found = json.loads(head)
        return found["statusCode"], found["headers"]

    def pieces(self) -> Iterator[bytes]:
        """The body, as it comes.

        Raises:
            FunctionFailedError: it broke off.
        """
        if self._read:
            first, self._read = self._read, b""
            yield first
        while (piece := self._next()) is not None:
            yield piece

    def hang_up(self) -> None:
        """The client has gone: the function's connection is closed at its next piece."""
        self.left.set()

    def put(self, piece: bytes | Exception | None) -> None:
        """A piece from the function, its failure, or its end."""
        self._pieces.put(piece)

    def _next(self) -> bytes | None:
        try:
            piece = self._pieces.get(timeout=max(0.0, self._ends - time.monotonic()))
        except Empty:
            raise FunctionFailedError("the function did not end in time") from None
        if isinstance(piece, Exception):
            raise piece
        return piece


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: "LambdaService"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is stopped drops its connection; that is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class LambdaService:
    """Hands events to whichever execution environment asks for one; each has one at a time."""

    def __init__(self) -> None:
        self._events: SimpleQueue[Invocation] = SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._server = _Server((HOST, 0), _RuntimeApi)
        self._server.service = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """For ``AWS_LAMBDA_RUNTIME_API``."""
        return f"{HOST}:{self._server.server_port}"

    @property
    def idle(self) -> int:
        """Environments that wait for an event and have none coming."""
        return self._waiting - self._events.qsize()

    def invoke(self, event: Mapping[str, Any], *, seconds: float = 300.0) -> Invocation:
        """Give an event to the next environment that is free."""
        invocation = Invocation(event, seconds=seconds)
        self._events.put(invocation)
        return invocation

    def close(self) -> None:
        """Stop; environments that wait find their connection closed."""
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> Invocation:
        """The next event, when there is one."""
        with self._lock:
            self._waiting += 1
        try:
            invocation = self._events.get()
        finally:
            with self._lock:
                self._waiting -= 1
        self._running[invocation.request_id] = invocation
        return invocation

    def give_up(self, reason: str) -> None:
        """An environment could not start: whoever waits is told."""
        while True:
            try:
                self._events.get_nowait().put(FunctionFailedError(reason))
            except Empty:
                return

    def running(self, request_id: str) -> Invocation | None:
        """The invocation that an environment speaks of, once."""
        return self._running.pop(request_id, None)


class _RuntimeApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """The next event."""
        if self.path != _BASE + "invocation/next":
            self._answer(404, b"{}")
            return
        invocation = self.server.service.take()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:000000000000:function:streaming",
        }
        self._answer(200, invocation.body, headers)

    def do_POST(self) -> None:
        """An answer, or an error."""
        what = self.path.removeprefix(_BASE).split("/")
        if what == ["init", "error"]:
            self.server.service.give_up(self._whole().decode())
            self._answer(202, b"{}")
            return
        invocation = self.server.service.running(what[1]) if len(what) == 3 and what[0] == "invocation" else None
        if invocation is None:
            self._whole()
            self._answer(400, b'{"errorType":"InvalidRequestID"}')
        elif what[2] == "error":
            invocation.put(FunctionFailedError(self._whole().decode()))
            self._answer(202, b"{}")
        else:
            self._stream(invocation)

    def _stream(self, invocation: Invocation) -> None:
        invocation.mode = self.headers.get("Lambda-Runtime-Function-Response-Mode", "")
        invocation.content_type = self.headers.get("Content-Type", "")
        try:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                piece = self.rfile.read(size)
                self.rfile.readline()
                if invocation.left.is_set():
                    self.close_connection = True
                    invocation.put(None)
                    return
                invocation.put(piece)
        except (ValueError, OSError) as error:
            invocation.put(FunctionFailedError(f"the function's connection broke: {error}"))
            self.close_connection = True
            return
        trailers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            trailers[name.lower()] = value.strip()
        if _ERROR_TYPE in trailers:
            invocation.trailer = (trailers[_ERROR_TYPE], base64.b64decode(trailers.get(_ERROR_BODY, "")).decode())
            invocation.put(FunctionFailedError(invocation.trailer[0]))
        else:
            invocation.put(None)
        self._answer(202, b"{}")

    def _whole(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""
