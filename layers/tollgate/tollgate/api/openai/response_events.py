"""Server-sent events of a streamed response, for an answer in pieces and for one that is there as a whole.

Both are written by the same hand: a whole answer is a stream of one piece for each of its texts and calls.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tollgate.api.http import answer_text
from tollgate.api.openai.response_answers import response_ending, response_frame, response_usage
from tollgate.api.openai.response_items import MESSAGE, REASONING, REFUSAL, TextKind, call_item, text_item, text_part
from tollgate.domain.generated import choices_in
from tollgate.ports.streams import Delta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tollgate.api.openai.answers import Served
    from tollgate.domain.errors import TollgateError
    from tollgate.domain.generated import Choice
    from tollgate.domain.jobs.job import Usage

_TEXTS = (("reasoning_content", REASONING), ("content", MESSAGE), ("refusal", REFUSAL))


class _Text:
    """A text on its way."""

    def __init__(self, kind: TextKind, own: str, position: int) -> None:
        self._kind = kind
        self._own = own
        self._pieces: list[str] = []
        self._place = {"item_id": f"{kind.prefix}_{own}", "output_index": position}
        self._position = position
        self._inside = {**self._place, "content_index": 0}
        # Only what was said has probabilities.
        self._logprobs: dict[str, Any] = {"logprobs": []} if kind is MESSAGE else {}

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        item = text_item(self._kind, self._own, None, "in_progress")
        yield "response.output_item.added", {"output_index": self._position, "item": item}
        yield "response.content_part.added", {**self._inside, "part": text_part(self._kind, "")}

    def add(self, piece: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._pieces.append(piece)
        yield f"response.{self._kind.part}.delta", {**self._inside, "delta": piece, **self._logprobs}

    def end(self, status: str) -> Iterator[tuple[str, dict[str, Any]]]:
        text, item = "".join(self._pieces), self.item(status)
        yield f"response.{self._kind.part}.done", {**self._inside, self._kind.field: text, **self._logprobs}
        yield "response.content_part.done", {**self._inside, "part": text_part(self._kind, text)}
        yield "response.output_item.done", {"output_index": self._position, "item": item}

    def item(self, status: str) -> dict[str, Any]:
        return text_item(self._kind, self._own, "".join(self._pieces), status)


class _ToolCall:
    """A tool call on its way: its arguments are a text that grows."""

    def __init__(self, own: str, number: int, position: int, first: Mapping[str, Any]) -> None:
        function = {**(first.get("function") or {}), "arguments": ""}
        self._item = call_item(own, number, {**first, "function": function}, "in_progress")
        self._place = {"item_id": self._item["id"], "output_index": position}
        self._position = position

    def begin(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "response.output_item.added", {"output_index": self._position, "item": dict(self._item)}

    def add(self, piece: str) -> Iterator[tuple[str, dict[str, Any]]]:
        self._item["arguments"] += piece
        yield "response.function_call_arguments.delta", {**self._place, "delta": piece}

    def end(self, status: str) -> Iterator[tuple[str, dict[str, Any]]]:
        done = {"name": self._item["name"], "arguments": self._item["arguments"]}
        yield "response.function_call_arguments.done", {**self._place, **done}
        yield "response.output_item.done", {"output_index": self._position, "item": self.item(status)}

    def item(self, status: str) -> dict[str, Any]:
        return {**self._item, "status": status}


class ResponseEvents:
    """The `EventForm` of responses. Items are added as they begin, and done, in that order, when the answer ends.

    Args:
        parameters: of the request, which a response tells again.
        metadata: likewise.
    """

    def __init__(self, parameters: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        self._parameters = parameters
        self._metadata = metadata
        self._frame: dict[str, Any] = {}
        self._own = ""
        self._number = 0
        self._items: dict[str, _Text | _ToolCall] = {}
        self._finish_reason = "stop"

    def begin(self, served: Served) -> Iterator[str]:
        """See `EventForm`."""
        self._frame = response_frame(served, self._parameters, self._metadata, background=False)
        self._frame["status"] = "in_progress"
        self._own = self._frame["id"].removeprefix("resp_")
        yield self._event("response.created", {"response": self._frame})
        yield self._event("response.in_progress", {"response": self._frame})

    def piece(self, delta: Delta) -> Iterator[str]:
        """See `EventForm`. A response has one choice."""
        for name, kind in _TEXTS:
            if text := delta.fields.get(name):
                item = self._items.get(name)
                if item is None:
                    item = self._items[name] = _Text(kind, self._own, len(self._items))
                    yield from self._events(item.begin())
                yield from self._events(item.add(text))
        for number, call in enumerate(delta.fields.get("tool_calls") or ()):
            yield from self._called(call, number)
        self._finish_reason = delta.finish_reason or self._finish_reason

    def end(self, usage: Usage, more: Mapping[str, Any], *, estimated: bool) -> Iterator[str]:
        """See `EventForm`: everything that is open is done, then the whole response."""
        if not self._items:
            # An empty answer is a message as well.
            empty = self._items["content"] = _Text(MESSAGE, self._own, 0)
            yield from self._events(empty.begin())
        ending = response_ending(self._finish_reason)
        for item in self._items.values():
            yield from self._events(item.end(ending["status"]))
        output = [item.item(ending["status"]) for item in self._items.values()]
        counted = response_usage(usage)
        if counted is not None and estimated:
            counted["estimated"] = True
        response = {**self._frame, **ending, "output": output, "usage": counted, **more}
        yield self._event(f"response.{ending['status']}", {"response": response})

    def failed(self, error: TollgateError) -> str:
        """Of a response that broke off. An event with the error itself follows, as in every stream."""
        output = [item.item("incomplete") for item in self._items.values()]
        reason = {"code": "server_error", "message": error.message}
        response = {**self._frame, "status": "failed", "error": reason, "output": output}
        return self._event("response.failed", {"response": response})

    def _called(self, call: Mapping[str, Any], number: int) -> Iterator[str]:
        index = call.get("index")
        name = f"call {index if isinstance(index, int) else number}"
        item = self._items.get(name)
        if item is None:
            calls = sum(isinstance(known, _ToolCall) for known in self._items.values())
            item = self._items[name] = _ToolCall(self._own, calls, len(self._items), call)
            yield from self._events(item.begin())
        if arguments := (call.get("function") or {}).get("arguments"):
            yield from self._events(item.add(arguments))

    def _events(self, events: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[str]:
        for kind, fields in events:
            yield self._event(kind, fields)

    def _event(self, kind: str, fields: Mapping[str, Any]) -> str:
        document = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {answer_text(document)}\n\n"


def response_stream(
    served: Served, parameters: Mapping[str, Any], metadata: Mapping[str, str], more: Mapping[str, Any]
) -> str:
    """All events of an answer that is there as a whole.

    Raises:
        ModelFailedError: the output is no generated text.
    """
    form = ResponseEvents(parameters, metadata)
    choice = choices_in(served.output)[0]
    events = [*form.begin(served), *form.piece(_as_delta(choice)), *form.end(served.usage, more, estimated=False)]
    return "".join(events)


def _as_delta(choice: Choice) -> Delta:
    calls = [{**call, "index": index} for index, call in enumerate(choice.tool_calls)]
    fields = {
        "reasoning_content": choice.reasoning,
        "content": choice.text,
        "refusal": choice.refusal,
        "tool_calls": calls,
    }
    return Delta(0, fields, None, choice.finish_reason)
