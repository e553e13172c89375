"""Makes queued jobs ready for their asynchronous endpoint, whether they go alone or with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import JobFailure
from tollgate.domain.places.sleeping import Phase, may_gather
from tollgate.domain.places.standing import place_of
from tollgate.services.jobs.claim_job import claim_job

if TYPE_CHECKING:
    from tollgate.domain.catalogue import Deployment, Way
    from tollgate.domain.jobs.job import Job
    from tollgate.ports.dialects import RenderedRequest
    from tollgate.ports.endpoints import PlaceRecords
    from tollgate.ports.jobs import JobStore
    from tollgate.ports.registry import CatalogueSource
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.jobs.braked_jobs import BrakedJobs
    from tollgate.services.jobs.complete_job import JobCompleter
    from tollgate.services.jobs.hand_over import AsyncHandOver
    from tollgate.services.jobs.job_requests import JobRequests


class AsyncPreparation:
    """Claims jobs, finds the way to their endpoint, and renders their bodies."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        catalogues: CatalogueSource,
        requests: JobRequests,
        hand_over: AsyncHandOver,
        completer: JobCompleter,
        brakes: BrakedJobs,
        places: PlaceRecords,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._catalogues = catalogues
        self._requests = requests
        self._hand_over = hand_over
        self._completer = completer
        self._brakes = brakes
        self._places = places
        self._telemetry = telemetry
        self._clock = clock

    def claim(self, job: Job) -> Job | None:
        """The job with a lease on it; None if it is submitted already, or held back.

        Raises:
            ConflictError: another function is submitting it now.
            CatalogueError, StorageError: try again later.
        """
        if self._hand_over.recorded_before(job) or self._brakes.wait(job) or self._is_gathered(job):
            return None
        return claim_job(self._jobs, job, self._clock.now())

    def _is_gathered(self, job: Job) -> bool:
        """Whether the job waits for others to join it; the keeper queues it again when it has woken the endpoint."""
        way = self._catalogues.seen_by(job).way(job.resource, InferenceType.ASYNC)
        if way is None or not may_gather(way.deployment.sleep, job.deadline_at):
            return False
        record = self._places.get(place_of(way.road))
        # A job that arrives during the start would be served before the gathered ones, if handed over now.
        gathered = record is not None and record.phase is not Phase.AWAKE
        if gathered:
            self._telemetry.log("INFO", "async job is gathered", job_id=job.job_id)
        return gathered

    def way(self, job: Job) -> Way:
        """The job's model, deployment and road.

        Raises:
            InvalidRequestError: there is none any more.
            CatalogueError, StorageError: the catalogue cannot be used.
        """
        way = self._catalogues.seen_by(job).model(job.model).way(job.deployment, InferenceType.ASYNC)
        if way is None:
            raise InvalidRequestError(f"Deployment '{job.resource}' no longer has an asynchronous road.")
        return way

    def rendered(self, job: Job, deployment: Deployment) -> RenderedRequest | None:
        """A claimed job's rendered body; None if it cannot be rendered, which ends the job.

        Raises:
            StorageError: try again later.
        """
        try:
            return self._requests.of(job, deployment)
        except InvalidRequestError as error:
            self.refuse(job, error)
            return None

    def refuse(self, job: Job, error: InvalidRequestError) -> None:
        """End a claimed job that cannot be submitted.

        Raises:
            CatalogueError, StorageError: try again later.
        """
        self._completer.fail(job, JobFailure("invalid_request", error.message))
