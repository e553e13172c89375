"""Plays AWS with fixed bytes over plain HTTP on the loopback, in a process of its own whose work nobody counts."""

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

type Answers = Sequence[tuple[bytes, bytes]]
"""Pairs of a text and an answer: a request gets the answer of the first text that it contains, else ``{}``."""


class _Responder(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 -- always so for TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer once head and body are complete."""
        self._pending += data
        head, separator, body = self._pending.partition(b"\r\n\r\n")
        if not separator or self._transport is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        request, self._pending = self._pending, b""
        answer = next((answer for text, answer in self._answers if text in request), b"{}")
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: 0123456789ABCDEF\r\n"
            b"last-modified: Sun, 01 Mar 2026 12:00:00 GMT\r\ncontent-length: %d\r\n\r\n"
            % len(answer)
            + (b"" if head.startswith(b"HEAD") else answer)
        )


def _serve(ready: Connection, answers: Answers) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Responder(answers), "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def fixed_aws(answers: Answers) -> Iterator[str]:
    """The base URL of an AWS that answers like this, for as long as the context lasts."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(sending, answers), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{receiving.recv()}"
    finally:
        process.terminate()
        process.join()
