"""Files and batches in memory."""

from collections.abc import Sequence
from copy import replace
from datetime import datetime

from tests.fakes.ledger import InMemoryLedger
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import InvalidRequestError
from tollgate.domain.jobs.file_batches import FINAL_STATUSES, CountedPart, FileBatch, FilePurpose, FileState, StoredFile
from tollgate.domain.jobs.job import Owner
from tollgate.ports.files import Page


class InMemoryFileStore:
    """The `FileStore` of tests."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.deleted: dict[str, StoredFile] = {}
        self.parts: dict[str, list[int]] = {}

    def add(self, file: StoredFile) -> None:
        self.files[file.file_id] = file

    def get(self, file_id: str) -> StoredFile | None:
        return self.files.get(file_id)

    def change(self, upload: StoredFile, was: StoredFile) -> bool:
        if self.files.get(upload.file_id) != was:
            return False
        self.files[upload.file_id] = upload
        return True

    def count_part(self, upload: StoredFile, size: int, *, most: int, most_bytes: int) -> bool:
        parts = self.parts.setdefault(upload.file_id, [])
        if self.files.get(upload.file_id) != upload or len(parts) >= most or sum(parts) + size > most_bytes:
            return False
        parts.append(size)
        return True

    def delete(self, file_id: str) -> None:
        if file_id in self.files:
            self.deleted[file_id] = self.files.pop(file_id)

    def list_of(
        self, owner: Owner, *, purpose: FilePurpose | None, limit: int, after: str | None, oldest_first: bool
    ) -> Page[StoredFile]:
        own = [
            file
            for file in (*self.files.values(), *self.deleted.values())
            if file.owner.tenant == owner.tenant and file.state is FileState.READY and not file.upload_id
        ]
        own.sort(key=lambda file: (file.created_at, file.file_id), reverse=not oldest_first)
        rest = _after(own, [file.file_id for file in own], after)
        found = [file for file in rest if file.file_id in self.files and purpose in {None, file.purpose}]
        return Page(found[:limit], len(found) > limit)


class InMemoryFileBatchStore:
    """The `FileBatchStore` of tests."""

    def __init__(self, ledger: InMemoryLedger | None = None) -> None:
        self.batches: dict[str, FileBatch] = {}
        self.ledger = ledger or InMemoryLedger()
        self.counted: dict[str, CountedPart] = {}

    def add(self, batch: FileBatch) -> bool:
        return self.batches.setdefault(batch.batch_id, batch) is batch

    def get(self, batch_id: str) -> FileBatch | None:
        return self.batches.get(batch_id)

    def change(
        self, batch: FileBatch, charges: Sequence[LedgerWrite] = (), counted: CountedPart | None = None
    ) -> FileBatch | None:
        stored = self.batches.get(batch.batch_id)
        if stored is None or stored.revision != batch.revision:
            return None
        if charges:
            self.ledger.write(charges)
        if counted is not None:
            assert counted.run_id not in self.counted, "counted twice"
            self.counted[counted.run_id] = counted
        changed = replace(batch, revision=batch.revision + 1)
        self.batches[batch.batch_id] = changed
        return changed

    def list_of(self, owner: Owner, *, limit: int, after: str | None) -> Page[FileBatch]:
        own = [batch for batch in self.batches.values() if batch.owner.tenant == owner.tenant]
        own.sort(key=lambda batch: (batch.created_at, batch.batch_id), reverse=True)
        rest = _after(own, [batch.batch_id for batch in own], after)
        return Page(rest[:limit], len(rest) > limit)

    def open_since(self, before: datetime, *, limit: int) -> Sequence[str]:
        found = [b for b in self.batches.values() if b.status not in FINAL_STATUSES and b.created_at < before]
        return [batch.batch_id for batch in sorted(found, key=lambda batch: batch.created_at)[:limit]]


def _after[T](entries: list[T], names: list[str], after: str | None) -> list[T]:
    if after is None:
        return entries
    if after not in names:
        raise InvalidRequestError("'after' names nothing in this list.", param="after")
    return entries[names.index(after) + 1 :]
