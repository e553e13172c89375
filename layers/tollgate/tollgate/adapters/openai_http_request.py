"""What is sent to an API that speaks OpenAI's language: where, and with which limits.

https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Any, NamedTuple

from tollgate.domain.errors import ModelFailedError
from tollgate.domain.json_values import escaped_json, strict_json
from tollgate.domain.token_backend import TokenBackend

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

    It names the model and generates no more tokens than the backend allows, in all of its choices together. What the
    caller says of service tiers is for the gateway; there it would be for other prices.

    Raises:
        ModelFailedError: the body asks for what cannot be limited.
    """
    document: dict[str, Any] = strict_json(body)
    document["model"] = model
    document.pop("service_tier", None)
    if "messages" not in document and "input" in document:
        return ProviderRequest("/embeddings", escaped_json(document), streamed=False)
    chat = "messages" in document
    most = backend.max_output_tokens // max(_count(document, "n"), _count(document, "best_of"))
    asked = [document.pop(name) for name in _LIMITS if document.get(name) is not None]
    if not all(type(limit) is int for limit in asked):
        raise ModelFailedError("The limit of output tokens must be a whole number.", original_status=400)
    name = "max_completion_tokens" if chat and host.endswith(_NEW_NAME_HOSTS) else "max_tokens"
    document[name] = max(1, min([most, *asked]))
    streamed = document.get("stream") is True
    if streamed:
        # Without it nobody says what a stream has cost.
        document["stream_options"] = {"include_usage": True}
    return ProviderRequest("/chat/completions" if chat else "/completions", escaped_json(document), streamed)


def _count(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    if value is None:
        return 1
    if type(value) is not int or value < 1:
        raise ModelFailedError(f"'{name}' must be a whole number from 1.", original_status=400)
    return value
