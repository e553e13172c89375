"""The last step of every batch run: its files are stored, and the transform job starts.

A transform job has the name of its run, so a repeated start after a crash finds the existing job.
"""

from collections.abc import Callable, Sequence
from copy import replace

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.catalogue import Catalogue, InferenceType, Road, Way
from tollgate.domain.errors import BackendError, BackendThrottledError, CapacityError
from tollgate.domain.jobs.batches import BatchRun, BatchState, FileCount
from tollgate.ports.backends import TransformBackend, TransformJob
from tollgate.ports.jobs import BatchStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.services.budgets.settle_reservation import settle_with


class BatchStarter:
    """Starts transform jobs and keeps the state of runs.

    Args:
        is_held_back: whether the brakes keep transform jobs of a deployment from starting.
    """

    def __init__(
        self,
        *,
        batches: BatchStore,
        backend: TransformBackend,
        telemetry: Telemetry,
        is_held_back: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._batches = batches
        self._backend = backend
        self._telemetry = telemetry
        self.is_held_back = is_held_back

    def is_started(self, run: BatchRun) -> bool:
        """Whether the transform job exists already; if so, the run is recorded as running."""
        if self._backend.describe(run.batch_id) is None:
            return False
        self._batches.change(replace(run, state=BatchState.RUNNING), expected=BatchState.PREPARING)
        return True

    def note_records(self, run: BatchRun, records: int) -> BatchRun:
        """Record how many records the run has, before it can start: costs are divided by this number."""
        counted = replace(run, records=records)
        if counted != run:
            self._batches.change(counted, expected=BatchState.PREPARING)
        return counted

    def start(self, run: BatchRun, road: Road, *, largest_record: int) -> bool:
        """Start the transform job over the run's files.

        Returns:
            Whether it has started or may still start later; False when SageMaker refused it for good.

        Raises:
            StorageError: try again.
        """
        if self.is_held_back(run.resource):
            # The run stays in preparation; the sweeper tries again every minute.
            self._telemetry.log("INFO", "transform job waits for the brakes", batch_id=run.batch_id)
            return True
        job = TransformJob(
            name=run.batch_id,
            road=road,
            input_prefix=run.input_prefix,
            output_prefix=run.output_prefix,
            content_type="application/json",
            largest_record=largest_record,
        )
        try:
            self._backend.start(job)
        except (CapacityError, BackendThrottledError) as error:
            # The run stays in preparation; the sweeper tries again.
            self._telemetry.count("BatchStartDelayed")
            self._telemetry.log("WARNING", "transform job starts later", batch_id=run.batch_id, error=error.message)
            return True
        except BackendError as error:
            self._telemetry.log("ERROR", "transform job refused", batch_id=run.batch_id, error=error.message)
            return False
        self._batches.change(replace(run, state=BatchState.RUNNING), expected=BatchState.PREPARING)
        self._telemetry.log(
            "INFO", "transform job started", batch_id=run.batch_id, records=run.records, attempt=run.attempt
        )
        return True

    def end(self, run: BatchRun, count: FileCount | None = None) -> None:
        """End the run: nothing is left to do for it.

        Args:
            run: that ends.
            count: of a dropped file, by the last of its runs; the file's reservation is settled in the same write.
        """
        ended = replace(run, state=BatchState.ENDED, count=count)

        def change(charges: Sequence[LedgerWrite]) -> bool:
            states = (BatchState.RUNNING, BatchState.PREPARING)
            return any(self._batches.change(ended, expected=state, charges=charges) for state in states)

        if count is None or run.reservation is None:
            change(())
        else:
            settle_with(run.reservation, count.bill.charged, ended.state.value, change)


def known_batch_way(catalogues: CatalogueSource, resource: str) -> Way | None:
    """The batch road to a resource by the catalogue in force, read anew if this copy of it lacks the road.

    Raises:
        CatalogueError, StorageError: the catalogue cannot be read.
    """
    return catalogues.knowing(resource, InferenceType.BATCH).way(resource, InferenceType.BATCH)


def batch_resources(catalogue: Catalogue) -> list[str]:
    """Every deployment with a batch road."""
    return [
        deployment.resource
        for model in catalogue.models.values()
        for deployment in model.deployments
        if InferenceType.BATCH in deployment.roads
    ]
