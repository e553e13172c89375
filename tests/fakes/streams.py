"""A model that answers piece by piece, and a client that looks on."""

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from tests.fakes.clock import ManualClock
from tollgate.domain.catalogue import Road


class ScriptedStream:
    """The `StreamingBackend` of tests: sends pieces, or fails, as told; each piece takes some time on the clock."""

    def __init__(self, clock: ManualClock, *, takes: float = 0.5) -> None:
        self._clock = clock
        self.takes = takes
        self.pieces: Sequence[bytes | Exception] = ()
        self.bodies: list[dict[str, Any]] = []
        self.closed_after = -1

    def open(
        self, road: Road, body: bytes, content_type: str, *, timeout_seconds: float, trace: str
    ) -> Generator[bytes]:
        """Answer as told."""
        assert road.target
        assert content_type == "application/json"
        assert timeout_seconds > 0
        assert trace
        self.bodies.append(json.loads(body))
        sent = 0
        try:
            for piece in self.pieces:
                self._clock.advance(self.takes)
                if isinstance(piece, Exception):
                    raise piece
                sent += 1
                yield piece
        finally:
            self.closed_after = sent


class RecordingOutlet:
    """The `Outlet` of tests; the client hangs up after so many pieces of the body."""

    def __init__(self, *, leaves_after: int | None = None) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.written: list[str] = []
        self._leaves_after = leaves_after

    @property
    def begun(self) -> bool:
        """Whether there is a head."""
        return self.status != 0

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body so far."""
        return sum(len(text.encode()) for text in self.written)

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        return self._leaves_after is not None and len(self.written) >= self._leaves_after

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head, once."""
        assert not self.begun
        self.status, self.headers = status, headers

    def write(self, text: str) -> None:
        """Take a piece."""
        assert self.begun
        self.written.append(text)

    @property
    def body(self) -> str:
        """All of it."""
        return "".join(self.written)

    @property
    def events(self) -> list[Any]:
        """The events' documents; the end is a text."""
        found = [line.removeprefix("data: ") for line in self.body.split("\n\n") if line]
        return [text if text == "[DONE]" else json.loads(text) for text in found]

    @property
    def text(self) -> str:
        """What the model said, in chats and plain completions."""
        choices = [choice for event in self.events if isinstance(event, dict) for choice in event.get("choices", ())]
        return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


def chunk(content: str | None = None, reason: str | None = None, index: int = 0, **delta: Any) -> bytes:
    """One event of a container that speaks OpenAI's chunks."""
    said = {**({"content": content} if content is not None else {}), **delta}
    return _event({"choices": [{"index": index, "delta": said, "finish_reason": reason}]})


def usage_chunk(prompt: int, completion: int) -> bytes:
    """The event with the usage."""
    return _event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


def token(text: str, *, ending: Mapping[str, Any] | None = None, special: bool = False) -> bytes:
    """One event of Hugging Face's containers; `ending` is the details of the last one."""
    whole = "whole" if ending else None
    return _event({"token": {"id": 1, "text": text, "special": special}, "generated_text": whole, "details": ending})


DONE = b"data: [DONE]\n\n"


def _event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
