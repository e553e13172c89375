"""Uploaded files and batches of requests in them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tollgate.domain.budgets.ledger import LedgerWrite
from tollgate.domain.jobs.file_batches import CountedPart, FileBatch, FilePurpose, StoredFile
from tollgate.domain.jobs.job import Owner, Usage
from tollgate.domain.roads.capabilities import Needs


class FileStore(Protocol):
    """What is known of files; their contents lie in the bucket. Every method may raise StorageError."""

    def add(self, file: StoredFile) -> None:
        """Store a file's record, or the same one again."""

    def get(self, file_id: str) -> StoredFile | None:
        """The record, read consistently."""

    def change(self, upload: StoredFile, was: StoredFile) -> bool:
        """Replace an upload's record if it still is as it was; False if not, and nothing was written."""

    def count_part(self, upload: StoredFile, size: int, *, most: int, most_bytes: int) -> bool:
        """Count a part of so many bytes that is to come; False if it would be one too many, or too much.

        Also False if the upload's record is no longer this one. The count outlives every change of the record.
        """

    def delete(self, file_id: str) -> None:
        """Forget the file; nothing happens if it is not there."""

    def list_of(
        self, owner: Owner, *, purpose: FilePurpose | None, limit: int, after: str | None, oldest_first: bool
    ) -> "Page[StoredFile]":
        """Files of the owner's tenant; `after` is the id of the last one of an earlier page, also if it is deleted."""


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A page of a list, and whether there is more."""

    entries: Sequence[T]
    has_more: bool


class FileBatchStore(Protocol):
    """Batches, changed by conditional writes only. Every method may raise StorageError."""

    def add(self, batch: FileBatch) -> bool:
        """Store a new batch; False if it exists."""

    def get(self, batch_id: str) -> FileBatch | None:
        """The batch, read consistently."""

    def change(
        self, batch: FileBatch, charges: Sequence[LedgerWrite] = (), counted: CountedPart | None = None
    ) -> FileBatch | None:
        """Replace the batch if nobody changed it since, together with these writes on the ledger.

        Args:
            batch: as it shall be, with the revision that it was made from.
            charges: of a part that ends or begins.
            counted: a part that ends, for usage and export.

        Returns:
            The batch with its new revision; None if somebody else was faster, and nothing was written.

        Raises:
            LedgerRefusedError: the ledger refused, so the batch was not changed either.
        """

    def list_of(self, owner: Owner, *, limit: int, after: str | None) -> Page[FileBatch]:
        """Batches of the owner's tenant, newest first; `after` as for files."""

    def open_since(self, before: datetime, *, limit: int) -> Sequence[str]:
        """Ids of batches without a final status, created before then, oldest first."""


class FileObjects(Protocol):
    """The contents of files, for a function whose caller waits. Every method may raise StorageError."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Store an object."""

    def get(self, key: str) -> bytes | None:
        """The object, None if there is none."""

    def size_of(self, key: str) -> int | None:
        """Bytes of the object, None if there is none."""

    def copy(self, source: str, key: str) -> None:
        """Store the object `source` again under another key; nothing happens if there is none."""

    def delete(self, key: str) -> None:
        """Delete the object; nothing happens if there is none."""

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        """A URL that gives the object to whoever holds it, for a while."""

    def presigned_put(self, key: str, *, size: int, expires_seconds: int) -> str:
        """A URL to which whoever holds it can PUT the object of just this many bytes, for a while."""


class ChunkedObjects(Protocol):
    """The contents of files of any size, in constant memory. Every method may raise StorageError."""

    def chunks(self, key: str) -> Iterator[bytes] | None:
        """The object in pieces; None if there is none."""

    def put_chunks(self, key: str, chunks: Iterable[bytes], *, content_type: str = "application/octet-stream") -> None:
        """Store pieces as one object, which appears when all are there; nothing is stored if `chunks` raises."""


@dataclass(frozen=True, slots=True)
class ReadBody:
    """A request's body understood.

    Attributes:
        kept: a JSON object that the shape of the answer depends on.
    """

    model: str
    input: Any
    parameters: Mapping[str, Any]
    needs: Needs
    kept: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """What a model answered to one line.

    Attributes:
        kept: as `ReadBody` had it.
    """

    inference_id: str
    created_at: datetime
    model: str
    resource: str
    catalogue_version: int
    output: Any
    usage: Usage
    kept: Mapping[str, Any]


class LineBodies(Protocol):
    """Bodies and answers of the endpoints that a batch can ask for."""

    def read(self, endpoint: str, body: Mapping[str, Any]) -> ReadBody:
        """Understand a body.

        Raises:
            InvalidRequestError: it is not a body of that endpoint.
        """

    def answer(self, endpoint: str, answer: LineAnswer) -> Mapping[str, Any]:
        """The body of a good answer.

        Raises:
            ModelFailedError: the output is not what the endpoint promises.
        """
