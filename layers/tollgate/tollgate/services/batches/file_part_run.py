"""Starts and stops the runs of a batch's parts: each part is a run of the batch road."""

from copy import replace
from datetime import timedelta

from tollgate.domain.errors import BudgetExceededError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.file_batches import FileBatch, FilePart
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO
from tollgate.ports.backends import TransformBackend, TransformStatus
from tollgate.ports.jobs import BatchStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.system import Clock
from tollgate.services.batches.drop_batch import DroppedRuns
from tollgate.services.batches.drop_chunks import input_key, invalid_key, stored_chunks
from tollgate.services.batches.file_batch_cut import RefusalOf, run_of
from tollgate.services.batches.file_batch_results import FileBatchResults

_PREPARED_WITHIN = timedelta(seconds=330)
"""Longer than any function that prepares a run may run."""


class PartRunner:
    """Brings the run of a part under way, or to its end."""

    def __init__(
        self,
        *,
        runs: BatchStore,
        objects: ObjectStore,
        backend: TransformBackend,
        starter: DroppedRuns,
        results: FileBatchResults,
        refusal_of: RefusalOf,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._objects = objects
        self._backend = backend
        self._starter = starter
        self._results = results
        self._refusal_of = refusal_of
        self._clock = clock

    def go_on(self, batch: FileBatch, part: FilePart, *, stopping: bool) -> None:
        """Start or stop the part's run, unless it has ended.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        if part.ended:
            return
        first = self._runs.get(part.run_id)
        if first is None:
            if not stopping:
                self._start(batch, part)
            else:
                # The run was never made, so nothing can have been started for it.
                self._results.write(run_of(batch, part.resource, part.run_id), _stopped(part.run_id), ZERO)
            return
        last = self._runs.get(first.retry_id) or first
        if stopping and last.state is BatchState.RUNNING:
            self._backend.stop(last.batch_id)
        elif stopping and last.state is BatchState.PREPARING and self._is_left_alone(last):
            self._starter.prepare(last)

    def _is_left_alone(self, run: BatchRun) -> bool:
        """Whether nothing can be about to start the run; until then, its preparer checks whether it is still wanted.

        Otherwise a job could start whose end nobody waits for.
        """
        return self._clock.now() - run.created_at > _PREPARED_WITHIN

    def _start(self, batch: FileBatch, part: FilePart) -> None:
        run = run_of(batch, part.resource, part.run_id)
        left_out = self._leave_out(run, part) if part.admitted < part.chunks else 0
        run = replace(run, records=part.lines - left_out, largest=part.largest, created_at=self._clock.now())
        present = run if self._runs.add(run) else self._runs.get(run.batch_id)
        if present is not None and present.state is BatchState.PREPARING:
            self._starter.prepare(present)

    def _leave_out(self, run: BatchRun, part: FilePart) -> int:
        """Set aside the input files that the budgets cannot cover; returns how many lines they have.

        Their errors are written before they are removed, so that no line is ever without either.
        """
        said = self._refusal_of(BudgetExceededError(part.refusal))
        left_out = 0
        for number, lines in stored_chunks(self._objects, run):
            if number <= part.admitted:
                continue
            # An attempt that was interrupted may have left lines in both places.
            names = {line.number: line.name for line in lines}
            left_out += len(names)
            aside = [json_text({"id": n, "name": name, "error": said}).encode() for n, name in names.items()]
            self._objects.put_lines(invalid_key(run, number), aside)
            self._objects.delete(input_key(run, number))
        return left_out


def _stopped(run_id: str) -> TransformStatus:
    return TransformStatus(run_id, "Stopped", None, None, None)
