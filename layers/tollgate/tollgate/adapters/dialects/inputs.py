"""``{"inputs": ..., "parameters": ...}``: Hugging Face inference containers and most of our own."""

from collections.abc import Mapping
from typing import Any

from tollgate.domain.errors import InvalidRequestError, ModelFailedError
from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest


class InputsDialect:
    """The input goes under `inputs` as it is; the answer comes back as it is."""

    name = "inputs"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """An object that has `inputs` already is sent as it is, with the parameters beside it.

        Raises:
            InvalidRequestError: its own parameters are no object that others could be added to.
        """
        body = dict(payload) if isinstance(payload, dict) and "inputs" in payload else {"inputs": payload}
        if parameters:
            own = body.get("parameters")
            if own is not None and not isinstance(own, dict):
                raise InvalidRequestError("'parameters' beside 'inputs' must be an object.", param="input.parameters")
            body["parameters"] = {**(own or {}), **parameters}
        return RenderedRequest(escaped_json(body), "application/json")

    def parse(self, body: bytes) -> ParsedAnswer:
        """Any JSON. Tokens are known where the container reports OpenAI's `usage` or TGI's `details`.

        Raises:
            ModelFailedError: the body is not JSON.
        """
        try:
            answer = strict_json(body)
        except ValueError as error:
            raise ModelFailedError("The model container did not answer with JSON.", original_status=502) from error
        usage = answer.get("usage") if isinstance(answer, dict) else None
        if isinstance(usage, dict):
            return ParsedAnswer(answer, counted(usage, "prompt_tokens"), counted(usage, "completion_tokens"))
        first = answer[0] if isinstance(answer, list) and answer else answer
        details = first.get("details") if isinstance(first, dict) else None
        if isinstance(details, dict):
            return ParsedAnswer(answer, _read_tokens(details), counted(details, "generated_tokens"))
        return ParsedAnswer(answer, None, None)


def _read_tokens(details: Mapping[str, Any]) -> int | None:
    """Tokens of the prompt: counted by newer servers, listed by TGI when it was asked to."""
    prefill = details.get("prefill")
    if isinstance(prefill, list) and prefill:
        return len(prefill)
    length = counted(details, "input_length")
    return counted(details, "prefill_tokens") if length is None else length


_MOST_TOKENS = 1_000_000_000
"""Hundreds of times what any model reads or writes in one call; the price of more is none that could be charged."""


def counted(usage: Any, name: str) -> int | None:
    """Tokens in a container's report, None where what it says can be none: a price must not be negative."""
    return count_of(usage.get(name)) if isinstance(usage, dict) else None


def count_of(value: Any) -> int | None:
    """A number of tokens; None for what can be none."""
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
