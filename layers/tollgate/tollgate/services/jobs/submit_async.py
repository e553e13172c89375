"""Submits a queued job to its asynchronous endpoint.

The queue may deliver a message twice, and a function may die between SageMaker's acceptance and the record of it. So a
job is claimed with a lease first, and nobody else submits it while the lease lasts. If the lease expires with no record
in the table or the bucket, the job is submitted again, because it must not be lost; whichever result arrives first
settles it, once.
"""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tollgate.domain.catalogue import Deployment, InferenceType, Model, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    InvalidRequestError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobFailure, JobState, Payload
from tollgate.domain.places.standing import place_of
from tollgate.ports.backends import AsyncBackend, AsyncSubmission
from tollgate.ports.dialects import Dialects, RenderedRequest
from tollgate.ports.endpoints import PlaceRecords
from tollgate.ports.jobs import JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.claim_job import claim_job
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.kept_work import keep_work, kept_work
from tollgate.services.jobs.queue_job import queue_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.services.jobs.answers import JobAnswers

BRAKED_SECONDS = 300
"""Seconds until a job that the brakes hold back is looked at again."""

_QUEUED = frozenset({JobState.QUEUED})
_RECORD_ATTEMPTS = 3


class AsyncSubmitter:
    """Submits jobs, one message at a time.

    `runs` takes the jobs of token-priced providers, which have no queue of their own; see `run_token_job`.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        catalogues: CatalogueSource,
        dialects: Dialects,
        backend: AsyncBackend,
        completer: JobCompleter,
        telemetry: Telemetry,
        clock: Clock,
        answers: "Callable[[], JobAnswers] | None" = None,
        gate: BrakeGate | None = None,
        queue: MessageQueue | None = None,
        places: PlaceRecords | None = None,
        runs: MessageQueue | None = None,
    ) -> None:
        self._runs = runs
        self._places = places
        self._answers = answers
        self._jobs = jobs
        self._objects = objects
        self._catalogues = catalogues
        self._dialects = dialects
        self._backend = backend
        self._completer = completer
        self.telemetry = telemetry
        self._clock = clock
        self._gate = gate
        self._queue = queue

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
        if job.cache is None or self._answers is None:
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
            self.hand_over(claimed, model, road, request)

    def _waits(self, job: Job) -> bool:
        """Whether the brakes hold the job back; it is queued again, so this does not count as a failed delivery."""
        if self._gate is None or self._queue is None:
            return False
        if not self._gate.holds_back(self._catalogues.current(), job.resource):
            return False
        queue_job(self._queue, job, delay_seconds=BRAKED_SECONDS)
        self.telemetry.log("INFO", "async job waits for the brakes", job_id=job.job_id)
        return True

    def claim(self, job: Job) -> Job | None:
        """The job with a lease on it; None if it is submitted already, or held back.

        Raises:
            ConflictError: another function is submitting it now.
            CatalogueError, StorageError: try again later.
        """
        if self._submitted_before(job) or self._waits(job) or self._is_gathered(job):
            return None
        return claim_job(self._jobs, job, self._clock.now())

    def _submitted_before(self, job: Job) -> bool:
        """Record a submission that its submitter could store only in the bucket, and say whether there was one.

        This takes no lease of its own: the bucket has the submission under the name of the lease it was made under.
        """
        done = kept_work(self._objects, job)
        if done is None:
            return False
        submission = AsyncSubmission(done["output_location"], done["failure_location"])
        handed_over_at = datetime.fromisoformat(done["submitted_at"])
        self.record(job._replace(batch_id=done["batch_id"]), submission, handed_over_at)
        return True

    def _is_by_token(self, job: Job) -> bool:
        model = self._catalogues.seen_by(job).models.get(job.model)
        deployment = model.deployment(job.deployment) if model is not None else None
        return deployment is not None and deployment.tokens is not None

    def _pass_on(self, job: Job, *, was: Job) -> None:
        """Queue the job for the function that can wait for an answer.

        Raises:
            StorageError: try again later.
        """
        if self._runs is None:
            raise StorageError("This function was not given the queue of jobs that are paid by the token.")
        if self._waits(job):
            return
        # The runner reads from the record that this job leads the equal ones.
        if job == was or self._jobs.change(job, expected=_QUEUED, as_read=was):
            queue_job(self._runs, job)

    def _is_gathered(self, job: Job) -> bool:
        """Whether the job waits for others to join it; the keeper queues it again when it has woken the endpoint."""
        model = self._catalogues.seen_by(job).models.get(job.model)
        deployment = model.deployment(job.deployment) if model is not None else None
        road = deployment.roads.get(InferenceType.ASYNC) if deployment is not None else None
        if self._places is None or deployment is None or road is None:
            return False
        if deployment.sleep is None or not deployment.sleep.gather or job.deadline_at is None:
            return False
        from tollgate.domain.places.sleeping import Phase  # noqa: PLC0415 -- only where something is gathered

        record = self._places.get(place_of(road))
        # A job that arrives during the start would be served before the gathered ones, if handed over now.
        gathered = record is not None and record.phase is not Phase.AWAKE
        if gathered:
            self.telemetry.log("INFO", "async job is gathered", job_id=job.job_id)
        return gathered

    def give_back(self, job: Job) -> None:
        """Release the claim on a job that certainly was not submitted, so that nobody need wait for the lease."""
        self._jobs.change(job._replace(submit_lease_until=None), expected=_QUEUED)

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
            value = stored_input(job.input, self._objects)
            return self._dialects.of(deployment).render(value, job.parameters)
        except InvalidRequestError as error:
            self._refuse(job, error)
            return None

    def hand_over(self, job: Job, model: Model, road: Road, request: RenderedRequest) -> None:
        """Submit a claimed job. Raises as `submit`."""
        handed_over_at = self._clock.now()
        submission = self._hand_over(job, model, road, request)
        if submission is not None:
            self.record(job, submission, handed_over_at)

    def _refuse(self, job: Job, error: InvalidRequestError) -> None:
        self._completer.fail(job, JobFailure("invalid_request", error.message))

    def _hand_over(self, job: Job, model: Model, road: Road, request: RenderedRequest) -> AsyncSubmission | None:
        try:
            return self._backend.submit(
                road,
                request.body,
                request.content_type,
                inference_id=job.job_id,
                request_ttl_seconds=model.asynchronous.request_ttl_seconds,
                timeout_seconds=invocation_timeout(job, model),
                trace=job.traceparent,
            )
        except (CapacityError, BackendThrottledError, StorageError):
            self.give_back(job)
            raise
        except BackendTimeoutError:
            raise
        except BackendError as error:
            self._completer.fail(job, JobFailure("backend_refused", error.message))
            return None

    def record(self, job: Job, submission: AsyncSubmission, handed_over_at: datetime) -> None:
        """Record that a claimed job was submitted: in the bucket if the table fails, where the next claim finds it.

        Raises:
            StorageError: it is not recorded; the job will be submitted a second time.
        """
        submitted = job._replace(
            state=JobState.SUBMITTED,
            submitted_at=handed_over_at,
            submit_lease_until=None,
            output_location=submission.output_location,
            failure_location=submission.failure_location,
        )
        for attempt in range(1, _RECORD_ATTEMPTS + 1):
            try:
                recorded = self._jobs.change(submitted, expected=_QUEUED)
            except StorageError:
                # Without a record, it would be submitted a second time when the lease expires.
                if attempt == _RECORD_ATTEMPTS:
                    done = {"submitted_at": handed_over_at.isoformat(), "batch_id": job.batch_id}
                    keep_work(self._objects, job, done | submission._asdict())
                    self.telemetry.log("WARNING", "submission kept in the bucket", job_id=job.job_id)
                continue
            if not recorded:
                self.telemetry.log("INFO", "async job moved on before its submission was recorded", job_id=job.job_id)
            return


def invocation_timeout(job: Job, model: Model) -> int:
    """Whole seconds that the container may work: the catalogue's limit, or what the job's reservation pays for."""
    most = model.asynchronous.invocation_timeout_seconds
    paid = job.reservation.seconds if job.reservation is not None else None
    return most if paid is None else max(1, min(most, int(paid)))


def stored_input(payload: Payload, objects: WholeObjectStore) -> Any:
    """The input of a job, from its record or from the bucket.

    Raises:
        InvalidRequestError: it was deleted from the bucket.
        StorageError: the bucket failed.
    """
    if payload.key is None:
        return payload.inline
    body = objects.get(payload.key)
    if body is None:
        raise InvalidRequestError("The input of this request is no longer in the bucket.", param="input")
    return json.loads(body)
