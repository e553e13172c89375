"""Chats that a token-priced provider may be sent: their cost is bounded by their text and an output limit.

Anything else that could cost money is refused: images and sounds, whose bytes do not show their tokens, tools that run
at the provider, a dearer service tier, writes into a prompt cache.
"""

from collections.abc import Mapping, Sequence
from copy import replace
from typing import Any, NamedTuple

from tollgate.domain.catalogue import Model
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError

LIMITS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
"""Names under which a caller may limit the output; the lowest applies."""

_FREE = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "min_p",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
    }
)
"""Parameters that change neither the rates nor what is counted."""

_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content"})
_WITHOUT_SCHEMA = ("text", "json_object")
_TOOL = frozenset({"type", "function"})
_DESCRIBED = frozenset({"name", "description", "parameters", "strict"})
_CALL = frozenset({"id", "index", "type", "function"})
_CALLED = frozenset({"name", "arguments"})
_MOST_CHOICES = 128


class BoundedChat(NamedTuple):
    """A chat as it may be sent.

    Attributes:
        parameters: with `max_tokens`, and no other output limit.
        most_output: tokens of all choices together.
        schemas: whether the model is told of tools, or of the form of its answer.
    """

    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any]
    most_output: int
    schemas: bool


def bounded_chat(payload: Any, parameters: Mapping[str, Any], max_output_tokens: int) -> BoundedChat:
    """The chat in a request's input, with its output limited.

    Args:
        payload: a text, a list of messages, or an object with `messages` and further parameters.
        parameters: the request's.
        max_output_tokens: the deployment's limit for each choice.

    Raises:
        InvalidRequestError: it is not a chat made of texts.
        UnsupportedParameterError: a parameter might cost something that is not reserved.
    """
    given = dict(parameters)
    if isinstance(payload, dict) and "messages" in payload:
        given = {name: value for name, value in payload.items() if name not in {"messages", "stream"}} | given
        payload = payload["messages"]
    messages = [{"role": "user", "content": payload}] if isinstance(payload, str) and payload else payload
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(
            "This deployment is paid by the token and takes chats only: a text, a list of messages, or an object with "
            "'messages'; no prompt of /v1/completions.",
            param="prompt" if isinstance(payload, dict) and "prompt" in payload else "input",
        )
    for position, message in enumerate(messages):
        _check_message(position, message)
    limits = [_limit(name, given.pop(name)) for name in LIMITS if given.get(name) is not None]
    kept = {name: value for name, value in given.items() if value is not None and name not in LIMITS}
    choices = _choices(kept.get("n"))
    tools = _tools(kept.get("tools"))
    wanted = kept.get("response_format")
    schemas = tools or (isinstance(wanted, dict) and wanted.get("type") not in _WITHOUT_SCHEMA)
    for name in kept:
        if name not in _FREE and name not in {"n", "tools"}:
            raise UnsupportedParameterError(
                f"'{name[:100]}' is not offered by deployments that are paid by the token.", param=name[:100]
            )
    limit = min(max_output_tokens, *limits) if limits else max_output_tokens
    return BoundedChat(messages, {**kept, "max_tokens": limit}, limit * choices, schemas)


def bounded_offer(model: Model, payload: Any, parameters: Mapping[str, Any]) -> Model:
    """The model with only the deployments that may be sent the request: all, or those on instances.

    Raises:
        InvalidRequestError: the request may not be sent to a token-priced provider, and no instances serve the model.
    """
    try:
        bounded_chat(payload, parameters, 1)
    except InvalidRequestError:
        on_instances = tuple(d for d in model.deployments if d.tokens is None)
        if not any(d.weight for d in on_instances):
            raise
        return replace(model, deployments=on_instances)
    return model


def _check_message(position: int, message: Any) -> None:
    where = f"input[{position}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InvalidRequestError(f"Message {position} must be an object with 'role' and 'content'.", param=where)
    unknown = sorted(map(str, message.keys() - _MESSAGE))
    if unknown:
        raise InvalidRequestError(
            f"Message {position} has '{unknown[0][:100]}', which deployments that are paid by the token do not take.",
            param=where,
        )
    calls = message.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(_is_function(c, _CALL, _CALLED) for c in calls)):
        raise InvalidRequestError(f"Message {position} has tool calls that are no plain functions.", param=where)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list) or not all(map(_is_text, content)):
        raise InvalidRequestError(
            f"Message {position} has content other than text. What that costs at a provider paid by the token is not "
            "known beforehand.",
            param=where,
        )


def _is_text(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )


def _limit(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequestError(f"'{name}' must be a whole number of at least 1.", param=name)
    return value


def _choices(value: Any) -> int:
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_CHOICES:
        raise InvalidRequestError(f"'n' must be a whole number from 1 to {_MOST_CHOICES}.", param="n")
    return value


def _tools(value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, list) or not all(_is_function(tool, _TOOL, _DESCRIBED) for tool in value):
        raise InvalidRequestError(
            "Deployments that are paid by the token take tools of the type 'function' only, with a name, a "
            "description, parameters and 'strict'.",
            param="tools",
        )
    return bool(value)


def _is_function(value: Any, around: frozenset[str], within: frozenset[str]) -> bool:
    """Whether a tool, or a call of one, is a plain function, without prompt-cache markers or anything else."""
    if not isinstance(value, dict) or value.get("type") != "function" or value.keys() - around:
        return False
    function = value.get("function")
    return isinstance(function, dict) and not function.keys() - within
