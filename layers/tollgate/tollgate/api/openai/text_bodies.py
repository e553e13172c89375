"""Bodies of ``POST /v1/completions`` and ``POST /v1/embeddings``.

https://platform.openai.com/docs/api-reference/completions/create
https://platform.openai.com/docs/api-reference/embeddings/create
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from tollgate.api.openai.chat_body import Copies, Penalty, Stop, Temperature, Tokens, TopP
from tollgate.api.openai.reading import OpenAIBody, StreamOptions

_MAX_TEXTS = 2048
"""OpenAI's own limit of one embeddings request."""

Text = Annotated[str, Field(min_length=1)]


class CompletionBody(OpenAIBody):
    """Request of a plain completion: one text to continue, as it is."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    seed: int | None = None
    n: Copies | None = None
    best_of: Copies | None = None
    echo: bool | None = None
    suffix: str | None = None
    logprobs: Annotated[int | None, Field(ge=0, le=5)] = None
    logit_bias: dict[str, float] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None


class EmbeddingBody(OpenAIBody):
    """Request of embeddings: one text or several. Lists of tokens are not taken; their meaning depends on the model."""

    input: Text | Annotated[list[Text], Field(min_length=1, max_length=_MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1, le=65_536)] = None


_BASIC = {"max_tokens": "max_new_tokens", "temperature": "temperature", "top_p": "top_p"}
"""OpenAI's names in Hugging Face's words."""

_OPTIONAL = (
    "stop",
    "seed",
    "n",
    "best_of",
    "echo",
    "suffix",
    "logprobs",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
)
_NOTHING: dict[str, tuple[Any, ...]] = {
    "stop": ([],),
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
}


def completion_parameters(body: CompletionBody) -> tuple[dict[str, Any], dict[str, str]]:
    """What goes to the container beside the text, and the capability that each parameter needs.

    Details are asked for because the token counts are in them.
    """
    basic = {theirs: value for ours, theirs in _BASIC.items() if (value := getattr(body, ours)) is not None}
    asked = {name: value for name in _OPTIONAL if (value := getattr(body, name)) is not None} | body.additional
    optional = {name: value for name, value in asked.items() if value not in _NOTHING.get(name, ())}
    fixed = {"details": True, "return_full_text": False}
    return fixed | basic | optional, {name: name for name in optional}


def embedding_parameters(body: EmbeddingBody) -> tuple[dict[str, Any], dict[str, str]]:
    """As `completion_parameters`, for embeddings."""
    asked = body.additional if body.dimensions is None else {"dimensions": body.dimensions} | body.additional
    return dict(asked), {name: name for name in asked}
