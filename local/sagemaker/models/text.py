"""The bodies of text generation: OpenAI's messages (as vLLM serves them) and Hugging Face's `inputs`."""

import itertools
import json
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, override

from local.sagemaker.models.base import Answer, Call, ContainerError, JsonContainer, media_type, read_document
from local.sagemaker.wire import Json

DEFAULT_MAX_TOKENS = 64  # keeps a demonstration on a laptop's processor to a second or two
_SAMPLING = ("temperature", "top_p", "top_k", "seed", "stop", "frequency_penalty", "presence_penalty")
_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to continue: chat messages, or a raw text.

    Attributes:
        max_tokens: the most tokens to make.
        sampling: temperature and its kin, as given.
        document: the whole body, for a model that looks for more in it.
    """

    messages: list[Json] | None
    text: str | None
    max_tokens: int
    sampling: Json
    document: Json


@dataclass(frozen=True, slots=True)
class Ending:
    """How a generation ended: `stop` or `length`, and what it counted."""

    finish_reason: str
    input_tokens: int
    output_tokens: int

    def usage(self) -> Json:
        """Return OpenAI's usage object."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }


type Pieces = AsyncGenerator[str | Ending]


class TextContainer(JsonContainer):
    """A container that generates text.

    Args:
        model_id: the name it gives itself in answers.
    """

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    @abstractmethod
    def generate(self, prompt: Prompt) -> Pieces:
        """Yield pieces of text, then one `Ending`.

        Raises:
            ContainerError: the prompt is bad, or the model failed.
        """

    @override
    async def predict(self, document: Any, call: Call) -> Any:
        prompt = read_prompt(document)
        text, ending = await self._whole(prompt)
        if prompt.messages is not None:
            return self._completion(text, ending)
        details = {
            "finish_reason": "length" if ending.finish_reason == "length" else "eos_token",
            "generated_tokens": ending.output_tokens,
            "prefill_tokens": ending.input_tokens,
        }
        return [{"generated_text": text, "details": details}]

    @override
    async def invoke(self, call: Call) -> Answer:
        if _wants_stream(call):
            pieces = [piece async for piece in self.stream(call)]
            return Answer(b"".join(pieces), "text/event-stream")
        return await super().invoke(call)

    @override
    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        if not _wants_stream(call):
            yield (await super().invoke(call)).body
            return
        prompt = read_prompt(read_document(call))
        events = self._chat_events(prompt) if prompt.messages is not None else self._inputs_events(prompt)
        async for event in events:
            yield event

    async def _whole(self, prompt: Prompt) -> tuple[str, Ending]:
        text: list[str] = []
        async for piece in self.generate(prompt):
            if isinstance(piece, Ending):
                return "".join(text), piece
            text.append(piece)
        raise ContainerError(500, "The generation did not end")

    def _completion(self, text: str, ending: Ending) -> Json:
        message = {"role": "assistant", "content": text}
        return {
            "id": f"chatcmpl-{next(_ids)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model_id,
            "choices": [{"index": 0, "message": message, "finish_reason": ending.finish_reason}],
            "usage": ending.usage(),
        }

    async def _chat_events(self, prompt: Prompt) -> AsyncIterator[bytes]:
        frame = {
            "id": f"chatcmpl-{next(_ids)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self.model_id,
        }
        options = prompt.document.get("stream_options") or {}
        yield _event(frame | {"choices": [_choice({"role": "assistant", "content": ""})]})
        async for piece in self.generate(prompt):
            if isinstance(piece, str):
                yield _event(frame | {"choices": [_choice({"content": piece})]})
                continue
            yield _event(frame | {"choices": [_choice({}, piece.finish_reason)]})
            if options.get("include_usage"):
                yield _event(frame | {"choices": [], "usage": piece.usage()})
        yield b"data: [DONE]\n\n"

    async def _inputs_events(self, prompt: Prompt) -> AsyncIterator[bytes]:
        text: list[str] = []
        held: str | None = None
        index = 0
        async for piece in self.generate(prompt):
            # The last token carries the whole text, so each token is held back until its successor is known.
            if held is not None:
                index += 1
                details = None
                if isinstance(piece, Ending):
                    details = {
                        "finish_reason": "length" if piece.finish_reason == "length" else "eos_token",
                        "generated_tokens": piece.output_tokens,
                        "input_length": piece.input_tokens,
                    }
                whole = "".join(text) if details else None
                token = {"id": index, "text": held, "logprob": None, "special": False}
                yield _event({"index": index, "token": token, "generated_text": whole, "details": details})
            if isinstance(piece, str):
                held = piece
                text.append(piece)


def read_prompt(document: Any) -> Prompt:
    """Read either body.

    Raises:
        ContainerError: 400 or 422, it is neither.
    """
    if not isinstance(document, dict):
        raise ContainerError(422, "Expected an object with `messages` or `inputs`")
    if "messages" in document:
        messages = document["messages"]
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise ContainerError(400, "`messages` must be a list of at least one message")
        cap = document.get("max_completion_tokens") or document.get("max_tokens")
        return Prompt(messages, None, _cap(cap), _sampling(document), document)
    if isinstance(document.get("inputs"), str):
        parameters = document.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise ContainerError(422, "`parameters` must be an object")
        return Prompt(None, document["inputs"], _cap(parameters.get("max_new_tokens")), _sampling(parameters), document)
    raise ContainerError(422, "Expected `messages`, or `inputs` with a text")


def text_of(message: Json) -> str:
    """Return a message's text; parts that are not text are left out."""
    content = message.get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _cap(value: Any) -> int:
    if value is None:
        return DEFAULT_MAX_TOKENS
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ContainerError(400, "The token limit must be a positive whole number")
    return value


def _sampling(source: Json) -> Json:
    return {key: source[key] for key in _SAMPLING if source.get(key) is not None}


def _wants_stream(call: Call) -> bool:
    # Batch records are never streamed, even when their body asks for it.
    if media_type(call) != "application/json" or b'"stream"' not in call.body:
        return False
    document = read_document(call)
    return isinstance(document, dict) and document.get("stream") is True


def _choice(delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _event(document: Json) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
