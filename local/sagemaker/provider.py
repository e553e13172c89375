"""A provider's API in OpenAI's language over the local models: chats and embeddings for whoever brings a key.

`http://127.0.0.1:PORT/v1` is its base address, a model's name that of its SageMaker Model. Any key is taken; the fault
`{"op": "provider", "kind": "error", "status": 401}` refuses one.
https://platform.openai.com/docs/api-reference
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator

from local.sagemaker.faults import Faults
from local.sagemaker.hosted import HostedModels
from local.sagemaker.models.base import Call, ContainerError
from local.sagemaker.wire import AbandonedConnectionError, Reply, Request, ServiceError, json_reply

PREFIX = "/v1/"
_PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings"})


class Provider:
    """Answers the API.

    Args:
        models: runs the models.
        faults: failures to inject, at `provider`.
    """

    def __init__(self, models: HostedModels, faults: Faults) -> None:
        self._models = models
        self._faults = faults

    async def answer(self, request: Request) -> Reply:
        """Answer one call, also one that is refused."""
        try:
            return await self._answer(request)
        except ServiceError as error:
            return _problem(error.status, error.code, error.message)
        except ContainerError as error:
            return _problem(error.status, "model_error", error.message)

    async def _answer(self, request: Request) -> Reply:
        if request.method != "POST" or request.path not in _PATHS:
            raise ServiceError(404, "unknown_url", f"Unknown request URL: {request.method} {request.path}.")
        if not (request.header("authorization") or "").startswith("Bearer "):
            raise ServiceError(401, "invalid_api_key", "You didn't provide an API key.")
        try:
            document = json.loads(request.body)
            model = document["model"]
            streamed = document.get("stream") is True
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ServiceError(400, "invalid_request", "The body must be a JSON object with a model.") from None
        await self._faults.strike("provider", str(model))
        container = self._models.container(str(model))
        if container is None:
            raise ServiceError(404, "model_not_found", f"The model `{model}` does not exist.")
        call = Call(request.body)
        if streamed:
            pieces = self._models.stream(model, container, call, road="provider")
            first = await anext(pieces)
            return Reply(200, _events(first, pieces), {"content-type": "text/event-stream"})
        answer = await self._models.run(model, container, call, road="provider")
        if self._faults.take("provider", model, "timeout_after_work"):
            raise ServiceError(504, "timeout", "The upstream server did not answer.")
        if self._faults.take("provider", model, "abandon"):
            raise AbandonedConnectionError
        return Reply(200, answer.body, {"content-type": answer.content_type})


async def _events(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        async for piece in rest:
            yield piece
    except ContainerError as error:
        yield b"data: " + json.dumps(_error(error.status, "model_error", error.message)).encode() + b"\n\n"
    finally:
        await rest.aclose()


def _problem(status: int, code: str, message: str) -> Reply:
    headers = {"retry-after": "3"} if status in {429, 503} else {}
    return json_reply(_error(status, code, message), status, headers)


def _error(status: int, code: str, message: str) -> dict[str, object]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
