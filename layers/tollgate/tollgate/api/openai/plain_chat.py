"""Chat requests that are right beyond doubt, read without pydantic's core, whose import is a fifth of a cold start.

Most have messages of plain text, a limit and a few fields beside them. Any others, and those with a fault, are left to
the rules in `tollgate.api.openai.chat_body`, as `tollgate.api.bodies` does with native bodies; a property test holds
the two to the same result.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tollgate.api.bodies import MODEL_CHARACTERS, is_text
from tollgate.domain.catalogue import Priority
from tollgate.domain.errors import InvalidRequestError

MOST_OUTPUT_TOKENS = 1_000_000
NAME_CHARACTERS = 512
"""Of what a caller says to be known by."""

PRIORITY_OF_TIER: Mapping[str | None, Priority | None] = {
    None: None,
    "auto": None,
    "default": None,
    "flex": Priority.MEDIUM,
    "priority": Priority.HIGH,
}
"""Roads of OpenAI's service tiers: `flex` is asynchronous, `priority` real-time, the others are as the model says."""

_SPEAKERS = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_MESSAGE = frozenset({"role", "content"})
_NAMES = ("user", "safety_identifier", "prompt_cache_key")
_FIELDS = frozenset(
    "model messages service_tier max_tokens max_completion_tokens temperature top_p stream stream_options".split()
).union(_NAMES)


class ChatRequest(NamedTuple):
    """A chat request that was checked.

    Attributes:
        body: as it came.
        value: messages, and documents that are to be trimmed, for the container.
        parameters: what goes to the container beside them.
        needed: the capability that a parameter or a part of a message needs.
    """

    body: Mapping[str, Any]
    value: dict[str, Any]
    parameters: dict[str, Any]
    needed: dict[str, str]


def read_chat(document: Any) -> ChatRequest:
    """Check the body of ``POST /v1/chat/completions``.

    Raises:
        InvalidRequestError: naming a field at fault, as in ``messages[0].role``.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    plain = read_plain(document)
    if plain is not None:
        return plain
    from tollgate.api.openai.chat_body import read_by_rules  # noqa: PLC0415 -- see the top

    return read_by_rules(document)


def read_plain(body: Mapping[str, Any]) -> ChatRequest | None:
    """The request of a parsed JSON object; None unless every field is plain and right."""
    messages = body.get("messages")
    if not (body.keys() <= _FIELDS and type(messages) is list and messages and body.get("model")):
        return None
    limit, most = body.get("max_tokens"), body.get("max_completion_tokens")
    heat, nucleus, tier = body.get("temperature"), body.get("top_p"), body.get("service_tier")
    right = (
        is_text(body["model"], MODEL_CHARACTERS)
        and all(map(_is_plain, messages))
        and (tier is None or (type(tier) is str and tier in PRIORITY_OF_TIER))
        and all(
            tokens is None or (type(tokens) is int and 1 <= tokens <= MOST_OUTPUT_TOKENS) for tokens in (limit, most)
        )
        and (heat is None or (type(heat) in {int, float} and 0 <= heat <= 2))
        and (nucleus is None or (type(nucleus) in {int, float} and 0 < nucleus <= 1))
        and _is_choice(body.get("stream"))
        and _are_options(body.get("stream_options"))
        and all(body.get(name) is None or is_text(body[name], NAME_CHARACTERS) for name in _NAMES)
    )
    if not right:
        return None
    said = [{"role": _SPEAKERS[message["role"]], "content": message["content"]} for message in messages]
    given = {
        "max_tokens": most or limit,
        "temperature": None if heat is None else float(heat),
        "top_p": None if nucleus is None else float(nucleus),
    }
    return ChatRequest(
        body, {"messages": said}, {name: value for name, value in given.items() if value is not None}, {}
    )


def _is_choice(value: object) -> bool:
    return value is None or type(value) is bool


def _are_options(value: object) -> bool:
    plain = type(value) is dict and value.keys() <= {"include_usage"} and _is_choice(value.get("include_usage"))
    return value is None or plain


def _is_plain(message: object) -> bool:
    if type(message) is not dict or message.keys() != _MESSAGE:
        return False
    role, content = message["role"], message["content"]
    return type(role) is str and role in _SPEAKERS and type(content) is str and is_text(content, len(content))
