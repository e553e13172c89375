"""Answers that are passed on while the model still makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from datetime import datetime

    from tollgate.domain.catalogue import Road
    from tollgate.domain.jobs.job import Usage


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of one choice of an answer.

    Attributes:
        index: of the choice.
        fields: of OpenAI's delta: `content`, `role`, `tool_calls`, `refusal`, `reasoning_content`; a plain text is
            `content` as well.
        finish_reason: with the choice's last piece; OpenAI's word for it.
    """

    index: int
    fields: Mapping[str, Any]
    logprobs: Any = None
    finish_reason: str | None = None


class StreamingBackend(Protocol):
    """An endpoint that answers piece by piece."""

    def open(
        self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str
    ) -> Generator[bytes]:
        """The bytes of the container's answer as they come, cut anywhere. Closing it ends the call.

        Nothing is sent before the first piece is asked for.

        Raises:
            ModelFailedError, CapacityError, BackendThrottledError, BackendTimeoutError, BackendError: with the first
                piece, as `RealtimeBackend.invoke`; later, the answer broke off.
        """


class StreamReader(Protocol):
    """Reads one answer."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """The pieces that these bytes complete.

        Raises:
            ModelFailedError: the container reports an error, or says what nobody understands.
        """

    def end(self) -> Sequence[Delta]:
        """The pieces that only the end of the bytes completes.

        Raises:
            ModelFailedError: the answer broke off.
        """

    def cut(self) -> None:
        """No more will be read: nothing that came in pieces counts as ended, for others may not have begun."""

    def usage(self) -> Usage:
        """Tokens, as far as the container has said."""

    @property
    def pieces(self) -> int:
        """How many pieces with something in them have come: about as many as tokens."""

    def whole(self, usage: Usage) -> bytes:
        """The answer so far as the container would have given it at once, for the dialect to parse."""


class StreamForms(Protocol):
    """How containers are asked to stream, and how their streams read."""

    def ask(self, body: bytes) -> bytes:
        """The request body that asks for a stream."""

    def reader(self) -> StreamReader:
        """A reader for one answer."""


class LiveAnswer(Protocol):
    """A caller who sees the answer as it comes."""

    @property
    def begun(self) -> bool:
        """Whether the caller has seen a part of the answer, so that no other can be given any more."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of the answer that were sent so far."""

    def estimated(self) -> None:
        """The usage of this answer will be an estimate: the container has not said it."""

    def show(self, inference_id: str, created_at: datetime, deltas: Sequence[Delta]) -> bool:
        """Show pieces; False once nobody looks any more and nobody else will ask for the answer."""
