"""Server-sent events of an answer that is still being made.

The same events as `event_stream` writes for an answer that is there as a whole; the two are held together by a test.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from tollgate.api.openai.answers import Served, fingerprint_of, tier_used, token_usage
from tollgate.api.openai.event_stream import CONTENT_TYPE, DONE, event
from tollgate.api.rendering import cost_fields, trail_headers
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.job import Usage

if TYPE_CHECKING:
    from tollgate.api.outlet import Outlet
    from tollgate.api.rendering import RateLimits
    from tollgate.ports.streams import Delta
    from tollgate.services.requests.trail import Trail


@dataclass(frozen=True, slots=True)
class Chunks:
    """One kind of chunk.

    Attributes:
        kind: its `object`.
        prefix: of its id.
        shape: what a choice in it holds of a delta's fields.
        first: of the first chunk of a choice; None where there is nothing to say before the text.
        last: of the chunk with the finish reason.
    """

    kind: str
    prefix: str
    shape: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    first: Mapping[str, Any] | None
    last: Mapping[str, Any]


CHAT_CHUNKS = Chunks(
    "chat.completion.chunk",
    "chatcmpl",
    lambda fields: {"delta": {name: value for name, value in fields.items() if name != "role" and value}},
    {"delta": {"role": "assistant", "content": ""}},
    {"delta": {}},
)
TEXT_CHUNKS = Chunks(
    "text_completion", "cmpl", lambda fields: {"text": fields.get("content") or ""}, None, {"text": ""}
)


class EventForm(Protocol):
    """The events of one kind of answer."""

    def begin(self, served: Served) -> Iterator[str]:
        """Before the first piece; `served` has no output and no usage yet."""

    def piece(self, delta: Delta) -> Iterator[str]:
        """Of a piece of the answer."""

    def end(self, usage: Usage, more: Mapping[str, Any], *, estimated: bool) -> Iterator[str]:
        """After the last piece.

        Args:
            usage: of the whole answer.
            more: what else is known at the end, such as the cost.
            estimated: nobody counted the tokens, and the events say so.
        """


class ChunkEvents:
    """The `EventForm` of chats and plain completions.

    Args:
        chunks: their kind.
        include_usage: whether the last event tells the usage, and with it the cost.
    """

    def __init__(self, chunks: Chunks, *, include_usage: bool) -> None:
        self._chunks = chunks
        self._include_usage = include_usage
        self._head: dict[str, Any] = {}
        self._greeted: set[int] = set()

    def begin(self, served: Served) -> Iterator[str]:
        """See `EventForm`. Chunks need no opening."""
        self._head = served.document(self._chunks.kind, self._chunks.prefix)
        yield from ()

    def piece(self, delta: Delta) -> Iterator[str]:
        """See `EventForm`."""
        chunks = self._chunks
        if chunks.first is not None and delta.index not in self._greeted:
            self._greeted.add(delta.index)
            yield self._choice(delta.index, chunks.first, None, None)
        if says_something(delta):
            yield self._choice(delta.index, chunks.shape(delta.fields), delta.logprobs, None)
        if delta.finish_reason is not None:
            yield self._choice(delta.index, chunks.last, None, delta.finish_reason)

    def end(self, usage: Usage, more: Mapping[str, Any], *, estimated: bool) -> Iterator[str]:
        """See `EventForm`."""
        if self._include_usage:
            counted = token_usage(usage)
            # As for embeddings, an estimate says that it is one.
            told = counted and {**counted, **({"estimated": True} if estimated else {})}
            yield event({**self._head, "choices": [], "usage": told, **more})
        yield DONE

    def _choice(self, index: int, shaped: Mapping[str, Any], logprobs: Any, reason: str | None) -> str:
        choice = {"index": index, **shaped, "logprobs": logprobs, "finish_reason": reason}
        before = {"usage": None} if self._include_usage else {}
        return event({**self._head, "choices": [choice], **before})


def says_something(delta: Delta) -> bool:
    """Whether a piece has more in it than whose turn it is."""
    return any(value for name, value in delta.fields.items() if name != "role")


class LiveEvents:
    """The `LiveAnswer` of OpenAI's clients.

    Args:
        form: of the events.
        repeatable: somebody may ask for the same answer again, so it is made to its end even if nobody reads it now.
        limits: what the caller is told of its rates; None tells nothing.
    """

    def __init__(
        self,
        outlet: Outlet,
        trail: Trail,
        *,
        form: EventForm,
        model: str,
        tier: str | None,
        repeatable: bool,
        limits: RateLimits | None = None,
    ) -> None:
        self._outlet = outlet
        self._limits = limits
        self._trail = trail
        self._form = form
        self._model = model
        self._tier = tier
        self._repeatable = repeatable
        self._begun = False
        self._estimated = False

    @property
    def begun(self) -> bool:
        """See `LiveAnswer`."""
        return self._begun

    @property
    def sent_bytes(self) -> int:
        """See `LiveAnswer`."""
        return self._outlet.sent_bytes

    def estimated(self) -> None:
        """See `LiveAnswer`."""
        self._estimated = True

    def show(self, inference_id: str, created_at: datetime, deltas: Sequence[Delta]) -> bool:
        """See `LiveAnswer`. Nothing is sent before there is something to say, so that an error can still be one."""
        for delta in deltas:
            if not says_something(delta) and delta.finish_reason is None:
                continue
            if not self._begun:
                self._begun = True
                self._begin(inference_id, created_at)
            self._write(self._form.piece(delta))
        return self._repeatable or not self._outlet.gone

    def finish(self, usage: Usage) -> None:
        """The end of an answer that was shown; what it cost is known by now and goes with the usage."""
        self._write(self._form.end(usage, cost_fields(self._trail), estimated=self._estimated))

    def _begin(self, inference_id: str, created_at: datetime) -> None:
        trail = self._trail
        served = Served(
            inference_id=inference_id,
            created_at=created_at,
            model=self._model,
            output=None,
            usage=Usage(),
            tier=tier_used(InferenceType.REALTIME, asked_priority=self._tier == "priority"),
            fingerprint=fingerprint_of(trail.resource, trail.catalogue.version if trail.catalogue else 0),
        )
        limits = {} if self._limits is None else self._limits.headers(trail.admitted)
        headers = {**limits, **trail_headers(trail)}
        # Nobody knows yet what it will cost; the last event tells those who ask for the usage.
        for name in ("x-tollgate-cost-usd", "x-tollgate-avoided-cost-usd"):
            headers.pop(name, None)
        self._outlet.start(200, {**headers, "Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
        self._write(self._form.begin(served))

    def _write(self, events: Iterator[str]) -> None:
        for text in events:
            self._outlet.write(text)
