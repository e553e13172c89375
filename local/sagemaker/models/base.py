"""What every model container is: bytes in, bytes out, over the formats batch and online callers send."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, override

_LINES = ("application/jsonlines", "application/x-ndjson", "application/jsonl")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it reaches a container."""

    body: bytes
    content_type: str = "application/json"
    accept: str = ""
    target_model: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it leaves a container."""

    body: bytes
    content_type: str = "application/json"


class ContainerError(Exception):
    """The container answers with a status of 400 or more.

    Args:
        status: the HTTP status.
        message: the body it answers with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Container(ABC):
    """A model server. One object per process serves every endpoint that uses its image.

    Attributes:
        workers: requests one instance serves at once, unless the model's environment says otherwise.
    """

    workers: int = 1

    def warm(self) -> None:  # noqa: B027 - most containers have nothing to read
        """Read the weights, if they are not yet read. Blocking.

        Raises:
            ContainerError: they cannot be read.
        """

    @abstractmethod
    async def invoke(self, call: Call) -> Answer:
        """Answer one call.

        Raises:
            ContainerError: the input is bad, or the model failed.
        """

    @abstractmethod
    def stream(self, call: Call) -> AsyncIterator[bytes]:
        """Answer one call piece by piece; the pieces joined are what `invoke` would answer."""


class JsonContainer(Container):
    """A container that reads JSON, or JSON Lines with one document and one answer a line."""

    @abstractmethod
    async def predict(self, document: Any, call: Call) -> Any:
        """Answer one document with another.

        Raises:
            ContainerError: the document is bad, or the model failed.
        """

    @override
    async def invoke(self, call: Call) -> Answer:
        if media_type(call) in _LINES:
            answers = [await self.predict(parse(line), call) for line in call.body.splitlines()]
            body = b"".join(json.dumps(answer).encode() + b"\n" for answer in answers)
            return Answer(body, "application/jsonlines")
        return Answer(json.dumps(await self.predict(read_document(call), call)).encode())

    @override
    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        yield (await self.invoke(call)).body


def media_type(call: Call) -> str:
    """Return the content type without its parameters."""
    return call.content_type.partition(";")[0].strip().lower()


def read_document(call: Call) -> Any:
    """Return the call's one document: JSON, or plain text as `{"inputs": text}`.

    Raises:
        ContainerError: 400 for bad JSON, 415 for another media type.
    """
    kind = media_type(call)
    if kind == "text/plain":
        return {"inputs": call.body.decode(errors="replace")}
    if kind in ("application/json", "application/octet-stream", "", *_LINES):
        return parse(call.body)
    raise ContainerError(415, f"Unsupported content type {kind}")


def parse(body: bytes) -> Any:
    """Parse JSON.

    Raises:
        ContainerError: 400, it is not JSON.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise ContainerError(400, f"Input is not JSON: {error}") from error


def texts_of(value: Any) -> list[str]:
    """Return one text or a list of texts as a list.

    Raises:
        ContainerError: 400, it is neither, or it is empty.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ContainerError(400, "Expected a text or a list of texts")
    return texts
