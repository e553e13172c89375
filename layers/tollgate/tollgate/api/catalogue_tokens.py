"""The section `tokens` of a deployment in the catalogue's file: a provider that is paid by the token."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.catalogue import Deployment, InferenceType, ModelKind, Road, Timing
from tollgate.domain.costs.price_book import PriceBook
from tollgate.domain.errors import CatalogueError
from tollgate.domain.providers.backend import Provider, TokenBackend
from tollgate.domain.providers.prices import BucketRates

TOKEN_ROADS = (InferenceType.REALTIME, InferenceType.ASYNC)
"""Requests that can wait are jobs of the asynchronous road: there is no transform job to gather them for."""

Rate = Annotated[Decimal, Field(ge=0, le=Decimal(100_000))]


class TokensEntry(BaseModel):
    """Provider, model, limit and, where the price book has none or others hold, rates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$")]
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    price_model: Annotated[str, Field(max_length=255)] | None = None
    usd_per_million_input_tokens: Rate | None = None
    usd_per_million_output_tokens: Rate | None = None
    usd_per_million_cached_input_tokens: Rate | None = None
    url: Annotated[str, Field(max_length=2000)] = ""
    api_key_parameter: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]{1,1010}$")] | None = None


def token_roads(
    entry: TokensEntry, *, resource: str, timing: Timing, book: PriceBook, others: Mapping[str, object]
) -> Mapping[InferenceType, Road]:
    """The roads of a deployment that is paid by the token.

    Args:
        entry: the section.
        resource: ``model/deployment``, for messages.
        timing: of the deployment; the answer's usual length is what costs are expected by.
        book: list prices.
        others: what else the deployment says that only SageMaker's have, by its name in the file; None where it does
            not say it.

    Raises:
        CatalogueError: the section contradicts itself or the rest, or no rates are known.
    """
    said = sorted(name for name, value in others.items() if value is not None)
    if said:
        raise CatalogueError(
            f"Deployment '{resource}' is paid by the token and cannot have {', '.join(said)}. Give the SageMaker "
            "endpoint a deployment of its own in the same model."
        )
    if not timing.expected_output_tokens:
        raise CatalogueError(
            f"Deployment '{resource}' is paid by the token: say how long an answer usually is "
            "(timing.expected_output_tokens), or its cost cannot be compared with that of others."
        )
    backend = TokenBackend(
        provider=entry.provider,
        rates=_rates(entry, resource, book),
        max_output_tokens=entry.max_output_tokens,
        url=_url(entry, resource),
        api_key_parameter=entry.api_key_parameter or "",
    )
    return {
        kind: Road(inference_type=kind, target=entry.model, instance_type="", usd_per_hour=None, tokens=backend)
        for kind in TOKEN_ROADS
    }


def kind_served(model: str, kind: ModelKind, deployments: Iterable[Deployment]) -> ModelKind:
    """The kind of a model; one that a provider paid by the token serves, beside others or alone, is for chat.

    Raises:
        CatalogueError: the model is for something else than chat.
    """
    paid = [d.name for d in deployments if d.tokens is not None]
    if paid and kind not in {ModelKind.CHAT, ModelKind.ANY}:
        raise CatalogueError(
            f"Model '{model}' is of the kind '{kind}', but its deployments {', '.join(paid)} are paid by the token and "
            "answer chats only."
        )
    return ModelKind.CHAT if paid else kind


def _rates(entry: TokensEntry, resource: str, book: PriceBook) -> BucketRates:
    read, made = entry.usd_per_million_input_tokens, entry.usd_per_million_output_tokens
    cached = entry.usd_per_million_cached_input_tokens
    if read is not None and made is not None:
        return BucketRates(read, made, cached)
    if not (read is made is cached is None):
        raise CatalogueError(
            f"The rates of '{resource}' are not complete: give both usd_per_million_input_tokens and "
            "usd_per_million_output_tokens, or neither for those of the price book."
        )
    name = entry.price_model or entry.model
    listed = book.tokens.get(name)
    if listed is None:
        raise CatalogueError(
            f"No rates are known for '{name}' ('{resource}'). Set usd_per_million_input_tokens and "
            "usd_per_million_output_tokens, or price_model to one of the price book: " + ", ".join(sorted(book.tokens))
        )
    return listed.rates


def _url(entry: TokensEntry, resource: str) -> str:
    if entry.provider is Provider.BEDROCK:
        if entry.url or entry.api_key_parameter:
            raise CatalogueError(
                f"'{resource}' cannot have url or api_key_parameter: Bedrock is called in the gateway's own region "
                "with its own role."
            )
        return ""
    try:
        parts = urlsplit(entry.url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CatalogueError(f"The url of '{resource}' is not valid: {error}.") from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host == "127.0.0.1")) or port == 0:
        raise CatalogueError(f"The url of '{resource}' must begin with https:// (http:// only for 127.0.0.1).")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise CatalogueError(
            f"The url of '{resource}' must have no credentials, query or fragment. Keep the key in an SSM SecureString "
            "named by api_key_parameter."
        )
    if not entry.url.isascii() or any(c.isspace() or not c.isprintable() for c in entry.url):
        raise CatalogueError(f"The url of '{resource}' must consist of ASCII characters without spaces.")
    return entry.url.rstrip("/")
