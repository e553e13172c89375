"""Bedrock's Converse and ConverseStream over the local models; a model's id is the name of its SageMaker Model.

Requests are checked where Bedrock checks them: turns alternate and begin with the user's, no text is blank, and blocks
of tools come with their tools. The models themselves read nothing but the texts and call no tools.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from itertools import pairwise
from typing import Any

from local.sagemaker import eventstream
from local.sagemaker.faults import Faults
from local.sagemaker.hosted import HostedModels
from local.sagemaker.models.base import Call, ContainerError
from local.sagemaker.models.text import TextContainer
from local.sagemaker.wire import AbandonedConnectionError, Json, Reply, Request, ServiceError, json_reply

PREFIX = "/model/"
_STOP_REASONS: Mapping[str, str] = {"stop": "end_turn", "length": "max_tokens"}
_SAMPLING: Mapping[str, str] = {"temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}


class Bedrock:
    """Answers `/model/{id}/converse` and `/model/{id}/converse-stream`.

    Args:
        models: runs the models.
        faults: failures to inject, at `converse` and `converse_stream`.
    """

    def __init__(self, models: HostedModels, faults: Faults) -> None:
        self._models = models
        self._faults = faults

    async def answer(self, request: Request) -> Reply:
        """Answer one call.

        Raises:
            ServiceError: one of the operation's errors.
        """
        model, _, operation = request.path.removeprefix(PREFIX).rpartition("/")
        if request.method != "POST" or operation not in {"converse", "converse-stream"}:
            raise ServiceError(404, "UnknownOperationException", f"{request.path} is not served")
        await self._faults.strike(operation.replace("-", "_"), model)
        container = self._models.container(model)
        if not isinstance(container, TextContainer):
            raise _refused("The provided model identifier is invalid.")
        document = _chat(request.body)
        if operation == "converse":
            return await self._whole(model, container, document)
        return await self._streamed(model, container, document)

    async def _whole(self, model: str, container: TextContainer, document: Json) -> Reply:
        began = time.monotonic()
        try:
            answer = await self._models.run(model, container, _call(document), road="converse")
        except ContainerError as error:
            raise _model_error(error, model) from error
        if self._faults.take("converse", model, "timeout_after_work"):
            raise ServiceError(408, "ModelTimeoutException", "The request took too long to process.")
        if self._faults.take("converse", model, "abandon"):
            raise AbandonedConnectionError
        completion = json.loads(answer.body)
        choice = completion["choices"][0]
        return json_reply(
            {
                "output": {"message": {"role": "assistant", "content": [{"text": choice["message"]["content"]}]}},
                "stopReason": _STOP_REASONS[choice["finish_reason"]],
                "usage": _usage(completion["usage"]),
                "metrics": {"latencyMs": int((time.monotonic() - began) * 1000)},
            }
        )

    async def _streamed(self, model: str, container: TextContainer, document: Json) -> Reply:
        asked = document | {"stream": True, "stream_options": {"include_usage": True}}
        pieces = self._models.stream(model, container, _call(asked), road="converse_stream")
        try:
            first = await anext(pieces)
        except ContainerError as error:
            raise _model_error(error, model) from error
        return Reply(200, _frames(first, pieces), {"content-type": eventstream.CONTENT_TYPE})


def _call(document: Json) -> Call:
    return Call(json.dumps(document).encode())


def _chat(body: bytes) -> Json:
    """Converse's request as a container reads it.

    Raises:
        ServiceError: 400, Bedrock would not take it.
    """
    try:
        request = json.loads(body)
        turns = [(turn["role"], turn["content"]) for turn in request["messages"]]
        system = [block["text"] for block in request.get("system", ())]
        _check(turns, has_tools=bool(request.get("toolConfig", {}).get("tools")))
        messages = [{"role": "system", "content": text} for text in system]
        messages += [{"role": role, "content": _text(content)} for role, content in turns]
        config = request.get("inferenceConfig", {})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(f"The request is malformed: {error!r}") from error
    document = {"messages": messages} | {ours: config[theirs] for theirs, ours in _SAMPLING.items() if theirs in config}
    return document | ({"max_tokens": config["maxTokens"]} if "maxTokens" in config else {})


def _check(turns: list[tuple[str, list[Json]]], *, has_tools: bool) -> None:
    if not turns or turns[0][0] != "user":
        raise _refused("A conversation must start with a user message. Try again with a conversation that does.")
    for (role, _), (following, _) in pairwise(turns):
        if role == following:
            raise _refused("A conversation must alternate between user and assistant roles.")
    for position, (_, content) in enumerate(turns):
        if not content:
            raise _refused(f"The content field in the Message object at messages.{position} is empty.")
        for number, block in enumerate(content):
            if "text" in block and not block["text"].strip():
                raise _refused(f"The text field in the ContentBlock at messages.{position}.content.{number} is blank.")
            if block.keys() & {"toolUse", "toolResult"} and not has_tools:
                raise _refused("The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def _text(content: list[Json]) -> str:
    texts = []
    for block in content:
        inner = block.get("toolResult", {}).get("content", ()) if "toolResult" in block else (block,)
        texts += [part["text"] for part in inner if "text" in part]
    return "\n".join(texts)


def _usage(usage: Json) -> Json:
    return {
        "inputTokens": usage["prompt_tokens"],
        "outputTokens": usage["completion_tokens"],
        "totalTokens": usage["total_tokens"],
    }


async def _frames(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The container's chunks as Converse's events."""
    try:
        yield eventstream.event("messageStart", {"role": "assistant"})
        for kind, document in _events(first):
            yield eventstream.event(kind, document)
        async for piece in rest:
            for kind, document in _events(piece):
                yield eventstream.event(kind, document)
    except ContainerError as error:
        members = {"message": error.message, "originalStatusCode": error.status, "originalMessage": error.message}
        yield eventstream.exception("modelStreamErrorException", members)
    finally:
        await rest.aclose()


def _events(piece: bytes) -> list[tuple[str, Json]]:
    found: list[tuple[str, Json]] = []
    data = piece.removeprefix(b"data: ").strip()
    chunk: Any = {} if data == b"[DONE]" else json.loads(data)
    for choice in chunk.get("choices", ()):
        if text := choice["delta"].get("content"):
            found.append(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}))
        if choice["finish_reason"]:
            found.append(("contentBlockStop", {"contentBlockIndex": 0}))
            found.append(("messageStop", {"stopReason": _STOP_REASONS[choice["finish_reason"]]}))
    if chunk.get("usage"):
        found.append(("metadata", {"usage": _usage(chunk["usage"]), "metrics": {"latencyMs": 1}}))
    return found


def _refused(message: str) -> ServiceError:
    return ServiceError(400, "ValidationException", message)


def _model_error(error: ContainerError, model: str) -> ServiceError:
    members = {"originalStatusCode": error.status, "resourceName": model}
    return ServiceError(424, "ModelErrorException", error.message, members)
