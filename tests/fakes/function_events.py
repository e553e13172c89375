"""Lambda's queue of events on the loopback: takes `Invoke` calls of type Event, and hands them out when asked."""

import json
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any


class FunctionEventsServer:
    """Accepts events for any function; `url` goes into ``AWS_ENDPOINT_URL_LAMBDA``."""

    def __init__(self) -> None:
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._lock = Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                *_, function, last = self.path.split("/")
                wanted = last == "invocations" and self.headers.get("x-amz-invocation-type") == "Event"
                if wanted:
                    server._keep(function, json.loads(body))
                self.send_response(202 if wanted else 400)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Requests are not worth a line."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        Thread(target=self._http.serve_forever, daemon=True).start()

    def _keep(self, function: str, event: dict[str, Any]) -> None:
        with self._lock:
            self._events[function].append(event)

    def take(self, function: str) -> list[dict[str, Any]]:
        """The function's events since the last call, in the order of their coming."""
        with self._lock:
            return self._events.pop(function, [])

    def stop(self) -> None:
        """Close the server."""
        self._http.shutdown()
        self._http.server_close()
