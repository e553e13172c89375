"""Vectors of questions, for near matches of models that compare whole questions; asked by functions of the stack."""

import base64
from functools import cache
from typing import Any, Protocol

from tollgate.adapters.texts.sentence_model import SentenceModel
from tollgate.api.telemetry import Telemetry
from tollgate.settings import Settings


class SentencesSettings(Settings):
    """Settings of this function."""


class Sentences(Protocol):
    """What makes vectors."""

    def vector(self, text: str) -> bytes:
        """The packed vector of a text, see `near.vector`."""


def build(settings: SentencesSettings) -> Sentences:
    """Read the model, which takes the first caller longer than it waits.

    Raises:
        SentenceModelError: the layer lacks it.
    """
    model = SentenceModel()
    telemetry = Telemetry(
        namespace=settings.powertools_metrics_namespace,
        service=settings.powertools_service_name,
        level=settings.log_level,
    )
    telemetry.log("INFO", "sentence model read")
    return model


def handle(event: dict[str, Any], service: Sentences) -> dict[str, Any]:
    """One text."""
    return {"vector": base64.b64encode(service.vector(event["text"])).decode()}


@cache
def _service() -> Sentences:
    return build(SentencesSettings.load())


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Entry point."""
    return handle(event, _service())
