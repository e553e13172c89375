"""Collects what a transform job made of a file."""

from copy import replace
from decimal import Decimal

from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.ports.backends import TransformStatus
from tollgate.ports.jobs import BatchStore
from tollgate.ports.objects import ObjectStore
from tollgate.ports.system import Clock
from tollgate.services.batches.drop_batch import DroppedRuns
from tollgate.services.batches.drop_chunks import output_key, stored_chunks
from tollgate.services.batches.output import answers_in
from tollgate.services.batches.run_results import RunResults
from tollgate.services.batches.start import BatchStarter

MOST_REPEATED = 5_000
"""Most lines that are run again one by one; if more have no answer, a bad record is not the reason."""

_LAST_ATTEMPT = 2


class DropCollector:
    """Ends runs of files."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        objects: ObjectStore,
        runs: DroppedRuns,
        results: RunResults,
        starter: BatchStarter,
        clock: Clock,
    ) -> None:
        self._batches = batches
        self._objects = objects
        self._runs = runs
        self._results = results
        self._starter = starter
        self._clock = clock

    def collect(self, run: BatchRun, status: TransformStatus, share: Decimal | None) -> None:
        """Write the results, or first run the unanswered lines once more.

        Args:
            run: the ended run.
            status: of its transform job.
            share: instance seconds of each record so far; None if unknown.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        again = (
            run.attempt < _LAST_ATTEMPT
            and status.status != "Stopped"
            and self._results.wanted(run)
            and 0 < self._unanswered(run) <= MOST_REPEATED
        )
        if not again:
            self._starter.end(run, self._results.write(run, status, share))
            return
        second = replace(
            run,
            batch_id=run.retry_id,
            attempt=run.attempt + 1,
            parent=run.batch_id,
            created_at=self._clock.now(),
            state=BatchState.PREPARING,
            prior_seconds=run.prior_seconds if share is None else share,
        )
        self._batches.add(second)
        self._starter.end(run)
        present = self._batches.get(second.batch_id)
        if present is not None and present.state is BatchState.PREPARING:
            self._runs.prepare(present)

    def _unanswered(self, run: BatchRun) -> int:
        """How many valid lines have no answer; counting stops once the number no longer matters."""
        missing = 0
        for number, lines in stored_chunks(self._objects, run):
            wanted = {line.number for line in lines if line.error is None}
            missing += len(wanted - answers_in(self._objects, output_key(run, number)).keys())
            if missing > MOST_REPEATED:
                break
        return missing
