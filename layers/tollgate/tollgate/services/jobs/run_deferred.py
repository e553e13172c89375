"""Runs a job that waited for its real-time endpoint to wake.

While the endpoint sleeps or wakes, the job stays queued without a message: the keeper queues it again when the endpoint
is up, and the sweeper does if the keeper dies in between. While the brakes hold its deployment back it stays queued
too, and its message returns every five minutes. Jobs of token-priced providers come here as well, because this
function has the time to wait for an answer.
"""

from typing import TYPE_CHECKING

from tollgate.domain.catalogue import Deployment, InferenceType, Road, Way
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Job, JobState
from tollgate.domain.places.sleeping import Phase, may_gather
from tollgate.domain.places.standing import place_of
from tollgate.ports.endpoints import PlaceRecords
from tollgate.ports.jobs import FunctionEvents, JobStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.braked_jobs import BrakedJobs
from tollgate.services.jobs.claim_job import claim_job
from tollgate.services.jobs.deferred_calls import DeferredCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.services.jobs.run_token_job import TokenJobRun


class DeferredRun:
    """Runs deferred jobs, one message at a time.

    `by_token` runs asynchronous jobs that come here because their provider is token-priced and has no queue.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        catalogues: CatalogueSource,
        brakes: BrakedJobs,
        places: PlaceRecords,
        wakes: FunctionEvents,
        calls: DeferredCalls,
        by_token: "Callable[[], TokenJobRun]",
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._catalogues = catalogues
        self._brakes = brakes
        self._places = places
        self._wakes = wakes
        self._calls = calls
        self._by_token = by_token
        self.telemetry = telemetry
        self._clock = clock

    def run(self, job_id: str) -> None:
        """Run the job unless it has ended, its endpoint is not up or the brakes hold it back.

        A normal return means that the message can be deleted.

        Raises:
            ConflictError: another function runs it now; look again later.
            CapacityError, BackendThrottledError: try again later.
            CatalogueError, StorageError: try again later.
        """
        job = self._jobs.get(job_id)
        if job is None:
            self.telemetry.log("WARNING", "deferred message for an unknown job", job_id=job_id)
            return
        if job.state is not JobState.QUEUED or job.inference_type is InferenceType.BATCH:
            return
        if job.inference_type is InferenceType.ASYNC:
            if not self._brakes.wait(job):
                self._by_token().run(job)
            return
        if self._calls.ended_before(job):
            return
        try:
            _, deployment, road = self._way(job)
        except InvalidRequestError as error:
            # Not while it runs under an older copy of the catalogue: nobody would pay for that run.
            claimed = claim_job(self._jobs, job, self._clock.now())
            if claimed is not None:
                self._calls.refuse(claimed, error)
            return
        if self._brakes.wait(job) or not self._is_up(job, deployment, road):
            return
        claimed = claim_job(self._jobs, job, self._clock.now())
        if claimed is not None:
            self._calls.make(claimed, deployment, road)

    def _way(self, job: Job) -> Way:
        way = self._catalogues.seen_by(job).model(job.model).way(job.deployment, InferenceType.REALTIME)
        if way is None:
            raise InvalidRequestError(f"Deployment '{job.resource}' no longer has a real-time road.")
        return way

    def _is_up(self, job: Job, deployment: Deployment, road: Road) -> bool:
        place = place_of(road)
        record = self._places.get(place)
        if record is None or record.phase is Phase.AWAKE:
            return True
        if record.phase is not Phase.WAKING and not may_gather(deployment.sleep, job.deadline_at):
            # The gateway's own wake request may have been lost.
            self._wakes.send({"kind": "wake", "place": place.key})
        return False
