"""The Price List API over HTTP, with products made for tests: filters and pages as AWS has them."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 3


class PriceListServer:
    """What the server offers, and what it was asked."""

    def __init__(self, products: Sequence[dict[str, Any]]) -> None:
        self.products = list(products)
        self.asked: list[dict[str, Any]] = []
        self.refuse = False

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of a GetProducts call."""
        self.asked.append(request)
        if self.refuse:
            return 400, {"__type": "AccessDeniedException", "message": "not allowed"}
        wanted = {entry["Field"]: entry["Value"] for entry in request["Filters"]}
        found = [
            json.dumps(product)
            for product in self.products
            if product["serviceCode"] == request["ServiceCode"]
            and all(product["product"]["attributes"].get(name) == value for name, value in wanted.items())
        ]
        start = int(request.get("NextToken", 0))
        more = {"NextToken": str(start + PAGE)} if start + PAGE < len(found) else {}
        return 200, {"FormatVersion": "aws_v1", "PriceList": found[start : start + PAGE], **more}


@contextmanager
def serving(content: PriceListServer) -> Iterator[str]:
    """The server's URL, while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
            status, body = content.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
