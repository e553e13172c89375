"""Takes down how the parts of a batch have ended; with the last one, its end is ordered."""

from copy import replace
from decimal import Decimal

from tollgate.domain.foreign_words import quoted
from tollgate.domain.jobs.batches import BatchRun
from tollgate.domain.jobs.file_batches import FINAL_STATUSES, FileBatch, FileBatchStatus, file_batch_of
from tollgate.domain.money import ZERO
from tollgate.ports.backends import TransformStatus
from tollgate.ports.files import FileBatchStore
from tollgate.ports.jobs import MessageQueue
from tollgate.ports.system import Telemetry
from tollgate.services.batches.file_batch_changes import changed
from tollgate.services.batches.file_batches import batch_message


class FileBatchResults:
    """The `RunResults` of batches.

    Args:
        queue: takes the order to end a batch once its last part has ended: writing the files takes a while, and not
            every function that learns of an end has the time.
    """

    def __init__(self, *, batches: FileBatchStore, queue: MessageQueue, telemetry: Telemetry) -> None:
        self._batches = batches
        self._queue = queue
        self._telemetry = telemetry

    def wanted(self, run: BatchRun) -> bool:
        """See `RunResults`: not once the batch is being cancelled."""
        batch = self._batches.get(file_batch_of(run.source) or "")
        return batch is not None and batch.status is FileBatchStatus.IN_PROGRESS and batch.stop is None

    def refuse_run(self, run: BatchRun, code: str, message: str) -> None:
        """See `RunResults`."""
        self._telemetry.log("WARNING", "part of a batch refused", error_code=code, batch_id=run.batch_id)
        self._part_ended(run, TransformStatus(run.batch_id, "Refused", message, None, None), ZERO)

    def write(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        """See `RunResults`: when the last part has ended, this orders the end of the batch."""
        self._part_ended(run, status, share)

    def _part_ended(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        def ended(batch: FileBatch) -> FileBatch | None:
            part = batch.part(run.batch_id)
            if part is None or part.ended:
                return None
            return batch.with_part(
                replace(
                    part,
                    ended=True,
                    last_run=run.batch_id,
                    seconds=share,
                    earlier_seconds=run.prior_seconds,
                    outcome=status.status,
                    reason=None if status.failure_reason is None else quoted(status.failure_reason),
                )
            )

        batch = changed(self._batches, file_batch_of(run.source) or "", ended)
        if batch is not None and batch.status not in FINAL_STATUSES and all(part.ended for part in batch.parts):
            self._queue.send(batch_message(batch.batch_id), trace=batch.traceparent, group=batch.owner.tenant)
