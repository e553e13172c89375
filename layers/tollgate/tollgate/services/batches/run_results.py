"""Receives the outcome of a run of a file: dropped files and batches keep their results in different places."""

from decimal import Decimal
from typing import Protocol

from tollgate.domain.jobs.batches import BatchRun, FileCount
from tollgate.domain.jobs.file_batches import file_batch_of
from tollgate.ports.backends import TransformStatus


class RunResults(Protocol):
    """The end of a run. Repeating it changes nothing. Every method may raise CatalogueError and StorageError."""

    def wanted(self, run: BatchRun) -> bool:
        """Whether the run should still start."""

    def refuse_run(self, run: BatchRun, code: str, message: str) -> None:
        """Record that no part of the run could be run."""

    def write(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> FileCount | None:
        """Store the results of the run and of the earlier run that it partly repeats.

        Args:
            run: the last one.
            status: of its transform job.
            share: instance seconds of each of its records, including those in the earlier run.

        Returns:
            The counts for a dropped file; None for a batch, which is counted on its own record.
        """


class ResultsBySource:
    """Chooses by the run's source."""

    def __init__(self, *, drops: RunResults, batches: RunResults) -> None:
        self._drops = drops
        self._batches = batches

    def wanted(self, run: BatchRun) -> bool:
        """See `RunResults`."""
        return self._of(run).wanted(run)

    def refuse_run(self, run: BatchRun, code: str, message: str) -> None:
        """See `RunResults`."""
        self._of(run).refuse_run(run, code, message)

    def write(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> FileCount | None:
        """See `RunResults`."""
        return self._of(run).write(run, status, share)

    def _of(self, run: BatchRun) -> RunResults:
        return self._drops if file_batch_of(run.source) is None else self._batches
