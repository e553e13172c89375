"""Shapes of the answers of the routes over the cache, for the OpenAPI document."""

from typing import Any, Literal

from local.openapi.answers import Answer


class CacheRefusal(Answer):
    """What a model said of an input that it does not take."""

    message: str
    status: int


class NearCandidate(Answer):
    """An entry that was compared; `reasons` says why it was not taken."""

    key: str
    age_seconds: int
    score: float
    agreed: bool
    reasons: list[
        Literal[
            "numbers",
            "operators",
            "symbols",
            "negation",
            "names",
            "opposites",
            "order",
            "question",
            "context",
            "score",
        ]
    ]


class NearCompared(Answer):
    """Comparisons of near hits with fresh answers, ever."""

    agreed: int
    disagreed: int


class NearWrongRate(Answer):
    """The guard's running estimate at the threshold in force: `upper_bound` holds with 95 % confidence."""

    limit: float
    upper_bound: float
    compared: int


class NearSearch(Answer):
    """What a search for near matches found; `serves` is false where the guard has turned them off."""

    matched: str | None
    candidates: list[NearCandidate]
    serves: bool
    threshold: float
    compared: NearCompared
    wrong_rate: NearWrongRate


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
    near: NearSearch | None = None


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
