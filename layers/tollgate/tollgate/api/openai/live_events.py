"""Server-sent events of an answer that is still being made.

The same events as `event_stream` writes for an answer that is there as a whole; the two are held together by a test.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tollgate.api.openai.answers import Served, fingerprint_of, tier_used, token_usage
from tollgate.api.openai.event_stream import CONTENT_TYPE, DONE, event
from tollgate.api.rendering import cost_fields, trail_headers
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs import Usage

if TYPE_CHECKING:
    from tollgate.api.outlet import Outlet
    from tollgate.api.rendering import RateLimits
    from tollgate.ports.streams import Delta
    from tollgate.services.trail import Trail


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


class LiveEvents:
    """The `LiveAnswer` of OpenAI's clients.

    Args:
        chunks: their kind.
        repeatable: somebody may ask for the same answer again, so it is made to its end even if nobody reads it now.
        limits: what the caller is told of its rates; None tells nothing.
    """

    def __init__(
        self,
        outlet: Outlet,
        trail: Trail,
        *,
        chunks: Chunks,
        model: str,
        tier: str | None,
        include_usage: bool,
        repeatable: bool,
        limits: RateLimits | None = None,
    ) -> None:
        self._outlet = outlet
        self._limits = limits
        self._trail = trail
        self._chunks = chunks
        self._model = model
        self._tier = tier
        self._include_usage = include_usage
        self._repeatable = repeatable
        self._head: dict[str, Any] = {}
        self._greeted: set[int] = set()
        self._estimated: dict[str, Any] = {}

    @property
    def begun(self) -> bool:
        """See `LiveAnswer`."""
        return bool(self._head)

    @property
    def sent_bytes(self) -> int:
        """See `LiveAnswer`."""
        return self._outlet.sent_bytes

    def estimated(self) -> None:
        """See `LiveAnswer`. As for embeddings, an estimate says that it is one."""
        self._estimated = {"estimated": True}

    def show(self, inference_id: str, created_at: datetime, deltas: Sequence[Delta]) -> bool:
        """See `LiveAnswer`. Nothing is sent before there is something to say, so that an error can still be one."""
        for delta in deltas:
            content = any(value for name, value in delta.fields.items() if name != "role")
            if not content and delta.finish_reason is None:
                continue
            if not self._head:
                self._begin(inference_id, created_at)
            chunks = self._chunks
            if chunks.first is not None and delta.index not in self._greeted:
                self._greeted.add(delta.index)
                self._send(delta.index, chunks.first, None, None)
            if content:
                self._send(delta.index, chunks.shape(delta.fields), delta.logprobs, None)
            if delta.finish_reason is not None:
                self._send(delta.index, chunks.last, None, delta.finish_reason)
        return self._repeatable or not self._outlet.gone

    def finish(self, usage: Usage) -> None:
        """The end of an answer that was shown; what it cost is known by now and goes with the usage."""
        if self._include_usage:
            counted = token_usage(usage)
            document = {**self._head, "choices": [], "usage": counted and {**counted, **self._estimated}}
            self._outlet.write(event({**document, **cost_fields(self._trail)}))
        self._outlet.write(DONE)

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
        self._head = served.document(self._chunks.kind, self._chunks.prefix)
        limits = {} if self._limits is None else self._limits.headers(trail.admitted)
        headers = {**limits, **trail_headers(trail)}
        # Nobody knows yet what it will cost; the last event tells those who ask for the usage.
        for name in ("x-tollgate-cost-usd", "x-tollgate-avoided-cost-usd"):
            headers.pop(name, None)
        self._outlet.start(200, {**headers, "Content-Type": CONTENT_TYPE, "Cache-Control": "no-cache"})

    def _send(self, index: int, shaped: Mapping[str, Any], logprobs: Any, reason: str | None) -> None:
        choice = {"index": index, **shaped, "logprobs": logprobs, "finish_reason": reason}
        before = {"usage": None} if self._include_usage else {}
        self._outlet.write(event({**self._head, "choices": [choice], **before}))
