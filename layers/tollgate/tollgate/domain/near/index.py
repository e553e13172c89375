"""The candidate index for near-duplicates.

Buckets have a bounded size, so a lookup costs the same however many entries there are.

A bucket is one stored item. Reading a prompt's buckets gives at most `MAX_KEYS` x `BUCKET_CAPACITY`
signatures, of which the `MAX_CANDIDATES` likeliest are fetched and verified. A full bucket forgets what has
expired, then what is oldest: a prompt whose word pair is so common that its bucket overflows has rarer pairs too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tollgate.domain.near.signature import NearSignature

BUCKET_CAPACITY = 64
"""Entries in one bucket. At 16 bytes of id, 28 of signature and 8 of time it stays under DynamoDB's 4 KB read
unit."""

MAX_CANDIDATES = 6
"""Entries fetched and verified in one lookup."""


@dataclass(frozen=True, slots=True)
class NearEntry:
    """One cached answer as its buckets know it.

    Args:
        entry_id: the cache key under which prompt, embedding and answer are stored.
        signature: what to compare before fetching it.
        expires_at: Unix time in seconds from which it is not served.
    """

    entry_id: str
    signature: NearSignature
    expires_at: int


def admit(
    bucket: Iterable[NearEntry], entry: NearEntry, *, now: int, capacity: int = BUCKET_CAPACITY
) -> tuple[NearEntry, ...]:
    """The bucket after `entry` joined it: newest last, nothing expired, no entry twice, at most `capacity`.

    Args:
        bucket: the entries so far, oldest first.
        entry: the one to add; an older one of the same id is replaced.
        now: Unix time in seconds.
        capacity: most entries to keep.
    """
    kept = [old for old in bucket if old.expires_at > now and old.entry_id != entry.entry_id]
    return (*kept, entry)[-capacity:]


def shortlist(
    signature: NearSignature, buckets: Iterable[Iterable[NearEntry]], *, now: int, limit: int = MAX_CANDIDATES
) -> tuple[NearEntry, ...]:
    """The entries worth fetching, likeliest first; of equally likely ones, the one that expires last.

    Args:
        signature: of the prompt that is looked up.
        buckets: the contents of its buckets.
        now: Unix time in seconds; expired entries are left out.
        limit: how many to return at most.
    """
    found = {entry.entry_id: entry for bucket in buckets for entry in bucket if entry.expires_at > now}
    scored = [(entry.signature.likeness(signature), entry) for entry in found.values()]
    likely = [pair for pair in scored if pair[0] > 0]
    likely.sort(key=lambda pair: (-pair[0], -pair[1].expires_at, pair[1].entry_id))
    return tuple(entry for _, entry in likely[:limit])
