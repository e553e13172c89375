"""Finds unfinished work and ends it with its true outcome.

Events get lost, functions die, queues give up. Everything that is awaited has a record, so once a minute the sweeper
walks over all open records and handles each the way its own event would have.
"""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from datetime import datetime, timedelta

from tollgate.domain.catalogue import AsyncPolicy, BatchPolicy, InferenceType
from tollgate.domain.errors import NoCatalogueError, TollgateError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.job import FINAL_STATES, Job, JobFailure, JobState
from tollgate.domain.jobs.sweeping import look_due
from tollgate.ports.backends import TransformBackend
from tollgate.ports.files import FileBatchStore
from tollgate.ports.jobs import BatchStore, JobStore, MessageQueue
from tollgate.ports.registry import BacklogRecorder, CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.collect_batch import BatchCollector
from tollgate.services.batches.drop_batch import DroppedRuns
from tollgate.services.batches.file_batches import batch_message
from tollgate.services.batches.pooled import PooledRuns
from tollgate.services.jobs.announce_job import webhook_message
from tollgate.services.jobs.complete_async import AsyncCompletion
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.price_job import Work
from tollgate.services.jobs.queue_job import queue_job

BUDGET_SECONDS = 35.0
"""Seconds after which a sweep stops looking; the next one continues from there. Less than the function may run."""

BACKLOG_SECONDS = 42.0
"""Seconds from the start of a sweep after which it counts no more backlogs; the next one continues from there."""

RESUME_AFTER_SECONDS = 330.0
"""After this, nothing can still be preparing a run: no function that does may run for so long."""

LOST_AFTER_SECONDS = 900.0
"""Seconds after which a batch job without a run is put back into its pool."""

BATCH_EXPIRES_SECONDS = 3 * 86_400.0
WEBHOOK_EXPIRES_SECONDS = 3 * 86_400.0
ASYNC_MARGIN_SECONDS = 600.0

_FIRST_LOOK = 120.0
_LET_BEGIN = timedelta(seconds=60)
_WEBHOOK_LOOK = 600.0
_PAGE = 100
_JOBS_PAGE = 25
"""Jobs held in memory at once, with what their callers put on their records."""


@dataclass(frozen=True, slots=True)
class SweepQueues:
    """Queues into which work is put back."""

    asynchronous: MessageQueue
    deferred: MessageQueue
    batch: MessageQueue
    webhooks: MessageQueue


@dataclass(frozen=True, slots=True)
class SweepServices:
    """The services that handle each kind of record as its own event would."""

    completion: AsyncCompletion
    completer: JobCompleter
    collector: BatchCollector
    pooled: PooledRuns
    drops: DroppedRuns


