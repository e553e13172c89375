"""The gateway's own log and export, and OpenAI's usage export, as requests.

A row of an export is one request, or all requests of an hour or a day that were alike. It tells the hour, not the
second: requests are put into their time by a number drawn from what names the row, so that the same file always gives
the same trace.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

from planner.opening import TraceError
from tollgate.domain.records import NO_REQUEST

_CLASS_OF_ROAD = {"realtime": "high", "async": "medium", "batch": "low"}
_MOST_IN_A_ROW = 10_000_000
_UNFINISHED = frozenset({"accepted", "routed", "rejected"})
"""An accepted job has a line of its own when it ends; the others ran nothing."""
_COUNTS = ("num_model_requests", "n_requests")
"""OpenAI's usage by hour or day, and its older export by five minutes."""
_OLD_BUCKET = 300.0


def of_gateway_log(row: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The request of a line or a metric record of the gateway's log, none for its other lines; None for other rows.

    Both are written when the request has ended, so that it came as much earlier as it took.
    """
    if "_aws.Timestamp" in row and "_aws.CloudWatchMetrics" in row:
        return _of_metric(row)
    if "service" not in row or "level" not in row or "location" not in row:
        return None
    if "outcome" not in row or str(row["outcome"]) in _UNFINISHED or str(row.get("request_id")).endswith(NO_REQUEST):
        return []
    try:
        ended = datetime.fromisoformat(str(row["timestamp"])).timestamp()
        came = ended - float(row.get("latency_ms", 0)) / 1000
    except (KeyError, OverflowError, TypeError, ValueError):
        return [{"t_s": row.get("timestamp")}]
    found = {
        "t_s": came,
        "input_tokens": row.get("input_tokens"),
        "output_tokens": row.get("output_tokens"),
        "tenant": row.get("tenant"),
        "class": _CLASS_OF_ROAD.get(str(row.get("inference_type"))),
        "request_id": row.get("request_id"),
    }
    return [found]


def _of_metric(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "Requests" not in row or "Latency" not in row:
        return []
    try:
        came = float(_single(row["_aws.Timestamp"])) / 1000 - float(_single(row["Latency"])) / 1000
    except (OverflowError, TypeError, ValueError):
        return [{"t_s": None}]  # no time: the reader counts it
    found = {
        "t_s": came,
        "input_tokens": _single(row.get("InputTokens")),
        "output_tokens": _single(row.get("OutputTokens")),
        "model": row.get("Model"),
        "class": _CLASS_OF_ROAD.get(str(row.get("InferenceType"))),
    }
    return [found]


def _single(value: Any) -> Any:
    """A metric's value, which stands alone in a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def requests_of(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The requests of an export's row with the planner's own column names; any other row as it is.

    A row whose time cannot be read is given back unchanged, for the reader to count as malformed.
    """
    if "x_InferenceType" in row and "ChargePeriodStart" in row:
        return _of_focus(row)
    if any(column in row for column in _COUNTS):
        return _of_usage(row)
    return iter((row,))


def _of_focus(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    try:
        begin = datetime.fromisoformat(str(row["ChargePeriodStart"])).timestamp()
        seconds = datetime.fromisoformat(str(row["ChargePeriodEnd"])).timestamp() - begin
        count = _whole(row.get("x_Requests") or 1)
        read, written = _whole(row.get("x_InputTokens")), _whole(row.get("x_OutputTokens"))
    except (KeyError, OverflowError, TypeError, ValueError):
        return iter((row,))
    held = row.get("ConsumedQuantity") if row.get("ConsumedUnit") == "Seconds" and count == 1 else None
    if not read and not written and not held:
        return iter(({"t_s": begin},))  # no size: the reader counts it
    name = "|".join(str(row.get(column)) for column in ("x_RequestId", "x_KeyId", "x_Model", "ChargePeriodStart"))
    given = {
        "duration_s": None if read or written else held,
        "tenant": row.get("x_Tenant"),
        "class": _CLASS_OF_ROAD.get(str(row["x_InferenceType"])),
    }
    return _spread(name, count, (begin, seconds), (read, written), given)


def _of_usage(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    try:
        count = _whole(next(row[column] for column in _COUNTS if column in row))
        begin = float(row["start_time"] if "start_time" in row else row["aggregation_timestamp"])
        seconds = float(row["end_time"]) - begin if row.get("end_time") else _OLD_BUCKET
        read = _whole(row.get("input_tokens") or row.get("n_context_tokens_total"))
        written = _whole(row.get("output_tokens") or row.get("n_generated_tokens_total"))
    except (KeyError, OverflowError, TypeError, ValueError):
        return iter((row,))
    name = "|".join(map(str, row.values()))
    given = {
        "model": row.get("model") or row.get("snapshot_id"),
        "class": "low" if str(row.get("batch")).lower() == "true" else None,
    }
    return _spread(name, count, (begin, seconds), (read, written), given)


def _spread(
    name: str, count: int, when: tuple[float, float], tokens: tuple[int, int], given: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """So many requests within a time, with as many tokens each; their sum is the row's.

    Raises:
        TraceError: they are more than can be planned.
    """
    (begin, seconds), (read, written) = when, tokens
    if count > _MOST_IN_A_ROW:
        raise TraceError(f"a row of {count:,} requests is more than can be planned at once.")
    for number in range(count):
        yield {
            "t_s": begin + seconds * _drawn(f"{name}|{number}"),
            "input_tokens": (number + 1) * read // count - number * read // count,
            "output_tokens": (number + 1) * written // count - number * written // count,
            **given,
        }


def _whole(value: Any) -> int:
    """A count, also as a spreadsheet writes it (`3.0`); 0 where there is none."""
    return int(float(value or 0))


def _drawn(name: str) -> float:
    """From 0 to below 1, always the same for the same name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2.0**48
