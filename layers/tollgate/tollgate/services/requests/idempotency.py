"""Running a request at most once for each idempotency key."""

import hashlib
from collections.abc import Callable

from tollgate.domain.errors import (
    BackendTimeoutError,
    InvalidRequestError,
    OutcomeUnknownError,
    StorageError,
    TollgateError,
)
from tollgate.domain.jobs.job import Owner
from tollgate.ports.idempotency import IdempotencyStore, StoredAnswer
from tollgate.ports.system import Clock

_MAX_KEY = 255
_LEASE_SECONDS = 35
"""A little longer than the gateway function may run, so that a request under way never loses its claim."""


def fingerprint_of(route: str, body: bytes) -> str:
    """What a repeated call must have in common with the first: the route and the exact body."""
    return hashlib.sha256(route.encode() + b"\n" + body).hexdigest()


def name_of(owner: Owner, key: str, fingerprint: str) -> str:
    """26 characters that every call with this key and body has in common, and no other call.

    A job of that name is written down once, even if the function dies before it can keep its answer.
    """
    return hashlib.sha256(f"{owner.tenant}\n{key}\n{fingerprint}".encode()).hexdigest()[:26]


class Idempotency:
    """Claims a key, runs the request and keeps its answer.

    Args:
        lease_seconds: how long a claim lasts; longer than a run can take.
    """

    def __init__(self, store: IdempotencyStore, clock: Clock, *, lease_seconds: int = _LEASE_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._lease_seconds = lease_seconds

    def run(self, owner: Owner, key: str, fingerprint: str, produce: Callable[[], StoredAnswer]) -> StoredAnswer:
        """The answer of the first run with this key; this run's, if it is the first.

        Raises:
            InvalidRequestError: the key is empty, too long or not printable ASCII.
            IdempotencyMismatchError, IdempotencyInProgressError: as `IdempotencyStore.claim`.
            TollgateError: whatever the run raised. The key is free again unless the run may have had an effect.
        """
        if not 0 < len(key) <= _MAX_KEY or not key.isascii() or not key.isprintable():
            raise InvalidRequestError(
                f"'Idempotency-Key' must be 1 to {_MAX_KEY} printable ASCII characters.", param="Idempotency-Key"
            )
        earlier = self._store.claim(owner, key, fingerprint, now=self._clock.now(), lease_seconds=self._lease_seconds)
        if earlier is not None:
            return earlier
        try:
            answer = produce()
        except (BackendTimeoutError, OutcomeUnknownError):
            raise  # It may have run: the claim stays until its lease ends.
        except TollgateError:
            self._release(owner, key, fingerprint)
            raise
        self._keep(owner, key, fingerprint, answer)
        return answer

    def _release(self, owner: Owner, key: str, fingerprint: str) -> None:
        try:
            self._store.release(owner, key, fingerprint)
        except StorageError:
            return  # The lease ends by itself.

    def _keep(self, owner: Owner, key: str, fingerprint: str, answer: StoredAnswer) -> None:
        try:
            self._store.complete(owner, key, fingerprint, answer, now=self._clock.now())
        except StorageError:
            return  # The caller gets the answer now; only a repetition after the lease would run again.
