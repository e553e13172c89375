"""Public traffic that is published as rates, not as requests: drawn as requests with the same rates.

Known are ServeGen's totals (`workload, t_s, requests_per_s`, a row for each ten minutes), BurstGPT's days (`day,
requests, tokens`) and its profile by the hour of the day (`hour, requests_per_hour`). Arrivals within a row's time are
a Poisson process. More requests than can be planned are thinned evenly, and the plan says so.
"""

import csv
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from planner.opening import UNREADABLE, TraceError, opened, unreadable
from planner.trace import Trace
from planner.workload import drawn_size

_MOST_REQUESTS = 300_000
_INPUT_TOKENS, _OUTPUT_TOKENS = 1000.0, 200.0
_INPUT_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class _Row:
    group: str
    begin: float
    seconds: float
    requests: float
    tokens: float


@dataclass(slots=True)
class Rates:
    """Rows of rates, and how many of their requests are drawn.

    Attributes:
        share: of all requests that is drawn; below 1 where there are too many.
        malformed: rows that were left out.
    """

    rows: list[_Row] = field(default_factory=list)
    share: float = 1.0
    malformed: int = 0

    def trace(self, seed: int) -> Trace:
        """Draw it; the same seed gives the same requests.

        Where the rows tell no tokens, sizes are drawn around 1,000 and 200; where they tell a sum, three quarters of it
        are taken to be input.
        """
        source = random.Random(seed)  # noqa: S311 - a simulation wants to be repeatable
        covered = max((row.begin + row.seconds for row in self.rows), default=0.0)
        trace = Trace(rows=len(self.rows) + self.malformed, covered=covered)
        if self.malformed:
            trace.malformed["rate is not a number of 0 or more"] = self.malformed
        for row in self.rows:
            each = row.tokens / row.requests if row.tokens and row.requests else 0.0
            read = each * _INPUT_SHARE if each else _INPUT_TOKENS
            written = each * (1 - _INPUT_SHARE) if each else _OUTPUT_TOKENS
            group = trace.group(row.group)
            rate = row.requests * self.share / row.seconds
            now = row.begin + source.expovariate(rate) if rate > 0 else math.inf
            while now < row.begin + row.seconds:
                trace.append(now, drawn_size(source, read), drawn_size(source, written), group=group)
                now += source.expovariate(rate)
        return trace.in_order()


def read_rates(path: Path) -> Rates | None:
    """The rates of a file; None for a file with other columns.

    Raises:
        TraceError: the file cannot be read, or has no usable row.
    """
    rates = Rates()
    try:
        with opened(path) as stream:
            header = stream.readline()
            if header.lstrip().startswith(("{", "[")):
                return None
            reader = csv.DictReader(chain([header], stream))
            columns = set(reader.fieldnames or ())
            if not any(wanted <= columns for wanted in _KINDS):
                return None
            for row in reader:
                try:
                    rates.rows.append(_row(row))
                except (TypeError, ValueError):
                    rates.malformed += 1
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    expected = sum(row.requests for row in rates.rows)
    if expected <= 0:
        raise TraceError(f"{path}: no usable row with a rate above 0.")
    rates.share = min(1.0, _MOST_REQUESTS / expected)
    return rates


_KINDS = ({"t_s", "requests_per_s"}, {"day", "requests"}, {"hour", "requests_per_hour"})
_WINDOW, _HOUR, _DAY = 600.0, 3_600.0, 86_400.0


def _row(row: Mapping[str, str]) -> _Row:
    group = row.get("workload") or "all"
    if "requests_per_s" in row:
        begin, seconds, requests = float(row["t_s"]), _WINDOW, float(row["requests_per_s"]) * _WINDOW
    elif "day" in row:
        begin, seconds, requests = float(row["day"]) * _DAY, _DAY, float(row["requests"])
    else:
        begin, seconds, requests = float(row["hour"]) * _HOUR, _HOUR, float(row["requests_per_hour"])
    tokens = float(row.get("tokens") or 0)
    if not all(math.isfinite(value) and value >= 0 for value in (begin, requests, tokens)):
        raise ValueError(row)
    return _Row(group, begin, seconds, requests, tokens)


def names(rates: Rates) -> Iterator[str]:
    """Groups of the rows, each once."""
    yield from dict.fromkeys(row.group for row in rates.rows)


def only(rates: Rates, group: str) -> Rates:
    """The rows of one group, thinned by its own size."""
    rows = [row for row in rates.rows if row.group == group]
    return Rates(rows, min(1.0, _MOST_REQUESTS / max(1.0, sum(row.requests for row in rows))), rates.malformed)
