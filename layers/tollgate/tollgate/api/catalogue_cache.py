"""`[models.X.cache]`: what the operator allows the answer cache of a model."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tollgate.api.catalogue_near import NearMatches, near_policy
from tollgate.domain.cache.policy import DAY_SECONDS, CachePolicy, WhenDown

_Seconds = Annotated[int, Field(ge=0, le=DAY_SECONDS)]
_Namespace = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class CacheEntry(BaseModel):
    """The section; a model without it has no cache. See `CachePolicy` for what the fields mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl_seconds: Annotated[int, Field(ge=1, le=DAY_SECONDS)] = 600
    stale_seconds: _Seconds = 0
    stale_if_error_seconds: _Seconds = 0
    negative_seconds: Annotated[int, Field(ge=0, le=300)] = 30
    max_temperature: Annotated[float, Field(ge=0, le=2)] = 0.5
    shared_namespaces: frozenset[_Namespace] = frozenset()
    coalesce: bool = True
    wait_seconds: Annotated[float, Field(ge=0, le=25)] = 20.0
    strays: Annotated[int, Field(ge=0, le=1000)] = 2
    uncached_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    when_down: WhenDown = WhenDown.REFUSE
    per_text: bool = False
    version: Annotated[str, Field(max_length=64)] = ""
    near: NearMatches | None = None


def cache_policy(entry: CacheEntry | None) -> CachePolicy | None:
    """The checked policy."""
    if entry is None:
        return None
    return CachePolicy(**{**entry.model_dump(), "near": near_policy(entry.near)})
