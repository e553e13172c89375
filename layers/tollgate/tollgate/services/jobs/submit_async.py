"""Submits a queued job to its asynchronous endpoint.

The queue may deliver a message twice, and a function may die between SageMaker's acceptance and the record of it. So a
job is claimed with a lease first, and nobody else submits it while the lease lasts. If the lease expires with no record
in the table or the bucket, the job is submitted again, because it must not be lost; whichever result arrives first
settles it, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.job import Job, JobFailure, JobState
from tollgate.domain.places.sleeping import Phase, may_gather
from tollgate.domain.places.standing import place_of
from tollgate.services.jobs.claim_job import QUEUED, claim_job
from tollgate.services.jobs.queue_job import queue_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.domain.catalogue import Deployment, Model, Road
    from tollgate.ports.dialects import RenderedRequest
    from tollgate.ports.endpoints import PlaceRecords
    from tollgate.ports.jobs import JobStore, MessageQueue
    from tollgate.ports.registry import CatalogueSource
    from tollgate.ports.system import Clock, Telemetry
    from tollgate.services.jobs.answers import JobAnswers
    from tollgate.services.jobs.braked_jobs import BrakedJobs
    from tollgate.services.jobs.complete_job import JobCompleter
    from tollgate.services.jobs.hand_over import AsyncHandOver
    from tollgate.services.jobs.job_requests import JobRequests


class AsyncSubmitter:
    """Submits jobs, one message at a time.

    `runs` takes the jobs of token-priced providers, which have no queue of their own; see `run_token_job`.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        catalogues: CatalogueSource,
        requests: JobRequests,
        hand_over: AsyncHandOver,
        completer: JobCompleter,
        answers: Callable[[], JobAnswers],
        brakes: BrakedJobs,
        places: PlaceRecords,
        runs: MessageQueue,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._catalogues = catalogues
        self._requests = requests
        self._hand_over = hand_over
        self._completer = completer
        self._answers = answers
        self._brakes = brakes
        self._places = places
        self._runs = runs
        self.telemetry = telemetry
        self._clock = clock

    def submit(self, job_id: str) -> None:
        """Submit the job unless that was done, or it has ended. A normal return means that the message can be deleted.

        Raises:
            ConflictError: another function is submitting it now; look again later.
            CapacityError, BackendThrottledError, BackendTimeoutError: try again later.
            CatalogueError: the catalogue cannot be used; try again later.
            StorageError: try again later.
        """
        job = self._jobs.get(job_id)
        if job is None:
            self.telemetry.log("WARNING", "async message for an unknown job", job_id=job_id)
            return
        if job.state is not JobState.QUEUED or job.inference_type is not InferenceType.ASYNC:
            return
        turn = self._turn(job)
        if turn is None:
            return
        if self._is_by_token(turn):
            self._pass_on(turn, was=job)
        else:
            self._submit(turn)

    def _turn(self, job: Job) -> Job | None:
        """The job if it should run now; None if an equal job's answer has ended it, or is awaited."""
        if job.cache is None:
            return job
        turn = self._answers().turn(job)
        if turn is None or isinstance(turn, Job):
            return turn
        self._completer.answered(job, turn)
        return None

    def _submit(self, job: Job) -> None:
        claimed = self.claim(job)
        if claimed is None:
            return
        try:
            model, deployment, road = self.way(claimed)
        except InvalidRequestError as error:
            self._refuse(claimed, error)
            return
        request = self.rendered(claimed, deployment)
        if request is not None:
            self._hand_over.submit(claimed, model, road, request)

    def claim(self, job: Job) -> Job | None:
        """The job with a lease on it; None if it is submitted already, or held back.

        Raises:
            ConflictError: another function is submitting it now.
            CatalogueError, StorageError: try again later.
        """
        if self._hand_over.recorded_before(job) or self._brakes.wait(job) or self._is_gathered(job):
            return None
        return claim_job(self._jobs, job, self._clock.now())

    def _deployment(self, job: Job) -> Deployment | None:
        """The job's deployment, None if there is none any more."""
        model = self._catalogues.seen_by(job).models.get(job.model)
        return None if model is None else model.deployment(job.deployment)

    def _is_by_token(self, job: Job) -> bool:
        deployment = self._deployment(job)
        return deployment is not None and deployment.tokens is not None

    def _pass_on(self, job: Job, *, was: Job) -> None:
        """Queue the job for the function that can wait for an answer.

        Raises:
            StorageError: try again later.
        """
        if self._brakes.wait(job):
            return
        # The runner reads from the record that this job leads the equal ones.
        if job == was or self._jobs.change(job, expected=QUEUED, as_read=was):
            queue_job(self._runs, job)

    def _is_gathered(self, job: Job) -> bool:
        """Whether the job waits for others to join it; the keeper queues it again when it has woken the endpoint."""
        deployment = self._deployment(job)
        road = deployment.roads.get(InferenceType.ASYNC) if deployment is not None else None
        if deployment is None or road is None or not may_gather(deployment.sleep, job.deadline_at):
            return False
        record = self._places.get(place_of(road))
        # A job that arrives during the start would be served before the gathered ones, if handed over now.
        gathered = record is not None and record.phase is not Phase.AWAKE
        if gathered:
            self.telemetry.log("INFO", "async job is gathered", job_id=job.job_id)
        return gathered

    def way(self, job: Job) -> tuple[Model, Deployment, Road]:
        """The job's model, deployment and road.

        Raises:
            InvalidRequestError: there is none any more.
            CatalogueError, StorageError: the catalogue cannot be used.
        """
        model = self._catalogues.seen_by(job).model(job.model)
        deployment = model.deployment(job.deployment)
        road = deployment.roads.get(InferenceType.ASYNC) if deployment is not None else None
        if deployment is None or road is None:
            raise InvalidRequestError(f"Deployment '{job.resource}' no longer has an asynchronous road.")
        return model, deployment, road

    def rendered(self, job: Job, deployment: Deployment) -> RenderedRequest | None:
        """A claimed job's rendered body; None if it cannot be rendered, which ends the job.

        Raises:
            StorageError: try again later.
        """
        try:
            return self._requests.of(job, deployment)
        except InvalidRequestError as error:
            self._refuse(job, error)
            return None

    def _refuse(self, job: Job, error: InvalidRequestError) -> None:
        self._completer.fail(job, JobFailure("invalid_request", error.message))
