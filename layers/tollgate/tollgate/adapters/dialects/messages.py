"""OpenAI's chat body, as vLLM and DJL-LMI containers take it on a SageMaker endpoint.

https://docs.djl.ai/master/docs/serving/serving/docs/lmi/user_guides/chat_input_output_schema.html
"""

from collections.abc import Mapping
from typing import Any

from tollgate.adapters.dialects.inputs import InputsDialect, counted
from tollgate.domain.errors import InvalidRequestError, ModelFailedError
from tollgate.domain.jobs.job import Usage
from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.ports.dialects import ParsedAnswer, RenderedRequest

_EXPECTED = "Send a string, a list of messages, or an object with 'messages'."

_OPTIONAL = ("tool_calls", "refusal", "reasoning_content")
_RAW = InputsDialect()


class MessagesDialect:
    """A string becomes one user message; the answer's text comes back with its finish reason."""

    name = "messages"

    def render(self, payload: Any, parameters: Mapping[str, Any]) -> RenderedRequest:
        """Accepts a string, a list of messages, or an object with `messages`.

        An object with `inputs` is a text to continue as it is, without a chat template, in DJL-LMI's other schema.

        Raises:
            InvalidRequestError: the input is none of these, or the parameters have another.
        """
        body: dict[str, Any]
        require_one_input(parameters)
        match payload:
            case str() if payload:
                body = {"messages": [{"role": "user", "content": payload}]}
            case list():
                body = {"messages": payload}
            case dict() if "messages" in payload:
                body = dict(payload)
            case dict() if isinstance(payload.get("inputs"), str):
                return _RAW.render(payload, parameters)
            case _:
                raise InvalidRequestError(f"This model takes chat messages. {_EXPECTED}", param="input")
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise InvalidRequestError(
                f"'messages' must be a list with at least one message. {_EXPECTED}", param="input"
            )
        for position, message in enumerate(messages):
            if not isinstance(message, dict) or not isinstance(message.get("role"), str):
                raise InvalidRequestError(
                    f"Message {position} must be an object with 'role' and 'content'.", param=f"input[{position}]"
                )
        body.update(parameters)
        body.pop("stream", None)
        return RenderedRequest(escaped_json(body), "application/json")

    def parse(self, body: bytes) -> ParsedAnswer:
        """The first choice, flat: ``{"text", "finish_reason"}``, with tool calls and further choices where given.

        Raises:
            ModelFailedError: the body is not a chat completion.
        """
        try:
            answer = strict_json(body)
            if _is_raw(answer):
                return _RAW.parse(body)
            choices = [_choice(choice) for choice in answer["choices"]]
            output: dict[str, Any] = dict(choices[0])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelFailedError(
                "The model container did not answer with a chat completion.", original_status=502
            ) from error
        if len(choices) > 1:
            output["choices"] = choices
        return ParsedAnswer(output, *reported_usage(answer.get("usage")))


def require_one_input(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that would be sent instead of the input, which budgets, choices and estimates go by.

    Raises:
        InvalidRequestError: one of them is an input.
    """
    for name in ("messages", "prompt", "input"):
        if name in parameters:
            raise InvalidRequestError(f"'{name}' belongs into 'input', not 'parameters'.", param=f"parameters.{name}")


def reported_usage(usage: Any) -> Usage:
    """OpenAI's usage, with what came from a provider's prompt cache and what was thought, where it says so.

    Some leave what was thought out of `completion_tokens`, and bill it: then the total is larger than its parts.
    https://docs.x.ai/docs/guides/reasoning
    """
    details = usage if isinstance(usage, dict) else {}
    read, made, all_ = (counted(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if read is not None and made is not None and all_ is not None:
        made = max(made, all_ - read)
    return Usage(
        read,
        made,
        counted(details.get("prompt_tokens_details"), "cached_tokens"),
        counted(details.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _is_raw(answer: Any) -> bool:
    first = answer[0] if isinstance(answer, list) and answer else answer
    return isinstance(first, dict) and "generated_text" in first


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    flat = {"text": message.get("content"), "finish_reason": choice.get("finish_reason")}
    flat |= {name: message[name] for name in _OPTIONAL if message.get(name)}
    if choice.get("logprobs"):
        flat["logprobs"] = choice["logprobs"]
    return flat
