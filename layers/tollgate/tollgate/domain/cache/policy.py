"""What the operator allows the answer cache of one model; a model without a policy has no cache."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tollgate.domain.near.policy import NearPolicy

DAY_SECONDS = 86_400


class WhenDown(StrEnum):
    """What becomes of requests that may not go on while the table is down."""

    REFUSE = "refuse"
    ASYNC = "async"


class CachePolicy(NamedTuple):
    """How answers of a model are kept and given again. All times are seconds.

    Attributes:
        ttl_seconds: an answer is fresh for so long, 1..86,400; a request may ask for another time.
        stale_seconds: after that, it is still given at once while one refresh runs; 0 never does.
        stale_if_error_seconds: after its time, it is still given where the model fails; 0 never does.
        negative_seconds: the model's refusal of an input (4xx) is remembered for so long; 0 never is.
        max_temperature: requests that name a higher sampling temperature go past the cache, unless they ask for it. A
            request that names none is within the limit.
        shared_namespaces: names whose entries all tenants share who name them; any other name is the tenant's own.
        coalesce: one request at a time runs a missing answer, the others wait for it.
        wait_seconds: that a request waits for the one that runs.
        strays: requests that may run the same thing beside the one that runs, once they have waited.
        uncached_share: of the requests that find the table down, 0..1, that may run without it.
        when_down: what becomes of the others.
        per_text: of a list of texts to embed, each is kept by itself, and only those not seen are sent on. Worth it
            where a vector costs more than writing it does, about $2.50 a million for 4 KB.
        version: changed by the operator when an endpoint answers differently under the same name.
        near: of answers to other words of the same question; None gives exact matches only.
    """

    ttl_seconds: int = 600
    stale_seconds: int = 0
    stale_if_error_seconds: int = 0
    negative_seconds: int = 30
    max_temperature: float = 0.5
    shared_namespaces: frozenset[str] = frozenset()
    coalesce: bool = True
    wait_seconds: float = 20.0
    strays: int = 2
    uncached_share: float = 0.5
    when_down: WhenDown = WhenDown.REFUSE
    per_text: bool = False
    version: str = ""
    near: NearPolicy | None = None
