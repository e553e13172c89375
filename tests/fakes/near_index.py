"""The near index in memory, with a count of what it reads."""

from tollgate.domain.near.index import BUCKET_CAPACITY, MAX_CANDIDATES, NearEntry, admit, shortlist
from tollgate.domain.near.reading import Reading
from tollgate.domain.near.signature import NearSignature, bucket_keys


class NearIndex:
    """What a stored index must do: the reference of tests and benchmarks."""

    def __init__(self, *, capacity: int = BUCKET_CAPACITY) -> None:
        self._capacity = capacity
        self._buckets: dict[str, tuple[NearEntry, ...]] = {}
        self.items_read = 0

    def add(self, context_key: str, reading: Reading, entry_id: str, *, expires_at: int, now: int) -> None:
        """File an answer under the prompt's buckets."""
        entry = NearEntry(entry_id, NearSignature.of(reading), expires_at)
        for key in bucket_keys(context_key, reading):
            self._buckets[key] = admit(self._buckets.get(key, ()), entry, now=now, capacity=self._capacity)

    def candidates(
        self, context_key: str, reading: Reading, *, now: int, limit: int = MAX_CANDIDATES
    ) -> tuple[NearEntry, ...]:
        """The entries to fetch and verify for a prompt, likeliest first, at most `limit`."""
        keys = bucket_keys(context_key, reading)
        self.items_read += len(keys)
        buckets = [self._buckets.get(key, ()) for key in keys]
        return shortlist(NearSignature.of(reading), buckets, now=now, limit=limit)

    def largest_bucket(self) -> int:
        """Entries in the fullest bucket; never more than the capacity."""
        return max((len(bucket) for bucket in self._buckets.values()), default=0)
