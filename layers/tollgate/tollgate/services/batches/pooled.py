"""Batch runs made of waiting jobs: chooses the jobs and writes their files."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from copy import replace

from tollgate.domain.catalogue import Deployment
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.job import Job, JobFailure, JobState
from tollgate.domain.json_values import json_text
from tollgate.ports.jobs import BatchStore, JobStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock
from tollgate.services.batches.start import BatchStarter, known_batch_way
from tollgate.services.jobs.complete_job import JobCompleter
from tollgate.services.jobs.job_requests import JobRequests
from tollgate.services.jobs.price_job import Work

_READ_AT_ONCE = 25
_MOST_FILE_BYTES = 8 * 1024 * 1024
"""Size at which an input file is full: all jobs of a run together may exceed the memory."""


class PooledRuns:
    """Prepares runs of jobs. Every step can be repeated: the list of jobs is stored before anything else."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        batches: BatchStore,
        objects: ObjectStore,
        catalogues: CatalogueSource,
        requests: JobRequests,
        starter: BatchStarter,
        completer: JobCompleter,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._batches = batches
        self._objects = objects
        self._catalogues = catalogues
        self._requests = requests
        self._starter = starter
        self._completer = completer
        self._clock = clock

    def begin(
        self, batch_id: str, resource: str, job_ids: Sequence[str], *, after: BatchRun | None = None
    ) -> BatchRun | None:
        """Record a new run, without starting it.

        Args:
            batch_id: of the run.
            resource: that does the work.
            job_ids: the jobs to include.
            after: the run whose unanswered jobs these are; what they have cost so far is in its `prior_seconds`.

        Returns:
            The run; None if it exists already, whose own list of jobs then holds.

        Raises:
            StorageError: try again.
        """
        if self._batches.get(batch_id) is not None:
            return None
        # Not below the run's input prefix: the transform job would read it as input.
        key = f"transform-input/{batch_id}.jobs.json"
        self._objects.put(key, json.dumps(list(job_ids)).encode())
        run = BatchRun(
            batch_id=batch_id,
            resource=resource,
            records=len(job_ids),
            attempt=1 if after is None else after.attempt + 1,
            created_at=self._clock.now(),
            state=BatchState.PREPARING,
            job_ids_key=key,
            parent=None if after is None else after.batch_id,
        )
        if after is not None:
            run = replace(run, prior_seconds=after.prior_seconds)
        return run if self._batches.add(run) else None

    def job_ids(self, run: BatchRun) -> Sequence[str]:
        """The jobs that were meant for the run; some may have ended or been cancelled before it began."""
        body = self._objects.get(run.job_ids_key) if run.job_ids_key is not None else None
        return [] if body is None else [str(job_id) for job_id in json.loads(body)]

    def prepare(self, run: BatchRun) -> None:
        """Mark the jobs, write the files, start the transform job; or continue where an earlier call stopped.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        if self._starter.is_started(run):
            return
        way = known_batch_way(self._catalogues, run.resource)
        if way is None:
            self._fail_all(run, "invalid_request", f"Deployment '{run.resource}' no longer has a batch road.")
            return
        model, deployment, road = way
        per_file = model.batch.records_per_file if run.attempt == 1 else 1
        records = largest = 0
        for number, chunk in enumerate(_files(self._lines(run, deployment), per_file), start=1):
            self._objects.put_lines(f"{run.input_prefix}{number:06d}.jsonl", chunk)
            records += len(chunk)
            largest = max(largest, *map(len, chunk))
        run = self._starter.note_records(run, records)
        if not records:
            self._starter.end(run)
        elif not self._starter.start(run, road, largest_record=largest):
            self._fail_all(run, "backend_refused", "SageMaker refused the transform job for this request.")

    def _lines(self, run: BatchRun, deployment: Deployment) -> Iterator[bytes]:
        for job in self._members(run):
            try:
                rendered = self._requests.of(job, deployment)
            except InvalidRequestError as error:
                self._completer.fail(job, JobFailure("invalid_request", error.message), self._work_before(run))
                continue
            if self._belongs(job, run):
                yield json_text({"id": job.job_id, "body": json.loads(rendered.body)}).encode()

    def _members(self, run: BatchRun) -> Iterator[Job]:
        for chunk in itertools.batched(self.job_ids(run), _READ_AT_ONCE, strict=False):
            yield from self._jobs.get_many(chunk)

    def _belongs(self, job: Job, run: BatchRun) -> bool:
        """Put the job into the run; False if it has gone elsewhere."""
        if job.state is JobState.SUBMITTED and job.batch_id == run.batch_id:
            return True
        if job.state is JobState.QUEUED and run.parent is None:
            marked = job._replace(state=JobState.SUBMITTED, submitted_at=self._clock.now(), batch_id=run.batch_id)
            return self._jobs.change(marked, expected=frozenset({JobState.QUEUED}))
        if job.state is JobState.SUBMITTED and run.parent is not None and job.batch_id == run.parent:
            moved = job._replace(batch_id=run.batch_id)
            return self._jobs.change(moved, expected=frozenset({JobState.SUBMITTED}), as_read=job)
        return False

    def _fail_all(self, run: BatchRun, code: str, message: str) -> None:
        for job in self._members(run):
            if self._belongs(job, run):
                marked = job._replace(batch_id=run.batch_id, submitted_at=job.submitted_at or self._clock.now())
                self._completer.fail(marked, JobFailure(code, message), self._work_before(run))
        self._starter.end(run)

    def _work_before(self, run: BatchRun) -> Work:
        """What an earlier run has spent on each job that this one repeats: nothing, if this is the first."""
        return Work(held_seconds=run.prior_seconds, finished_at=self._clock.now())


def _files(lines: Iterable[bytes], per_file: int) -> Iterator[list[bytes]]:
    """The lines of each input file in turn."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if len(held) >= per_file or size >= _MOST_FILE_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held
