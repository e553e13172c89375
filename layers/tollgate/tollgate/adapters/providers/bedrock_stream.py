"""Chats on Amazon Bedrock that are passed on while the model still makes them.

Converse's events go on as OpenAI's chunks, which are what the streaming routes send and read.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from tollgate.adapters.aws.errors import error_from_response
from tollgate.adapters.aws.event_stream import event_messages
from tollgate.adapters.aws.retry import RetryPolicy
from tollgate.adapters.aws.streaming import StreamingTransport
from tollgate.adapters.dialects.converse_answer import finish_reason, token_usage
from tollgate.adapters.dialects.streaming import ChunkReader
from tollgate.adapters.providers.bedrock_call import bedrock_errors, converse_call
from tollgate.domain.catalogue import Road
from tollgate.domain.errors import BackendTimeoutError, ModelFailedError
from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.ports.streams import StreamReader

_OPERATION = "ConverseStream"
_DONE = b"data: [DONE]\n\n"


class ConverseStreams:
    """The `StreamForms` of the converse dialect: another path asks for the stream, so the body stays as it is."""

    def ask(self, body: bytes) -> bytes:
        """See `StreamForms`."""
        return body

    def reader(self) -> StreamReader:
        """See `StreamForms`."""
        return ChunkReader()


class BedrockStream:
    """Calls ConverseStream, once."""

    def __init__(self, transport: StreamingTransport) -> None:
        self._transport = transport

    def open(
        self,
        road: Road,
        body: bytes,
        content_type: str,  # noqa: ARG002 -- Converse takes JSON only
        *,
        timeout_seconds: float,
        trace: str,  # noqa: ARG002 -- Bedrock passes none on
    ) -> Generator[bytes]:
        """See `StreamingBackend`."""
        call = converse_call(
            road,
            body,
            operation=_OPERATION,
            path="converse-stream",
            retry=RetryPolicy.NEVER,
            timeout_seconds=timeout_seconds,
        )
        chunks, kind, ended = _Chunks(), "", False
        answer = self._transport.open(call, timeout_s=timeout_seconds)
        with bedrock_errors(road.target), closing(event_messages(answer, _OPERATION)) as messages:
            for headers, payload in messages:
                if headers.get(":message-type") != "event":
                    raise _broken_off(headers, payload, road.target, begun=bool(kind))
                kind = str(headers.get(":event-type"))
                ended = ended or kind == "messageStop"
                if chunk := chunks.read(kind, payload):
                    yield b"data: " + escaped_json(chunk) + b"\n\n"
        if not ended:
            raise BackendTimeoutError(f"Bedrock model '{road.target}' broke off its answer.")
        yield _DONE


class _Chunks:
    """OpenAI's chunks of one answer. Converse counts blocks of every kind, OpenAI tool calls by themselves."""

    def __init__(self) -> None:
        self._calls: dict[Any, int] = {}
        self._without_arguments: set[Any] = set()

    def read(self, kind: str, payload: bytes) -> dict[str, Any] | None:
        """The chunk that says what an event says; None for one that says nothing to OpenAI's clients.

        Raises:
            ModelFailedError: the event is none of Converse's.
        """
        try:
            return self._of(kind, strict_json(payload))
        except (ValueError, AttributeError, TypeError) as error:
            raise ModelFailedError("Bedrock sent an event that cannot be read.", original_status=502) from error

    def _of(self, kind: str, event: Mapping[str, Any]) -> dict[str, Any] | None:
        block = event.get("contentBlockIndex")
        chunk = None
        match kind:
            case "messageStart":
                chunk = _piece({"role": "assistant", "content": ""})
            case "contentBlockStart" if use := event.get("start", {}).get("toolUse"):
                chunk = self._begun_call(block, use)
            case "contentBlockDelta":
                chunk = self._delta(block, event.get("delta", {}))
            case "contentBlockStop" if block in self._without_arguments:
                # Clients read the arguments as JSON, which an empty text is not.
                chunk = self._call(block, {"function": {"arguments": "{}"}})
            case "messageStop":
                chunk = _piece({}, finish_reason(str(event.get("stopReason"))))
            case "metadata" if usage := token_usage(event.get("usage")):
                chunk = {"object": "chat.completion.chunk", "choices": [], "usage": usage}
        return chunk

    def _begun_call(self, block: Any, use: Mapping[str, Any]) -> dict[str, Any]:
        self._calls[block] = len(self._calls)
        self._without_arguments.add(block)
        function = {"name": use.get("name"), "arguments": ""}
        return self._call(block, {"id": use.get("toolUseId"), "type": "function", "function": function})

    def _delta(self, block: Any, delta: Mapping[str, Any]) -> dict[str, Any] | None:
        if delta.get("text"):
            return _piece({"content": delta["text"]})
        if block in self._calls and delta.get("toolUse", {}).get("input"):
            self._without_arguments.discard(block)
            return self._call(block, {"function": {"arguments": delta["toolUse"]["input"]}})
        thought = delta.get("reasoningContent", {}).get("text")
        return _piece({"reasoning_content": thought}) if thought else None

    def _call(self, block: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
        return _piece({"tool_calls": [{"index": self._calls[block], **fields}]})


def _piece(delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


# AWS's members of the stream: the name begins with a small letter where the operation's own error does not.
_STATUSES: Mapping[str, int] = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "validationException": 400,
    "throttlingException": 429,
    "serviceUnavailableException": 503,
}


def _broken_off(headers: Mapping[str, Any], payload: bytes, model: str, *, begun: bool) -> Exception:
    """An exception in the stream. Before the answer it is one of the operation's; later, the model has run."""
    name = str(headers.get(":exception-type") or headers.get(":error-code") or "internalServerException")
    if begun:
        return BackendTimeoutError(f"Bedrock model '{model}' broke off its answer ({name[:60]}).")
    code = name[:1].upper() + name[1:]
    return error_from_response(_OPERATION, _STATUSES.get(name, 500), {"x-amzn-errortype": code}, payload)
