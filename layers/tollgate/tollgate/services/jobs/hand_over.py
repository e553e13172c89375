"""Hands claimed jobs over to SageMaker's asynchronous inference, and records that this was done."""

from datetime import datetime

from tollgate.domain.catalogue import Model, Road
from tollgate.domain.errors import (
    BackendError,
    BackendThrottledError,
    BackendTimeoutError,
    CapacityError,
    StorageError,
)
from tollgate.domain.jobs.job import Job, JobFailure, JobState
from tollgate.ports.backends import AsyncBackend, AsyncSubmission
from tollgate.ports.dialects import RenderedRequest
from tollgate.ports.jobs import JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.jobs.claim_job import QUEUED, give_back
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.kept_work import keep_work, kept_work

_RECORD_ATTEMPTS = 3


class AsyncHandOver:
    """Submits claimed jobs."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        backend: AsyncBackend,
        completer: JobCompleter,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._backend = backend
        self._completer = completer
        self._telemetry = telemetry
        self._clock = clock

    def submit(self, job: Job, model: Model, road: Road, request: RenderedRequest) -> None:
        """Submit a claimed job, and record that.

        Raises:
            CapacityError, BackendThrottledError, BackendTimeoutError, StorageError: try again later.
        """
        handed_over_at = self._clock.now()
        submission = self._invoke(job, model, road, request)
        if submission is not None:
            self.record(job, submission, handed_over_at)

    def _invoke(self, job: Job, model: Model, road: Road, request: RenderedRequest) -> AsyncSubmission | None:
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

    def give_back(self, job: Job) -> None:
        """Release the claim on a job that certainly was not submitted, so that nobody need wait for the lease."""
        give_back(self._jobs, job)

    def record(
        self, job: Job, submission: AsyncSubmission, handed_over_at: datetime, *, group: str | None = None
    ) -> None:
        """Record that a claimed job was submitted: in the bucket if the table fails, where the next claim finds it.

        Args:
            job: as it was claimed.
            submission: where its answer will be.
            handed_over_at: the moment.
            group: that it was submitted with, if any.

        Raises:
            StorageError: it is not recorded; the job will be submitted a second time.
        """
        submitted = job._replace(
            state=JobState.SUBMITTED,
            submitted_at=handed_over_at,
            submit_lease_until=None,
            output_location=submission.output_location,
            failure_location=submission.failure_location,
            batch_id=group or job.batch_id,
        )
        for attempt in range(1, _RECORD_ATTEMPTS + 1):
            try:
                recorded = self._jobs.change(submitted, expected=QUEUED, as_read=job)
            except StorageError:
                # Without a record, it would be submitted a second time when the lease expires.
                if attempt == _RECORD_ATTEMPTS:
                    done = {"submitted_at": handed_over_at.isoformat(), "batch_id": submitted.batch_id}
                    keep_work(self._objects, job, done | submission._asdict())
                    self._telemetry.log("WARNING", "submission kept in the bucket", job_id=job.job_id)
                continue
            if not recorded:
                self._telemetry.log("INFO", "async job moved on before its submission was recorded", job_id=job.job_id)
            return

    def recorded_before(self, job: Job) -> bool:
        """Record a submission that its submitter could store only in the bucket, and say whether there was one.

        This takes no lease of its own: the bucket has the submission under the name of the lease it was made under.

        Raises:
            StorageError: try again later.
        """
        done = kept_work(self._objects, job)
        if done is None:
            return False
        submission = AsyncSubmission(done["output_location"], done["failure_location"])
        handed_over_at = datetime.fromisoformat(done["submitted_at"])
        self.record(job, submission, handed_over_at, group=done["batch_id"])
        return True


def invocation_timeout(job: Job, model: Model) -> int:
    """Whole seconds that the container may work: the catalogue's limit, or what the job's reservation pays for."""
    most = model.asynchronous.invocation_timeout_seconds
    paid = job.reservation.seconds if job.reservation is not None else None
    return most if paid is None else max(1, min(most, int(paid)))
