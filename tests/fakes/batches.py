"""Batch runs and leases in memory."""

from collections.abc import Sequence
from datetime import datetime

from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.jobs.batches import BatchRun, BatchState


class InMemoryBatchStore:
    """The `BatchStore` of tests."""

    def __init__(self, ledger: InMemoryLedger | None = None) -> None:
        self.ledger = ledger
        self.runs: dict[str, BatchRun] = {}
        self.leases: dict[str, tuple[str, datetime]] = {}

    def add(self, run: BatchRun) -> bool:
        return self.runs.setdefault(run.batch_id, run) is run

    def get(self, batch_id: str) -> BatchRun | None:
        return self.runs.get(batch_id)

    def change(
        self,
        run: BatchRun,
        *,
        expected: BatchState,
        charges: Sequence[LedgerWrite] = (),
        reserving: bool = False,
    ) -> bool:
        stored = self.runs.get(run.batch_id)
        if stored is None or stored.state is not expected:
            return False
        if stored.reservation != (None if reserving else run.reservation):
            return False
        if charges:
            assert self.ledger is not None
            self.ledger.write(charges)
        self.runs[run.batch_id] = run
        return True

    def open_since(self, before: datetime, *, limit: int) -> Sequence[BatchRun]:
        found = [run for run in self.runs.values() if run.state is not BatchState.ENDED and run.created_at < before]
        return sorted(found, key=lambda run: run.created_at)[:limit]

    def lease(self, name: str, *, holder: str, now: datetime, until: datetime) -> bool:
        held = self.leases.get(name)
        if held is not None and held[0] != holder and held[1] > now:
            return False
        self.leases[name] = (holder, until)
        return True

    def release(self, name: str, *, holder: str) -> None:
        held = self.leases.get(name)
        if held is not None and held[0] == holder:
            del self.leases[name]
