"""Files and batches, in the Jobs table under names that are not job ids, listed by owners that are no job's."""

from collections.abc import Callable, Mapping, Sequence
from copy import replace
from datetime import datetime, timedelta
from typing import Any

from tollgate.adapters.aws.errors import ConditionalCheckFailedError
from tollgate.adapters.aws.translation import storage_errors
from tollgate.adapters.dynamodb.client import DynamoDBClient
from tollgate.adapters.dynamodb.jobs.file_items import (
    batch_document,
    batch_of,
    counted_part_item,
    epoch,
    file_document,
    file_of,
)
from tollgate.adapters.dynamodb.jobs.items import time_text
from tollgate.adapters.dynamodb.ledger import DynamoDBLedger
from tollgate.adapters.dynamodb.transaction import TransactPut
from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.errors import InvalidRequestError, StorageError
from tollgate.domain.jobs.file_batches import FINAL_STATUSES, CountedPart, FileBatch, FilePurpose, FileState, StoredFile
from tollgate.domain.jobs.ids import may_be_id
from tollgate.domain.jobs.job import Owner
from tollgate.ports.files import Page

_OPEN = "file-batches"
_KEPT = timedelta(days=30)
_READ_AT_ONCE = 100
_MOST_PAGES = 20
_DELETED_FROM = "deleted_from"
"""Of what was deleted: the list it was in. A client that deletes what it lists goes on after what is gone."""


class DynamoDBFileStore:
    """The `FileStore` of AWS."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def add(self, file: StoredFile) -> None:
        """See `FileStore`."""
        listed = file.state is FileState.READY and not file.upload_id
        item = {
            "job_id": file.file_id,
            "tenant": _files_of(file.owner) if listed else None,
            "created_at": time_text(file.created_at),
            "stored_file": file_document(file),
            "ttl": epoch(file.expires_at),
        }
        with storage_errors("file store"):
            self._client.put_item(self._table, {name: value for name, value in item.items() if value is not None})

    def get(self, file_id: str) -> StoredFile | None:
        """See `FileStore`."""
        with storage_errors("file store"):
            item = self._client.get_item(self._table, {"job_id": file_id}, consistent=True)
        return None if item is None or "stored_file" not in item else file_of(file_id, item["stored_file"])

    def change(self, upload: StoredFile, was: StoredFile) -> bool:
        """See `FileStore`."""
        return self._update(
            upload,
            "SET stored_file = :new",
            "stored_file = :was",
            {":new": file_document(upload), ":was": file_document(was)},
        )

    def count_part(self, upload: StoredFile, size: int, *, most: int, most_bytes: int) -> bool:
        """See `FileStore`."""
        return size <= most_bytes and self._update(
            upload,
            "ADD part_count :one, part_bytes :size",
            "stored_file = :was AND (attribute_not_exists(part_count) OR part_count < :most) "
            "AND (attribute_not_exists(part_bytes) OR part_bytes <= :room)",
            {":one": 1, ":size": size, ":most": most, ":room": most_bytes - size, ":was": file_document(upload)},
        )

    def _update(self, upload: StoredFile, update: str, condition: str, values: Mapping[str, Any]) -> bool:
        with storage_errors("file store"):
            try:
                self._client.update_item(
                    self._table, {"job_id": upload.file_id}, update=update, condition=condition, values=values
                )
            except ConditionalCheckFailedError:
                return False
        return True

    def delete(self, file_id: str) -> None:
        """See `FileStore`. Its place in the list stays until the file would have expired, outside of the index."""
        with storage_errors("file store"):
            try:
                self._client.update_item(
                    self._table,
                    {"job_id": file_id},
                    update=f"SET {_DELETED_FROM} = if_not_exists(tenant, :none) REMOVE stored_file, tenant",
                    condition="attribute_exists(stored_file)",
                    values={":none": ""},
                )
            except ConditionalCheckFailedError:
                return

    def list_of(
        self, owner: Owner, *, purpose: FilePurpose | None, limit: int, after: str | None, oldest_first: bool
    ) -> Page[StoredFile]:
        """See `FileStore`."""
        items = _Listing(self._client, self._table, _files_of(owner), oldest_first=oldest_first)

        def wanted(item: Mapping[str, Any]) -> bool:
            return "stored_file" in item and (
                purpose is None or file_of(item["job_id"], item["stored_file"]).purpose is purpose
            )

        found, more = items.page(after, limit, wanted)
        return Page([file_of(item["job_id"], item["stored_file"]) for item in found], more)


class DynamoDBFileBatchStore:
    """The `FileBatchStore` of AWS; without a ledger it takes no charges and counts no parts."""

    def __init__(self, client: DynamoDBClient, table: str, ledger: DynamoDBLedger | None = None) -> None:
        self._client = client
        self._table = table
        self._ledger = ledger

    def add(self, batch: FileBatch) -> bool:
        """See `FileBatchStore`."""
        with storage_errors("batch store"):
            try:
                self._client.put_item(self._table, _item(batch), condition="attribute_not_exists(job_id)")
            except ConditionalCheckFailedError:
                return False
        return True

    def get(self, batch_id: str) -> FileBatch | None:
        """See `FileBatchStore`."""
        with storage_errors("batch store"):
            item = self._client.get_item(self._table, {"job_id": batch_id}, consistent=True)
        return None if item is None or "file_batch" not in item else _batch(item)

    def change(
        self, batch: FileBatch, charges: Sequence[LedgerWrite] = (), counted: CountedPart | None = None
    ) -> FileBatch | None:
        """See `FileBatchStore`."""
        changed = replace(batch, revision=batch.revision + 1)
        condition, values = "revision = :revision", {":revision": batch.revision}
        if charges or counted is not None:
            if self._ledger is None:
                raise StorageError("This function was not given the ledger.")
            puts = [TransactPut(self._table, _item(changed), condition, None, values)]
            if counted is not None:
                # The revision of the batch sees to it that this is written once.
                item = counted_part_item(counted) | {"ttl": epoch(counted.count.bill.settled_at + _KEPT)}
                puts.append(TransactPut(self._table, item))
            return changed if self._ledger.transact(puts, charges) else None
        with storage_errors("batch store"):
            try:
                self._client.put_item(self._table, _item(changed), condition=condition, values=values)
            except ConditionalCheckFailedError:
                return None
        return changed

    def list_of(self, owner: Owner, *, limit: int, after: str | None) -> Page[FileBatch]:
        """See `FileBatchStore`."""
        items = _Listing(self._client, self._table, _batches_of(owner), oldest_first=False)
        found, more = items.page(after, limit, lambda item: "file_batch" in item)
        return Page([_batch(item) for item in found], more)

    def open_since(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `FileBatchStore`."""
        with storage_errors("batch store"):
            page = self._client.query(
                self._table,
                index="open",
                key_condition="open_group = :group AND created_at < :before",
                values={":group": _OPEN, ":before": time_text(before)},
                limit=limit,
            )
        return [item["job_id"] for item in page.items]


