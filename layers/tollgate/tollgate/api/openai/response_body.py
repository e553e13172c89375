"""Body of ``POST /v1/responses``, turned into the chat that containers understand.

https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import core_schema as rules

from tollgate.api.fields import optional, required
from tollgate.api.openai.reading import Body, BodyReader, json_object, list_of, missing_parameter, open_object
from tollgate.domain.errors import InvalidRequestError, UnsupportedParameterError
from tollgate.domain.prompt import KEEP

_ITEM = open_object(
    "ResponseInputItem",
    {
        "type": optional(rules.str_schema()),
        "role": optional(rules.str_schema()),
        "content": optional(rules.union_schema([rules.str_schema(), list_of(json_object())])),
    },
)

RESPONSE = BodyReader(
    "ResponseRequest",
    {
        "input": required(rules.union_schema([rules.str_schema(), list_of(_ITEM, least=1)])),
        "instructions": optional(rules.str_schema()),
        "background": optional(rules.bool_schema()),
        "max_output_tokens": optional(rules.int_schema(ge=1, le=1_000_000)),
        "temperature": optional(rules.float_schema(ge=0, le=2, allow_inf_nan=False)),
        "top_p": optional(rules.float_schema(gt=0, le=1, allow_inf_nan=False)),
        "tools": optional(list_of(json_object())),
        "tool_choice": optional(rules.union_schema([rules.str_schema(), json_object()])),
        "parallel_tool_calls": optional(rules.bool_schema()),
        "text": optional(
            open_object("ResponseText", {"format": optional(json_object()), "verbosity": optional(rules.str_schema())})
        ),
        "reasoning": optional(open_object("ResponseReasoning", {"effort": optional(rules.str_schema())})),
        "previous_response_id": optional(rules.str_schema()),
        "store": optional(rules.bool_schema()),
        "stream": optional(rules.bool_schema()),
    },
)

_OWN = frozenset(
    "input instructions background max_output_tokens tools tool_choice text reasoning store stream".split()
)
_CHATS_ALONE = ("messages", "max_tokens", "max_completion_tokens", "response_format", "n", "logprobs", "top_logprobs")
"""A response has one choice, no place for probabilities, and other names for the rest."""

_NOT_KEPT = (
    "Responses are not kept for later ones to go on from. Send the whole conversation as 'input': what was asked, the "
    "'output' items of every response, and what is new."
)
_WITHOUT_WISH: Mapping[str, Any] = {"n": 1, "logprobs": False, "top_logprobs": 0}
_RESPONSE_NAMES: Mapping[str, str] = {"response_format": "text.format", "reasoning_effort": "reasoning.effort"}
_ROLES = {"system", "developer", "user", "assistant"}
_TEXT_PARTS = {"input_text", "output_text", "text"}


def chat_of(body: Body) -> Body:
    """The same request as a chat's body.

    Raises:
        InvalidRequestError: an input item is incomplete.
        UnsupportedParameterError: something that this gateway or a chat does not have.
    """
    _refuse_others(body)
    if body.get("stream") and body.get("background"):
        raise UnsupportedParameterError("A background response is not streamed; look it up by its id.", param="stream")
    if body.get("background") and body.get("store") is False:
        raise InvalidRequestError("A background response is stored until it is fetched.", param="store")
    chat: dict[str, Any] = {name: value for name, value in body.items() if name not in _OWN}
    chat["messages"] = _messages(body)
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        chat["tools"] = [_tool(position, tool) for position, tool in enumerate(body["tools"])]
    if body.get("tool_choice") is not None:
        chat["tool_choice"] = _tool_choice(body["tool_choice"])
    if (body.get("text") or {}).get("format") is not None:
        chat["response_format"] = _response_format(body["text"]["format"])
    if (body.get("reasoning") or {}).get("effort") is not None:
        chat["reasoning_effort"] = body["reasoning"]["effort"]
    return chat


def _refuse_others(body: Body) -> None:
    """Refuse what a response cannot have here, by its name.

    Raises:
        UnsupportedParameterError
    """
    if body.get("previous_response_id") is not None:
        raise UnsupportedParameterError(_NOT_KEPT, param="previous_response_id")
    for name in _CHATS_ALONE:
        if body.get(name) is not None and body[name] != _WITHOUT_WISH.get(name):
            raise UnsupportedParameterError(f"'{name}' is no parameter of responses here.", param=name)
    for name, known in (("text", ("format",)), ("reasoning", ("effort",))):
        for field, value in (body.get(name) or {}).items():
            if field not in known and value is not None and (name, field, value) != ("text", "verbosity", "medium"):
                raise UnsupportedParameterError(f"'{name}.{field}' is not supported.", param=f"{name}.{field}")


def response_parameter(chat_parameter: str) -> str:
    """The name that a chat's parameter has in a response's body, for error messages."""
    if chat_parameter.startswith("messages["):
        return "input"
    return _RESPONSE_NAMES.get(chat_parameter, chat_parameter)


def _messages(body: Body) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    if isinstance(body["input"], str):
        return [*messages, {"role": "user", "content": body["input"]}]
    for position, item in enumerate(body["input"]):
        kind = item.get("type") or "message"
        if kind == "reasoning":
            # What a model thought for an earlier answer is not shown to it again: chat templates leave it out.
            continue
        read = _ITEMS.get(kind)
        if read is None:
            raise UnsupportedParameterError(
                f"Input items of type '{kind}' are not supported.", param=f"input[{position}]"
            )
        try:
            message = read(item)
        except _ItemFaultError as fault:
            raise fault.refusal(f"input[{position}].") from None
        if item.get(KEEP) is not None:
            message[KEEP] = item[KEEP]
        _append(messages, message)
    if len(messages) == (1 if body.get("instructions") else 0):
        raise InvalidRequestError("There is nothing to answer in 'input'.", param="input")
    return messages


def _append(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Adds a message; in a chat, the calls of several tools and what was said before them are one message."""
    last = messages[-1] if messages else {}
    if message.get("tool_calls") and last.get("role") == "assistant":
        # Added to in place: a body may have a hundred thousand of them.
        last.setdefault("tool_calls", []).extend(message["tool_calls"])
        if message.get(KEEP):
            last[KEEP] = message[KEEP]
    else:
        messages.append(message)


