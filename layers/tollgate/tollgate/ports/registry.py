"""What the registry keeps: the catalogue in force, keys, and what was measured of each deployment."""

from datetime import datetime
from typing import Protocol

from tollgate.domain.catalogue import Catalogue, InferenceType
from tollgate.domain.jobs.job import Job
from tollgate.domain.keys import KeyRecord
from tollgate.domain.roads.capacity import Capacity, RoadState


class CatalogueSource(Protocol):
    """The current catalogue, read again after a few seconds at most."""

    def current(self) -> Catalogue:
        """The catalogue in force.

        Raises:
            CatalogueError: none was applied yet.
            StorageError: it cannot be read and there is no earlier copy.
        """

    def newest(self) -> Catalogue:
        """The catalogue in force at this moment, for what is done once and may name anything in it.

        Raises:
            CatalogueError: none was applied yet.
            StorageError: it cannot be read.
        """

    def seen_by(self, job: Job) -> Catalogue:
        """The catalogue in force, as new as the one that the job was accepted with, or newer.

        Another function may have accepted it by a version that this one has not read yet, and what the job names is not
        to be missed for that.

        Raises:
            CatalogueError: none was applied yet.
            StorageError: it cannot be read, and the copy is older than what the job was accepted with.
        """

    def knowing(self, resource: str, inference_type: InferenceType) -> Catalogue:
        """The catalogue in force, read anew before it is said that a deployment has no such road.

        Raises:
            CatalogueError: none was applied yet.
            StorageError: it cannot be read, and the copy does not have the road.
        """

    def of_version(self, version: int) -> Catalogue:
        """The catalogue of a version, whichever is in force now: versions never change.

        Raises:
            CatalogueError: there is no such version.
            StorageError: it cannot be read.
        """


class CapacitySource(Protocol):
    """What was last observed of the deployments, a few seconds old at most."""

    def snapshot(self) -> Capacity:
        """Latest observations; empty when they cannot be read, for routing can do without."""


class DurationRecorder(Protocol):
    """Keeps how long requests really took."""

    def record(self, resource: str, inference_type: InferenceType, held_seconds: float) -> None:
        """Add one finished request. May be kept back and written with others."""


class BacklogRecorder(Protocol):
    """Keeps how many requests wait, for routing."""

    def record_backlog(
        self, resource: str, inference_type: InferenceType, backlog: int, *, observed_at: datetime
    ) -> None:
        """Note the requests accepted and not finished on one road of a deployment.

        Raises:
            StorageError
        """


class HealthRecorder(Protocol):
    """Tells the other environments how a road is doing."""

    def record_health(self, resource: str, inference_type: InferenceType, state: RoadState, *, seconds: float) -> None:
        """Note that a road is in this state for so many seconds; 0 takes back what was noted.

        Raises:
            StorageError
        """


class KeyStore(Protocol):
    """API keys by hash."""

    def find(self, key_hash: str) -> KeyRecord | None:
        """The key with this hash."""