class _Listing:
    """A list of one owner's things, which the index gives as keys only."""

    def __init__(self, client: DynamoDBClient, table: str, group: str, *, oldest_first: bool) -> None:
        self._client = client
        self._table = table
        self._group = group
        self._oldest_first = oldest_first

    def page(
        self, after: str | None, limit: int, wanted: Callable[[Mapping[str, Any]], bool]
    ) -> tuple[list[Mapping[str, Any]], bool]:
        """Up to `limit` items after the one with the id `after`, and whether there are more.

        Raises:
            InvalidRequestError: there is no such item.
        """
        with storage_errors("list"):
            start = None if after is None else self._position(after)
            found: list[Mapping[str, Any]] = []
            for _ in range(_MOST_PAGES):
                page = self._client.query(
                    self._table,
                    index="by_owner",
                    key_condition="tenant = :tenant",
                    values={":tenant": self._group},
                    forward=self._oldest_first,
                    limit=min(_READ_AT_ONCE, limit + 1),
                    start_key=start,
                )
                found += [item for item in self._whole([entry["job_id"] for entry in page.items]) if wanted(item)]
                start = page.last_key
                if start is None or len(found) > limit:
                    break
        return found[:limit], len(found) > limit or start is not None

    def _position(self, after: str) -> Mapping[str, Any]:
        item = self._client.get_item(self._table, {"job_id": after}) if may_be_id(after) else None
        if item is None or self._group not in {item.get("tenant"), item.get(_DELETED_FROM)}:
            raise InvalidRequestError(f"'after' names nothing in this list: '{after[:100]}'.", param="after")
        return {"job_id": after, "tenant": self._group, "created_at": item["created_at"]}

    def _whole(self, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        if not ids:
            return []
        keys = {self._table: [{"job_id": found} for found in ids]}
        items = {item["job_id"]: item for item in self._client.batch_get_item(keys)[self._table]}
        return [items[found] for found in ids if found in items]


def _files_of(owner: Owner) -> str:
    return f"files#{owner.tenant}"


def _batches_of(owner: Owner) -> str:
    return f"file-batches#{owner.tenant}"


def _item(batch: FileBatch) -> dict[str, Any]:
    final = batch.status in FINAL_STATUSES
    item: dict[str, Any] = {
        "job_id": batch.batch_id,
        "tenant": _batches_of(batch.owner),
        "created_at": time_text(batch.created_at),
        "revision": batch.revision,
        "file_batch": batch_document(batch),
        "open_group": None if final else _OPEN,
        "ttl": epoch(batch.expires_at + _KEPT) if final else None,
    }
    return {name: value for name, value in item.items() if value is not None}


def _batch(item: Mapping[str, Any]) -> FileBatch:
    return batch_of(item["job_id"], int(item["revision"]), item["file_batch"])
