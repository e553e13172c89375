"""Traces as files, with the column names of the public traces, of other gateways' exports and of our own.

Known as they are: ServeGen (`tenant, t_s`), Azure (`TIMESTAMP, ContextTokens, GeneratedTokens`), BurstGPT
(`Timestamp, Request tokens, Response tokens, Model`), Mooncake (JSON Lines, `timestamp` in milliseconds, `hash_ids`),
OpenAI's usage, spend and request logs of other gateways, the gateway's own log, and what `tollgate export` writes.
Anything else needs a column with a time, and tokens or a duration. A row that does not make sense is counted under its
reason and left out; what had to be taken for granted is counted too.
"""

import math
from array import array
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from planner.columns import Column, Columns
from planner.exported import of_gateway_log, requests_of
from planner.opening import UNREADABLE, TraceError, opened, unreadable
from planner.rows import HeaderError, Row, rows_of
from planner.trace import CLASSES, NO_DEADLINE, Trace
from tollgate.domain.catalogue import Priority

_CLASS_OF: dict[str, Priority | None] = {
    **{priority.value: priority for priority in Priority},
    **dict.fromkeys(("realtime", "priority", "interactive", "online"), Priority.HIGH),
    "async": Priority.MEDIUM,
    **dict.fromkeys(("batch", "flex", "bulk", "offline"), Priority.LOW),
    **dict.fromkeys(("auto", "default", "standard", "normal"), None),  # whoever says that names no class
}
_LARGEST_COUNT = 100_000_000
_MOST_REQUESTS = 20_000_000
_ABSOLUTE = 1e8
"""Seconds, three years, from which on a time is a date and not an offset."""
_UNIT_OF_DATE = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""From which number on a date is counted in nanoseconds, microseconds, milliseconds since 1970."""
_LATEST = 4_102_444_800.0
"""The year 2100, after which no request came: the number is no count since 1970."""
_HOUR, _YEAR = 3_600.0, 366 * 86_400.0
_MOST_SHAPES = 1_000


class _RowError(Exception):
    """One row does not make sense; the message is the reason it is counted under."""


def read_trace(path: Path) -> Trace:
    """Read a trace; arrivals are put in order and counted from its beginning.

    Absolute times (dates; seconds, or parts of them, since 1970) start at the first request. Offsets keep their zero,
    but for whole hours before the first request.

    Raises:
        TraceError: the file is missing, empty of usable rows, or has no column for the time or the size.
    """
    reader = _Reader()
    try:
        with opened(path) as stream:
            for row in rows_of(stream, is_json=bool({".jsonl", ".ndjson", ".json"} & set(path.suffixes))):
                reader.add(row)
    except (*UNREADABLE, HeaderError) as error:
        raise unreadable(path, error) from error
    trace = reader.trace
    if not trace.arrivals:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in trace.malformed.most_common(3)) or "no rows"
        names = f"; its first row has {', '.join(reader.names[:20])}" if reader.names else ""
        raise TraceError(f"{path}: no usable request ({reasons}{names}).")
    return reader.finished()


class _Reader:
    """Rows in, a trace out."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.names: tuple[str, ...] = ()
        self._shapes: dict[tuple[str, ...], Columns] = {}
        self._groups: dict[str, int] = {}
        self._seen: set[int] = set()
        self._metrics = array("L")
        self._logged = False

    def add(self, row: Row | str) -> None:
        """Take in a row, which may be several requests; text is the reason why it is none."""
        trace = self.trace
        trace.rows += 1
        if isinstance(row, str):
            trace.malformed[row] += 1
            return
        self.names = self.names or tuple(row)
        try:
            self._add_all(row)
        except _RowError as error:
            trace.malformed[str(error)] += 1
        if len(trace) > _MOST_REQUESTS:
            raise TraceError(f"more than {_MOST_REQUESTS:,} requests cannot be planned at once.")

    def _add_all(self, row: Row) -> None:
        own, before = of_gateway_log(row), len(self.trace)
        for request in requests_of(row) if own is None else own:
            self._add(request)
        if own is not None:
            self._note_source(row, before)

    def _note_source(self, row: Row, before: int) -> None:
        """The gateway writes a line and a metric record for each request; one of them is enough."""
        if len(self.trace) == before:
            self.trace.notes["lines of the gateway's log that are no finished request"] += 1
        elif "_aws.Timestamp" in row:
            self._metrics.append(before)
        else:
            self._logged = True

    def _columns(self, row: Row) -> Columns:
        names = tuple(row)
        columns = self._shapes.get(names)
        if columns is None:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            columns = self._shapes[names] = Columns.of(names)
        return columns

    def _add(self, row: Row) -> None:
        columns = self._columns(row)
        arrival = _moment(_value(row, columns.time), columns.unit)
        duration = _number(row, columns.duration, "duration", absent=-1.0)
        if duration >= 0 and columns.duration is not None:
            duration *= columns.duration.unit or 1.0
        sizes = _value(row, columns.input), _value(row, columns.output)
        if duration < 0 and sizes == (None, None):
            raise _RowError("neither tokens nor duration")
        input_tokens, output_tokens = (_count(size) for size in sizes)
        deadline = _deadline(row, columns.deadline, arrival)
        priority, prompt = self._class(row, columns.priority), _prompt(row, columns.prompt, input_tokens)
        if self._is_seen(_value(row, columns.request), arrival, input_tokens, output_tokens):
            raise _RowError("the same request again")
        if duration < 0:
            for size, what in zip(sizes, ("input", "output"), strict=True):
                if size is None:
                    self.trace.notes[f"requests without {what} tokens, taken as 0"] += 1
        name = str(_value(row, columns.group) or "all")
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = len(self._groups)
            self.trace.group_names.append(name)
        self.trace.append(
            arrival,
            input_tokens,
            output_tokens,
            group=group,
            priority=priority,
            deadline=deadline,
            prompt=prompt,
            duration=duration,
        )

    def _is_seen(self, request: Any, *others: float) -> bool:
        """Whether a row with this id, time and size was there before; ids alone may begin again each day."""
        if request is None:
            return False
        digest = int.from_bytes(blake2b(f"{request}|{others}".encode(), digest_size=8).digest())
        known = digest in self._seen
        self._seen.add(digest)
        return known

    def _class(self, row: Row, column: Column | None) -> int:
        value = _value(row, column)
        if value is None or column is None:
            return -1
        name = str(value).lower()
        if name not in _CLASS_OF:
            raise _RowError(f"{column.name} is not high, medium or low")
        priority = _CLASS_OF[name]
        return -1 if priority is None else CLASSES.index(priority)

    def finished(self) -> Trace:
        """In order, from its beginning, without what cannot belong to it."""
        trace = self.trace
        if self._metrics and self._logged:
            trace.notes["metric records beside the log lines of the same requests"] += len(self._metrics)
            keep = bytearray(b"\1") * len(trace)
            for position in self._metrics:
                keep[position] = 0
            trace = trace.chosen(keep)
        trace = trace.in_order()
        middle = trace.arrivals[len(trace) // 2]
        keep = bytearray(abs(arrival - middle) <= _YEAR for arrival in trace.arrivals)
        strays = keep.count(0)
        if strays:
            trace.malformed["arrival time is more than a year away from most others"] += strays
            trace = trace.chosen(keep)
        first = trace.arrivals[0]
        begin = first if first > _ABSOLUTE else first // _HOUR * _HOUR
        if begin:
            for position, arrival in enumerate(trace.arrivals):
                trace.arrivals[position] = arrival - begin
        trace.covered = trace.seconds
        return trace


def _value(row: Row, column: Column | None) -> Any:
    """What the row says there; None where it says nothing. A list of one, as in metric records, is what it holds."""
    if column is None:
        return None
    value = row.get(column.name)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int | float):
        return value[0]
    if isinstance(value, str):
        value = value.strip()
        return None if value.lower() in _NOTHING else value
    return value


