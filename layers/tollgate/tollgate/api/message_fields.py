"""Fields of queue messages and of events that functions of the stack send one another."""

from collections.abc import Mapping
from typing import Any


class MessageError(Exception):
    """A message or an event is not one of ours; it ends among the dead letters, with this text."""


def text_field(message: Mapping[str, Any], name: str) -> str:
    """A field that must be a text.

    Raises:
        MessageError: it is missing or something else.
    """
    value = message.get(name)
    if not isinstance(value, str) or not value:
        raise MessageError(f"no '{name}'")
    return value
