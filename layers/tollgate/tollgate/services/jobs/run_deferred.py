"""Runs a job that waited for its real-time endpoint to wake.

While the endpoint sleeps or wakes, the job stays queued without a message: the keeper queues it again when the endpoint
is up, and the sweeper does if the keeper dies in between. While the brakes hold its deployment back it stays queued
too, and its message returns every five minutes. Jobs of token-priced providers come here as well, because this
function has the time to wait for an answer.
"""

from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tollgate.domain.catalogue import Deployment, InferenceType, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    InvalidRequestError,
    ModelFailedError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobFailure, JobState
from tollgate.domain.money import seconds
from tollgate.domain.places.sleeping import Phase, may_gather
from tollgate.domain.places.standing import place_of
from tollgate.ports.backends import RealtimeBackend
from tollgate.ports.dialects import Dialects
from tollgate.ports.endpoints import PlaceRecords
from tollgate.ports.jobs import FunctionEvents, JobStore, MessageQueue
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.brakes.gate import BrakeGate
from tollgate.services.jobs.claim_job import QUEUED, claim_job
from tollgate.services.jobs.complete_job import JobCompleter, Work
from tollgate.services.jobs.kept_work import keep_work, kept_work
from tollgate.services.jobs.queue_job import queue_job
from tollgate.services.jobs.submit_async import BRAKED_SECONDS, stored_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from tollgate.services.jobs.run_token_job import TokenJobRun

MODEL_LIMIT_SECONDS = 60.0
"""SageMaker's time limit for a real-time container.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""


class DeferredRun:
    """Runs deferred jobs, one message at a time.

    `by_token` runs asynchronous jobs that come here because their provider is token-priced and has no queue.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        catalogues: CatalogueSource,
        dialects: Dialects,
        backend: RealtimeBackend,
        places: PlaceRecords,
        wakes: FunctionEvents,
        completer: JobCompleter,
        telemetry: Telemetry,
        clock: Clock,
        gate: BrakeGate,
        queue: MessageQueue,
        by_token: "Callable[[], TokenJobRun] | None" = None,
    ) -> None:
        self._by_token = by_token
        self._gate = gate
        self._queue = queue
        self._jobs = jobs
        self._objects = objects
        self._catalogues = catalogues
        self._dialects = dialects
        self._backend = backend
        self._places = places
        self._wakes = wakes
        self._completer = completer
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
            if self._by_token is not None and not self._waits(job):
                self._by_token().run(job)
            return
        if self._ended_before(job):
            return
        try:
            deployment, road = self._way(job)
        except InvalidRequestError as error:
            # Not while it runs under an older copy of the catalogue: nobody would pay for that run.
            claimed = claim_job(self._jobs, job, self._clock.now())
            if claimed is not None:
                self._refuse(claimed, error)
            return
        if self._waits(job) or not self._is_up(job, deployment, road):
            return
        claimed = claim_job(self._jobs, job, self._clock.now())
        if claimed is not None:
            self._run(claimed, deployment, road)

    def _way(self, job: Job) -> tuple[Deployment, Road]:
        deployment = self._catalogues.seen_by(job).model(job.model).deployment(job.deployment)
        road = deployment.roads.get(InferenceType.REALTIME) if deployment is not None else None
        if deployment is None or road is None:
            raise InvalidRequestError(f"Deployment '{job.resource}' no longer has a real-time road.")
        return deployment, road

    def _waits(self, job: Job) -> bool:
        """Whether the brakes hold the job back; it is queued again, so this does not count as a failed delivery."""
        if not self._gate.holds_back(self._catalogues.current(), job.resource):
            return False
        queue_job(self._queue, job, delay_seconds=BRAKED_SECONDS)
        self.telemetry.log("INFO", "deferred job waits for the brakes", job_id=job.job_id)
        return True

    def _is_up(self, job: Job, deployment: Deployment, road: Road) -> bool:
        place = place_of(road)
        record = self._places.get(place)
        if record is None or record.phase is Phase.AWAKE:
            return True
        if record.phase is not Phase.WAKING and not may_gather(deployment.sleep, job.deadline_at):
            # The gateway's own wake request may have been lost.
            self._wakes.send({"kind": "wake", "place": place.key})
        return False

    def _refuse(self, job: Job, error: InvalidRequestError) -> None:
        self._completer.fail(job, JobFailure("invalid_request", error.message))

    def _run(self, job: Job, deployment: Deployment, road: Road) -> None:
        try:
            request = self._dialects.of(deployment).render(stored_input(job.input, self._objects), job.parameters)
        except InvalidRequestError as error:
            self._refuse(job, error)
            return
        paid = job.reservation.seconds if job.reservation is not None else None
        limit = MODEL_LIMIT_SECONDS if paid is None else min(MODEL_LIMIT_SECONDS, paid)
        began = self._clock.monotonic()
        try:
            answer = self._backend.invoke(
                road, request.body, request.content_type, timeout_seconds=limit, trace=job.traceparent
            )
        except (CapacityError, BackendThrottledError):
            # It certainly did not run: the next function to get the message need not wait for the lease.
            self._jobs.change(job._replace(submit_lease_until=None), expected=QUEUED)
            raise
        except (ModelFailedError, BackendTimeoutError) as error:
            # The container worked, so its time is charged.
            self._end(job, self._clock.monotonic() - began, error.message)
        except BackendError as error:
            self._completer.fail(job, JobFailure("backend_refused", error.message))
        else:
            self._end(job, answer.seconds, answer.body)

    def _end(self, job: Job, held: float, said: bytes | str) -> None:
        """End a job that was run, with the model's answer or with the reason why there is none.

        Raises:
            StorageError: its message must return; what was done is in the bucket, unless that write failed too.
        """
        now = self._clock.now()
        try:
            self._ended(job, held, now, said)
        except StorageError:
            done: dict[str, Any] = {"held_seconds": held, "finished_at": now.isoformat()}
            if isinstance(said, bytes):
                done["answer"] = b64encode(said).decode()
            else:
                done["failure"] = said
            keep_work(self._objects, job, done)
            self.telemetry.log("WARNING", "answer kept in the bucket", job_id=job.job_id)
            raise

    def _ended_before(self, job: Job) -> bool:
        """Whether the job was ended with stored work of an earlier run that could not end it."""
        done = kept_work(self._objects, job)
        if done is None:
            return False
        said = b64decode(done["answer"]) if "answer" in done else str(done["failure"])
        self._ended(job, done["held_seconds"], datetime.fromisoformat(done["finished_at"]), said)
        return True

    def _ended(self, job: Job, held: float, finished: datetime, said: bytes | str) -> None:
        began = finished - timedelta(seconds=held)
        work = Work(held_seconds=seconds(held), finished_at=finished, started_at=began)
        if isinstance(said, bytes):
            self._completer.complete(job._replace(submitted_at=began), said, work)
        else:
            self._completer.fail(job, JobFailure("model_failed", said), work)