class _ItemFaultError(Exception):
    """A field of an input item that is missing, or should be something else. Where the item stands is not known yet."""

    def __init__(self, field: str, wanted: str | None = None) -> None:
        super().__init__(field)
        self._field = field
        self._wanted = wanted

    def refusal(self, place: str) -> InvalidRequestError:
        """The refusal of the body."""
        param = place + self._field
        if self._wanted is None:
            return missing_parameter(param)
        return InvalidRequestError(f"Invalid '{param}': it should be {self._wanted}.", param=param)


def _text(holder: Body, name: str, place: str = "") -> str:
    value = holder.get(name)
    if value is None:
        raise _ItemFaultError(place + name)
    if not isinstance(value, str):
        raise _ItemFaultError(place + name, "a string")
    return value


def _content(item: Body, name: str) -> Any:
    value = item.get(name)
    if not isinstance(value, list):
        if value is not None and not isinstance(value, str):
            raise _ItemFaultError(name, "a string or a list")
        return _text(item, name)
    return [_part(part, f"{name}[{position}]") for position, part in enumerate(value)]


def _message(item: Body) -> dict[str, Any]:
    role = _text(item, "role")
    if role not in _ROLES:
        raise _ItemFaultError("role", "'system', 'developer', 'user' or 'assistant'")
    return {"role": role, "content": _content(item, "content")}


def _part(part: Any, place: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise _ItemFaultError(place, "an object")
    place += "."
    kind = _text(part, "type", place)
    if kind in _TEXT_PARTS:
        return {"type": "text", "text": _text(part, "text", place)}
    if kind == "refusal":
        return {"type": "text", "text": _text(part, "refusal", place)}
    if kind == "input_image" and part.get("image_url"):
        return {"type": "image_url", "image_url": {"url": _text(part, "image_url", place)}}
    return {"type": kind}


def _call(item: Body) -> dict[str, Any]:
    function = {"name": _text(item, "name"), "arguments": _text(item, "arguments")}
    call = {"id": _text(item, "call_id"), "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _call_output(item: Body) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": _text(item, "call_id"), "content": _content(item, "output")}


_ITEMS: Mapping[str, Callable[[Body], dict[str, Any]]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _call_output,
}


def _tool(position: int, tool: Body) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise UnsupportedParameterError("Only tools of type 'function' are supported.", param=f"tools[{position}]")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _response_format(form: Body) -> dict[str, Any]:
    if form.get("type") != "json_schema":
        return dict(form)
    return {"type": "json_schema", "json_schema": {name: value for name, value in form.items() if name != "type"}}


def tools_of_chat(tools: Sequence[Body]) -> list[dict[str, Any]]:
    """A chat's tools in the flat form of responses."""
    return [{"type": "function", **tool.get("function", {})} for tool in tools]
