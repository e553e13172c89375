"""How a batch is changed that others may be changing at the same moment."""

from collections.abc import Callable, Sequence

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import ConflictError, StorageError
from tollgate.domain.jobs.file_batches import FileBatch
from tollgate.ports.files import FileBatchStore

ROUNDS = 8
"""Attempts to change a batch that others are changing too: its parts end one by one."""


def changed(
    batches: FileBatchStore, batch_id: str, change: Callable[[FileBatch], FileBatch | None]
) -> FileBatch | None:
    """Change a batch, retrying when another writer was faster.

    Args:
        batches: where it is.
        batch_id: of the batch; None is returned if there is none.
        change: gives the changed batch, or None to leave it as it is.

    Raises:
        StorageError: try again.
    """
    for _ in range(ROUNDS):
        batch = batches.get(batch_id)
        wanted = None if batch is None else change(batch)
        if batch is None or wanted is None:
            return batch
        done = batches.change(wanted)
        if done is not None:
            return done
    raise busy()


def written(batches: FileBatchStore, batch: FileBatch, charges: Sequence[LedgerWrite] = ()) -> FileBatch:
    """Store a changed batch if nobody else has changed it; gives it as it is stored now.

    Raises:
        ConflictError: another function has changed it since it was read; try again.
        StorageError: try again.
    """
    done = batches.change(batch, charges)
    if done is None:
        raise ConflictError("The batch was changed meanwhile. Try again.")
    return done


def busy() -> StorageError:
    """All attempts at a change have failed."""
    return StorageError("The batch is being changed by other calls. Try again.", retry_after=2)
