"""Timing and places of a live endpoint from a few measured requests.

Time is fitted as base + input tokens + output tokens by least squares; a rate that comes out negative is noise and left
out. Places are the number of requests at once up to which the endpoint answers more of them in the same time. They are
sought with waves, each of so many requests at once; of several waves the fastest counts, for whatever else happens on
the way only adds time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tollgate.domain.catalogue import Timing

_WORTHWHILE = 1.15
"""Twice the requests at once must give at least so much more throughput to count as more places."""
_WAVES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured request; seconds from sending to the whole answer."""

    input_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """Timing, and how far it is off.

    Attributes:
        error: mean absolute error, as a share of the mean time.
    """

    timing: Timing
    error: float


def fit(samples: Sequence[Sample]) -> Fit:
    """The timing with the least squared error among those without a negative rate.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("No request was measured.")
    rows = [(1.0, float(s.input_tokens), float(s.output_tokens)) for s in samples]
    times = [s.seconds for s in samples]
    best = (min(times), 0.0, 0.0)
    least = _squares(rows, times, best)
    for size in (1, 2, 3):
        for chosen in combinations(range(3), size):
            solved = _solve([[row[c] for c in chosen] for row in rows], times)
            if solved is None or min(solved) < 0:
                continue
            full = [0.0, 0.0, 0.0]
            for column, value in zip(chosen, solved, strict=True):
                full[column] = value
            candidate = full[0], full[1], full[2]
            error = _squares(rows, times, candidate)
            if error < least:
                best, least = candidate, error
    off = sum(abs(_predicted(row, best) - time) for row, time in zip(rows, times, strict=True))
    base, per_input, per_output = best
    usual = sorted(s.output_tokens for s in samples)[len(samples) // 2]
    return Fit(Timing(max(base, 0.001), per_input, per_output, usual), off / max(sum(times), 1e-9))


def rates(wave: Callable[[int], float], most_at_once: int) -> dict[int, float]:
    """Requests per second by requests at once: doubled as long as it is worthwhile, and once more.

    Args:
        wave: sends so many requests at once; returns the seconds until the last of them was answered.
        most_at_once: requests in the largest wave, one or more.
    """
    found: dict[int, float] = {}
    count = 1
    while count <= most_at_once:
        found[count] = count / max(min(wave(count) for _ in range(_WAVES)), 1e-9)
        if places(found) < count:
            break
        count *= 2
    return found


def places(throughput: Mapping[int, float]) -> int:
    """Requests at once that are worth sending, from requests per second by requests at once."""
    ordered = sorted(throughput)
    best = ordered[0]
    for more in ordered[1:]:
        if throughput[more] < _WORTHWHILE * throughput[best]:
            break
        best = more
    return best


def _predicted(row: tuple[float, float, float], values: tuple[float, float, float]) -> float:
    return sum(x * value for x, value in zip(row, values, strict=True))


def _squares(
    rows: Sequence[tuple[float, float, float]], times: Sequence[float], values: tuple[float, float, float]
) -> float:
    return sum((_predicted(row, values) - time) ** 2 for row, time in zip(rows, times, strict=True))


def _solve(rows: Sequence[Sequence[float]], times: Sequence[float]) -> list[float] | None:
    """Normal equations by Gaussian elimination with pivots; None where the columns depend on one another."""
    size = len(rows[0])
    scale = [max(abs(row[c]) for row in rows) or 1.0 for c in range(size)]
    table = [
        [sum(row[i] / scale[i] * row[j] / scale[j] for row in rows) for j in range(size)]
        + [sum(row[i] / scale[i] * time for row, time in zip(rows, times, strict=True))]
        for i in range(size)
    ]
    for column in range(size):
        pivot = max(range(column, size), key=lambda r, c=column: abs(table[r][c]))  # type: ignore[misc]
        if abs(table[pivot][column]) < 1e-9 * len(rows):
            return None
        table[column], table[pivot] = table[pivot], table[column]
        for other in range(size):
            if other != column:
                factor = table[other][column] / table[column][column]
                table[other] = [a - factor * b for a, b in zip(table[other], table[column], strict=True)]
    return [table[n][size] / table[n][n] / scale[n] for n in range(size)]
