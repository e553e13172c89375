"""What stands behind the roads: endpoints, inference components and transform jobs, as they are at one moment.

A `Standing` holds all that is needed to restore the thing as it was. It is stored before anything is taken down; the
undo needs nothing else.
"""

from collections.abc import Mapping
from copy import replace
from dataclasses import dataclass
from enum import StrEnum

from tollgate.domain.catalogue import Catalogue, Deployment, InferenceType, Road


class PlaceKind(StrEnum):
    """Kinds of place; what "down" means depends on the kind.

    `REALTIME`: a classic endpoint, deleted and made again from its configuration, which is kept. `ASYNC`: an
    asynchronous endpoint, to 0 instances. `COMPONENT`: an inference component, to 0 copies. `BATCH`: a SageMaker Model
    whose transform jobs are stopped.
    """

    REALTIME = "realtime_endpoint"
    ASYNC = "async_endpoint"
    COMPONENT = "inference_component"
    BATCH = "transform_jobs"


class StandStatus(StrEnum):
    """The state of a place.

    `CHANGING` takes no orders until the change is over; `FAILED` has SageMaker's reason in `Standing.problem`.
    """

    UP = "up"
    CHANGING = "changing"
    DOWN = "down"
    FAILED = "failed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Place:
    """One thing that costs money while it stands. Several deployments may share it.

    Attributes:
        name: of the endpoint, the inference component, or for batch the SageMaker Model.
    """

    kind: PlaceKind
    name: str

    @property
    def key(self) -> str:
        """``kind/name``, for records and logs."""
        return f"{self.kind.value}/{self.name}"

    @staticmethod
    def from_key(key: str) -> "Place":
        """The place with this key.

        Raises:
            ValueError: it is not a valid key.
        """
        kind, _, name = key.partition("/")
        return Place(PlaceKind(kind), name)


@dataclass(frozen=True, slots=True)
class VariantStanding:
    """Instances of a production variant, or copies of an inference component (whose `weight` is always 1)."""

    name: str
    current: int
    desired: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """A scaling policy; `configuration` is its JSON document, members sorted."""

    name: str
    policy_type: str
    configuration: str


@dataclass(frozen=True, slots=True)
class ScalingTarget:
    """What Application Auto Scaling may do with a variant or a component.

    Attributes:
        resource_id: as in ``endpoint/NAME/variant/VARIANT``.
        suspended: which of scaling in, scaling out and scheduled scaling are suspended, in this order.
    """

    resource_id: str
    dimension: str
    minimum: int
    maximum: int
    suspended: tuple[bool, bool, bool] = (False, False, False)
    policies: tuple[ScalingPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A place at one moment.

    Attributes:
        configuration: name of the endpoint configuration; None for components and batch.
        variants: counts and weights by variant, in SageMaker's order; empty for what does not exist.
        scaling: targets of Application Auto Scaling, by resource id.
        tags: of the endpoint, without those that AWS itself sets, by key.
        jobs: names of running transform jobs, for batch.
        problem: SageMaker's reason where something failed.
    """

    place: Place
    status: StandStatus
    configuration: str | None = None
    variants: tuple[VariantStanding, ...] = ()
    scaling: tuple[ScalingTarget, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    jobs: tuple[str, ...] = ()
    problem: str = ""

    @property
    def current(self) -> int:
        """Instances, copies or jobs that run and cost money now."""
        return sum(v.current for v in self.variants) + len(self.jobs)

    @property
    def desired(self) -> int:
        """Instances, copies or jobs that should run."""
        return sum(v.desired for v in self.variants) + len(self.jobs)

    def wanting(self, instances: int) -> "Standing":
        """The same with at least this many instances or copies wanted, added to the first variant."""
        missing = instances - self.desired
        if missing <= 0 or not self.variants:
            return self
        first, *others = self.variants
        return replace(self, variants=(replace(first, desired=first.desired + missing), *others))

    def with_instances(self, instances: int) -> "Standing":
        """The same with this many instances or copies wanted; the first variant makes up the difference."""
        if not self.variants:
            return self
        first, *others = self.variants
        wanted = max(1, first.desired + instances - self.desired)
        return replace(self, variants=(replace(first, desired=wanted), *others))

    def steered(self) -> "Standing":
        """The same with its scaling policies suspended, because the number of instances is set elsewhere."""
        targets = (replace(target, suspended=(True, True, target.suspended[2])) for target in self.scaling)
        return replace(self, scaling=tuple(targets))

    def suspended_as(self, earlier: "Standing") -> "Standing":
        """The same with those scaling policies suspended that were suspended earlier."""
        known = {target.resource_id: target.suspended for target in earlier.scaling}
        targets = (replace(t, suspended=known.get(t.resource_id, t.suspended)) for t in self.scaling)
        return replace(self, scaling=tuple(targets))


@dataclass(frozen=True, slots=True)
class Step:
    """What one call of `EndpointControl` did.

    Attributes:
        settled: whether the place is as wished; if not, repeat the call later.
        changes: what this call changed, in words for the record; empty when there was nothing to do.
        problem: what is in the way, if anything is.
        failed: whether something was tried and did not work, so that the next try should not come at once.
    """

    settled: bool
    changes: tuple[str, ...] = ()
    problem: str = ""
    failed: bool = False


def place_of(road: Road) -> Place:
    """The place that serves a road."""
    if road.inference_type is InferenceType.BATCH:
        return Place(PlaceKind.BATCH, road.target)
    if road.inference_component is not None:
        return Place(PlaceKind.COMPONENT, road.inference_component)
    kind = PlaceKind.ASYNC if road.inference_type is InferenceType.ASYNC else PlaceKind.REALTIME
    return Place(kind, road.target)


def places_of(catalogue: Catalogue) -> Mapping[Place, tuple[tuple[Deployment, Road], ...]]:
    """Every place of a catalogue, with the deployments and roads that share it."""
    found: dict[Place, tuple[tuple[Deployment, Road], ...]] = {}
    for model in catalogue.models.values():
        for deployment in model.deployments:
            for road in deployment.roads.values():
                if road.tokens is not None:
                    continue  # Nothing of it stands, sleeps or could be shut down.
                place = place_of(road)
                found[place] = (*found.get(place, ()), (deployment, road))
    return found
