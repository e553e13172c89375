"""A workload described in a TOML file instead of a trace."""

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.opening import TraceError, unreadable
from planner.workload import Workload

_HOURS_A_DAY = 24
_MOST_REQUESTS = 20_000_000
_NUMBERS: Mapping[str, tuple[float, float, float]] = {
    "days": (7.0, 0.01, 366.0),
    "burstiness": (1.0, 0.05, 100.0),
    "input_tokens": (1000.0, 0.0, 1e7),
    "output_tokens": (200.0, 0.0, 1e7),
    "repeated": (0.0, 0.0, 1.0),
}
"""Each with its default, its least and its greatest value."""


def read_workload(path: Path) -> Workload:
    """Read `requests_per_hour` (one number, or one for each hour of the day) and what else describes the traffic.

    Raises:
        TraceError: the file is missing, is not TOML, or says something that makes no sense.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise unreadable(path, error) from error
    unknown = sorted(set(document) - {*_NUMBERS, "requests_per_hour"})
    if unknown:
        known = ", ".join(["requests_per_hour", *_NUMBERS])
        raise TraceError(f"{path}: '{unknown[0]}' is not known; a workload has {known}.")
    rates = document.get("requests_per_hour")
    hours: list[Any] = rates if isinstance(rates, list) else [rates]
    if not hours or len(hours) > _HOURS_A_DAY or not all(_is_number(rate) and rate >= 0 for rate in hours):
        raise TraceError(f"{path}: requests_per_hour wants a number, or up to 24 of them, none below 0.")
    number = {name: _number(path, document, name) for name in _NUMBERS}
    expected = sum(hours) / len(hours) * _HOURS_A_DAY * number["days"]
    if not 0 < expected <= _MOST_REQUESTS:
        raise TraceError(f"{path}: {expected:,.0f} requests would be made; 1 to {_MOST_REQUESTS:,} can be planned.")
    return Workload(
        [float(rate) for rate in hours],
        hours=_HOURS_A_DAY * number["days"],
        burstiness=number["burstiness"],
        input_tokens=number["input_tokens"],
        output_tokens=number["output_tokens"],
        repeated=number["repeated"],
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(path: Path, document: Mapping[str, Any], name: str) -> float:
    default, least, most = _NUMBERS[name]
    value = document.get(name, default)
    if not _is_number(value) or not least <= value <= most:
        raise TraceError(f"{path}: {name} wants a number from {least:g} to {most:g}.")
    return float(value)
