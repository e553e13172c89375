"""Answers kept so that a repeated call is answered and not run again."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from tollgate.domain.jobs.job import Owner

REMEMBERED = timedelta(hours=24)
"""How long a key is; with the same key after that, a request is a new one."""


class StoredAnswer(NamedTuple):
    """The answer that an idempotency key stands for."""

    status: int
    headers: Mapping[str, str]
    body: str


class IdempotencyStore(Protocol):
    """At most one run per idempotency key."""

    def claim(
        self, owner: Owner, key: str, fingerprint: str, *, now: datetime, lease_seconds: int
    ) -> StoredAnswer | None:
        """Claim the key; None means go ahead, an answer means that it was already given.

        Raises:
            IdempotencyMismatchError: the key was used with another fingerprint.
            IdempotencyInProgressError: the first request is still running.
        """

    def complete(self, owner: Owner, key: str, fingerprint: str, answer: StoredAnswer, *, now: datetime) -> None:
        """Keep the answer for a day."""

    def release(self, owner: Owner, key: str, fingerprint: str) -> None:
        """Forget the claim of a request that certainly did nothing, so that it can be repeated."""
