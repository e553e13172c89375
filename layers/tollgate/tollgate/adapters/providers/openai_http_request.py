"""What is sent to an API that speaks OpenAI's language: where, and with which limits.

https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Any, NamedTuple

from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.domain.providers.backend import TokenBackend

_LIMITS = ("max_completion_tokens", "max_tokens")
# OpenAI's newer models refuse the old name, many who copied its API know no other.
# https://platform.openai.com/docs/api-reference/chat/create#chat_create-max_tokens
_NEW_NAME_HOSTS = ("api.openai.com", ".openai.azure.com")


class ProviderRequest(NamedTuple):
    """Path below the API's base address, body, and whether the answer comes in pieces."""

    path: str
    body: bytes
    streamed: bool


def provider_request(backend: TokenBackend, model: str, host: str, body: bytes) -> ProviderRequest:
    """The request for a body of the dialect `openai`.

    It names the model, and limits each choice to the output tokens that the backend allows.
    """
    document: dict[str, Any] = strict_json(body)
    document["model"] = model
    if "messages" not in document and "input" in document:
        return ProviderRequest("/embeddings", escaped_json(document), streamed=False)
    chat = "messages" in document
    asked = [limit for name in _LIMITS if isinstance(limit := document.pop(name, None), int)]
    name = "max_completion_tokens" if chat and host.endswith(_NEW_NAME_HOSTS) else "max_tokens"
    document[name] = min([backend.max_output_tokens, *asked])
    streamed = document.get("stream") is True
    if streamed:
        # Without it nobody says what a stream has cost.
        document["stream_options"] = {"include_usage": True}
    return ProviderRequest("/chat/completions" if chat else "/completions", escaped_json(document), streamed)
