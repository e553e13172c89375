"""Advances a batch from whatever stage it is in: cut, admitted, started, stopped, ended.

`advance` is called when a batch is created or cancelled, and by the sweeper for every open batch; it may be called at
any time and twice.
"""

from collections.abc import Callable, Sequence
from copy import replace
from datetime import timedelta
from decimal import Decimal

from tollgate.domain.budgets.ledger import LedgerWrite, Reservation
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BudgetExceededError, ConflictError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.domain.jobs.file_batches import (
    FINAL_STATUSES,
    FileBatch,
    FileBatchStatus,
    FilePart,
    FileState,
)
from tollgate.domain.json_values import json_text
from tollgate.domain.money import ZERO, usd
from tollgate.ports.backends import TransformBackend, TransformStatus
from tollgate.ports.files import FileBatchStore, FileStore
from tollgate.ports.jobs import BatchStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.drop_batch import DroppedRuns
from tollgate.services.batches.drop_chunks import input_key, invalid_key, stored_chunks
from tollgate.services.batches.file_batch_cut import BatchCutter, RefusalOf, missing_input, run_of
from tollgate.services.batches.file_batch_finish import FileBatchResults
from tollgate.services.requests.admission import Admission

_SHARES = (Decimal(1), Decimal("0.75"), Decimal("0.5"), Decimal("0.25"), Decimal("0.1"))
"""Shares of a part's input files to try where a budget cannot cover all of them; the first files run."""

_GENEROUS = 3
"""A sum of n durations distributed like waiting times stays below mean x (1 + 3 / sqrt(n)) in 99 of 100 cases."""


_PREPARED_WITHIN = timedelta(seconds=330)
"""Longer than any function that prepares a run may run."""


class FileBatchRunner:
    """Advances batches.

    Args:
        is_held_back: whether the brakes keep a deployment's new work from starting. A batch waits for them: its lines
            were accepted with its file, and its completion window says how long they may wait.
    """

    def __init__(
        self,
        *,
        batches: FileBatchStore,
        files: FileStore,
        runs: BatchStore,
        objects: ObjectStore,
        catalogues: CatalogueSource,
        backend: TransformBackend,
        cutter: BatchCutter,
        admission: Admission,
        starter: DroppedRuns,
        results: FileBatchResults,
        refusal_of: RefusalOf,
        telemetry: Telemetry,
        clock: Clock,
        is_held_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_held_back = is_held_back
        self._batches = batches
        self._files = files
        self._runs = runs
        self._objects = objects
        self._catalogues = catalogues
        self._backend = backend
        self._cutter = cutter
        self._admission = admission
        self._starter = starter
        self._results = results
        self._refusal_of = refusal_of
        self._telemetry = telemetry
        self._clock = clock

    def advance(self, batch_id: str) -> None:
        """Do everything that can be done now.

        Raises:
            ConflictError: another function is changing the batch; try again.
            CatalogueError, StorageError, BackendError: try again.
        """
        batch = self._batches.get(batch_id)
        if batch is None:
            self._telemetry.log("WARNING", "message for an unknown batch", batch_id=batch_id)
            return
        batch = self._expired(batch)
        if batch.status in FINAL_STATUSES:
            return
        stopping = batch.stop is not None or batch.status is FileBatchStatus.CANCELLING
        if batch.status is FileBatchStatus.VALIDATING and not stopping:
            batch = self._begin(batch)
            if batch.status is not FileBatchStatus.IN_PROGRESS:
                return
        if not all(part.ended for part in batch.parts):
            for part in batch.parts:
                self._go_on(batch, part, stopping=stopping)
            return
        self._results.finish(batch)

    def _expired(self, batch: FileBatch) -> FileBatch:
        running = batch.status in {FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS}
        if not running or batch.stop is not None or self._clock.now() < batch.expires_at:
            return batch
        return self._written(replace(batch, stop=FileBatchStatus.EXPIRED))

    def _begin(self, batch: FileBatch) -> FileBatch:
        """Cut and admit; then the batch is in progress or failed, or still validating where the brakes hold it back."""
        if not batch.cut:
            file = self._files.get(batch.input_file_id)
            if file is None or file.state is not FileState.READY:
                cut = missing_input(batch)
            else:
                cut = self._cutter.cut(batch, file.key, self._catalogues.newest())
            if cut.faults:
                return self._written(cut.at(FileBatchStatus.FAILED, self._clock.now()))
            batch = self._written(cut)
        for part in batch.parts:
            if part.decided:
                continue
            if self._is_held_back(part.resource):
                # Nothing is reserved for it meanwhile; the sweeper returns to every open batch.
                self._telemetry.log("INFO", "batch waits for the brakes", batch_id=batch.batch_id)
                return batch
            batch = self._admit(batch, part)
        now = self._clock.now()
        # A part that may not run at all has nothing to wait for.
        parts = tuple(part if part.admitted else replace(part, ended=True, seconds=ZERO) for part in batch.parts)
        return self._written(replace(batch, parts=parts).at(FileBatchStatus.IN_PROGRESS, now))

    def _admit(self, batch: FileBatch, part: FilePart) -> FileBatch:
        """Reserve for all of a part, or for as much of it as the budgets can cover."""
        model = part.resource.partition("/")[0]
        admitted = self._admission.admit(self._catalogues.current(), batch.owner, model)
        if admitted is None:
            return self._written(batch.with_part(replace(part, decided=True, admitted=part.chunks)))
        ladder = _ladder(part)
        written = batch

        def add(held: Reservation, charges: Sequence[LedgerWrite]) -> None:
            nonlocal written
            chunks = next(n for amount, n in ladder if amount <= held.amount)
            decided = replace(part, decided=True, admitted=chunks, reservation=held)
            if chunks < part.chunks:
                said = "The budget does not suffice for the whole batch; this request is one of the last."
                decided = replace(decided, refusal=said)
            written = self._written(batch.with_part(decided), charges)

        try:
            self._admission.reserve_job(
                admitted,
                [Ask(amount) for amount, _ in ladder],
                inference_id=part.run_id,
                inference_type=InferenceType.BATCH,
                add=add,
            )
        except BudgetExceededError as error:
            refused = replace(part, decided=True, admitted=0, refusal=error.message)
            written = self._written(batch.with_part(refused))
        return written

    def _go_on(self, batch: FileBatch, part: FilePart, *, stopping: bool) -> None:
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

    def _written(self, batch: FileBatch, charges: Sequence[LedgerWrite] = ()) -> FileBatch:
        done = self._batches.change(batch, charges)
        if done is None:
            raise ConflictError("The batch was changed meanwhile. Try again.")
        return done


def _ladder(part: FilePart) -> list[tuple[Decimal, int]]:
    """Amounts to reserve, most first, and how many input files each is for."""
    found: dict[int, Decimal] = {}
    for share in _SHARES:
        chunks = max(1, int(part.chunks * share))
        lines = max(1, part.lines * chunks // part.chunks)
        spread = 1 + _GENEROUS / Decimal(lines).sqrt()
        found[chunks] = usd(part.estimate * chunks / part.chunks * spread)
    return [(amount, chunks) for chunks, amount in found.items()]


def _stopped(run_id: str) -> TransformStatus:
    return TransformStatus(run_id, "Stopped", None, None, None)
