"""Ports of everything that starts and stops what stands behind the roads."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from tollgate.domain.catalogue import Deployment, InferenceType, Road
from tollgate.domain.places.record import PlaceRecord
from tollgate.domain.places.standing import Place, Standing, Step
from tollgate.domain.roads.capacity import RoadState

if TYPE_CHECKING:
    # Only right-sizing needs it at run time.
    from tollgate.domain.places.rightsizing import MeasuredUse


class EndpointControl(Protocol):
    """Looks at places, takes them down and puts them back.

    Nothing here waits: SageMaker takes minutes. `take_down` and `bring_up` start what can be started now and are called
    again, with the same standing, until the step is settled. Calling one again when it is settled changes nothing.

    Every method may raise:
        BackendThrottledError, CapacityError: not now; the same call may work later.
        BackendError: refused, and always will be.
    """

    def describe(self, place: Place) -> Standing:
        """What stands there now; a place that does not exist is `StandStatus.ABSENT`."""

    def take_down(self, before: Standing, *, pinned: bool = True) -> Step:
        """One step towards nothing running at the place; settled when nothing runs.

        Never touches model artefacts, SageMaker Models or endpoint configurations.

        Args:
            before: how it was found and will be put back; store it before the first call.
            pinned: whether autoscaling is kept from starting it again (targets at 0..0). Otherwise only the lower
                bound goes to 0, so that a policy that starts from zero still may.
        """

    def bring_up(self, before: Standing) -> Step:
        """One step towards what `before` says: configuration, tags, counts, weights, scaling targets and policies.

        Settled when that is how it stands. An endpoint that failed to start is deleted and made again. Transform jobs
        cannot be brought back; their requests are still in the job table.
        """


class PlaceRecords(Protocol):
    """What is written down about places. Every method may raise StorageError."""

    def all(self) -> Sequence[PlaceRecord]:
        """Every record, read consistently."""

    def get(self, place: Place) -> PlaceRecord | None:
        """The record of a place, read consistently."""

    def write(self, record: PlaceRecord) -> bool:
        """Store a record whose revision is still the stored one; it becomes one higher. A new record has revision 0.

        Returns:
            Whether it was stored; False if somebody else wrote meanwhile.
        """

    def ask(self, place: Place, now: datetime) -> bool:
        """Note that a sleeping place is wanted.

        Returns:
            Whether this is the request that wakes it: it sleeps, is not held, and nobody asked before.
        """

    def hold(self, place: Place, by: str, now: datetime) -> None:
        """Keep a place from being woken or put to sleep, until `let_go`. Holding again changes nothing."""

    def let_go(self, place: Place, by: str) -> None:
        """End a hold of the same name; nothing happens if there is none."""


class ActivityMetrics(Protocol):
    """What metrics say about the use of places."""

    def last_invocation(self, place: Place, variants: Sequence[str], since: datetime, now: datetime) -> datetime | None:
        """The end of the last minute in which the place served or had work waiting, None if none since then.

        Args:
            place: the endpoint or component.
            variants: names of its production variants.
            since: how far back to look.
            now: the present.

        Raises:
            StorageError: metrics cannot be read, so nobody knows.
        """


class RoadStates(Protocol):
    """Tells routing which roads sleep."""

    def record_state(self, resource: str, inference_type: InferenceType, state: RoadState, instances: int) -> None:
        """Note the state and the running instances of one road of a deployment.

        Raises:
            StorageError
        """


class UsageMetrics(Protocol):
    """How much of their instances endpoints use."""

    def week(self, deployment: Deployment, road: Road, variant: str, instances: float, now: datetime) -> "MeasuredUse":
        """The last seven days of one road.

        Args:
            deployment: that the road belongs to.
            road: real-time or asynchronous.
            variant: production variant of its endpoint.
            instances: mean number that stood, for the saving.
            now: the present.

        Raises:
            StorageError: metrics cannot be read.
        """


class RecommendationReports(Protocol):
    """Advice about instances, as it was last worked out."""

    def store(self, report: Mapping[str, Any], *, now: datetime) -> None:
        """Replace the report.

        Raises:
            StorageError
        """

    def latest(self) -> Mapping[str, Any] | None:
        """The latest report, None before the first.

        Raises:
            StorageError
        """
