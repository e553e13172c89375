"""The bodies of embeddings: `inputs` (Hugging Face, TEI) and OpenAI's `input`."""

import base64
import struct
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, override

from local.sagemaker.models.base import Call, ContainerError, JsonContainer, texts_of
from local.sagemaker.wire import Json


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors in the order of their texts, and the tokens read for all of them."""

    vectors: list[list[float]]
    input_tokens: int


class EmbeddingContainer(JsonContainer):
    """A container that turns texts into vectors."""

    model_id: str

    @abstractmethod
    async def embed(self, texts: list[str]) -> Embedded:
        """Return one vector of length 1 for each text."""

    @override
    async def predict(self, document: Any, call: Call) -> Any:
        if isinstance(document, dict) and "input" in document:
            embedded = await self.embed(texts_of(document["input"]))
            return embedding_list(self.model_id, embedded, document.get("encoding_format"))
        if isinstance(document, dict) and "inputs" in document:
            return (await self.embed(texts_of(document["inputs"]))).vectors
        raise ContainerError(422, "Expected `inputs` or `input`")


def embedding_list(model_id: str, embedded: Embedded, encoding_format: Any) -> Json:
    """Return OpenAI's list; `base64` packs the floats as OpenAI does, little-endian 32-bit."""
    data = []
    for index, vector in enumerate(embedded.vectors):
        packed: str | list[float] = vector
        if encoding_format == "base64":
            packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": packed})
    usage = {"prompt_tokens": embedded.input_tokens, "total_tokens": embedded.input_tokens}
    return {"object": "list", "data": data, "model": model_id, "usage": usage}
