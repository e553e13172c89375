"""OpenAI's own bodies on `/invocations`: chat, completions and embeddings, told apart by their fields.

This is how vLLM's server answers there, and what SageMaker's `/openai` route hands to a container.
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dialects.inputs import counted
from tollgate.adapters.dialects.messages import MessagesDialect, reported_usage, require_one_input
from tollgate.domain.errors import ModelFailedError
from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest

_CHAT = MessagesDialect()
_TEXT_PARAMETERS = {"max_new_tokens": "max_tokens"}
_NOT_OPENAI = {"return_full_text", "details"}


class OpenAIDialect:
    """`inputs` becomes `prompt` where it is one text, and `input` where it is several."""

    name = "openai"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """The body for a chat (as the messages dialect takes it), for ``{"inputs": ...}``, or OpenAI's own object.

        Raises:
            InvalidRequestError: the input is none of these.
        """
        if not isinstance(payload, dict) or "messages" in payload:
            return _CHAT.render(payload, parameters)
        require_one_input(parameters)
        body = dict(payload)
        if "inputs" in body:
            texts = body.pop("inputs")
            body["prompt" if isinstance(texts, str) else "input"] = texts
        elif not body.keys() & {"prompt", "input"}:
            return _CHAT.render(payload, parameters)
        named = {_TEXT_PARAMETERS.get(name, name): value for name, value in parameters.items()}
        body.update((name, value) for name, value in named.items() if name not in _NOT_OPENAI)
        body.pop("stream", None)
        return RenderedRequest(escaped_json(body), "application/json")

    def parse(self, body: bytes) -> ParsedAnswer:
        """A chat or completion flat, ``{"text", "finish_reason"}``; embeddings as a list of vectors.

        Raises:
            ModelFailedError: the body is none of OpenAI's answers.
        """
        try:
            answer = strict_json(body)
            kind = answer.get("object")  # Some who speak the language leave it out of chats.
            if kind == "list":
                vectors = [entry["embedding"] for entry in sorted(answer["data"], key=lambda entry: entry["index"])]
                return ParsedAnswer(vectors, counted(answer.get("usage"), "prompt_tokens"), 0)
            if kind == "text_completion":
                return _completion(answer)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelFailedError(
                "The model container did not answer as OpenAI's API does.", original_status=502
            ) from error
        return _CHAT.parse(body)


def _completion(answer: Mapping[str, Any]) -> ParsedAnswer:
    choices = [{"text": entry["text"], "finish_reason": entry.get("finish_reason")} for entry in answer["choices"]]
    for flat, entry in zip(choices, answer["choices"], strict=True):
        if entry.get("logprobs"):
            flat["logprobs"] = entry["logprobs"]
    output: dict[str, Any] = dict(choices[0])
    if len(choices) > 1:
        output["choices"] = choices
    return ParsedAnswer(output, *reported_usage(answer.get("usage")))
