"""A client's own server that webhooks are sent to."""

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Delivery:
    """One call that arrived."""

    headers: Mapping[str, str]
    body: bytes

    def verifies(self, secret: str) -> bool:
        """Check the signature as Standard Webhooks describes it, independently of our own code."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        offered = [part.partition(",")[2] for part in self.headers["webhook-signature"].split()]
        return expected in offered


class Receiver:
    """Answers 500 to the first calls and 200 to the others."""

    def __init__(self, *, fail_first: int = 0) -> None:
        self.calls: list[Delivery] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.calls.append(Delivery(headers, body))
                self.send_response(500 if len(receiver.calls) <= fail_first else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_details: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int, *, within: float) -> list[Delivery]:
        """The calls once there are so many."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if len(self.calls) >= count:
                return self.calls
            time.sleep(0.2)
        raise AssertionError(f"only {len(self.calls)} calls came")
