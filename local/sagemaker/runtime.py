"""The runtime API: InvokeEndpoint, InvokeEndpointAsync, InvokeEndpointWithResponseStream."""

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from copy import replace
from typing import Any

from local.sagemaker import eventstream
from local.sagemaker.artefacts import Artefacts
from local.sagemaker.async_queue import AsyncQueue
from local.sagemaker.components import Components
from local.sagemaker.faults import Faults
from local.sagemaker.fleet import Fleet, Target
from local.sagemaker.models.base import Call, ContainerError
from local.sagemaker.serving import Serving
from local.sagemaker.settings import Settings
from local.sagemaker.wire import (
    AbandonedConnectionError,
    Json,
    Reply,
    Request,
    ServiceError,
    json_reply,
    model_error,
    validation_error,
)

BODY_LIMIT_BYTES = 6_291_456
ASYNC_BODY_LIMIT_BYTES = 128_000
_TTL_RANGE = (60, 21_600)
_TIMEOUT_RANGE = (1, 3_600)
_SLOW_MODEL = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency "
    "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
)


class Runtime:
    """Answers runtime requests.

    Args:
        fleet: the endpoints.
        components: the inference components on them.
        serving: runs the models.
        queue: takes async requests.
        artefacts: models that requests name.
        faults: failures to inject.
        settings: names.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        components: Components,
        serving: Serving,
        queue: AsyncQueue,
        artefacts: Artefacts,
        faults: Faults,
        settings: Settings,
    ) -> None:
        self._fleet = fleet
        self._components = components
        self._serving = serving
        self._queue = queue
        self._artefacts = artefacts
        self._faults = faults
        self._settings = settings

    async def invoke(self, endpoint: str, request: Request) -> Reply:
        """Answer InvokeEndpoint.

        Raises:
            ServiceError: ValidationError, ModelError, ServiceUnavailable or an injected error.
        """
        _check_size(request.body, BODY_LIMIT_BYTES)
        await self._faults.strike("invoke", endpoint)
        target = self._target(endpoint, request)
        call = _call(request, accept=request.header("accept"), content_type=request.header("content-type"))
        inference_id = request.header("x-amzn-sagemaker-inference-id") or str(uuid.uuid4())
        try:
            if call.target_model:
                container = await self._artefacts.container(
                    self._fleet.model_prefix(endpoint, target.variant), call.target_model
                )
                target = replace(target, container=container)
            answer = await self._serving.serve(
                target,
                call,
                road="realtime",
                inference_id=inference_id,
                limit_seconds=self._settings.model_limit_seconds,
            )
        except ContainerError as error:
            raise self._model_error(endpoint, error.status, error.message) from error
        except TimeoutError as error:
            raise self._model_error(endpoint, 0, _SLOW_MODEL) from error
        if self._faults.take("invoke", endpoint, "timeout_after_work"):
            raise self._model_error(endpoint, 0, _SLOW_MODEL)
        if self._faults.take("invoke", endpoint, "abandon"):
            raise AbandonedConnectionError
        return Reply(200, answer.body, _answer_headers(target, request, answer.content_type))

    async def invoke_stream(self, endpoint: str, request: Request) -> Reply:
        """Answer InvokeEndpointWithResponseStream; an error before the first piece is an ordinary error.

        Raises:
            ServiceError: as `invoke`.
        """
        target, first, pieces = await self._begin_stream(endpoint, request, request.header("x-amzn-sagemaker-accept"))
        headers = _answer_headers(target, request, eventstream.CONTENT_TYPE)
        kind = "text/event-stream" if first.startswith(b"data:") else "application/json"
        return Reply(200, _frames(first, pieces), headers | {"x-amzn-sagemaker-content-type": kind})

    async def invoke_events(self, endpoint: str, request: Request) -> Reply:
        """Answer with the container's own events, without a frame around them. Raises as `invoke_stream`."""
        target, first, pieces = await self._begin_stream(endpoint, request, request.header("accept"))
        return Reply(200, _unframed(first, pieces), _answer_headers(target, request, "text/event-stream"))

    async def _begin_stream(
        self, endpoint: str, request: Request, accept: str | None
    ) -> tuple[Target, bytes, AsyncGenerator[bytes]]:
        _check_size(request.body, BODY_LIMIT_BYTES)
        await self._faults.strike("invoke_stream", endpoint)
        target = self._target(endpoint, request)
        call = _call(request, accept=accept, content_type=request.header("content-type"))
        inference_id = request.header("x-amzn-sagemaker-inference-id") or str(uuid.uuid4())
        pieces = self._serving.stream(target, call, inference_id=inference_id)
        try:
            return target, await anext(pieces, b""), pieces
        except ContainerError as error:
            raise self._model_error(endpoint, error.status, error.message) from error

    async def invoke_async(self, endpoint: str, request: Request) -> Reply:
        """Answer InvokeEndpointAsync: 202 once the request is stored.

        Raises:
            ServiceError: ValidationError, or an injected error.
        """
        await self._faults.strike("invoke_async", endpoint)
        found = self._fleet.in_service(endpoint)
        if "AsyncInferenceConfig" not in found:
            raise validation_error(f"Endpoint {endpoint} is not an asynchronous inference endpoint.")
        location = request.header("x-amzn-sagemaker-inputlocation")
        if bool(location) == bool(request.body):
            raise validation_error("Provide exactly one of InputLocation and Body.")
        _check_size(request.body, ASYNC_BODY_LIMIT_BYTES)
        if location and not location.startswith(("s3://", "https://")):
            raise validation_error(f"InputLocation {location} is not an S3 URI.")
        inference_id = request.header("x-amzn-sagemaker-inference-id") or str(uuid.uuid4())
        if len(inference_id) > 64:
            raise validation_error("InferenceId must have length less than or equal to 64.")
        asked: Json = {
            "accept": request.header("x-amzn-sagemaker-accept"),
            "content_type": request.header("x-amzn-sagemaker-content-type"),
            "input_location": location,
            "received": time.time(),
            "timeout": _bounded(request, "invocationtimeoutseconds", _TIMEOUT_RANGE, 900),
            "filename": request.header("x-amzn-sagemaker-filename"),
            "extension": request.header("x-amzn-sagemaker-s3outputpathextension"),
        }
        ttl = _bounded(request, "requestttlseconds", _TTL_RANGE, 21_600)
        output, failure = self._queue.accept(found, inference_id, asked, ttl, request.body or None)
        headers = {"x-amzn-sagemaker-outputlocation": output}
        if failure:
            headers["x-amzn-sagemaker-failurelocation"] = failure
        return json_reply({"InferenceId": inference_id}, 202, headers)

    def _target(self, endpoint: str, request: Request) -> Target:
        found = self._fleet.in_service(endpoint)
        if "AsyncInferenceConfig" in found:
            raise validation_error(
                f"Endpoint {endpoint} is an asynchronous inference endpoint. Use InvokeEndpointAsync."
            )
        component = request.header("x-amzn-sagemaker-inference-component")
        if component:
            return self._components.target(endpoint, component)
        wanted = request.header("x-amzn-sagemaker-target-model")
        multi = any(variant["mode"] == "MultiModel" for variant in found["variants"])
        if bool(wanted) != multi:
            word = "requires" if multi else "does not accept"
            raise validation_error(f"Endpoint {endpoint} {word} a TargetModel.")
        return self._fleet.route(endpoint, request.header("x-amzn-sagemaker-target-variant"))

    def _model_error(self, endpoint: str, status: int, message: str) -> ServiceError:
        return model_error(status, message, log_arn=self._settings.log_arn(endpoint))


