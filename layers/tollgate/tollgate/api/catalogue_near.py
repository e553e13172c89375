"""`[models.X.cache.near]`: what the operator allows near matches of a model."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.near.index import MAX_CANDIDATES
from tollgate.domain.near.policy import Likeness, NearPolicy, Strictness


class NearMatches(BaseModel):
    """The section; a cache without it has exact matches only. See `NearPolicy` for what the fields mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strictness: Strictness = Strictness.STRICT
    wrong_hits: Annotated[float, Field(ge=0.01, le=0.5)] = 0.05
    sample: Annotated[float, Field(ge=0, le=1)] = 0.02
    candidates: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)] = MAX_CANDIDATES
    likeness: Likeness = Likeness.WORDS


def near_policy(section: NearMatches | None) -> NearPolicy | None:
    """The checked policy."""
    return None if section is None else NearPolicy(**section.model_dump())
