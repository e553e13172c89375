"""The rows of a trace file: CSV with any of the usual delimiters, JSON Lines, or one JSON document with a list in it.

Log exports of CloudWatch have the record as text inside a `message`, or behind a time on its line; it is unpacked.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import chain, islice
from typing import Any, TextIO

from planner.columns import Columns

Row = Mapping[str, Any]

_DELIMITERS = ",;\t|"
_LISTS = ("data", "results", "events", "records", "Records", "items", "rows", "requests", "logs")
_DEEPEST = 5
_LONGEST_FIELD = 16 * 1024 * 1024
_LOOKED_AT = 20
_OBJECT = re.compile(r"\s*(?:[^\s\[]\S*[ \t]+)?\{")
"""A line of JSON, alone or behind a time."""


class HeaderError(Exception):
    """The file's first line does not name what a trace needs; the message says what is missing."""


def rows_of(stream: TextIO, *, is_json: bool = False) -> Iterator[Row | str]:
    """Each row with its names, nested ones as paths; for a row that makes no sense, the reason.

    Args:
        stream: at its beginning.
        is_json: whether the file's name says so; otherwise its first lines do.

    Raises:
        HeaderError: a CSV file has no header, or no column for the time or the size.
    """
    beginning = [line for line in islice(stream, _LOOKED_AT) if line.strip()]
    if is_json or any(map(_OBJECT.match, beginning)) or (beginning[:1] and beginning[0].lstrip().startswith("[")):
        yield from _json_rows(beginning, stream)
    elif beginning:
        yield from _csv_rows(beginning, stream)


# -- CSV


def _csv_rows(beginning: list[str], stream: TextIO) -> Iterator[Row | str]:
    csv.field_size_limit(_LONGEST_FIELD)
    delimiter = max(_DELIMITERS, key=beginning[0].count)
    reader = csv.reader(chain(beginning, stream), delimiter=delimiter, skipinitialspace=True)
    names = [name.strip() for name in next(reader)]
    columns = Columns.of(names)
    packed = any(name.lstrip("@").lower() == "message" for name in names)
    if columns.missing is not None and not packed:
        if any(map(_is_number, names)):
            raise HeaderError("its first line has to name the columns, and has a number in it")
        raise HeaderError(f"{columns.missing}; it has {', '.join(names[:20])}")
    width = len(names)
    needed = 1 + max(map(names.index, columns.needed), default=0)
    for fields in reader:
        if not any(fields):
            continue
        if len(fields) > width and any(fields[width:]):
            yield "more fields than the header has names"
        elif len(fields) < needed:
            yield "fewer fields than the header has names"
        else:
            row = dict(zip(names, fields, strict=False))
            yield _flat(row) if packed else row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- JSON


def _json_rows(beginning: list[str], stream: TextIO) -> Iterator[Row | str]:
    first = beginning[0] if beginning else ""
    lines: Iterable[str] = chain(beginning, stream)
    if first.lstrip().startswith(("{", "[")) and not isinstance(_parsed(first), dict):
        text = "".join(lines)
        document = _parsed(text)
        if document is not None:
            yield from _listed(document)
            return
        lines = StringIO(text)
    for line in lines:
        if line.strip():
            yield from _listed(_parsed(line))


def _parsed(text: str) -> Any:
    """The JSON in a text, behind a time or not; None where there is none."""
    begin = text.find("{") if _OBJECT.match(text) else 0
    try:
        return json.loads(text[begin:])
    except (ValueError, RecursionError):
        return None


def _listed(document: Any, around: Row | None = None) -> Iterator[Row | str]:
    """The rows of a document: itself, or those of the list in it with what is said around them."""
    if isinstance(document, list):
        for one in document:
            yield from _listed(one, around)
        return
    if not isinstance(document, dict):
        yield "not a JSON object"
        return
    inner = next((key for key in _LISTS if _is_list_of_objects(document.get(key))), None)
    plain = {**(around or {}), **_flat({key: value for key, value in document.items() if key != inner})}
    if inner is None or Columns.of(plain).sized:
        yield plain
    else:
        yield from _listed(document[inner], plain)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _flat(row: Row) -> dict[str, Any]:
    """Nested objects as paths, and the object that a `message` holds as text beside it."""
    found: dict[str, Any] = {}
    _add_flat(found, row, "", _DEEPEST)
    for name in ("message", "@message"):
        text = found.get(name)
        inner = _parsed(text) if isinstance(text, str) and "{" in text else None
        if isinstance(inner, dict):
            _add_flat(found, inner, "", _DEEPEST)
    return found


def _add_flat(found: dict[str, Any], row: Row, path: str, deepest: int) -> None:
    for key, value in row.items():
        if isinstance(value, dict):
            if deepest:
                _add_flat(found, value, f"{path}{key}.", deepest - 1)
        else:
            found[path + key] = value
