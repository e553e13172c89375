"""OpenAI's messages as Converse's system blocks and alternating turns.

Bedrock refuses conversations that do not alternate or that hold an empty text, and wants the results of all tool calls
of one turn together in the next. So neighbours of one role are merged, and messages that say nothing are left out.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.json_values import strict_json

_ROLES: Mapping[str, str] = {"user": "user", "assistant": "assistant", "tool": "user"}
_SYSTEM_ROLES = frozenset({"system", "developer"})
# The expression stops at the comma: what follows may be megabytes, which only the decoder of the other side reads.
_IMAGE = re.compile(r"data:image/(png|jpeg|jpg|gif|webp);base64,(?=[A-Za-z0-9+/])")
_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

type Block = dict[str, Any]


def conversation(messages: Any) -> tuple[list[Block], list[dict[str, Any]]]:
    """The system blocks and the turns.

    Raises:
        InvalidRequestError: naming the place of what Converse cannot say.
    """
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError("'messages' must be a list with at least one message.", param="messages")
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for position, message in enumerate(messages):
        place = f"messages[{position}]"
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequestError(f"{place} must be an object with 'role' and 'content'.", param=place)
        role = message["role"]
        if role in _SYSTEM_ROLES:
            system += _texts(message.get("content"), f"{place}.content")
            continue
        if role not in _ROLES:
            raise InvalidRequestError(f"Bedrock's Converse API has no role '{role[:50]}'.", param=f"{place}.role")
        blocks = _blocks(message, role, place)
        if turns and turns[-1]["role"] == _ROLES[role]:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": _ROLES[role], "content": blocks})
    if not turns or turns[0]["role"] != "user":
        raise InvalidRequestError("On Bedrock a conversation begins with a message of the user.", param="messages")
    return system, turns


def has_tool_blocks(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether tools were called, or their results are given."""
    return any(block.keys() & {"toolUse", "toolResult"} for turn in turns for block in turn["content"])


def tool_name(value: Any, place: str) -> str:
    """A tool's name.

    Raises:
        InvalidRequestError: Bedrock takes no such name.
    """
    if not isinstance(value, str) or not _TOOL_NAME.fullmatch(value):
        raise InvalidRequestError(f"Invalid '{place}': up to 64 letters, digits, underscores and hyphens.", param=place)
    return value


def _blocks(message: Mapping[str, Any], role: str, place: str) -> list[Block]:
    content = message.get("content")
    if role == "tool":
        return [_tool_result(message, place)]
    if role == "user":
        found = list(_parts(content, f"{place}.content"))
        if not found:
            raise InvalidRequestError(f"'{place}.content' says nothing.", param=f"{place}.content")
        return found
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, (list, tuple)):
        raise InvalidRequestError(f"'{place}.tool_calls' must be a list.", param=f"{place}.tool_calls")
    made = [_tool_use(call, f"{place}.tool_calls[{number}]") for number, call in enumerate(calls)]
    return _texts(content, f"{place}.content") + made


def _texts(content: Any, place: str) -> list[Block]:
    blocks = list(_parts(content, place))
    if not all("text" in block for block in blocks):
        raise InvalidRequestError(f"'{place}' takes text only, from this role.", param=place)
    return blocks


def _parts(content: Any, place: str) -> Iterator[Block]:
    """The blocks of a content; texts that say nothing are left out."""
    if content is None:
        return
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise InvalidRequestError(f"'{place}' must be a text or a list of parts.", param=place)
    for number, part in enumerate(content):
        here = f"{place}[{number}]"
        match part:
            case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
                if text.strip():
                    yield {"text": text}
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                yield _image(url, here)
            case _:
                raise InvalidRequestError(
                    f"'{here}' is neither a text nor an image, the parts that Bedrock is sent.", param=here
                )


def _image(url: str, place: str) -> Block:
    found = _IMAGE.match(url)
    if found is None:
        raise InvalidRequestError(
            f"'{place}' must be a data URL with a PNG, JPEG, GIF or WebP in Base64. Bedrock fetches no images.",
            param=f"{place}.image_url",
        )
    form = "jpeg" if found[1] == "jpg" else found[1]
    return {"image": {"format": form, "source": {"bytes": url[found.end() :]}}}


def _tool_use(call: Any, place: str) -> Block:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise InvalidRequestError(f"'{place}' must be the call of a function.", param=place)
    try:
        arguments = strict_json(function.get("arguments") or "{}")
    except (ValueError, TypeError):
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequestError(
            f"'{place}.function.arguments' must be a JSON object in a text.", param=f"{place}.function.arguments"
        )
    name = tool_name(function.get("name"), f"{place}.function.name")
    return {"toolUse": {"toolUseId": _call_id(call.get("id"), f"{place}.id"), "name": name, "input": arguments}}


def _tool_result(message: Mapping[str, Any], place: str) -> Block:
    identity = _call_id(message.get("tool_call_id"), f"{place}.tool_call_id")
    return {"toolResult": {"toolUseId": identity, "content": list(_parts(message.get("content"), f"{place}.content"))}}


def _call_id(value: Any, place: str) -> str:
    if not isinstance(value, str) or not _TOOL_USE_ID.fullmatch(value):
        raise InvalidRequestError(f"Invalid '{place}': 1 to 64 letters, digits and characters of '_.:-'.", param=place)
    return value
