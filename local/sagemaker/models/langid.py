"""The language of a text: naive Bayes over byte n-grams, in Hugging Face's text-classification shape.

It reports no token usage, as many classifiers do not.
"""

import asyncio
import threading
from typing import Any, override

from local.sagemaker.models.base import Call, ContainerError, JsonContainer, texts_of
from local.sagemaker.wire import Json


class LanguageId(JsonContainer):
    """The classifier. Its tables are read at the first request."""

    workers = 4

    def __init__(self) -> None:
        self._identifier: Any = None
        self._loading = threading.Lock()

    @override
    def warm(self) -> None:
        self._load()

    @override
    async def predict(self, document: Any, call: Call) -> Any:
        if not isinstance(document, dict) or "inputs" not in document:
            raise ContainerError(400, "Expected `inputs`")
        parameters = document.get("parameters") or {}
        top = parameters.get("top_k", 1) if isinstance(parameters, dict) else 1
        if not isinstance(top, int) or top < 1:
            raise ContainerError(400, "`top_k` must be a positive whole number")
        return await asyncio.to_thread(self._classify, texts_of(document["inputs"]), top)

    def _classify(self, texts: list[str], top: int) -> list[list[Json]]:
        identifier = self._load()
        ranked = [identifier.rank(text)[:top] for text in texts]
        return [[{"label": label, "score": float(score)} for label, score in row] for row in ranked]

    def _load(self) -> Any:
        with self._loading:
            if self._identifier is None:
                from py3langid.langid import (  # noqa: PLC0415 - only this model needs it
                    MODEL_FILE,
                    LanguageIdentifier,
                )

                self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
            return self._identifier
