"""The clients of a race over HTTP: each has its connection open before the start, and goes on until it is answered."""

import json
import time
from collections import Counter as Tally
from http.client import HTTPConnection, HTTPException

_TIMEOUT_SECONDS = 280
_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 120


class RaceClient:
    """One client.

    Attributes:
        retried: what it was answered before the last answer, by status.
    """

    def __init__(self, port: int, key: str, body: str) -> None:
        self._port = port
        self._body = body
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection = self._connected()
        self.retried: Tally[int] = Tally()

    def __call__(self) -> int:
        """Send the request until it is answered or the budget refuses it; the last status.

        What says nothing of the budget is sent again: a throttled table that could not hold the money (503), or an
        emulator that is at its limit.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            status, code = self._once()
            final = status == 200 or (status == 429 and code == "insufficient_quota")
            if final or time.monotonic() > until:
                return status
            self.retried[status] += 1
            time.sleep(_PAUSE_SECONDS)

    def introduce(self) -> None:
        """Let the key be seen once, so that its authorization is remembered when the race begins."""
        self._connection.request("GET", "/v1/models", headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"A client of the race is refused with {answer.status}.")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _once(self) -> tuple[int, str]:
        try:
            self._connection.request("POST", "/v1/inferences", self._body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self._connection = self._connected()
            return 0, ""
        if answer.status == 200:
            return 200, ""
        try:
            return answer.status, str(json.loads(text)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return answer.status, ""

    def _connected(self) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
        connection.connect()
        return connection
