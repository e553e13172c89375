"""FOCUS rows as a gzipped CSV file."""

import csv
import gzip
import io
from collections.abc import Iterable
from datetime import date, datetime
from typing import Protocol

from tollgate.domain.costs.focus import COLUMNS, FocusRow

_FORMULA_STARTS = ("=", "+", "@", "\t", "\r")


def focus_key(day: date) -> str:
    """Where the file of a day lies in the bucket."""
    return f"exports/focus/date={day.isoformat()}/part.csv.gz"


def focus_csv_gz(rows: Iterable[FocusRow], *, heading: bool = True) -> bytes:
    """Rows as a gzipped CSV: UTF-8, a heading, one line per row. The same rows give the same bytes.

    Files without a heading can be appended to one with it: a gzip file may have several members.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if heading:
        writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return gzip.compress(text.getvalue().encode("utf-8"), mtime=0)


def focus_file(parts: Iterable[Iterable[FocusRow]]) -> bytes:
    """A whole file, with one gzip member for its heading and one for each part."""
    body = bytearray(focus_csv_gz(()))
    for rows in parts:
        body += focus_csv_gz(rows, heading=False)
    return bytes(body)


class ExportObjects(Protocol):
    """The little of a bucket that an export needs."""

    def put(self, key: str, body: bytes, *, content_type: str) -> None:
        """Store an object."""

    def stored_at(self, key: str) -> datetime | None:
        """When an object was written; None if there is none."""


class FocusBucket:
    """The `FocusFiles` of the bucket."""

    def __init__(self, objects: ExportObjects) -> None:
        self._objects = objects

    def has(self, day: date) -> bool:
        """See `FocusFiles`."""
        return self._objects.stored_at(focus_key(day)) is not None

    def write(self, day: date, parts: Iterable[Iterable[FocusRow]]) -> None:
        """See `FocusFiles`."""
        self._objects.put(focus_key(day), focus_file(parts), content_type="application/gzip")


def _harmless(value: str) -> str:
    """A spreadsheet runs what begins like a formula; team and tenant are texts that somebody chose."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
