"""A tiny model that needs nothing, answers at once and always the same: for tests.

It speaks every body the real models speak. Text comes back with its words reversed, tokens are words, vectors come
from a hash. Anything else comes back as `{"echo": ...}`. Knobs, in the body (or as words such as `_sleep=2` in a
text): `_sleep` seconds, `_pace` seconds before each streamed word, `_fail` with a status, `_size` to pad the answer
with so many bytes, `_break` to fail after so many streamed words, `_task` `embeddings` or `classification` to say what
plain `inputs` means.
"""

import asyncio
import hashlib
import math
import re
from typing import Any, override

from local.sagemaker.models.base import Call, ContainerError, texts_of
from local.sagemaker.models.embeddings import Embedded, embedding_list
from local.sagemaker.models.text import Ending, Pieces, Prompt, TextContainer, text_of
from local.sagemaker.wire import Json

_DIMENSIONS = 8
_KNOBS = ("sleep", "pace", "fail", "size", "break")
_WORD_KNOB = re.compile(r"_(sleep|pace|fail|size|break)=(\d+(?:\.\d+)?)")


class Echo(TextContainer):
    """The deterministic model."""

    workers = 16

    def __init__(self) -> None:
        super().__init__("echo")

    @override
    async def predict(self, document: Any, call: Call) -> Any:
        knobs = _knobs(document)
        await asyncio.sleep(knobs.get("sleep", 0))
        if "fail" in knobs:
            raise ContainerError(int(knobs["fail"]), f"Asked to fail with {int(knobs['fail'])}")
        answer = await self._answer(document, call)
        return _padded(answer, int(knobs["size"])) if "size" in knobs else answer

    async def _answer(self, document: Any, call: Call) -> Any:
        if not isinstance(document, dict):
            return {"echo": document}
        if isinstance(document.get("input"), str | list):
            return embedding_list(self.model_id, _embed(texts_of(document["input"])), document.get("encoding_format"))
        task = document.get("_task")
        if task == "classification":
            return [_classify(text) for text in texts_of(document["inputs"])]
        if task == "embeddings" or isinstance(document.get("inputs"), list):
            return _embed(texts_of(document["inputs"])).vectors
        if "messages" in document or isinstance(document.get("inputs"), str):
            return await super().predict(document, call)
        target = {"target_model": call.target_model} if call.target_model else {}
        return {"echo": document, **target}

    @override
    async def generate(self, prompt: Prompt) -> Pieces:
        texts = [prompt.text] if prompt.messages is None else [text_of(message) for message in prompt.messages]
        words = (texts[-1] or "").split()
        knobs = _knobs(prompt.document)
        streamed = prompt.document.get("stream") is True
        if streamed:
            if "fail" in knobs:
                raise ContainerError(int(knobs["fail"]), "Asked to fail")
            await asyncio.sleep(knobs.get("sleep", 0))
        answer = words[::-1][: prompt.max_tokens]
        for index, word in enumerate(answer):
            if streamed:
                await asyncio.sleep(knobs.get("pace", 0))
                if index == knobs.get("break"):
                    raise ContainerError(500, f"Asked to break off after {index} words")
            yield word if index == 0 else f" {word}"
        reason = "length" if len(words) > prompt.max_tokens else "stop"
        yield Ending(reason, sum(len((text or "").split()) for text in texts), len(answer))


def _knobs(document: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    if not isinstance(document, dict):
        return found
    places = [document, document.get("inputs"), document.get("input"), document.get("parameters")]
    for place in places:
        if isinstance(place, dict):
            found |= {key: float(place[f"_{key}"]) for key in _KNOBS if f"_{key}" in place}
    messages = document.get("messages")
    texts = [text_of(m) for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    texts += [place for place in places if isinstance(place, str)]
    for text in texts:
        found |= {name: float(value) for name, value in _WORD_KNOB.findall(text)}
    return found


def _padded(answer: Any, size: int) -> Json:
    whole = answer if isinstance(answer, dict) else {"answer": answer}
    return whole | {"padding": "x" * size}


def _embed(texts: list[str]) -> Embedded:
    vectors = []
    for text in texts:
        raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:_DIMENSIONS]]
        length = math.sqrt(sum(value * value for value in raw))
        vectors.append([value / length for value in raw])
    return Embedded(vectors, sum(len(text.split()) for text in texts))


def _classify(text: str) -> list[Json]:
    label = "EVEN" if len(text.split()) % 2 == 0 else "ODD"
    return [{"label": label, "score": 1.0}]
