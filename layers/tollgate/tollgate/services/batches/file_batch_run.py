"""Advances a batch from whatever stage it is in: cut, admitted, started, stopped, ended.

`advance` is called when a batch is created or cancelled, and by the sweeper for every open batch; it may be called at
any time and twice.
"""

from collections.abc import Callable
from copy import replace

from tollgate.domain.jobs.file_batches import FINAL_STATUSES, FileBatch, FileBatchStatus, FileState
from tollgate.domain.money import ZERO
from tollgate.ports.files import FileBatchStore, FileStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Clock, Telemetry
from tollgate.services.batches.file_batch_changes import written
from tollgate.services.batches.file_batch_cut import BatchCutter, missing_input
from tollgate.services.batches.file_batch_finish import FileBatchFinisher
from tollgate.services.batches.file_part_admission import PartAdmission
from tollgate.services.batches.file_part_run import PartRunner


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
        catalogues: CatalogueSource,
        cutter: BatchCutter,
        admission: PartAdmission,
        parts: PartRunner,
        finisher: FileBatchFinisher,
        telemetry: Telemetry,
        clock: Clock,
        is_held_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._batches = batches
        self._files = files
        self._catalogues = catalogues
        self._cutter = cutter
        self._admission = admission
        self._parts = parts
        self._finisher = finisher
        self._telemetry = telemetry
        self._clock = clock
        self._is_held_back = is_held_back

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
                self._parts.go_on(batch, part, stopping=stopping)
            return
        self._finisher.finish(batch)

    def _expired(self, batch: FileBatch) -> FileBatch:
        running = batch.status in {FileBatchStatus.VALIDATING, FileBatchStatus.IN_PROGRESS}
        if not running or batch.stop is not None or self._clock.now() < batch.expires_at:
            return batch
        return written(self._batches, replace(batch, stop=FileBatchStatus.EXPIRED))

    def _begin(self, batch: FileBatch) -> FileBatch:
        """Cut and admit; then the batch is in progress or failed, or still validating where the brakes hold it back."""
        if not batch.cut:
            file = self._files.get(batch.input_file_id)
            if file is None or file.state is not FileState.READY:
                cut = missing_input(batch)
            else:
                cut = self._cutter.cut(batch, file.key, self._catalogues.newest())
            if cut.faults:
                return written(self._batches, cut.at(FileBatchStatus.FAILED, self._clock.now()))
            batch = written(self._batches, cut)
        for part in batch.parts:
            if part.decided:
                continue
            if self._is_held_back(part.resource):
                # Nothing is reserved for it meanwhile; the sweeper returns to every open batch.
                self._telemetry.log("INFO", "batch waits for the brakes", batch_id=batch.batch_id)
                return batch
            batch = self._admission.admit(batch, part)
        now = self._clock.now()
        # A part that may not run at all has nothing to wait for.
        parts = tuple(part if part.admitted else replace(part, ended=True, seconds=ZERO) for part in batch.parts)
        return written(self._batches, replace(batch, parts=parts).at(FileBatchStatus.IN_PROGRESS, now))
