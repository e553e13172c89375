"""Vectors of sentences, for near matches of models that compare by those; asked by functions of the stack only."""

import base64
from functools import cache
from typing import Any, Protocol

from tollgate.adapters.sentence_model import SentenceModel


class Sentences(Protocol):
    """What makes vectors."""

    def vector(self, text: str) -> bytes:
        """The packed vector of a text, see `near_vector`."""


def build() -> Sentences:
    """Read the model; a stack whose layer lacks it fails here, before the first text."""
    return SentenceModel()


def handle(event: dict[str, Any], service: Sentences) -> dict[str, Any]:
    """One text."""
    return {"vector": base64.b64encode(service.vector(event["text"])).decode()}


@cache
def _service() -> Sentences:
    return build()


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
