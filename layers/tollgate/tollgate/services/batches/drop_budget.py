"""Checks dropped files against the budgets of the gateway and their model before the transform job starts.

They belong to no key, so no other budget can count them. The reservation is kept on the run, and is settled in the
write that ends the last run of the file.
"""

from collections.abc import Sequence
from copy import replace

from tollgate.domain.budgets.ledger import LedgerWrite, Reservation
from tollgate.domain.budgets.reserving import file_ask
from tollgate.domain.catalogue import Deployment, InferenceType, Road
from tollgate.domain.errors import ConflictError
from tollgate.domain.jobs.batches import BatchRun, BatchState
from tollgate.ports.jobs import BatchStore
from tollgate.ports.registry import CatalogueSource
from tollgate.services.requests.admission import Admission


class DropBudget:
    """Reserves what a file may cost."""

    def __init__(self, *, batches: BatchStore, catalogues: CatalogueSource, admission: Admission) -> None:
        self._batches = batches
        self._catalogues = catalogues
        self._admission = admission

    def hold(self, run: BatchRun, deployment: Deployment, road: Road, *, largest_record: int) -> BatchRun:
        """Reserve money for all records of the run, once.

        Returns:
            The run as it is stored now.

        Raises:
            BudgetExceededError: not enough is left.
            ConflictError: another function is preparing the same run.
            CatalogueError, StorageError: try again.
        """
        if run.reservation is not None:
            return run
        catalogue = self._catalogues.current()
        admitted = self._admission.admit_file(catalogue, deployment.model)
        if admitted is None:
            return run

        def add(reservation: Reservation, charges: Sequence[LedgerWrite]) -> None:
            held = replace(run, reservation=reservation)
            if not self._batches.change(held, expected=BatchState.PREPARING, charges=charges, reserving=True):
                raise ConflictError(f"The run '{run.batch_id}' is already being prepared.")

        ask = file_ask(deployment, road, run.records, largest_record, catalogue.gateway_prices)
        reservation = self._admission.reserve_job(
            admitted, (ask,), inference_id=run.batch_id, inference_type=InferenceType.BATCH, add=add
        )
        return replace(run, reservation=reservation)
