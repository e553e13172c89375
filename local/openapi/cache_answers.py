"""Shapes of the answers of the routes over the cache, for the OpenAPI document."""

from typing import Any, Literal

from local.openapi.answers import Answer


class CacheRefusal(Answer):
    """What a model said of an input that it does not take."""

    message: str
    status: int


class CacheLookup(Answer):
    """How the cache would answer a request now, and with what."""

    object: Literal["cache.lookup"]
    model: str
    key: str
    cache: Literal["hit", "near", "stale", "miss", "bypass"]
    deployment: str
    output: Any = None
    refusal: CacheRefusal | None = None
    usage: dict[str, int | None] | None = None
    avoided_cost_usd: str | None = None
    estimated_cost_usd: str | None = None
    fresh_until: str | None = None
    age_seconds: int | None = None


class CacheDeleted(Answer):
    """What was forgotten."""

    object: Literal["cache.deleted"]
    deleted: Literal[True]


class CacheValueKept(Answer):
    """A result that is kept."""

    object: Literal["cache.value"]
    namespace: str
    key: str
    expires_at: str


class CacheValue(CacheValueKept):
    """A kept result, with its value."""

    value: Any
