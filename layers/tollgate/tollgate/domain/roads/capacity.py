"""What is known of the deployments right now: awake or not, how long requests take, how many wait."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from tollgate.domain.catalogue import InferenceType


class RoadState(StrEnum):
    """Whether a road takes requests now. `SLOW` does, but is avoided where another deployment is quicker."""

    AWAKE = "awake"
    SLOW = "slow"
    ASLEEP = "asleep"
    BROKEN = "broken"


class RoadCapacity(NamedTuple):
    """The latest observation of one road of one deployment.

    Attributes:
        measured_seconds: for which a request held its place lately, on average; None before the first measurement.
        backlog: requests accepted and not finished.
        instances: that are running; None if nobody has looked yet.
    """

    state: RoadState = RoadState.AWAKE
    measured_seconds: float | None = None
    backlog: int = 0
    instances: int | None = None


_UNOBSERVED = RoadCapacity()


class Capacity(NamedTuple):
    """Snapshot over all deployments, keyed by ``(model/deployment, inference type)``."""

    roads: Mapping[tuple[str, InferenceType], RoadCapacity] = MappingProxyType({})

    def of(self, resource: str, inference_type: InferenceType) -> RoadCapacity:
        """The observation of a road, or the optimistic default where there is none."""
        return self.roads.get((resource, inference_type), _UNOBSERVED)