_NOTHING = frozenset({"", "null", "none", "na", "n/a", "-"})


def _moment(value: Any, unit: float | None = None) -> float:
    if value is None:
        raise _RowError("no arrival time")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return _date(str(value))
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0:
        raise _RowError("arrival time out of range")
    scale = next((scale for least, scale in _UNIT_OF_DATE if seconds >= least), None)
    if scale is None or (unit is not None and seconds * unit < _UNIT_OF_DATE[-1][0]):
        scale = unit or 1.0
    if seconds * scale > _LATEST:
        raise _RowError("arrival time out of range")
    return seconds * scale


def _date(text: str) -> float:
    zone = text.upper().removesuffix(" UTC").removesuffix(" GMT").strip()
    try:
        moment = datetime.fromisoformat(zone)
    except ValueError:
        raise _RowError("arrival time is neither a number nor a date") from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if seconds < 0:
        raise _RowError("arrival time out of range")
    return seconds


def _number(row: Row, column: Column | None, what: str, *, absent: float) -> float:
    value = _value(row, column)
    if value is None:
        return absent
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _RowError(f"{what} is not a number") from None
    if not math.isfinite(number) or number < 0:
        raise _RowError(f"{what} out of range")
    return number


def _count(value: Any) -> int:
    if value is None:
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _RowError("tokens is not a number") from None
    if not 0 <= number <= _LARGEST_COUNT or number != int(number):
        raise _RowError("tokens out of range")
    return int(number)


def _deadline(row: Row, column: Column | None, arrival: float) -> float:
    """Seconds after the arrival; a column may hold the moment itself."""
    value = _value(row, column)
    if value is None or column is None:
        return NO_DEADLINE
    if isinstance(value, str) and "-" in value[1:]:
        try:
            return max(0.0, _date(value) - arrival)
        except _RowError:
            raise _RowError("deadline is not a number") from None
    seconds = _number(row, column, "deadline", absent=NO_DEADLINE) * (column.unit or 1.0)
    return max(0.0, _moment(seconds) - arrival) if seconds > _ABSOLUTE < arrival else seconds


def _prompt(row: Row, column: Column | None, input_tokens: int) -> int:
    """The whole request as a number: a prefix alone that is the same is no repetition."""
    value = None if column is None else row.get(column.name)
    if value is None or value == "":
        return -1
    digest = blake2b(f"{value}|{input_tokens}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
