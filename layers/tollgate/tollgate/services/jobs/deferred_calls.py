"""Calls of real-time endpoints for jobs, whose answers end the jobs."""

from base64 import b64decode, b64encode
from datetime import datetime, timedelta
from typing import Any

from tollgate.domain.catalogue import Deployment, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    InvalidRequestError,
    ModelFailedError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobFailure
from tollgate.domain.money import seconds
from tollgate.ports.backends import RealtimeBackend
from tollgate.ports.jobs import JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.claim_job import give_back
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.kept_work import keep_work, kept_work
from tollgate.services.jobs.price_job import Work

MODEL_LIMIT_SECONDS = 60.0
"""SageMaker's time limit for a real-time container.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""


class DeferredCalls:
    """Makes calls and waits for their answers."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        requests: JobRequests,
        backend: RealtimeBackend,
        completer: JobCompleter,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._requests = requests
        self._backend = backend
        self._completer = completer
        self._telemetry = telemetry
        self._clock = clock

    def make(self, job: Job, deployment: Deployment, road: Road) -> None:
        """Call the model for a claimed job, and end the job.

        Raises:
            CapacityError, BackendThrottledError, StorageError: try again later.
        """
        try:
            request = self._requests.of(job, deployment)
        except InvalidRequestError as error:
            self.refuse(job, error)
            return
        paid = job.reservation.seconds if job.reservation is not None else None
        limit = MODEL_LIMIT_SECONDS if paid is None else min(MODEL_LIMIT_SECONDS, paid)
        began = self._clock.monotonic()
        try:
            answer = self._backend.invoke(
                road, request.body, request.content_type, timeout_seconds=limit, trace=job.traceparent
            )
        except (CapacityError, BackendThrottledError):
            give_back(self._jobs, job)
            raise
        except (ModelFailedError, BackendTimeoutError) as error:
            # The container worked, so its time is charged.
            self._end(job, self._clock.monotonic() - began, error.message)
        except BackendError as error:
            self._completer.fail(job, JobFailure("backend_refused", error.message))
        else:
            self._end(job, answer.seconds, answer.body)

    def refuse(self, job: Job, error: InvalidRequestError) -> None:
        """End a claimed job that no model can be called for.

        Raises:
            CatalogueError, StorageError: try again later.
        """
        self._completer.fail(job, JobFailure("invalid_request", error.message))

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
            self._telemetry.log("WARNING", "answer kept in the bucket", job_id=job.job_id)
            raise

    def ended_before(self, job: Job) -> bool:
        """Whether an earlier call was made but could not end the job; its outcome ends it now.

        Raises:
            CatalogueError, StorageError: try again later.
        """
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
