"""Bodies too large for a table."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol


class WholeObjectStore(Protocol):
    """The bucket, for objects that fit into memory. Keys have no leading slash. Every method may raise StorageError."""

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> None:
        """Store an object."""

    def get(self, key: str) -> bytes | None:
        """The object, None if there is none."""

    def stored_at(self, key: str) -> datetime | None:
        """When the object was written, to the second; None if there is none."""

    def presigned_get(self, key: str, *, expires_seconds: int) -> str:
        """A URL that gives the object to whoever holds it, for a while."""

    def location_of(self, key: str) -> str:
        """The ``s3://`` location of a key."""

    def key_of(self, location: str) -> str | None:
        """The key of an ``s3://`` location in this bucket, None for any other."""


class ObjectStore(WholeObjectStore, Protocol):
    """The bucket, also for objects of any size and for looking around. Every method may raise StorageError."""

    def put_lines(self, key: str, lines: Iterable[bytes], *, content_type: str = "application/jsonl") -> None:
        """Store lines, each ended by a newline, in constant memory. The object appears when all are there."""

    def lines(self, key: str) -> Iterator[bytes] | None:
        """The object's lines without their ends, read in constant memory; None if there is no object."""

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Keys below a prefix, in order of their UTF-8 bytes."""

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens if there is none."""
