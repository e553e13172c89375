"""Where an answer goes when it is not given back as one value: head first, then the body as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tollgate.api.http import Answer


class Outlet(Protocol):
    """One answer on its way to the client. Writing never fails; `gone` tells that nobody reads any more."""

    @property
    def begun(self) -> bool:
        """Whether the head is on its way, so that status and headers are fixed."""

    @property
    def gone(self) -> bool:
        """Whether the client is known to have hung up."""

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body so far."""

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head."""

    def write(self, text: str) -> None:
        """Send a piece of the body now."""


def send(answer: Answer, outlet: Outlet) -> None:
    """Send what is left of an answer: all of it, or only what went wrong after it had begun.

    OpenAI's clients turn an event with `error` into their own exception.
    https://github.com/openai/openai-python/blob/main/src/openai/_streaming.py
    """
    if not outlet.begun:
        event = answer.to_event()
        outlet.start(answer.status, event["headers"])
        outlet.write(answer.body)
    elif answer.status >= 400:
        outlet.write(f"data: {answer.body}\n\n")
