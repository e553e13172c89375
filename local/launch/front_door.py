"""The front door: gives the emulated API a plain base URL and does what API Gateway does with a client's key."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from yarl import URL

from local.launch import forwarding
from local.launch.layout import HOST

# API Gateway refuses bodies over 10 MB by itself; the margin lets the emulated API give its own answer first.
MAX_BODY_BYTES = 12 * 1024 * 1024
CONNECTIONS = 512
CONNECT_SECONDS = 20.0  # a busy machine; a refused connection fails at once
CHUNK_BYTES = 64 * 1024
CLIENT_CLOSED_REQUEST = 499  # nginx's, not registered
GENERATED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
STREAMING_PREFIX = "/streaming"
"""Before paths whose answers are to come piece by piece, so that one door gives both kinds."""
STREAMED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses"})


class Streaming(Protocol):
    """What answers piece by piece; see `local.streaming.front`."""

    async def answer(
        self, request: web.Request, path: str, headers: forwarding.Headers, body: bytes
    ) -> web.StreamResponse:
        """Answer one call to a path in `STREAMED`."""


class FrontDoor:
    """Forwards every request to one deployed API; those that can be streamed, where `streaming` names itself, there."""

    def __init__(
        self, target: forwarding.Target, session: ClientSession, port: int, streaming: "Streaming | None" = None
    ) -> None:
        self._streaming = streaming
        self._target = target
        self._session = session
        self._port = port

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Sends one request on and streams its answer back."""
        path = self._path(request)
        url = self._target.url(path)
        if url is None:
            return _problem(404, "invalid_request_error", "unknown_route", "This path is not part of the API.")
        try:
            # The request is read as a whole, as API Gateway does; answers are passed on piece by piece.
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _problem(
                413,
                "invalid_request_error",
                "request_too_large",
                f"The request body is over {MAX_BODY_BYTES // 1024 // 1024} MB. Send a smaller one.",
            )
        try:
            headers = forwarding.request_headers(request.headers.items(), request.remote or HOST, self._port)
            if self._streaming is not None and path != request.raw_path and _streams(request.method, path):
                answer = self._streaming.answer(request, path, headers, body)
            else:
                answer = self._forward(request, url, headers, body)
            return await answer
        except UnicodeEncodeError:
            return _problem(
                400, "invalid_request_error", "invalid_request", "The API key has bytes that are not UTF-8."
            )
        except (ClientError, TimeoutError) as error:
            if (peer := request.transport) is None or peer.is_closing():
                # Nobody reads this answer; raised, the error would be printed as if something here were broken.
                return web.Response(status=CLIENT_CLOSED_REQUEST)
            return _problem(
                502, "api_error", "bad_gateway", f"The AWS emulator did not answer ({type(error).__name__}). Try again."
            )

    def _path(self, request: web.Request) -> str:
        """The path within the API."""
        raw_path = request.raw_path
        if self._streaming is not None and raw_path.startswith(f"{STREAMING_PREFIX}/"):
            return raw_path.removeprefix(STREAMING_PREFIX)
        return raw_path

    async def _forward(
        self, request: web.Request, url: str, headers: forwarding.Headers, body: bytes
    ) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            response.headers.extend(forwarding.response_headers(answer.headers.items()))
            length = answer.headers.get("Content-Length")
            if length is not None:
                response.content_length = int(length)
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                await response.write(chunk)
            await response.write_eof()
            return response


@asynccontextmanager
async def front_door(target: forwarding.Target, port: int, streaming: "Streaming | None" = None) -> AsyncIterator[None]:
    """Serves on 127.0.0.1 for as long as the context lasts."""
    connector = TCPConnector(limit=CONNECTIONS)
    timeout = ClientTimeout(total=None, connect=None, sock_connect=CONNECT_SECONDS)
    async with ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,
        skip_auto_headers=GENERATED,
        cookie_jar=DummyCookieJar(),
        trust_env=False,
    ) as session:
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        # A line break in a path is for the API to refuse as well.
        application.router.add_route("*", "/{path:(?s:.*)}", FrontDoor(target, session, port, streaming).handle)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, auto_decompress=False, shutdown_timeout=2.0
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port, backlog=1024).start()
            yield
        finally:
            await asyncio.shield(runner.cleanup())


def _streams(method: str, path: str) -> bool:
    return method == "POST" and path in STREAMED


def _problem(status: int, kind: str, code: str, message: str) -> web.Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status)
