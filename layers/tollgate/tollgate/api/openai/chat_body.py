"""Body of ``POST /v1/chat/completions``.

https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import core_schema as rules

from tollgate.api.fields import optional, required
from tollgate.api.openai.plain_chat import MOST_OUTPUT_TOKENS, ChatRequest
from tollgate.api.openai.reading import (
    COMMON_FIELDS,
    SAMPLING_FIELDS,
    STREAM_FIELDS,
    Body,
    BodyReader,
    json_object,
    list_of,
    missing_parameter,
    one_of,
    open_object,
    optional_parameters,
)

_PART = open_object(
    "ContentPart",
    {
        "type": required(rules.str_schema()),
        "text": optional(rules.str_schema()),
        "refusal": optional(rules.str_schema()),
    },
)
_MESSAGE = open_object(
    "ChatMessage",
    {
        "role": required(one_of("system", "developer", "user", "assistant", "tool", "function")),
        "content": optional(rules.union_schema([rules.str_schema(), list_of(_PART)])),
    },
)

CHAT = BodyReader(
    "ChatCompletionRequest",
    {
        "messages": required(list_of(_MESSAGE, least=1)),
        "max_completion_tokens": optional(rules.int_schema(ge=1, le=MOST_OUTPUT_TOKENS)),
        "tools": optional(list_of(json_object())),
        "tool_choice": optional(rules.union_schema([rules.str_schema(), json_object()])),
        "parallel_tool_calls": optional(rules.bool_schema()),
        "response_format": optional(json_object()),
        "logprobs": optional(rules.bool_schema()),
        "top_logprobs": optional(rules.int_schema(ge=0, le=20)),
        "store": optional(rules.bool_schema()),
        **SAMPLING_FIELDS,
        **STREAM_FIELDS,
    },
)

BASIC = ("temperature", "top_p")
"""What every container that makes text takes, beside a limit of tokens."""

_HANDLED = (
    frozenset(COMMON_FIELDS) | frozenset(STREAM_FIELDS) | {"messages", "max_tokens", "max_completion_tokens", *BASIC}
)
_CAPABILITY = {"tool_choice": "tools", "parallel_tool_calls": "tools", "top_logprobs": "logprobs"}
_WITHOUT_TOOLS: Mapping[str, tuple[Any, ...]] = {
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
}
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "store": (False,),
    "modalities": (["text"],),
    "truncation": ("disabled",),
    "include": ([],),
}


_TEXTS = frozenset({"text", "refusal"})
"""Parts that are a text, in a field of that name. What an assistant refused with earlier is said to the model again."""

_MAY_SAY_NOTHING = frozenset({"assistant", "function"})
"""Assistants may call tools instead."""


def read_by_rules(document: Any) -> ChatRequest:
    """Check a body. Raises as `tollgate.api.openai.plain_chat.read_chat`."""
    body = CHAT.read(document)
    value: dict[str, Any] = {"messages": chat_messages(body["messages"])}
    if body.get("trim") is not None and body.get("documents") is not None:
        # To be trimmed and, where the container does not take documents, put before the question.
        value["documents"] = body["documents"]
        parameters, needed = chat_parameters({name: part for name, part in body.items() if name != "documents"})
    else:
        parameters, needed = chat_parameters(body)
    return ChatRequest(body, value, parameters, needed)


def chat_parameters(body: Body) -> tuple[dict[str, Any], dict[str, str]]:
    """What goes to the container beside the messages, and the capability that each parameter needs."""
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    basic: dict[str, Any] = {} if limit is None else {"max_tokens": limit}
    basic |= {name: body[name] for name in BASIC if body.get(name) is not None}
    asked = optional_parameters(body, _HANDLED, _NOTHING if body.get("tools") else {**_NOTHING, **_WITHOUT_TOOLS})
    needed = {name: _CAPABILITY.get(name, name) for name in asked} | _content_needs(body["messages"])
    return basic | asked, needed


def chat_messages(messages: Sequence[Body]) -> list[dict[str, Any]]:
    """The messages for a container: `developer` as `system`, parts of text as one text, nothing that is null.

    Chat templates of open models know neither of the two.

    Raises:
        InvalidRequestError: a message says nothing, or a part of it has no text.
    """
    return [_message(message, f"messages[{position}]") for position, message in enumerate(messages)]


def _message(message: Body, path: str) -> dict[str, Any]:
    given = {name: value for name, value in message.items() if value is not None}
    if message["role"] == "developer":
        given["role"] = "system"
    content = message.get("content")
    if content is None and message["role"] not in _MAY_SAY_NOTHING:
        raise missing_parameter(f"{path}.content")
    for number, part in enumerate(content if isinstance(content, list) else ()):
        if part["type"] in _TEXTS and part.get(part["type"]) is None:
            raise missing_parameter(f"{path}.content[{number}].{part['type']}")
    if isinstance(content, list) and all(part["type"] in _TEXTS for part in content):
        given["content"] = "\n".join(part[part["type"]] for part in content)
    # Templates expect the field beside tool calls as well.
    given.setdefault("content", None)
    return given


def _content_needs(messages: Sequence[Body]) -> dict[str, str]:
    needed: dict[str, str] = {}
    for position, message in enumerate(messages):
        content = message.get("content")
        for number, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] not in _TEXTS:
                needed.setdefault(f"messages[{position}].content[{number}]", part["type"])
    return needed
