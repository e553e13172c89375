"""Traces as files: CSV and JSON Lines, plain or gzipped, with the column names of the public traces and of our own.

Known as they are: ServeGen (`tenant, t_s`), Azure (`TIMESTAMP, ContextTokens, GeneratedTokens`), BurstGPT
(`Timestamp, Request tokens, Response tokens, Model`), Mooncake (JSON Lines, `timestamp` in milliseconds, `hash_ids`),
and what `tollgate export` writes.
Anything else needs a column with a time, and tokens or a duration. A row that does not make sense is counted under its
reason and left out.
"""

import csv
import gzip
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from planner.exported import requests_of
from planner.trace import CLASSES, NO_DEADLINE, Trace

_TIME = (
    "t_s",
    "arrival_s",
    "arrival",
    "timestamp",
    "TIMESTAMP",
    "Timestamp",
    "time",
    "created_at",
    "ChargePeriodStart",
)
_INPUT = ("input_tokens", "ContextTokens", "Request tokens", "input_length", "prompt_tokens")
_OUTPUT = ("output_tokens", "GeneratedTokens", "Response tokens", "output_length", "completion_tokens")
_GROUP = ("tenant", "team", "Model", "model", "workload")
_CLASS = ("class", "priority")
_DEADLINE = ("deadline_s", "deadline_seconds", "deadline")
_PROMPT = ("prompt_hash", "hash_ids")
_DURATION = ("duration_s", "duration_seconds", "duration")

_LARGEST_COUNT = 100_000_000


class TraceError(Exception):
    """The file cannot be read as a trace at all."""


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such file"),
    (IsADirectoryError, "that is a folder, not a file"),
    (PermissionError, "this user may not read it"),
    (gzip.BadGzipFile, "its name ends in .gz, but gzip did not make it"),
    (EOFError, "its end is missing"),
    (UnicodeDecodeError, "it is not text in UTF-8"),
)


def unreadable(path: Path, error: Exception) -> TraceError:
    """What a person is told of a file that cannot be read."""
    known = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
    if known is None:
        known = "the system does not let it be read" if isinstance(error, OSError) else str(error)
    return TraceError(f"{path}: {known}.")


class _RowError(Exception):
    """One row does not make sense; the message is the reason it is counted under."""


def read_trace(path: Path) -> Trace:
    """Read a trace; arrivals are put in order and counted from the first one's time origin.

    Absolute times (dates, Unix seconds) start at the first request. Offsets keep their zero.

    Raises:
        TraceError: the file is missing, empty of usable rows, or has no column for the time.
    """
    trace = Trace()
    groups: dict[str, int] = {}
    try:
        with opened(path) as stream:
            for row in _rows(path, stream):
                trace.rows += 1
                try:
                    for request in [None] if row is None else requests_of(row):
                        _add(trace, request, groups)
                except _RowError as error:
                    trace.malformed[str(error)] += 1
    except (OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise unreadable(path, error) from error
    if not trace.arrivals:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in trace.malformed.most_common(3)) or "no rows"
        raise TraceError(f"{path}: no usable request ({reasons}).")
    trace = trace.in_order()
    first = trace.arrivals[0]
    if first > 1e8:  # three years: a date, not an offset
        for position, arrival in enumerate(trace.arrivals):
            trace.arrivals[position] = arrival - first
    return trace


def opened(path: Path) -> TextIO:
    """The file as text, unzipped where its name ends in .gz."""
    if path.suffix == ".gz":
        return TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(path: Path, stream: TextIO) -> Iterator[Mapping[str, Any] | None]:
    if ".jsonl" in path.suffixes or ".ndjson" in path.suffixes:
        for line in stream:
            if line.strip():
                yield _json_row(line)
        return
    reader = csv.DictReader(stream)
    if not _first(dict.fromkeys(reader.fieldnames or (), "x"), _TIME):
        raise TraceError(f"{path}: no column for the arrival time; one of {', '.join(_TIME)} is needed.")
    yield from reader


def _json_row(line: str) -> Mapping[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return value
    return None


def _add(trace: Trace, row: Mapping[str, Any] | None, groups: dict[str, int]) -> None:
    if row is None:
        raise _RowError("not a JSON object")
    arrival = _time(_first(row, _TIME))
    if "hash_ids" in row:
        arrival /= 1000  # Mooncake counts milliseconds
    duration = _number(_first(row, _DURATION), "duration", absent=-1.0)
    sizes = _first(row, _INPUT), _first(row, _OUTPUT)
    if duration < 0 and sizes == (None, None):
        raise _RowError("neither tokens nor duration")
    input_tokens, output_tokens = (_count(size) for size in sizes)
    deadline = _number(_first(row, _DEADLINE), "deadline", absent=NO_DEADLINE)
    name = str(_first(row, _GROUP) or "all")
    group = groups.get(name)
    if group is None:
        group = groups[name] = trace.group(name)
    trace.append(
        arrival,
        input_tokens,
        output_tokens,
        group=group,
        priority=_class(_first(row, _CLASS)),
        deadline=deadline,
        prompt=_prompt(row, input_tokens),
        duration=duration,
    )


def _time(value: Any) -> float:
    if value is None:
        raise _RowError("no arrival time")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        try:
            moment = datetime.fromisoformat(str(value)[:26])
        except ValueError:
            raise _RowError("arrival time is neither a number nor a date") from None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds) or seconds < 0:
        raise _RowError("arrival time out of range")
    return seconds


def _number(value: Any, what: str, *, absent: float) -> float:
    if value is None:
        return absent
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise _RowError(f"{what} is not a number") from None
    if not math.isfinite(number) or number < 0:
        raise _RowError(f"{what} out of range")
    return number


def _count(value: Any) -> int:
    number = _number(value, "tokens", absent=0.0)
    if number > _LARGEST_COUNT or number != int(number):
        raise _RowError("tokens out of range")
    return int(number)


def _class(value: Any) -> int:
    if value is None:
        return -1
    for position, name in enumerate(CLASSES):
        if str(value).lower() == name.value:
            return position
    raise _RowError("unknown class")


def _prompt(row: Mapping[str, Any], input_tokens: int) -> int:
    """The whole request as a number: a prefix alone that is the same is no repetition."""
    value = _first(row, _PROMPT)
    if value is None:
        return -1
    digest = blake2b(f"{value}|{input_tokens}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
