"""Bodies of ``POST /v1/completions`` and ``POST /v1/embeddings``.

https://platform.openai.com/docs/api-reference/completions/create
https://platform.openai.com/docs/api-reference/embeddings/create
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import core_schema as rules

from tollgate.api.fields import optional, required
from tollgate.api.openai.reading import (
    COMMON_FIELDS,
    SAMPLING_FIELDS,
    STREAM_FIELDS,
    Body,
    BodyReader,
    list_of,
    one_of,
    optional_parameters,
)

_MAX_TEXTS = 2048
"""OpenAI's own limit of one embeddings request."""

MAX_PROMPTS = 32
"""They are answered in the time of one call; where an instance serves one at a time, one after the other."""

_PROMPT = rules.custom_error_schema(
    rules.str_schema(),
    "text_type",
    custom_error_message="it should be a text, since what a token means depends on the model",
)
_TEXT = rules.str_schema(min_length=1)

COMPLETION = BodyReader(
    "CompletionRequest",
    {
        "prompt": required(rules.union_schema([_PROMPT, list_of(_PROMPT, least=1, most=MAX_PROMPTS)])),
        "best_of": optional(rules.int_schema(ge=1, le=20)),
        "echo": optional(rules.bool_schema()),
        "suffix": optional(rules.str_schema()),
        "logprobs": optional(rules.int_schema(ge=0, le=5)),
        **SAMPLING_FIELDS,
        **STREAM_FIELDS,
    },
)

EMBEDDING = BodyReader(
    "EmbeddingRequest",
    {
        # Lists of tokens are not taken: what they mean depends on the model.
        "input": required(rules.union_schema([_TEXT, list_of(_TEXT, least=1, most=_MAX_TEXTS)])),
        "encoding_format": optional(one_of("float", "base64")),
        "dimensions": optional(rules.int_schema(ge=1, le=65_536)),
    },
)

_BASIC = {"max_tokens": "max_new_tokens", "temperature": "temperature", "top_p": "top_p"}
"""OpenAI's names in Hugging Face's words."""

_COMPLETION_HANDLED = frozenset(COMMON_FIELDS) | frozenset(STREAM_FIELDS) | frozenset(_BASIC) | {"prompt"}
_EMBEDDING_HANDLED = frozenset(COMMON_FIELDS) | {"input", "encoding_format"}
_NOTHING: Mapping[str, tuple[Any, ...]] = {"best_of": (1,), "echo": (False,), "suffix": ("",)}


def completion_parameters(body: Body) -> tuple[dict[str, Any], dict[str, str]]:
    """What goes to the container beside the text, and the capability that each parameter needs.

    Details are asked for because the token counts are in them.
    """
    basic = {theirs: body[ours] for ours, theirs in _BASIC.items() if body.get(ours) is not None}
    asked = optional_parameters(body, _COMPLETION_HANDLED, _NOTHING)
    fixed = {"details": True, "return_full_text": False}
    return fixed | basic | asked, {name: name for name in asked}


def embedding_parameters(body: Body) -> tuple[dict[str, Any], dict[str, str]]:
    """As `completion_parameters`, for embeddings."""
    asked = optional_parameters(body, _EMBEDDING_HANDLED, {})
    return asked, {name: name for name in asked}


def texts_of(body: Body, field: str) -> list[str]:
    """The texts of a field that takes one or several."""
    value = body[field]
    return [value] if isinstance(value, str) else list(value)