def _call(request: Request, *, accept: str | None, content_type: str | None) -> Call:
    return Call(
        body=request.body,
        content_type=content_type or "application/json",
        accept=accept or "",
        target_model=request.header("x-amzn-sagemaker-target-model"),
    )


def _answer_headers(target: Target, request: Request, content_type: str) -> dict[str, str]:
    headers = {"content-type": content_type, "x-amzn-invoked-production-variant": target.variant}
    custom = request.header("x-amzn-sagemaker-custom-attributes")
    return headers | ({"x-amzn-sagemaker-custom-attributes": custom} if custom else {})


async def _frames(first: bytes, rest: Any) -> AsyncIterator[bytes]:
    try:
        if first:
            yield eventstream.payload_part(first)
        async for piece in rest:
            yield eventstream.payload_part(piece)
    except ContainerError as error:
        yield eventstream.stream_exception("ModelStreamError", error.message, str(error.status))
    finally:
        await rest.aclose()


async def _unframed(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    except ContainerError as error:
        # vLLM ends a stream that breaks with an event of this form.
        broken = {"error": {"message": error.message, "type": "server_error", "code": error.status}}
        yield b"data: " + json.dumps(broken).encode() + b"\n\n"
    finally:
        await rest.aclose()


def _check_size(body: bytes, limit: int) -> None:
    if len(body) > limit:
        raise ServiceError(413, "RequestEntityTooLarge", f"HTTP content length exceeded {limit} bytes.")


def _bounded(request: Request, name: str, bounds: tuple[int, int], default: int) -> int:
    raw = request.header(f"x-amzn-sagemaker-{name}")
    if raw is None:
        return default
    low, high = bounds
    if not raw.isdecimal() or not low <= int(raw) <= high:
        raise validation_error(f"{name} must be a whole number from {low} to {high}.")
    return int(raw)
