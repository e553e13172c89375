"""The section `micro_batch` of a deployment in the catalogue's file."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tollgate.domain.errors import CatalogueError
from tollgate.domain.jobs.micro_batches import MicroBatchPolicy

_LISTS = frozenset({"inputs"})
"""Dialects whose containers take a list and answer with one."""


class MicroBatchEntry(BaseModel):
    """Limits of what goes together in one invocation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_requests: Annotated[int, Field(ge=2, le=1024)] = 16
    max_bytes: Annotated[int, Field(ge=1_000, le=120_000_000)] = 100_000
    max_seconds: Annotated[float, Field(gt=0, le=900)] = 10.0


def micro_batch_policy(entry: MicroBatchEntry | None, resource: str, dialect: str) -> MicroBatchPolicy | None:
    """The policy of a deployment.

    Raises:
        CatalogueError: its containers take one input at a time.
    """
    if entry is None:
        return None
    if dialect not in _LISTS:
        raise CatalogueError(
            f"Deployment '{resource}' has 'micro_batch', but containers of dialect '{dialect}' take one request at a "
            f"time. Dialects with lists: {', '.join(sorted(_LISTS))}."
        )
    return MicroBatchPolicy(**entry.model_dump())
