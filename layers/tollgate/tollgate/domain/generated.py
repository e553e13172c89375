"""What a model made, read out of the forms in which container dialects hand it on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tollgate.domain.errors import ModelFailedError

_FINISH_REASONS: Mapping[str, str] = {"eos_token": "stop", "stop_sequence": "stop"}
"""Hugging Face's words for what OpenAI calls ``stop``."""


class Choice(NamedTuple):
    """One generated answer. `finish_reason` is OpenAI's: ``stop``, ``length``, ``tool_calls``, ``content_filter``."""

    text: str | None
    finish_reason: str
    tool_calls: Sequence[Mapping[str, Any]] = ()
    logprobs: Any = None
    refusal: str | None = None
    reasoning: str | None = None


def choices_in(output: Any) -> tuple[Choice, ...]:
    """The generated answers in an output: of a chat, flat; or Hugging Face's ``generated_text``, one or a list.

    Raises:
        ModelFailedError: the output is no generated text.
    """
    try:
        return tuple(_choice(entry) for entry in _entries(output))
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelFailedError("The model container did not answer with a text.", original_status=502) from error


def vectors_in(output: Any) -> list[list[float]]:
    """The embeddings in an output, one list of numbers for each text.

    Raises:
        ModelFailedError: the output is something else.
    """
    found = output.get("embeddings") if isinstance(output, Mapping) else output
    if not isinstance(found, list) or not found or not all(_is_vector(entry) for entry in found):
        raise ModelFailedError("The model container did not answer with embeddings.", original_status=502)
    return found


def _entries(output: Any) -> Iterable[Mapping[str, Any]]:
    if isinstance(output, list):
        if not output:
            raise TypeError("no answer")
        return output
    choices = output.get("choices")
    return choices if isinstance(choices, list) and choices else [output]


def _choice(entry: Mapping[str, Any]) -> Choice:
    if "generated_text" in entry:
        details = entry.get("details") or {}
        return _text_choice(entry["generated_text"], details.get("finish_reason"), {})
    return _text_choice(entry["text"], entry.get("finish_reason"), entry)


def _text_choice(text: Any, finish_reason: Any, entry: Mapping[str, Any]) -> Choice:
    texts = (text, entry.get("reasoning_content"), entry.get("refusal"))
    if not all(each is None or isinstance(each, str) for each in texts):
        raise TypeError("the text is something else")
    calls = entry.get("tool_calls") or ()
    if not all(isinstance(call.get("function"), Mapping) for call in calls):
        raise TypeError("a tool call has no function")
    reason = finish_reason or ("tool_calls" if calls else "stop")
    return Choice(
        text=text,
        finish_reason=_FINISH_REASONS.get(reason, reason),
        tool_calls=tuple(calls),
        logprobs=entry.get("logprobs"),
        refusal=entry.get("refusal"),
        reasoning=entry.get("reasoning_content"),
    )


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in {float, int} for number in value)
