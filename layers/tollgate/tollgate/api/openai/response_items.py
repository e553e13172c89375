"""Output items of OpenAI's responses: what the model thought, what it said, and the tools it wants called.

https://platform.openai.com/docs/api-reference/responses/object#responses/object-output
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.domain.generated import Choice


class TextKind(NamedTuple):
    """One kind of item that is a text.

    Attributes:
        item: its type.
        prefix: of its id.
        part: type of its only part.
        field: of that part and of the last event about it, with the text.
    """

    item: str
    prefix: str
    part: str
    field: str = "text"


MESSAGE = TextKind("message", "msg", "output_text")
REFUSAL = TextKind("message", "msg_refusal", "refusal", "refusal")
REASONING = TextKind("reasoning", "rs", "reasoning_text")


def items_of(choice: Choice, own: str, status: str) -> list[dict[str, Any]]:
    """All items of an answer that is there as a whole.

    Args:
        choice: the answer.
        own: the response's id without its prefix.
        status: of them all: ``completed`` or ``incomplete``.
    """
    items = [text_item(REASONING, own, choice.reasoning, status)] if choice.reasoning else []
    if choice.text or not (choice.tool_calls or choice.refusal):
        items.append(text_item(MESSAGE, own, choice.text or "", status))
    if choice.refusal:
        items.append(text_item(REFUSAL, own, choice.refusal, status))
    return items + [call_item(own, position, call, status) for position, call in enumerate(choice.tool_calls)]


def text_item(kind: TextKind, own: str, text: str | None, status: str) -> dict[str, Any]:
    """A message or a chain of thought; `text` is None for one that has only begun."""
    content = [] if text is None else [text_part(kind, text)]
    item: dict[str, Any] = {"type": kind.item, "id": f"{kind.prefix}_{own}", "status": status, "content": content}
    if kind is REASONING:
        return item | {"summary": []}
    return item | {"role": "assistant"}


def text_part(kind: TextKind, text: str) -> dict[str, Any]:
    """The part that holds an item's text."""
    part: dict[str, Any] = {"type": kind.part, kind.field: text}
    return part | ({"annotations": []} if kind is MESSAGE else {})


def call_item(own: str, position: int, call: Mapping[str, Any], status: str) -> dict[str, Any]:
    """A tool call, of the chat's form."""
    function = call.get("function") or {}
    return {
        "type": "function_call",
        "id": f"fc_{own}_{position}",
        "call_id": call.get("id") or f"call_{own}_{position}",
        "name": function.get("name") or "",
        "arguments": function.get("arguments") or "",
        "status": status,
    }
