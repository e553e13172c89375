"""Decides how much of each part of a batch may run: as much as the budgets can cover."""

from collections.abc import Sequence
from copy import replace
from decimal import Decimal

from tollgate.domain.budgets.ledger import LedgerWrite, Reservation
from tollgate.domain.budgets.reserving import Ask
from tollgate.domain.catalogue import InferenceType
from tollgate.domain.errors import BudgetExceededError
from tollgate.domain.jobs.file_batches import FileBatch, FilePart
from tollgate.domain.money import usd
from tollgate.ports.files import FileBatchStore
from tollgate.ports.registry import CatalogueSource
from tollgate.services.batches.file_batch_changes import written
from tollgate.services.requests.admission import Admission

_SHARES = (Decimal(1), Decimal("0.75"), Decimal("0.5"), Decimal("0.25"), Decimal("0.1"))
"""Shares of a part's input files to try where a budget cannot cover all of them; the first files run."""

_GENEROUS = 3
"""A sum of n durations distributed like waiting times stays below mean x (1 + 3 / sqrt(n)) in 99 of 100 cases."""


class PartAdmission:
    """Reserves money for the parts of batches."""

    def __init__(self, *, batches: FileBatchStore, catalogues: CatalogueSource, admission: Admission) -> None:
        self._batches = batches
        self._catalogues = catalogues
        self._admission = admission

    def admit(self, batch: FileBatch, part: FilePart) -> FileBatch:
        """Reserve for all of a part, or for as much of it as the budgets can cover.

        Returns:
            The batch, with the decision about this part stored.

        Raises:
            ConflictError: another function is changing the batch; try again.
            CatalogueError, StorageError: try again.
        """
        model = part.resource.partition("/")[0]
        admitted = self._admission.admit(self._catalogues.current(), batch.owner, model)
        if admitted is None:
            return written(self._batches, batch.with_part(replace(part, decided=True, admitted=part.chunks)))
        ladder = _ladder(part)
        stored = batch

        def add(held: Reservation, charges: Sequence[LedgerWrite]) -> None:
            nonlocal stored
            chunks = next(n for amount, n in ladder if amount <= held.amount)
            decided = replace(part, decided=True, admitted=chunks, reservation=held)
            if chunks < part.chunks:
                said = "The budget does not suffice for the whole batch; this request is one of the last."
                decided = replace(decided, refusal=said)
            stored = written(self._batches, batch.with_part(decided), charges)

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
            stored = written(self._batches, batch.with_part(refused))
        return stored


def _ladder(part: FilePart) -> list[tuple[Decimal, int]]:
    """Amounts to reserve, most first, and how many input files each is for."""
    found: dict[int, Decimal] = {}
    for share in _SHARES:
        chunks = max(1, int(part.chunks * share))
        lines = max(1, part.lines * chunks // part.chunks)
        spread = 1 + _GENEROUS / Decimal(lines).sqrt()
        found[chunks] = usd(part.estimate * chunks / part.chunks * spread)
    return [(amount, chunks) for chunks, amount in found.items()]
