"""The `[models.<name>.health]` of a catalogue file."""

from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.errors import CatalogueError
from tollgate.domain.roads.health import DEFAULT_HEALTH, HealthPolicy


class HealthEntry(BaseModel):
    """When a deployment counts as broken or slow, and which deployments stand in for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fallback: Annotated[tuple[str, ...], Field(max_length=10)] = DEFAULT_HEALTH.fallback
    least_calls: Annotated[int, Field(ge=2, le=1000)] = DEFAULT_HEALTH.least_calls
    error_percent: Annotated[float, Field(gt=0, le=100)] = DEFAULT_HEALTH.error_percent
    slow_seconds: Annotated[float, Field(gt=0, le=60)] | None = DEFAULT_HEALTH.slow_seconds
    slow_percent: Annotated[float, Field(gt=0, le=100)] = DEFAULT_HEALTH.slow_percent
    open_seconds: Annotated[float, Field(ge=1, le=120)] = DEFAULT_HEALTH.open_seconds


def read_health(model: str, entry: HealthEntry | None, deployments: Collection[str]) -> HealthPolicy:
    """The checked policy.

    Raises:
        CatalogueError: the chain names a deployment twice, or one that the model does not have.
    """
    if entry is None:
        return DEFAULT_HEALTH
    unknown = [name for name in entry.fallback if name not in deployments]
    if unknown:
        raise CatalogueError(f"The fallback of model '{model}' names deployments it does not have: {unknown}.")
    if len(set(entry.fallback)) < len(entry.fallback):
        raise CatalogueError(f"The fallback of model '{model}' names a deployment twice.")
    return HealthPolicy(**entry.model_dump())
