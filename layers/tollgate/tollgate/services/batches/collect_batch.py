"""Ends batch runs when their transform jobs have ended: those of waiting jobs, and those of files."""

from decimal import Decimal

from tollgate.domain.jobs.batches import BatchRun, BatchState, seconds_per_record
from tollgate.ports.backends import TransformBackend, TransformStatus
from tollgate.ports.jobs import BatchStore
from tollgate.ports.registry import CatalogueSource
from tollgate.ports.system import Telemetry
from tollgate.services.batches.collect_drop import DropCollector
from tollgate.services.batches.collect_pool import PoolCollector
from tollgate.services.batches.start import known_batch_way


class BatchCollector:
    """Finds out what an ended run has cost, and has its results collected: those of files by `drops`."""

    def __init__(
        self,
        *,
        batches: BatchStore,
        catalogues: CatalogueSource,
        backend: TransformBackend,
        pooled: PoolCollector,
        drops: DropCollector,
        telemetry: Telemetry,
    ) -> None:
        self._batches = batches
        self._catalogues = catalogues
        self._backend = backend
        self._pooled = pooled
        self._drops = drops
        self._telemetry = telemetry

    def ended(self, status: TransformStatus) -> None:
        """Settle the results of an ended transform job. Does nothing if that was done, or the job has not ended.

        Raises:
            CatalogueError, StorageError, BackendError: try again.
        """
        if not status.ended:
            return
        run = self._batches.get(status.name)
        if run is None:
            self._telemetry.count("UnknownBatchResult")
            return
        if run.state is BatchState.ENDED:
            return
        if status.ended_at is None:
            # The event may carry less than the job's own description.
            status = self._backend.describe(run.batch_id) or status
        share = self._share(run, status)
        if run.source is None:
            self._pooled.collect(run, status, share)
        else:
            self._drops.collect(run, status, share)

    def _share(self, run: BatchRun, status: TransformStatus) -> Decimal | None:
        """Instance seconds that each record of the run has cost so far."""
        way = known_batch_way(self._catalogues, run.resource)
        if way is None:
            return None
        spent = seconds_per_record(status.started_at, status.ended_at, way.road, run.records)
        return None if spent is None else run.prior_seconds + spent
