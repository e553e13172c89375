"""A histogram of latencies that can be merged, with a stated error.

Buckets grow by a constant factor, so that a quantile is right to within `ERROR` of itself, however the histogram was
put together: merging adds counts and loses nothing. The construction is DDSketch's (Masson, Rim, Lee: "DDSketch: a fast
and fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019), without its limit on the number of
buckets: from a tenth of a millisecond to a month there are fewer than 600.
"""

from collections.abc import Iterable, Mapping
from math import ceil, log

ERROR = 0.02
"""Relative error of a quantile: 100 ms may be told as 98 to 102 ms."""

_GROWTH = (1 + ERROR) / (1 - ERROR)
_LOG_GROWTH = log(_GROWTH)
_LEAST_MS = 0.1
_MOST_MS = 30 * 86_400_000.0

type Histogram = Mapping[int, int]
"""Bucket to count."""


def bucket_of(milliseconds: float) -> int:
    """The bucket of a latency; below a tenth of a millisecond and above a month they are not told apart."""
    return ceil(log(min(max(milliseconds, _LEAST_MS), _MOST_MS)) / _LOG_GROWTH)


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """All counts together."""
    merged: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            merged[bucket] = merged.get(bucket, 0) + count
    return merged


def quantile(histogram: Histogram, share: float) -> float | None:
    """Milliseconds that this share of the requests did not exceed, to within `ERROR`; None without requests.

    Args:
        histogram: of the requests.
        share: 0.95 for the 95th percentile. Of n requests it is the one with rank ceil(share x n), at least the first.
    """
    total = sum(histogram.values())
    if not total:
        return None
    rank = max(1, ceil(share * total - 1e-9))
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            break
    return 2 * _GROWTH**bucket / (_GROWTH + 1)


def histogram_text(histogram: Histogram) -> str:
    """The stored form: first bucket, then the distance to the next and its count, ``12:3 1:7``."""
    parts = []
    before = 0
    for bucket in sorted(histogram):
        parts.append(f"{bucket - before}:{histogram[bucket]}")
        before = bucket
    return " ".join(parts)


def histogram_of(text: str) -> Histogram:
    """What `histogram_text` wrote."""
    histogram: dict[int, int] = {}
    bucket = 0
    for part in text.split():
        distance, _, count = part.partition(":")
        bucket += int(distance)
        histogram[bucket] = int(count)
    return histogram
