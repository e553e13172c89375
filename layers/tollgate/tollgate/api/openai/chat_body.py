"""Body of ``POST /v1/chat/completions``.

https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tollgate.api.openai.reading import OpenAIBody, StreamOptions

Stop = str | Annotated[list[str], Field(max_length=4)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
Copies = Annotated[int, Field(ge=1, le=128)]


class ContentPart(BaseModel):
    """A part of a message; parts other than `text` need a deployment that supports their type."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    """One message. Fields that are null are left out on the way to the container."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None


class ChatBody(OpenAIBody):
    """Request of a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    seed: int | None = None
    n: Copies | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    store: bool | None = None


_BASIC = ("temperature", "top_p")
_OPTIONAL = {
    "stop": "stop",
    "seed": "seed",
    "n": "n",
    "tools": "tools",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
    "response_format": "response_format",
    "logprobs": "logprobs",
    "top_logprobs": "logprobs",
    "logit_bias": "logit_bias",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "store": "store",
}
# What clients like to send although it asks for nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "stop": ([],),
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "store": (False,),
    "modalities": (["text"],),
}


def chat_parameters(body: ChatBody) -> tuple[dict[str, Any], dict[str, str]]:
    """What goes to the container beside the messages, and the capability that each parameter needs."""
    limit = body.max_completion_tokens or body.max_tokens
    parameters: dict[str, Any] = {} if limit is None else {"max_tokens": limit}
    parameters |= {name: value for name in _BASIC if (value := getattr(body, name)) is not None}
    asked = {name: value for name in _OPTIONAL if (value := getattr(body, name)) is not None} | body.additional
    has_tools = bool(body.tools)
    optional = {
        name: value
        for name, value in asked.items()
        if value not in _NOTHING.get(name, ()) or (has_tools and _OPTIONAL.get(name) == "tools")
    }
    needed = {name: _OPTIONAL.get(name, name) for name in optional}
    needed |= _content_needs(body.messages)
    return parameters | optional, needed


def chat_messages(messages: list[ChatMessage]) -> list[dict[str, Any]]:
    """The messages for a container: `developer` as `system`, content of text parts as one text.

    Chat templates of open models know neither of the two.
    """
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> dict[str, Any]:
    given = message.model_dump(exclude_none=True)
    given["role"] = "system" if message.role == "developer" else message.role
    if isinstance(message.content, list) and all(part.type == "text" for part in message.content):
        given["content"] = "\n".join(part.text or "" for part in message.content)
    if message.content is None and message.role == "assistant":
        # Templates expect the field beside tool calls.
        given["content"] = None
    return given


def _content_needs(messages: list[ChatMessage]) -> dict[str, str]:
    needed: dict[str, str] = {}
    for position, message in enumerate(messages):
        parts = message.content if isinstance(message.content, list) else []
        for number, part in enumerate(parts):
            if part.type != "text":
                needed.setdefault(f"messages[{position}].content[{number}]", part.type)
    return needed
