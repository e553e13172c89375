"""Applies SageMaker's notification about an asynchronous invocation to its job.

Notifications can arrive twice, late, out of order, before the record of the submission, or not at all; in the last
case the sweeper makes the notice itself from what it finds in the bucket.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from tollgate.domain.catalogue import InferenceType, Model, Road
from tollgate.domain.errors import StorageError
from tollgate.domain.foreign_words import quoted
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobFailure, JobState
from tollgate.domain.money import ZERO, seconds
from tollgate.ports.jobs import HoldingStore, JobStore
from tollgate.ports.objects import WholeObjectStore
from tollgate.ports.registry import CapacitySource, CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.services.jobs.async_notice import AsyncNotice
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.complete_together import GroupCompletion
from tollgate.services.jobs.groups import GROUP_PREFIX, group_of
from tollgate.services.jobs.hand_over import invocation_timeout
from tollgate.services.jobs.kept_work import kept_work
from tollgate.services.jobs.price_job import Work

_SHOWN_CHARACTERS = 500


class AsyncCompletion:
    """Ends asynchronous jobs; those that shared an invocation end through `groups`."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: WholeObjectStore,
        catalogues: CatalogueSource,
        capacities: CapacitySource,
        holding: HoldingStore,
        completer: JobCompleter,
        groups: GroupCompletion,
        telemetry: Telemetry,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._catalogues = catalogues
        self._capacities = capacities
        self._holding = holding
        self._completer = completer
        self._groups = groups
        self._telemetry = telemetry

    def notice(self, notice: AsyncNotice) -> None:
        """End the job that the notice is about; does nothing if it has ended or is not ours.

        Raises:
            StorageError: try again.
        """
        if notice.inference_id.startswith(GROUP_PREFIX):
            self._groups.notice(notice, self._places)
            return
        job = self._jobs.get(notice.inference_id)
        if job is None or job.inference_type is not InferenceType.ASYNC:
            # The endpoint may serve other callers as well, and jobs are deleted after a month.
            self._telemetry.count("UnknownAsyncResult")
            return
        if job.state in FINAL_STATES:
            if job.state is JobState.EXPIRED or _other_run(job, notice):
                self._completer.worked_after_all(job, self._work(job, notice))
            return
        if notice.completed:
            body = self._read(notice.output_location or job.output_location)
            if body is None:
                raise StorageError("The answer that SageMaker announced is not in the bucket.", retry_after=5)
            ended = self._completer.complete(_ended_by(job, notice), body, self._work(job, notice))
        else:
            failure = JobFailure("model_failed", self._reason(job, notice))
            ended = self._completer.fail(_ended_by(job, notice), failure, self._work(job, notice))
        if not ended:
            self._overtaken(job.job_id, notice)

    def _overtaken(self, job_id: str, notice: AsyncNotice) -> None:
        """Charge an invocation if another one has ended the job since it was read."""
        present = self._jobs.get(job_id)
        # The completer has charged the job if it expired meanwhile.
        if present is not None and present.state in FINAL_STATES - {JobState.EXPIRED} and _other_run(present, notice):
            self._completer.worked_after_all(present, self._work(present, notice))

    def found_in_bucket(self, job: Job) -> bool:
        """End a submitted job whose answer or failure is in the bucket although no notification arrived.

        Returns:
            Whether there was one.

        Raises:
            StorageError: try again.
        """
        if job.rates_version and self._failed_call_found(job):
            return True
        for location, completed in ((job.output_location, True), (job.failure_location, False)):
            key = None if location is None else self._objects.key_of(location)
            stored_at = None if key is None else self._objects.stored_at(key)
            if stored_at is None:
                continue
            received = job.submitted_at or job.created_at
            self.notice(
                AsyncNotice(
                    inference_id=group_of(job) or job.job_id,
                    completed=completed,
                    received_at=received,
                    # The bucket reports whole seconds, which may lie before the submission.
                    finished_at=max(received, stored_at),
                    output_location=location,
                )
            )
            return True
        return False

    def _failed_call_found(self, job: Job) -> bool:
        """End a job whose provider call failed while the table could not be written; see `run_token_job`."""
        done = kept_work(self._objects, job)
        if done is None:
            return False
        held, finished_at = None if done["charged"] else ZERO, datetime.fromisoformat(done["finished_at"])
        self._completer.fail(job, JobFailure("model_failed", done["failure"]), Work(held, finished_at))
        return True

    def _read(self, location: str | None) -> bytes | None:
        key = None if location is None else self._objects.key_of(location)
        return None if key is None else self._objects.get(key)

    def _reason(self, job: Job, notice: AsyncNotice) -> str:
        if notice.failure_reason:
            return quoted(notice.failure_reason, most=_SHOWN_CHARACTERS)
        body = self._read(job.failure_location)
        if body:
            return quoted(body.decode(errors="replace"), most=_SHOWN_CHARACTERS)
        return "The model failed; SageMaker gave no reason."

    def _work(self, job: Job, notice: AsyncNotice) -> Work:
        model, road = self._way(job)
        run = _other_run(job, notice)
        if job.rates_version or (road is not None and road.tokens is not None):
            # Nothing queues for a place there. The time of a stored answer is known in whole seconds, and a call of
            # zero seconds would count as one that was never made.
            held = max(Decimal(1), seconds((notice.finished_at - notice.received_at).total_seconds()))
        elif model is not None and notice.never_ran(model):
            held = ZERO
        else:
            held = self._holding.take_place(
                job.resource,
                InferenceType.ASYNC,
                # Whatever is on the job's record by now: a notice that comes again must find what it took before.
                request_id=_run_at(notice.output_location) or job.job_id,
                received=notice.received_at,
                finished=notice.finished_at,
                places=self._places(job),
                most_seconds=None if model is None else invocation_timeout(job, model),
            )
        began = notice.finished_at - timedelta(seconds=float(held)) if held > ZERO else notice.finished_at
        # A group that failed before has held an instance for it too.
        held += job.held_seconds or ZERO
        return Work(held_seconds=held, finished_at=notice.finished_at, started_at=began, run=run)

    def _places(self, job: Job) -> int:
        _, road = self._way(job)
        if road is None:
            return 1
        # With fewer places than there are, requests that ran beside one another would seem to have waited for one.
        seen = self._capacities.snapshot().of(job.resource, InferenceType.ASYNC).instances
        return max(1, road.instance_count, seen or 0) * road.concurrency

    def _way(self, job: Job) -> tuple[Model | None, Road | None]:
        model = self._catalogues.seen_by(job).models.get(job.model)
        way = None if model is None else model.way(job.deployment, InferenceType.ASYNC)
        return model, None if way is None else way.road


def _ended_by(job: Job, notice: AsyncNotice) -> Job:
    """The job as the invocation that ends it leaves it; its own record may know of a later one, or of none yet."""
    return job._replace(
        submitted_at=job.submitted_at or notice.received_at,
        output_location=notice.output_location or job.output_location,
        failure_location=None if _other_run(job, notice) else job.failure_location,
        batch_id=job.batch_id if group_of(job) is None else None,
    )


def _other_run(job: Job, notice: AsyncNotice) -> str:
    """Name of the notice's invocation if it is not the one on the job's record; empty if it is, or nobody knows.

    SageMaker gives every invocation an output location of its own, whatever its InferenceId. So a job that was
    submitted twice, because the first to submit it died before it could say so, is known to have run twice.
    """
    if notice.output_location is None:
        return ""
    told = _run_at(notice.output_location)
    return "" if told in {_run_at(job.output_location), _run_at(job.failure_location)} else told


def _run_at(location: str | None) -> str:
    """What the locations of an invocation's answer and of its failure have in common."""
    return "" if location is None else location.rpartition("/")[2].removesuffix(".out").removesuffix("-error")
