"""Brings the results of a transform job back to the jobs that were in it.

SageMaker drops the whole output of a file with one bad record and goes on with the other files. So every record with
an answer is settled, and those without one are run once more, each in a file of its own; those that fail again have
truly failed. Instance time is spread over all records of a job, including the failed ones, and over both runs.
"""

import itertools
from collections.abc import Iterator, Sequence
from copy import replace
from decimal import Decimal

from tollgate.domain.catalogue import InferenceType
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.job import Job, JobState
from tollgate.ports.backends import TransformStatus
from tollgate.ports.jobs import BatchStore, JobStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.system import Clock
from tollgate.services.batches.output import OutputRecord, failure_of, read_output
from tollgate.services.batches.pooled import PooledRuns
from tollgate.services.batches.start import BatchStarter
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.price_job import Work

_AT_ONCE = 25
"""Jobs and answers held in memory at once, with what their callers put on their records."""
_LAST_ATTEMPT = 2


class PoolCollector:
    """Ends runs of jobs: every record in a run gets its answer or its failure."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        batches: BatchStore,
        objects: ObjectStore,
        runs: PooledRuns,
        starter: BatchStarter,
        completer: JobCompleter,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._batches = batches
        self._objects = objects
        self._runs = runs
        self._starter = starter
        self._completer = completer
        self._clock = clock

    def collect(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        """End the jobs of the run, or first run the unanswered ones once more. Takes and raises as `DropCollector`."""
        work = Work(held_seconds=share, finished_at=status.ended_at or self._clock.now(), started_at=status.started_at)
        records = (
            record for key in self._objects.list_keys(run.output_prefix) for record in read_output(self._objects, key)
        )
        for chunk in itertools.batched(records, _AT_ONCE, strict=False):
            self._settle(chunk, work)
        missing = self._unanswered(run, work)
        if not missing:
            self._starter.end(run)
        elif run.attempt < _LAST_ATTEMPT and (status.status != "Stopped" or self._starter.is_held_back(run.resource)):
            # What the brakes have stopped is run again when they are released.
            self._repeat(run, missing, share)
        else:
            self._fail(missing, run, status, work)

    def _settle(self, records: Sequence[OutputRecord], work: Work) -> None:
        answers = {record.record_id: record.body for record in records if isinstance(record.record_id, str)}
        for job in self._jobs.get_many(list(answers)):
            body = answers[job.job_id]
            if body is not None and job.inference_type is InferenceType.BATCH:
                self._completer.complete(job, body, work)

    def _unanswered(self, run: BatchRun, work: Work) -> list[str]:
        """Jobs of the run that are still in it after all answers were settled.

        The instance has worked for those that expired meanwhile, too: they pay their share although nobody answered.
        """
        missing: list[str] = []
        for job in self._members(run, self._runs.job_ids(run)):
            if job.state is JobState.SUBMITTED:
                missing.append(job.job_id)
            elif job.state is JobState.EXPIRED:
                self._completer.worked_after_all(job, work)
        return missing

    def _members(self, run: BatchRun, job_ids: Sequence[str]) -> Iterator[Job]:
        for chunk in itertools.batched(job_ids, _AT_ONCE, strict=False):
            for job in self._jobs.get_many(chunk):
                if job.batch_id == run.batch_id:
                    yield job

    def _repeat(self, run: BatchRun, missing: Sequence[str], share: Decimal | None) -> None:
        spent = replace(run, prior_seconds=run.prior_seconds if share is None else share)
        again = self._runs.begin(run.retry_id, run.resource, missing, after=spent)
        self._starter.end(run)
        again = again or self._batches.get(run.retry_id)
        if again is not None and again.state is BatchState.PREPARING:
            self._runs.prepare(again)

    def _fail(self, missing: Sequence[str], run: BatchRun, status: TransformStatus, work: Work) -> None:
        failure = failure_of(status, shared=run.records > 1)
        for job in self._members(run, missing):
            if job.state is JobState.SUBMITTED:
                self._completer.fail(job, failure, work)
        self._starter.end(run)