class Sweeper:
    """One sweep a minute."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        batches: BatchStore,
        file_batches: FileBatchStore,
        catalogues: CatalogueSource,
        backend: TransformBackend,
        backlog: BacklogRecorder,
        queues: SweepQueues,
        services: SweepServices,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._batches = batches
        self._file_batches = file_batches
        self._catalogues = catalogues
        self._backend = backend
        self._backlog = backlog
        self._queues = queues
        self._services = services
        self._telemetry = telemetry
        self._clock = clock
        self._cursor: str | None = None
        self._told: dict[tuple[str, InferenceType], int] = {}
        self._next_road = 0
        self._woken: set[str] = set()

    def sweep(self) -> None:
        """Look at everything that is open.

        Raises:
            StorageError: the tables cannot be read; the next sweep tries again.
        """
        began = self._clock.monotonic()
        self._woken.clear()
        for run in self._batches.open_since(self._clock.now(), limit=_PAGE):
            self._guarded("batch run", run.batch_id, self._look_at_run, run)
        for batch_id in self._file_batches.open_since(self._clock.now() - _LET_BEGIN, limit=_PAGE):
            self._guarded("file batch", batch_id, self._look_at_file_batch, batch_id)
        while True:
            before = self._clock.now() - timedelta(seconds=_FIRST_LOOK / 2)
            page = self._jobs.open_since(before, limit=_JOBS_PAGE, after=self._cursor)
            for job in page.jobs:
                self._guarded("job", job.job_id, self._look_at_job, job)
            self._cursor = page.after
            if self._cursor is None or self._clock.monotonic() - began > BUDGET_SECONDS:
                break
        self._tell_backlog(began)

    def _guarded[T](self, kind: str, name: str, look: Callable[[T], None], subject: T) -> None:
        """Look at one record; a failure there must not keep the sweeper from those that come after it every time."""
        try:
            look(subject)
        except Exception as error:  # noqa: BLE001 -- see above; what nobody foresaw would do so for good
            # Only our own errors have messages written to be shown.
            said = error.message if isinstance(error, TollgateError) else type(error).__name__
            self._telemetry.count("SweepFailed")
            self._telemetry.log("ERROR", "sweep failed", kind=kind, id=name, error=said)

    # -- batch runs

    def _look_at_run(self, run: BatchRun) -> None:
        age = self._age(run.created_at)
        if run.state is BatchState.PREPARING:
            if age > RESUME_AFTER_SECONDS:
                self._prepare(run)
            return
        if age < _FIRST_LOOK:
            return
        status = self._backend.describe(run.batch_id)
        if status is None:
            again = replace(run, state=BatchState.PREPARING)
            if self._batches.change(again, expected=BatchState.RUNNING):
                self._prepare(again)
        elif status.ended:
            self._telemetry.count("SweptBatchRun")
            self._services.collector.ended(status)

    def _look_at_file_batch(self, batch_id: str) -> None:
        """The function that advances batches checks for itself whether there is anything to do."""
        self._queues.batch.send(batch_message(batch_id))

    def _prepare(self, run: BatchRun) -> None:
        self._telemetry.count("ResumedBatchRun")
        if run.source is None:
            self._services.pooled.prepare(run)
        else:
            self._services.drops.prepare(run)

    # -- jobs

    def _look_at_job(self, job: Job) -> None:
        if job.state in FINAL_STATES:
            self._look_at_webhook(job)
        elif job.inference_type is InferenceType.BATCH:
            self._look_at_batch(job)
        elif job.state is JobState.QUEUED:
            self._look_at_queued(job)
        else:
            self._look_at_submitted(job)

    def _look_at_webhook(self, job: Job) -> None:
        age = self._age(job.finished_at or job.created_at)
        if age > WEBHOOK_EXPIRES_SECONDS:
            self._jobs.change(job._replace(webhook_pending=False), expected=FINAL_STATES)
            self._telemetry.count("WebhooksGivenUp")
            self._written_off("webhook given up", job)
        elif look_due(age, first=_WEBHOOK_LOOK, factor=12):
            # Delivery retries for hours by itself; a second chain of attempts stops as soon as either succeeds.
            self._queues.webhooks.send(webhook_message(job), trace=job.traceparent, group=job.owner.tenant)

    def _look_at_queued(self, job: Job) -> None:
        now = self._clock.now()
        if job.submit_lease_until is not None and job.submit_lease_until > now:
            return
        age = self._age(job.created_at)
        if age > self._async_seconds(job):
            self._expire(job, "No endpoint took the request in time.")
        elif look_due(age, first=_FIRST_LOOK, factor=2):
            realtime = job.inference_type is InferenceType.REALTIME
            queue_job(self._queues.deferred if realtime else self._queues.asynchronous, job)

    def _look_at_called(self, job: Job) -> None:
        """A job whose answer a function waits for, or waited for until it died; see `run_token_job`."""
        if job.submit_lease_until is not None and job.submit_lease_until > self._clock.now():
            return
        if self._services.completion.found_in_bucket(job):
            self._telemetry.count("SweptJob")
            return
        failure = JobFailure("outcome_unknown", "It is unknown whether the model ran. The amount held is charged.")
        self._services.completer.fail(job, failure, Work(held_seconds=None, finished_at=self._clock.now()))
        self._telemetry.count("UnknownOutcomes")
        self._written_off("job of unknown outcome charged at the amount held", job)

    def _look_at_submitted(self, job: Job) -> None:
        if job.submit_lease_until is not None:
            self._look_at_called(job)
            return
        age = self._age(job.submitted_at or job.created_at)
        expired = age > self._async_seconds(job)
        if not expired and not look_due(age, first=_FIRST_LOOK, factor=1.3):
            return
        if self._services.completion.found_in_bucket(job):
            self._telemetry.count("SweptJob")
        elif expired:
            self._expire(job, "SageMaker reported neither an answer nor a failure in time.")

    def _look_at_batch(self, job: Job) -> None:
        if self._age(job.created_at) > BATCH_EXPIRES_SECONDS:
            self._expire(job, "No transform job answered the request in time.")
        elif job.state is JobState.QUEUED:
            if self._age(job.created_at) > self._batch_policy(job).max_age_seconds + _FIRST_LOOK:
                self._wake(job.resource)
        elif look_due(self._age(job.submitted_at or job.created_at), first=LOST_AFTER_SECONDS, factor=1.3):
            self._look_for_run(job)

    def _look_for_run(self, job: Job) -> None:
        run = self._batches.get(job.batch_id) if job.batch_id is not None else None
        if run is not None and run.state is not BatchState.ENDED:
            return
        second = self._batches.get(run.retry_id) if run is not None else None
        if second is not None and second.state is not BatchState.ENDED:
            return
        queued = job._replace(state=JobState.QUEUED, submitted_at=None, batch_id=None)
        # Another run may have taken it since it was read.
        if self._jobs.change(queued, expected=frozenset({JobState.SUBMITTED}), as_read=job):
            self._telemetry.count("RequeuedBatchJob")

    def _expire(self, job: Job, message: str) -> None:
        self._services.completer.expire(job, message)
        self._telemetry.count("ExpiredJob")
        self._written_off("job expired", job)

    def _written_off(self, what: str, job: Job) -> None:
        """Leave a line about what nobody will follow up on any more."""
        self._telemetry.log("WARNING", what, job_id=job.job_id, resource=job.resource, state=job.state.value)

    def _wake(self, resource: str) -> None:
        if resource not in self._woken:
            self._woken.add(resource)
            self._queues.batch.send({"kind": "tick", "resource": resource})

    # -- backlog

    def _tell_backlog(self, began: float) -> None:
        """Write the backlog of each road that has changed since this environment last wrote it.

        To count takes several queries a road: with hundreds of models, more than one sweep.
        """
        now = self._clock.now()
        try:
            models = self._catalogues.current().models
        except NoCatalogueError:
            return
        roads = [
            (deployment.resource, inference_type)
            for model in models.values()
            for deployment in model.deployments
            for inference_type in deployment.roads
            if inference_type is not InferenceType.REALTIME
        ]
        for _ in roads:
            self._next_road %= len(roads)
            road = roads[self._next_road]
            counted = self._jobs.count_open(*road)
            if self._told.get(road) != counted:
                self._backlog.record_backlog(*road, counted, observed_at=now)
                self._told[road] = counted
            self._next_road += 1
            if self._clock.monotonic() - began > BACKLOG_SECONDS:
                return

    def _age(self, since: datetime) -> float:
        return (self._clock.now() - since) / timedelta(seconds=1)

    def _async_seconds(self, job: Job) -> float:
        """Seconds the request may wait and run at SageMaker, plus some time for its notification."""
        model = self._catalogues.seen_by(job).models.get(job.model)
        policy = model.asynchronous if model is not None else AsyncPolicy()
        return policy.request_ttl_seconds + policy.invocation_timeout_seconds + ASYNC_MARGIN_SECONDS

    def _batch_policy(self, job: Job) -> BatchPolicy:
        model = self._catalogues.seen_by(job).models.get(job.model)
        return model.batch if model is not None else BatchPolicy()
