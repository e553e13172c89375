"""HTTP in front of it all: an ASGI application that reads a request and finds who answers it."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from local.sagemaker.admin import PREFIX, Admin
from local.sagemaker.bedrock import PREFIX as BEDROCK
from local.sagemaker.bedrock import Bedrock
from local.sagemaker.control import Control
from local.sagemaker.openai_route import PATH, OpenAIRoute
from local.sagemaker.provider import PREFIX as PROVIDER
from local.sagemaker.provider import Provider
from local.sagemaker.runtime import Runtime
from local.sagemaker.scaling import TARGET_PREFIX, Scaling
from local.sagemaker.wire import (
    AbandonedConnectionError,
    Reply,
    Request,
    ServiceError,
    control_error,
    runtime_error,
)

type Receive = Callable[[], Awaitable[Any]]
type Send = Callable[[Any], Awaitable[None]]

_log = logging.getLogger(__name__)
_KEEP_BYTES = 6_291_456 + 1  # one byte more than any limit, so that "too large" can be seen and memory is bounded


class App:
    """The ASGI application.

    Args:
        runtime: answers `/endpoints/...`.
        control: answers JSON 1.1 posts to `/`.
        scaling: answers those of them that are for Application Auto Scaling.
        admin: answers `/_standin/...`.
        bedrock: answers `/model/...`, which is Bedrock's.
        provider: answers `/v1/...`, the API of a provider who is not AWS.
    """

    def __init__(
        self,
        runtime: Runtime,
        control: Control,
        scaling: Scaling,
        admin: Admin,
        *,
        bedrock: Bedrock,
        provider: Provider,
    ) -> None:
        self._runtime = runtime
        self._chats = OpenAIRoute(runtime)
        self._control = control
        self._scaling = scaling
        self._admin = admin
        self._bedrock = bedrock
        self._provider = provider

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one connection's request, as ASGI 3 asks."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = await _read(scope, receive)
        try:
            reply = await self._answer(request)
        except ServiceError as error:
            is_control = "x-amz-target" in request.headers
            reply = control_error(error) if is_control else runtime_error(error)
        except AbandonedConnectionError:
            # A promised body that never comes makes the server close the connection.
            promise = [(b"content-length", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": promise})
            return
        await _send(reply, receive, send)

    async def _answer(self, request: Request) -> Reply:
        try:
            if request.path.startswith(PREFIX):
                return self._admin.answer(request)
            if request.path.startswith("/endpoints/"):
                return await self._runtime_reply(request)
            if request.path.startswith(BEDROCK):
                return await self._bedrock.answer(request)
            if request.path.startswith(PROVIDER):
                return await self._provider.answer(request)
            action = request.header("x-amz-target")
            if action:
                part = self._scaling if action.startswith(TARGET_PREFIX) else self._control
                return await part.answer(request)
        except (ServiceError, AbandonedConnectionError):
            raise
        except Exception as error:
            _log.exception("%s %s broke", request.method, request.path)
            raise ServiceError(500, "InternalFailure", f"{type(error).__name__}: {error}") from error
        raise ServiceError(404, "UnknownOperationException", f"{request.method} {request.path} is not served")

    async def _runtime_reply(self, request: Request) -> Reply:
        _, _, name, *below = request.path.split("/")
        if request.method == "POST" and self._chats.serves(below):
            component = unquote(below[1]) if len(below) > len(PATH) else None
            return await self._chats.answer(unquote(name), component, request)
        action = below[0] if below else ""
        actions = {
            "invocations": self._runtime.invoke,
            "async-invocations": self._runtime.invoke_async,
            "invocations-response-stream": self._runtime.invoke_stream,
        }
        if request.method != "POST" or action not in actions:
            raise ServiceError(404, "UnknownOperationException", f"{request.path} is not served")
        return await actions[action](unquote(name), request)


async def _read(scope: Any, receive: Receive) -> Request:
    body = bytearray()
    while True:
        message = await receive()
        if len(body) < _KEEP_BYTES:
            body += message.get("body", b"")[: _KEEP_BYTES - len(body)]
        if not message.get("more_body"):
            break
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    return Request(scope["method"], scope["path"], headers, bytes(body))


async def _send(reply: Reply, receive: Receive, send: Send) -> None:
    headers = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in reply.headers.items()]
    headers.append((b"x-amzn-requestid", str(uuid.uuid4()).encode()))
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    streaming = asyncio.ensure_future(_stream(reply.body, send))
    leaving = asyncio.ensure_future(_until_disconnect(receive))
    try:
        await asyncio.wait((streaming, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (streaming, leaving):
            task.cancel()
        await asyncio.gather(streaming, leaving, return_exceptions=True)


async def _stream(body: AsyncIterator[bytes], send: Send) -> None:
    async for piece in body:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
