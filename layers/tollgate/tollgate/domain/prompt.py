"""What a request's input says, in whichever of the accepted forms it came.

The forms are those of the container dialects: a text, a list of chat messages, or an object with `messages` or with
`inputs`. Everything else is for custom models, which nobody here can read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tollgate.domain.tokens import estimate_tokens

KEEP = "keep"
"""Marks a message or a document that is never dropped or cut. The mark itself is not sent."""

IMAGE_TOKENS = 1_000
"""Counted for each part of a message that is not text. OpenAI's guide to vision gives 85 to 1,105 for its models."""

_SAMPLE = 65_536


def messages_in(value: Any) -> Sequence[Mapping[str, Any]] | None:
    """The chat messages of an input; None where it has none, or where they are not a list of objects with a role."""
    found = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(found, list) or not found:
        return None
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in found):
        return None
    return found


def plain_text(value: Any) -> str | None:
    """The prompt of an input that is one text; None for any other."""
    found = value.get("inputs") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def content_text(content: Any) -> str:
    """The words of a message's content: a text, or the texts among its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(text for part in content if isinstance(part, dict) and isinstance(text := part.get("text"), str))


def spoken(value: Any) -> list[tuple[str, str]]:
    """Role and text of each message, oldest first; a plain text is one message of the user."""
    messages = messages_in(value)
    if messages is not None:
        return [(message["role"], content_text(message.get("content"))) for message in messages]
    text = plain_text(value)
    return [] if text is None else [("user", text)]


def all_text(value: Any) -> str:
    """Every text inside a JSON value, in order. Names of fields are left out, except inside of tools' schemas."""
    if isinstance(value, str):
        return value
    found: list[str] = []
    _collect(value, found)
    return "\n".join(found)


def _collect(value: Any, found: list[str]) -> None:
    # Deep enough for any chat body; what lies deeper is not text for a model.
    waiting = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict):
            waiting.extend(part for name, part in reversed(entry.items()) if name not in {"role", "type", "image_url"})
        elif isinstance(entry, list):
            waiting.extend(reversed(entry))


def estimate_input_tokens(value: Any) -> int:
    """Estimated input tokens of any input, 1 or more, in constant time beyond 64 Ki characters.

    Of a longer text the two ends are counted and stand for the whole, so that ten megabytes cost no more than a page.
    """
    text = all_text(value)
    if len(text) <= _SAMPLE:
        return max(1, estimate_tokens(text))
    sample = text[: _SAMPLE // 2] + text[-_SAMPLE // 2 :]
    return max(1, estimate_tokens(sample) * len(text) // len(sample))


def without_marks(value: Any) -> Any:
    """The input without the marks that are for the gateway; the same object where there are none."""
    messages = messages_in(value)
    if messages is None or not any(KEEP in message for message in messages):
        return value
    plain = [{name: part for name, part in message.items() if name != KEEP} for message in messages]
    return {**value, "messages": plain} if isinstance(value, dict) else plain
