"""Lambda's Runtime API for a function that streams, which the managed Python runtime has no handler for.

The same loop as in Lambda's own clients: ask for the next event, answer it, ask again. An answer is sent in chunks
while it is made: first the head as JSON, then eight zero bytes, then the body. What fails before the head is reported
as an error of the invocation; what fails afterwards, in trailers.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
"""

import base64
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

_BASE = "/2018-06-01/runtime"
_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
_DELIMITER = b"\0" * 8
_LOST = (OSError, HTTPException)

Handle = Callable[[dict[str, Any], "ResponseStream"], None]
"""Answers one event through the stream."""


class ResponseStream:
    """The answer to one invocation, sent while it is made. The `Outlet` of the API."""

    def __init__(self, host: str, request_id: str) -> None:
        self._connection = HTTPConnection(host, timeout=None)
        self._request_id = request_id
        self._begun = False
        self._gone = False
        self._sent_bytes = 0

    @property
    def begun(self) -> bool:
        """Whether the head was sent."""
        return self._begun

    @property
    def gone(self) -> bool:
        """Whether the service takes no more. Lambda need not say so when a client hangs up."""
        return self._gone

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body so far."""
        return self._sent_bytes

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head."""
        self._begun = True
        head = json.dumps({"statusCode": status, "headers": dict(headers)}, separators=(",", ":")).encode()
        try:
            self._connection.putrequest("POST", f"{_BASE}/invocation/{self._request_id}/response")
            self._connection.putheader("Content-Type", _CONTENT_TYPE)
            self._connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
            self._connection.putheader("Transfer-Encoding", "chunked")
            self._connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type")
            self._connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Body")
            self._connection.endheaders()
        except _LOST:
            self._gone = True
        self._chunk(head + _DELIMITER)

    def write(self, text: str) -> None:
        """Send a piece of the body now."""
        # An empty chunk would be the end.
        if data := text.encode():
            self._sent_bytes += len(data)
            self._chunk(data)

    def close(self, error: BaseException | None = None) -> None:
        """Send the end, and what went wrong if anything did after the head."""
        trailers = b""
        if error is not None:
            body = base64.b64encode(json.dumps(_described(error)).encode())
            kind = f"Function.{type(error).__name__}".encode()
            trailers = b"Lambda-Runtime-Function-Error-Type: %b\r\nLambda-Runtime-Function-Error-Body: %b\r\n" % (
                kind,
                body,
            )
        self._send(b"0\r\n" + trailers + b"\r\n")
        try:
            if not self._gone:
                self._connection.getresponse().read()
        except _LOST:
            self._gone = True
        finally:
            self._connection.close()

    def _chunk(self, data: bytes) -> None:
        self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def _send(self, data: bytes) -> None:
        if self._gone:
            return
        try:
            self._connection.send(data)
        except _LOST:
            self._gone = True


class RuntimeLoop:
    """Answers one invocation after the other, for as long as the execution environment lives.

    Args:
        host: of the Runtime API, from ``AWS_LAMBDA_RUNTIME_API``.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        # Lambda freezes the environment while the next event is awaited, which takes as long as it takes.
        self._connection = HTTPConnection(host, timeout=None)

    def run(self, make: Callable[[], Handle]) -> None:
        """Make the handler, then answer for ever.

        Raises:
            Exception: the handler could not be made, which Lambda was told; or the Runtime API is gone.
        """
        with closing(self):
            try:
                handle = make()
            except Exception as error:
                self._report("init/error", error)
                raise
            while True:
                self.answer_one(handle)

    def close(self) -> None:
        """Close the connection to the Runtime API."""
        self._connection.close()

    def answer_one(self, handle: Handle) -> None:
        """Wait for an event and answer it.

        Raises:
            OSError, HTTPException: the Runtime API is gone.
        """
        response = self._call("GET", "invocation/next")
        request_id = response.getheader("Lambda-Runtime-Aws-Request-Id", "")
        event = json.loads(response.read())
        stream = ResponseStream(self._host, request_id)
        try:
            handle(event, stream)
        except Exception as error:  # noqa: BLE001 -- whatever it is, Lambda is told and the next event is asked for
            # The class alone: a message might hold what the client sent.
            sys.stdout.write(f'{{"level":"ERROR","message":"invocation failed","error":"{type(error).__name__}"}}\n')
            if stream.begun:
                stream.close(error)
            else:
                self._report(f"invocation/{request_id}/error", error)
        else:
            stream.close()
        # Nothing is written while the environment is frozen.
        sys.stdout.flush()

    def _report(self, where: str, error: BaseException) -> None:
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Function-Error-Type": f"Function.{type(error).__name__}",
        }
        with suppress(*_LOST):
            self._call("POST", where, json.dumps(_described(error)).encode(), headers).read()

    def _call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        self._connection.request(method, f"{_BASE}/{path}", body, dict(headers or {}))
        return self._connection.getresponse()


def _described(error: BaseException) -> dict[str, Any]:
    return {"errorMessage": "The function failed.", "errorType": type(error).__name__, "stackTrace": []}
