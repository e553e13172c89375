"""The operator's settings for one model's answer cache; a model without a policy has no cache."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tollgate.domain.near.policy import NearPolicy

DAY_SECONDS = 86_400


class WhenDown(StrEnum):
    """What happens to the other requests while the table is down."""

    REFUSE = "refuse"
    ASYNC = "async"


class CachePolicy(NamedTuple):
    """How a model's answers are stored and reused. All times are seconds.

    Attributes:
        ttl_seconds: how long an answer is fresh, 1..86,400; a request may ask for another time.
        stale_seconds: how long after that it is still given at once while one refresh runs; 0 never does.
        stale_if_error_seconds: how long after its time it is still given if the model fails; 0 never does.
        negative_seconds: how long the model's rejection of an input is remembered; 0 never is.
        max_temperature: requests with a higher sampling temperature bypass the cache, unless they ask for it. A request
            that names none is within the limit.
        shared_namespaces: names whose entries are shared by all tenants that use them; any other name is the tenant's
            own.
        coalesce: one request at a time runs a missing answer, the others wait for it.
        wait_seconds: how long a request waits for the one that runs.
        strays: requests that may run the same thing beside the one that runs, once they have waited.
        uncached_share: share of the requests finding the table down, 0..1, that may run without it.
        when_down: what happens to the others.
        per_text: each text in a list to embed is cached by itself, and only new ones are sent on. Worthwhile where
            computing a vector costs more than writing it, about $2.50 a million for 4 KB.
        version: changed by the operator when an endpoint answers differently under the same name.
        near: settings for differently worded questions; None gives exact matches only.
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
