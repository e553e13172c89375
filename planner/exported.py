"""The gateway's own export (`tollgate export focus`) as requests.

A row is one request, or all requests of an hour that were alike. It tells the hour, not the second: requests are put
into their hour by a number drawn from their id, so that the same file always gives the same trace.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

_CLASS_OF_ROAD = {"realtime": "high", "async": "medium", "batch": "low"}
_MOST_IN_A_ROW = 10_000_000


def requests_of(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The requests of a row with the planner's own column names; any other row as it is.

    A row whose hour cannot be read is given back unchanged, for the reader to count as malformed.
    """
    if "x_InferenceType" not in row or "ChargePeriodStart" not in row:
        yield row
        return
    try:
        begin = datetime.fromisoformat(str(row["ChargePeriodStart"])).timestamp()
        seconds = datetime.fromisoformat(str(row["ChargePeriodEnd"])).timestamp() - begin
        count = int(row.get("x_Requests") or 1)
        read, written = int(row.get("x_InputTokens") or 0), int(row.get("x_OutputTokens") or 0)
    except (KeyError, ValueError):
        yield row
        return
    held = row.get("ConsumedQuantity") if row.get("ConsumedUnit") == "Seconds" and count == 1 else None
    if not read and not written and not held:
        yield {"t_s": begin}  # no size: the reader counts it
        return
    name = "|".join(str(row.get(column)) for column in ("x_RequestId", "x_KeyId", "x_Model", "ChargePeriodStart"))
    for number in range(min(count, _MOST_IN_A_ROW)):
        yield {
            "t_s": begin + seconds * _drawn(f"{name}|{number}"),
            "input_tokens": (number + 1) * read // count - number * read // count,
            "output_tokens": (number + 1) * written // count - number * written // count,
            "duration_s": None if read or written else held,
            "tenant": row.get("x_Tenant"),
            "class": _CLASS_OF_ROAD.get(str(row["x_InferenceType"])),
        }


def _drawn(name: str) -> float:
    """From 0 to below 1, always the same for the same name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2.0**48
