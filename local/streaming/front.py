"""API Gateway in response transfer mode STREAM, in front of the real streaming function.

The emulator's API Gateway waits for the whole answer. So the front door takes these calls itself, has the deployed
authorizer judge them, and passes on each piece as the function sends it. Usage plans do not count them.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from local.launch import deploy
from local.launch.build import build_folder
from local.launch.forwarding import Headers
from local.launch.layer import LAYER
from local.launch.layout import REGION, STACK_NAME, STAGE, Layout, clean_environment
from local.launch.processes import Child, Children
from local.streaming.lambda_service import FunctionFailedError, Invocation, LambdaService

FUNCTION = "StreamingFunction"
SECONDS = 300
_MOST_ENVIRONMENTS = 8


class UnauthorizedError(Exception):
    """The authorizer refused the caller."""


def function_command(task_root: Path, python: Path) -> list[str]:
    """How Lambda starts a function that has a wrapper: the wrapper, then what it would have started itself."""
    return [str(task_root / "bootstrap"), str(python), "bootstrap.py"]


def function_environment(task_root: Path, layer: str, runtime_api: str) -> dict[str, str]:
    """The variables that Lambda sets for a function."""
    return {
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "LAMBDA_TASK_ROOT": str(task_root),
        "PYTHONPATH": layer,
    }


class StreamingRoad:
    """The way of a streamed call. Execution environments are started when they are needed, as Lambda does."""

    def __init__(self, layout: Layout, children: Children) -> None:
        self._layout = layout
        self._children = children
        self._service = LambdaService()
        self._environments: list[Child] = []
        self._variables: Mapping[str, str] | None = None
        self._starting = asyncio.Lock()

    def close(self) -> None:
        """Give up the port; the environments are ended with the stack's other children."""
        self._service.close()

    async def answer(self, request: web.Request, path: str, headers: Headers, body: bytes) -> web.StreamResponse:
        """Answer one call piece by piece."""
        event = proxy_event(path, headers, body)
        try:
            event["requestContext"]["authorizer"] = await asyncio.to_thread(self._authorize, event)
        except UnauthorizedError:
            return _problem(401, "authentication_error", "invalid_api_key", "There is no valid API key in the request.")
        await self._have_environment()
        invocation = self._service.invoke(event, seconds=SECONDS)
        try:
            status, given = await asyncio.to_thread(invocation.head)
        except FunctionFailedError as error:
            return _problem(502, "server_error", "bad_gateway", f"The function failed: {str(error)[:200]}")
        response = web.StreamResponse(status=status, headers=given)
        try:
            await response.prepare(request)
            if not await _pass_on(invocation, response) and request.transport is not None:
                # The head is long gone: all that can be done is to break the connection off, as API Gateway does.
                request.transport.close()
        except (ConnectionError, asyncio.CancelledError):
            invocation.hang_up()
            raise
        return response

    def _authorize(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the deployed authorizer says of the caller.

        Raises:
            UnauthorizedError
        """
        arn = f"arn:aws:execute-api:{REGION}:000000000000:local/{STAGE}/POST{event['path']}"
        asked = {**event, "type": "REQUEST", "methodArn": arn}
        answer = deploy.client("lambda", self._layout).invoke(
            FunctionName=f"{STACK_NAME}-authorizer", Payload=json.dumps(asked)
        )
        said = json.loads(answer["Payload"].read())
        if "FunctionError" in answer or not isinstance(said.get("context"), dict):
            raise UnauthorizedError
        return {**said["context"], "principalId": said["principalId"]}

    async def _have_environment(self) -> None:
        """Start an execution environment if none is free."""
        async with self._starting:
            self._environments = [child for child in self._environments if child.process.returncode is None]
            if self._service.idle > 0 or len(self._environments) >= _MOST_ENVIRONMENTS:
                return
            task_root = build_folder(self._layout.root) / FUNCTION
            layer = str(build_folder(self._layout.root) / LAYER / "python")
            environment = {
                **clean_environment(self._layout),
                **await asyncio.to_thread(self._function_variables),
                **function_environment(task_root, layer, self._service.address),
            }
            command = function_command(task_root, self._layout.python("run"))
            self._environments.append(await self._children.start("streaming", command, environment))

    def _function_variables(self) -> Mapping[str, str]:
        """Those of the deployed gateway function, which uses the same tables and queues."""
        if self._variables is None:
            found = deploy.client("lambda", self._layout).get_function_configuration(
                FunctionName=f"{STACK_NAME}-gateway"
            )
            self._variables = {**found["Environment"]["Variables"], "STREAMING_SECONDS": str(SECONDS)}
        return self._variables


async def _pass_on(invocation: Invocation, response: web.StreamResponse) -> bool:
    """Send each piece as it comes; False if the function broke off."""
    pieces = invocation.pieces()
    while True:
        try:
            piece = await asyncio.to_thread(next, pieces, None)
        except FunctionFailedError:
            return False
        if piece is None:
            await response.write_eof()
            return True
        await response.write(piece)


def proxy_event(path: str, headers: Headers, body: bytes) -> dict[str, Any]:
    """What API Gateway sends to a function, streamed or not."""
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    return {
        "resource": path,
        "path": path,
        "httpMethod": "POST",
        "headers": dict(headers),
        "queryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": "POST",
            "path": f"/{STAGE}{path}",
            "stage": STAGE,
            "requestId": str(uuid.uuid4()),
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


def _problem(status: int, kind: str, code: str, message: str) -> web.Response:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status)
